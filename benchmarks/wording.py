"""Tables in Markdown and means with their intervals, for all benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.statistics import t_interval
from pipeline.report.terminal import markdown_table

CONFIDENCE = 0.95

Row = dict[str, str]  # of a table: text by column


def markdown(rows: Sequence[Row]) -> str:
    """A table; all rows have the same columns."""
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])


def mean_text(values: Sequence[float], digits: int = 2) -> str:
    """The mean, with its t interval if there are several values; `-` without values."""
    if len(values) == 0:
        return "-"
    interval = t_interval(np.array(values), CONFIDENCE)
    ends = f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if len(values) > 1 else ""
    return f"{interval.mean:.{digits}f}{ends}"

"""The section of the page on single classes.

Pure functions over `ReportTables` and params.
"""

from __future__ import annotations

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import class_words
from pipeline.report.columns import (
    PERCENT,
    Column,
    Table,
    interval,
    left,
    number,
    points,
    table,
)
from pipeline.report.formatting import format_budget
from pipeline.report.names import readable
from pipeline.report.results import ReportTables


def class_sentences(results: ReportTables, params: Params) -> list[str]:
    """For every claim of the primary budget, the classes with a harm and with a gain."""
    rows = _primary(results, params)
    return [
        class_words.sentence(rows, str(classifier), str(arm), params.report.primary.budget)
        for classifier, arm in rows.groupby(["classifier", "arm"], sort=False).groups
    ]


def class_recalls(results: ReportTables, params: Params) -> list[Table]:
    """Every class under every claim of the primary budget, a table per classifier and arm.

    The worst class first; where classes differ in size, the one with the fewest labels first.
    """
    columns = [
        left("class", "class_name", lambda row, key: readable(row[key])),
        Column("labeled images", "num_labeled", number("%.0f")),
        Column("test images", "num_test", number("%.0f")),
        Column("recall of the baseline", "recall_baseline", PERCENT),
        Column("recall", "recall_arm", PERCENT),
        Column("delta, points", "delta", points),
        Column("verdict", "verdict", align="left", is_verdict=True),
        Column("interval", "ci_low", interval("ci_low", "ci_high")),
        Column("p, corrected", "p_adjusted", number("%.3f")),
    ]
    rows = _primary(results, params)
    if rows["num_labeled"].nunique() > 1:
        rows = rows.sort_values("num_labeled", kind="stable")
    order = list(rows.groupby(["classifier", "arm"], sort=False).groups) if len(rows) else []
    budget = format_budget(params.report.primary.budget)
    return [
        table(
            f"{params.marked(arm)}, {classifier}, {budget}",
            columns,
            rows[(rows["classifier"] == classifier) & (rows["arm"] == arm)],
        )
        for classifier, arm in order
    ]


def _primary(results: ReportTables, params: Params) -> pd.DataFrame:
    return results.classes[results.classes["budget"] == params.report.primary.budget]

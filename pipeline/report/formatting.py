"""Numbers as people read them: points, percentages, intervals, seconds, budgets.

Shares are 0..1 and are printed in percent or percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
MINUTE, HOUR = 60, 3600  # seconds


def metric_name(metric: str) -> str:
    """A metric in words: `balanced accuracy`, `macro F1`."""
    return metric.replace("_", " ").replace("f1", "F1")


def capitalized(text: str) -> str:
    """The text with a capital first letter; `str.capitalize` would change the others as well."""
    return text[:1].upper() + text[1:]


def points(share: float, digits: int = 2) -> str:
    """A difference of shares as signed percentage points: `+1.25`."""
    return f"{100 * share:+.{digits}f}"


def size(share: float) -> str:
    """The same without a sign: `1.25`."""
    return points(share)[1:]


def interval(row: Row, low: str = "ci_low", high: str = "ci_high") -> str:
    """The ends of a row's interval in points: `+0.50 to +1.60`; a single seed has none."""
    if math.isnan(row[low]):
        return "none"
    return f"{points(row[low])} to {points(row[high])}"


def share_interval(row: Row, low: str, high: str) -> str:
    """The ends of an interval of a share, in percent: `69.0 to 73.4`; a single seed has none."""
    if math.isnan(row[low]):
        return "none"
    return f"{100 * row[low]:.1f} to {100 * row[high]:.1f}"


def percent(share: float) -> str:
    """A share as a percentage: `93.4 %`."""
    return f"{100 * share:.1f} %"


def format_budget(budget: int) -> str:
    """A budget for people: `1 label per class`."""
    return f"{budget} label{'' if budget == 1 else 's'} per class"


def format_seeds(n: int) -> str:
    """A number of seeds: `1 seed`, `10 seeds`."""
    return f"{n} seed{'' if n == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """A duration: `28 s`, `4.5 min` or `2.1 h`."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.1f} min"
    return f"{seconds / HOUR:.1f} h"


def as_written(value: Any) -> Any:
    """A number as the CSV files have it, so that both readers print the same digits."""
    return float(f"{value:.6f}") if isinstance(value, float) else value

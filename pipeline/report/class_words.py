"""The table of recalls per class, in sentences.

Pure functions over `reports/classes.csv`; the page, the terminal and the recommendation use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report.formatting import Row, format_budget, points
from pipeline.report.names import in_sentence

MOST_NAMED = 5  # classes in a sentence; the table has all


def harmed_classes(classes: pd.DataFrame, row: Row) -> list[str]:
    """A sentence on the classes on which the arm is worse, the worst first, if there are any."""
    harmed = _of(classes, row["classifier"], row["arm"], row["budget"], "harm")
    return [f"But it is worse on {_named(harmed)}."] if harmed else []


def sentence(classes: pd.DataFrame, classifier: str, arm: str, budget: int) -> str:
    """The classes on which an arm is worse and better, the worst first."""
    scope = f"{arm}, {classifier}, {format_budget(budget)}"
    harmed, gained = (
        _of(classes, classifier, arm, budget, verdict) for verdict in ("harm", "gain")
    )
    parts = [
        f"{word} on {_named(rows)}"
        for word, rows in (("worse", harmed), ("better", gained[::-1]))
        if rows
    ]
    if parts:
        return f"{scope}: {'; '.join(parts)}."
    rows = [row for row in _of(classes, classifier, arm, budget) if row["n"]]
    lowest = f"; lowest delta: {_with_delta(rows[0])}" if rows else ""
    return f"{scope}: no class is shown to gain or lose{lowest}."


def summary(classes: pd.DataFrame, params: Params) -> str:
    """One line for the terminal: how many classes are worse and better; empty without a table."""
    if classes.empty:
        return ""
    rows = classes[classes["budget"] == params.report.primary.budget]
    decided = rows[rows["verdict"].isin(("harm", "gain"))]
    parts = []
    for (classifier, arm), part in decided.groupby(["classifier", "arm"], sort=False):
        counts = part["verdict"].value_counts()
        worse, better = (int(counts.get(verdict, 0)) for verdict in ("harm", "gain"))
        parts.append(f"{arm} ({classifier}) worse on {worse}, better on {better}")
    text = "; ".join(parts) or "no class is shown to gain or lose"
    return f"Recall per class: {text} (reports/classes.csv)."


def _of(
    classes: pd.DataFrame, classifier: str, arm: str, budget: int, verdict: str | None = None
) -> list[Row]:
    """The rows of one comparison with a verdict, in the order of the table."""
    if classes.empty:
        return []
    chosen = (
        (classes["classifier"] == classifier)
        & (classes["arm"] == arm)
        & (classes["budget"] == budget)
    )
    if verdict is not None:
        chosen &= classes["verdict"] == verdict
    rows: list[Row] = classes[chosen].to_dict("records")
    return rows


def _named(rows: Sequence[Row]) -> str:
    """`class 8 (-3.1 [-5.0, -1.2] points) and 2 others`."""
    named = ", ".join(_with_delta(row) for row in rows[:MOST_NAMED])
    more = len(rows) - MOST_NAMED
    return named + (f" and {more} other{'' if more == 1 else 's'}" if more > 0 else "")


def _with_delta(row: Row) -> str:
    ends = ""
    if not pd.isna(row["ci_low"]):
        ends = f" [{points(row['ci_low'], 1)}, {points(row['ci_high'], 1)}]"
    return f"class {in_sentence(row['class_name'])} ({points(row['delta'], 1)}{ends} points)"

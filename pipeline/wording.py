"""Verdicts in words for readers without statistics: one sentence per comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

VERDICTS = {
    "gain": "better, beyond what chance explains",
    "harm": "worse, beyond what chance explains",
    "equivalent": "no difference that matters: the whole interval is below the smallest effect of "
    "interest",
    "no evidence": "these seeds do not show a difference, which is no proof that there is none",
    "exploratory": "too few seeds to tell",
    "degenerate": "every seed gave the same difference, so there is nothing to judge by",
    "control": "an arm that tests the method and claims nothing",
    "baseline": "what the others are compared with",
}


def points(share: float) -> str:
    """A share as signed percentage points: `+1.25`."""
    return f"{100 * share:+.2f}"


def interval(row: Mapping[str, Any]) -> str:
    """The ends of a row's interval; a single seed has none."""
    if math.isnan(row["ci_low"]):
        return "none"
    return f"{points(row['ci_low'])} to {points(row['ci_high'])}"


def percent(share: float) -> str:
    """A share as a percentage: `93.4 %`."""
    return f"{100 * share:.1f} %"


def answer(row: Mapping[str, Any]) -> str:
    """What one row of the table of deltas says about accuracy, without numbers."""
    what = {
        "gain": "is better than",
        "harm": "is worse than",
        "equivalent": "makes no difference that matters to",
        "no evidence": "is not shown to differ from",
        "exploratory": "was tried on too few seeds to be judged against",
        "degenerate": "differed by the same amount in every seed from",
        "control": "is a control beside",
    }[row["verdict"]]
    return f"{row['arm']} {what} {row['baseline']} for {row['classifier']}, {labels(row['budget'])}"


def numbers(row: Mapping[str, Any], confidence: float) -> str:
    """What the answer rests on."""
    return (
        f"{percent(row['mean_baseline'])} to {percent(row['mean_arm'])}, {points(row['delta'])} "
        f"points, {100 * confidence:g} % interval {interval(row)}, "
        f"{row['n']} seed{'' if row['n'] == 1 else 's'}"
    )


def sentence(row: Mapping[str, Any], confidence: float) -> str:
    """The answer and its numbers as one sentence."""
    return f"{answer(row)} ({numbers(row, confidence)})."


def labels(budget: int) -> str:
    """A budget for people."""
    return f"{budget} label{'' if budget == 1 else 's'} per class"

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


def sentence(row: Mapping[str, Any], confidence: float) -> str:
    """What one row of the table of deltas says about accuracy."""
    start = f"{row['classifier']}, {labels(row['budget'])}: {row['arm']}"
    numbers = (
        f"{percent(row['mean_baseline'])} to {percent(row['mean_arm'])}, {points(row['delta'])} "
        f"points, {100 * confidence:g} % interval {interval(row)}, "
        f"{row['n']} seed{'' if row['n'] == 1 else 's'}"
    )
    against = f"against {row['baseline']}"
    what = {
        "gain": f"is better than {row['baseline']}",
        "harm": f"is worse than {row['baseline']}",
        "equivalent": f"makes no difference that matters {against}",
        "no evidence": f"is not shown to differ from {row['baseline']}",
        "exploratory": f"was tried on too few seeds to be judged {against}",
        "degenerate": f"differed by the same amount in every seed {against}",
    }[row["verdict"]]
    return f"{start} {what} ({numbers})."


def answer(row: Mapping[str, Any]) -> str:
    """One row as a headline for a reader in a hurry."""
    what = {
        "gain": "better than",
        "harm": "worse than",
        "equivalent": "no different, in any way that matters, from",
        "no evidence": "not shown to differ from",
        "exploratory": "tried on too few seeds to be judged against",
        "degenerate": "always the same distance from",
    }[row["verdict"]]
    return (
        f"{row['arm']} is {what} {row['baseline']} for {row['classifier']}, {labels(row['budget'])}"
    )


def labels(budget: int) -> str:
    """A budget for people."""
    return f"{budget} label{'' if budget == 1 else 's'} per class"

"""Verdicts: which claim a comparison supports, by the first decision that applies.

Pure functions of what `statistics` computes; knows no arm and no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.statistics import (
    ROUNDING,
    SEEDS_FOR_A_CLAIM,
    SEEDS_FOR_A_TEST,
    Interval,
    Numbers,
)


@dataclass(frozen=True)
class Rules:
    """The rules for verdicts, declared before the run.

    `smallest_effect` is the smallest difference that matters, in the metric's units.
    """

    confidence_level: float
    smallest_effect: float
    higher_is_better: bool = True


@dataclass(frozen=True)
class Evidence:
    """What the verdict of one comparison depends on."""

    n: int  # number of seeds
    delta_range: float  # largest minus smallest delta
    interval: Interval
    p_adjusted: float
    controls_hold: bool = True  # no control arm failed
    reference_holds: bool = True  # the reference is not worse than the baseline


def evidence(
    deltas: Numbers,
    interval: Interval,
    p_adjusted: float,
    controls_hold: bool = True,
    reference_holds: bool = True,
) -> Evidence:
    """The evidence of a comparison, from its deltas and what was computed from them."""
    delta_range = float(np.ptp(deltas))
    return Evidence(len(deltas), delta_range, interval, p_adjusted, controls_hold, reference_holds)


def _equivalent(comparison: Evidence, rules: Rules) -> bool:
    return comparison.n >= SEEDS_FOR_A_CLAIM and _is_negligible(comparison, rules)


def _is_negligible(comparison: Evidence, rules: Rules) -> bool:
    return max(abs(comparison.interval.low), abs(comparison.interval.high)) <= rules.smallest_effect


def _beats_weak_reference(comparison: Evidence, rules: Rules) -> bool:
    if comparison.reference_holds:
        return False
    is_above = comparison.interval.low > 0
    is_below = comparison.interval.high < 0
    seems_better = is_above if rules.higher_is_better else is_below
    return _better(comparison, rules) or (comparison.n < SEEDS_FOR_A_CLAIM and seems_better)


def _better(comparison: Evidence, rules: Rules) -> bool:
    return _claimed(comparison, rules) and (comparison.interval.low > 0) == rules.higher_is_better


def _worse(comparison: Evidence, rules: Rules) -> bool:
    return _claimed(comparison, rules) and (comparison.interval.low > 0) != rules.higher_is_better


def _claimed(comparison: Evidence, rules: Rules) -> bool:
    significant = comparison.p_adjusted <= 1 - rules.confidence_level
    return comparison.n >= SEEDS_FOR_A_CLAIM and _excludes_zero(comparison) and significant


def _excludes_zero(comparison: Evidence) -> bool:
    return comparison.interval.low > 0 or comparison.interval.high < 0


def _is_promising(comparison: Evidence, rules: Rules) -> bool:
    shows_something = _excludes_zero(comparison) or _is_negligible(comparison, rules)
    return comparison.n < SEEDS_FOR_A_CLAIM and shows_something


# The first one that applies is the verdict.
DECISIONS: tuple[tuple[str, Callable[[Evidence, Rules], bool]], ...] = (
    # A control arm failed, so no result of the study can be trusted.
    ("invalid", lambda comparison, rules: not comparison.controls_hold),
    # Too few seeds for any test.
    ("exploratory", lambda comparison, rules: comparison.n < SEEDS_FOR_A_TEST),
    # Every seed gave the same difference, so its variance cannot be estimated.
    ("degenerate", lambda comparison, rules: comparison.delta_range <= ROUNDING),
    # The whole interval is smaller than the smallest effect of interest, with at least ten seeds.
    ("equivalent", _equivalent),
    # It would be a gain, or exploratory and better, but the reference is worse than the baseline.
    ("weak reference", _beats_weak_reference),
    # The interval excludes zero, the adjusted p is below the level, with at least ten seeds.
    ("gain", _better),
    ("harm", _worse),
    # The interval excludes zero or is smaller than the smallest effect of interest, but six to nine
    # seeds are too few for a claim.
    ("exploratory", _is_promising),
    ("no evidence", lambda comparison, rules: True),
)


def decide(comparison: Evidence, rules: Rules) -> str:
    """The verdict of a comparison: the first of `DECISIONS` that applies."""
    return next(verdict for verdict, applies in DECISIONS if applies(comparison, rules))

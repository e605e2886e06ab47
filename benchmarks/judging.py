"""What the simulations of `calibration` share: the rules, intervals and verdicts of a study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import decisions, statistics

RULES = decisions.Rules(confidence_level=0.95, smallest_effect=0.0)
LEVEL = 1 - RULES.confidence_level
CLAIMS = ("gain", "harm")
NUM_ARMS = 5
NUM_CLASSIFIERS = 2

Floats = NDArray[np.float64]


def percent(share: float | np.floating) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def limit(num_studies: int, level: float = LEVEL) -> float:
    """The largest share of errors that does not contradict a rate of `level`: 2 standard errors."""
    return level + 2 * float(np.sqrt(level * (1 - level) / num_studies))


def t_ends(deltas: Floats, overlap: float = 0.0) -> tuple[Floats, Floats]:
    """The ends of `t_interval` for every row of (..., n) at once."""
    by_seed, mean = np.moveaxis(deltas, -1, 0), deltas.mean(axis=-1)
    half = statistics.half_width(by_seed, RULES.confidence_level, overlap)
    return mean - half, mean + half


def judge(deltas: Floats, low: Floats, high: Floats, p_values: Floats) -> list[str]:
    """The verdicts of one study: the first p uncorrected, the others with Holm's correction."""
    adjusted = [float(p_values[0]), *statistics.holm(p_values[1:].tolist())]
    return verdicts(deltas, low, high, adjusted)


def verdicts(deltas: Floats, low: Floats, high: Floats, adjusted: Sequence[float]) -> list[str]:
    """The verdicts of the comparisons of one study, (comparisons, n), from corrected p-values."""
    return [
        decisions.decide(
            decisions.evidence(delta, statistics.Interval(float(delta.mean()), *ends), p), RULES
        )
        for delta, *ends, p in zip(deltas, low, high, adjusted, strict=True)
    ]

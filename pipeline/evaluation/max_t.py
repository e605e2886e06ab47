"""p-values of many paired comparisons, corrected by the distribution of the maximum statistic.

Pure functions of arrays. With many comparisons and few seeds, Holm's correction has no power,
whatever the effect: 60 comparisons times the smallest p-value of ten seeds, 2 / 2 ** 10, is 0.12.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation.statistics import OVERLAP_THAT_MATTERS, corrected_t_p, holm

Numbers = NDArray[np.float64]
EXACT_UP_TO = 14  # seeds; 2 ** 13 patterns of signs
NUM_SAMPLED = 9_999  # patterns beyond
BLOCK = 512  # patterns at a time
MAX_DF = 9  # as with ten seeds
ROUNDING = 1e-9  # relative; sums that differ by less are equal


def max_t_p(deltas: Numbers) -> Numbers:
    """Corrected two-sided p-values, (num_comparisons,), that the mean deltas are zero.

    `deltas` is (num_seeds, num_comparisons). The statistic is |sum| / sqrt(sum of squares), which
    grows with |t| and whose denominator no sign changes. The deltas of a seed change their sign
    together, so that their correlations stay. The p-value of the largest statistic is the share of
    sign patterns under which any comparison reaches it; then that comparison is left out, and so
    on. The probability that any comparison without an effect gets p <= level is at most level.
    At least 2 / 2 ** num_seeds, however many comparisons there are.

    Source: Westfall and Young (1993), "Resampling-based multiple testing", algorithm 2.8 (step-down
    max-T). Deviation: sign flips of paired differences in place of a bootstrap.
    """
    num_seeds, num_comparisons = deltas.shape
    if num_seeds < 2 or num_comparisons == 0:
        return np.ones(num_comparisons)
    lengths = np.sqrt((deltas**2).sum(axis=0))
    scaled = np.where(lengths > 0, deltas / np.where(lengths > 0, lengths, 1), 0)
    observed = np.abs(scaled.sum(axis=0))

    order = np.argsort(-observed, kind="stable")
    threshold = observed[order] - ROUNDING
    reached, num_patterns = np.zeros(num_comparisons), 0
    for signs in _patterns(num_seeds):
        statistics = np.abs(signs @ scaled[:, order])
        # Of each comparison and those with a smaller observed statistic.
        largest = np.maximum.accumulate(statistics[:, ::-1], axis=1)[:, ::-1]
        reached += (largest >= threshold).sum(axis=0)
        num_patterns += len(signs)

    result = np.empty(num_comparisons)
    result[order] = np.maximum.accumulate(reached / num_patterns)
    return result


def family_p(deltas: Numbers, correlations: ArrayLike) -> Numbers:
    """Corrected two-sided p-values, (num_comparisons,), for seeds that may be correlated.

    `deltas` is (num_seeds, num_comparisons), NaN where a seed has no value, which counts as no
    difference in `max_t_p`. `correlations`, (num_comparisons,) or a number, are those of two seeds,
    as in `statistics.t_interval`.

    Flipping whole seeds assumes independent seeds. So if any correlation is at least
    `OVERLAP_THAT_MATTERS`, the p-values are the larger of those of `max_t_p` and of Holm's
    correction of `corrected_t_p` over the whole family, of values that are known. Each of the
    latter holds for its own correlation, and Holm's bound for any dependence of the comparisons.
    Their t tests have at most `MAX_DF` degrees of freedom: small p-values depend on the tails of
    the distribution, and recalls of few images are not normal, however many seeds repeat them.

    Source: Nadeau and Bengio (2003); Holm (1979); the maximum and `MAX_DF` are conventions of this
    project, checked by `benchmarks.calibration`.
    """
    p_values = max_t_p(np.nan_to_num(deltas))
    rho = np.broadcast_to(np.asarray(correlations, dtype=np.float64), p_values.shape)
    if not (rho >= OVERLAP_THAT_MATTERS).any():
        return p_values
    of_t = [
        corrected_t_p(column[np.isfinite(column)], float(each), MAX_DF)
        for column, each in zip(deltas.T, rho, strict=True)
    ]
    return np.maximum(p_values, holm(of_t))


def _patterns(num_seeds: int) -> Iterator[Numbers]:
    """Sign patterns in blocks (k, num_seeds), the observed one among them.

    Up to `EXACT_UP_TO` seeds: all of them, up to a common sign. Beyond: the observed one and
    `NUM_SAMPLED` sampled with a fixed seed.
    """
    if num_seeds > EXACT_UP_TO:
        rng = np.random.default_rng(0)
        yield np.ones((1, num_seeds))
        for start in range(0, NUM_SAMPLED, BLOCK):
            yield rng.choice([-1.0, 1.0], (min(BLOCK, NUM_SAMPLED - start), num_seeds))
        return
    every = np.array(list(itertools.product([1.0, -1.0], repeat=num_seeds - 1)))
    for start in range(0, len(every), BLOCK):
        block = every[start : start + BLOCK]
        yield np.concatenate([np.ones((len(block), 1)), block], axis=1)

"""Intervals, p-values, and label equivalents from paired differences over seeds.

Pure functions of arrays; knows no arm and no file. Unless a function says otherwise, an array is
(num_seeds,): one paired difference per seed, arm minus baseline, with the same classifier and
budget. Intervals are over the randomness of training (labeled subset, generator, initialization)
on this test set; `two_level_interval` is also over new test images.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

Numbers = NDArray[np.float64]
SEEDS_FOR_A_CLAIM = 10
SEEDS_FOR_A_TEST = 6  # with fewer, no result of the sign-flip test can reach p < 0.05
EXACT_UP_TO = 40  # seeds; two times 2 ** 20 sums
SAMPLED_PATTERNS = 100_000
MAX_SEEDS = 10_000  # of `seeds_for_power`; no study has more
ROUNDING = 1e-12  # differences of equal shares differ by no more than this
# A convention: smaller shares are ignored. With it and ten seeds, the correction makes the interval
# 45 % wider.
OVERLAP_THAT_MATTERS = 0.10
# Of `label_equivalent`: from 1 to 10,000 labels per class, steps of half a percent.
GRID_POINTS = 2_001


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def t_interval(values: Numbers, confidence_level: float, correlation: float = 0.0) -> Interval:
    """Student's t interval of the mean; the ends are NaN for fewer than two values.

    `correlation`, rho in 0..1, is the correlation of any two values, from `mean_overlap` of the
    labeled subsets, or of the test sets where every seed has its own. The half width is
    t * sqrt(S^2 * (1 / n + rho / (1 - rho))), which is exact for equally correlated normal values.
    Below `OVERLAP_THAT_MATTERS` there is no correction. With rho = 1 all subsets are the same one,
    and the ends are NaN.

    Source: Nadeau and Bengio (2003), "Inference for the generalization error", corrected t. Their
    rho for resampled test sets is n_test / (n_test + n_train), the share of test images that two of
    them have in common. Deviation: where the test set is fixed, rho is the share of labeled images.
    To first order, a score is a sum over the labeled images (its Hoeffding projection), so the
    correlation of two subsets is the fraction of images that they share. The randomness of training
    lowers the correlation, so the interval is conservative.

    Bootstrap intervals are not used: with ten seeds, those of nominal 95 % cover about 90 %.
    """
    mean, half = float(np.mean(values)), float(half_width(values, confidence_level, correlation))
    return Interval(mean, mean - half, mean + half)


def half_width(values: Numbers, confidence_level: float, correlation: ArrayLike) -> Numbers:
    """Half widths of the t intervals over the first axis of `values`, (num_seeds, ...)."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    variance = np.var(values, axis=0, ddof=1) / n * _inflation(n, correlation)
    return np.asarray(stats.t.ppf((1 + confidence_level) / 2, n - 1) * np.sqrt(variance))


def _inflation(n: int, correlation: ArrayLike) -> Numbers:
    """The factor on the variance of the mean of correlated values; NaN for a correlation of 1."""
    rho = np.asarray(correlation, dtype=np.float64)
    rho = np.where(rho < OVERLAP_THAT_MATTERS, 0.0, np.where(rho < 1, rho, np.nan))
    return np.asarray(1 + n * rho / (1 - rho))


def mean_overlap(subsets: Sequence[NDArray[Any]]) -> float:
    """Mean share of images that two subsets have in common, over all pairs, 0..1.

    A subset is (num_images,): ids of its images, either positions in the pool or content ids. The
    share is relative to the geometric mean of both sizes, which is the correlation of sums over the
    two subsets. 0 for fewer than two subsets.
    """
    if len(subsets) < 2:
        return 0.0
    distinct = [np.unique(subset) for subset in subsets]
    ids, which = np.unique(np.concatenate(distinct), return_inverse=True)
    sizes = np.array([len(subset) for subset in distinct])
    membership = np.zeros((len(subsets), len(ids)), dtype=np.float32)
    membership[np.repeat(np.arange(len(subsets)), sizes), which] = 1
    shares = (membership @ membership.T) / np.sqrt(np.outer(sizes, sizes))
    return float(shares[np.triu_indices(len(subsets), k=1)].mean())


def two_level_interval(
    differences: NDArray[Any], confidence_level: float, correlation: float = 0.0
) -> Interval:
    """Interval of the mean difference over both seeds and test images.

    `differences` is (num_seeds, num_test) of -1, 0 or 1: for every test image, whether the arm is
    correct minus whether the baseline is, times the weight of the image if there are weights. Seeds
    and test images are resampled independently, as rows and columns of a crossed table. The
    interval is never narrower than `t_interval`; `correlation` widens the seeds' part as it does
    there. The ends are NaN for fewer than two seeds.

    Source: Owen (2007), "The pigeonhole bootstrap"; McCullagh (2000). Deviations: the variance is
    that of all resamples in closed form, so nothing is sampled. Percentile ends cover about 90 %
    with ten seeds; the ends here are mean +- t (n - 1 degrees of freedom) * bootstrap standard
    error * sqrt(n / (n - 1)). As in the source, the variance that belongs to neither level alone is
    counted up to three times, so the interval is conservative.
    """
    table = np.asarray(differences, dtype=np.float64)
    n, num_test = table.shape
    mean = float(table.mean())
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    of_seeds = np.var(table.mean(axis=1)) * _inflation(n, correlation) / n
    of_images = np.var(table.mean(axis=0)) / num_test
    both = np.var(table) / (n * num_test)
    variance = of_seeds * (1 - 1 / num_test) + of_images * (1 - 1 / n) + both
    half = float(stats.t.ppf((1 + confidence_level) / 2, n - 1) * np.sqrt(variance * n / (n - 1)))
    return Interval(mean, mean - half, mean + half)


def sign_flip_p(deltas: Numbers) -> float:
    """Two-sided p-value of the paired sign-flip permutation test that the mean is zero.

    The share of all 2 ** n sign patterns whose sum is at least as far from zero as the observed
    one; at least 2 / 2 ** n. Exact up to `EXACT_UP_TO` seeds: the seeds are split into two halves,
    and for every pattern of the first half a binary search counts the patterns of the second.
    Beyond, the share among `SAMPLED_PATTERNS` patterns sampled with a fixed seed, counting the
    observed one.

    Source: Fisher (1935); Horowitz and Sahni (1974) for the two halves.
    """
    n = len(deltas)
    if n < 2 or not np.any(deltas):
        return 1.0
    ordered = np.sort(np.asarray(deltas, dtype=np.float64))  # so the order of seeds changes no bit
    observed = abs(math.fsum(ordered)) - ROUNDING * n
    if n > EXACT_UP_TO:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (SAMPLED_PATTERNS, n))
        return float((1 + np.sum(np.abs(signs @ ordered) >= observed)) / (1 + SAMPLED_PATTERNS))
    first, second = _signed_sums(ordered[::2]), _signed_sums(ordered[1::2])
    reached = len(first) * len(second) - np.searchsorted(second, observed - first).sum()
    return min(1.0, 2 * float(reached) / 2**n)


def _signed_sums(values: Numbers) -> Numbers:
    """The sums of `values` (n,) under all sign patterns, sorted, (2 ** n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return np.sort(sums)


def corrected_t_p(values: Numbers, correlation: float, max_df: int | None = None) -> float:
    """Two-sided p-value of the t test that the mean of correlated values is zero.

    The test that `t_interval` inverts, with the same `correlation` rho: t = mean / sqrt(S^2 *
    (1 / n + rho / (1 - rho))) with n - 1 degrees of freedom, or `max_df` if that is less. 1 for
    fewer than two values, for equal ones, whose variance cannot be estimated, and for rho = 1.

    Source: Nadeau and Bengio (2003), the corrected resampled t test; see `t_interval`.
    """
    n = len(values)
    if n < 2 or np.ptp(values) <= ROUNDING or correlation >= 1:
        return 1.0
    error = np.std(values, ddof=1) * np.sqrt(_inflation(n, correlation) / n)
    return float(2 * special.stdtr(min(n - 1, max_df or n - 1), -abs(np.mean(values)) / error))


def paired_p(deltas: Numbers, correlation: float = 0.0) -> float:
    """Two-sided p-value that the mean delta is zero, for deltas of this `correlation`.

    That of `sign_flip_p`, which assumes independent seeds. From `OVERLAP_THAT_MATTERS` up it is
    not valid alone, since seeds share a deviation that no flip of one seed's sign removes: then the
    larger of it and `corrected_t_p`, so that p is above 1 - confidence level wherever `t_interval`
    contains zero. Source: Nadeau and Bengio (2003); the maximum with the sign-flip test is a
    convention of this project.
    """
    p_value = sign_flip_p(deltas)
    if correlation < OVERLAP_THAT_MATTERS:
        return p_value
    return max(p_value, corrected_t_p(deltas, correlation))


def mcnemar_p(arm_correct: NDArray[np.bool_], baseline_correct: NDArray[np.bool_]) -> float:
    """Exact two-sided p-value of McNemar's test that both are correct equally often; one seed.

    Both arrays are (num_test,). The test is over test images for two trained classifiers and
    ignores the randomness of training, so it is a diagnostic only. Source: McNemar (1947);
    Dietterich (1998).
    """
    better = int(np.sum(arm_correct & ~baseline_correct))
    worse = int(np.sum(~arm_correct & baseline_correct))
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted by Holm's (1979) step-down method, which bounds the family-wise error."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [
        min(1.0, (len(order) - rank) * p_values[position]) for rank, position in enumerate(order)
    ]

    result = np.empty(len(order))
    result[order] = np.maximum.accumulate(adjusted)
    return [float(value) for value in result]


def smallest_detectable(
    deltas: Numbers, level: float, power: float = 0.8, correlation: float = 0.0
) -> float:
    """Minimum detectable effect: the mean delta that a paired t test finds with this power.

    For the number of seeds and the standard deviation of `deltas`, their `correlation` (see
    `t_interval`) and a single test at `level`; with a correction for many comparisons the effect
    must be larger. NaN for fewer than two seeds, 0 if all deltas are equal.

    Source: Cohen (1988), chapter 2, through the noncentral t distribution. Deviation: significance
    in the wrong direction, whose probability is close to 0, does not count.
    """
    n = len(deltas)
    if n < 2:
        return math.nan
    if np.ptp(deltas) <= ROUNDING:
        return 0.0
    threshold = stats.t.ppf(1 - level / 2, n - 1)

    def excess_power(shift: float) -> float:
        return float(stats.nct.sf(threshold, n - 1, shift) - power)

    # In units of the standard error: bracket the root, then find it.
    upper = 1.0
    while excess_power(upper) < 0:
        upper *= 2
    error = stats.sem(deltas) * np.sqrt(_inflation(n, correlation))
    return float(optimize.brentq(excess_power, 0, upper) * error)


def seeds_for_sign_test(level: float, num_tests: int = 1) -> int:
    """The smallest number of seeds at which a comparison can be decided at all.

    At least `SEEDS_FOR_A_CLAIM`, and enough for the exact sign-flip test, whose smallest p-value is
    2 / 2 ** n, to reach `level` after Holm's correction over `num_tests` tests.
    """
    return max(SEEDS_FOR_A_CLAIM, 1 + math.ceil(math.log2(max(1, num_tests) / level)))


def seeds_for_power(
    deltas: Numbers, level: float, power: float = 0.8, correlation: float = 0.0
) -> float:
    """How many seeds a paired t test at `level` needs to find the observed mean with `power`.

    Takes the mean and the standard deviation of `deltas` as the true ones, so it is a plan and no
    result. NaN for fewer than two seeds or a mean of zero, 2 without any deviation, inf where
    overlapping subsets (`correlation`) or `MAX_SEEDS` seeds leave the test too weak.
    Source: Cohen (1988), chapter 2, through the noncentral t distribution.
    """
    mean = abs(float(np.mean(deltas)))
    if len(deltas) < 2 or mean <= ROUNDING:
        return math.nan
    deviation = float(np.std(deltas, ddof=1))
    if deviation <= ROUNDING:
        return 2.0

    def is_enough(n: int) -> bool:
        error = deviation * math.sqrt(float(_inflation(n, correlation)) / n)
        threshold = stats.t.ppf(1 - level / 2, n - 1)
        return bool(stats.nct.sf(threshold, n - 1, mean / error) >= power)

    if not is_enough(MAX_SEEDS):
        return math.inf
    # Power grows with n, so that the smallest sufficient n is found by halving the range.
    return float(bisect.bisect_left(range(2, MAX_SEEDS), x=True, key=is_enough) + 2)


def label_equivalent(
    arm: Numbers,
    curve: Numbers,
    budgets: ArrayLike,
    confidence_level: float,
    correlations: ArrayLike | None = None,
) -> Interval:
    """The number of real labels per class that gives the same accuracy as the arm.

    `arm` is (num_seeds,), the arm's accuracies at one budget. `curve`, (num_seeds, num_budgets), is
    the learning curve: accuracies of real labels alone at `budgets`, ascending, paired by seed.
    `correlations`, (num_budgets,), are the overlaps of the labeled subsets, as in `t_interval`.

    Between budgets the curve of every seed is linear in the logarithm of the labels. The mean is
    the smallest number at which the arm is no longer better. The ends are the smallest and the
    largest number at which the paired t interval of arm minus curve contains zero. There is no
    extrapolation: each of the three is inf above the largest budget and -inf below the smallest.

    Source: Fieller (1954), the inversion of a test. Deviation: on a grid instead of by his formula,
    since the curve is piecewise linear.
    """
    measured = np.asarray(budgets, dtype=np.float64)
    grid = np.union1d(np.geomspace(measured[0], measured[-1], GRID_POINTS), measured)
    curves = [np.interp(np.log(grid), np.log(measured), of_seed) for of_seed in curve]
    advantage = np.asarray(arm)[:, None] - np.array(curves)  # (num_seeds, len(grid))

    overlaps = np.zeros(len(measured)) if correlations is None else np.asarray(correlations)
    mean = advantage.mean(axis=0)
    half = half_width(advantage, confidence_level, np.interp(grid, measured, overlaps))
    half = np.where(np.isnan(half), np.inf, half)

    equal, low = _first_not_positive(grid, mean), _first_not_positive(grid, mean - half)
    high = -_first_not_positive(-grid[::-1], -(mean + half)[::-1])
    # If all seeds agree, the interval may lie between two points of the grid.
    return Interval(equal, min(low, equal), max(high, equal))


def _first_not_positive(grid: Numbers, values: Numbers) -> float:
    """The first point of the grid where `values` are not positive; -inf if that is before it."""
    if values[0] < -ROUNDING:
        return -math.inf
    positions = np.flatnonzero(values <= ROUNDING)
    return float(grid[positions[0]]) if len(positions) else math.inf

"""From paired differences over seeds to intervals, p-values, worth in labels, and a verdict.

Pure functions. Unless a function says otherwise, an array here is (num_seeds,): one paired
difference per seed, arm minus baseline, under the same classifier, budget and seed. An interval is
over the randomness of training (label draw, generator, initialization), on this test set;
`two_level_interval` is for new test images too.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

Numbers = NDArray[np.float64]
SEEDS_FOR_A_CLAIM = 10
SEEDS_FOR_A_TEST = 6  # with fewer, no result of the sign-flip test can reach p < 0.05
EXACT_UP_TO = 40  # seeds; two times 2 ** 20 sums
SAMPLED_PATTERNS = 100_000
MAX_SEEDS = 10_000  # of `seeds_for_power`; no study has more
ROUNDING = 1e-12  # differences of equal shares differ by no more than this
# A convention: smaller shares are ignored. At ten seeds the correction sets in with 45 % more.
OVERLAP_THAT_MATTERS = 0.10
GRID_POINTS = (
    2_001  # of `label_equivalent`; between 1 and 10,000 labels per class, steps of half a percent
)


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Rules:
    """What was declared before the run."""

    confidence_level: float
    smallest_effect: float
    higher_is_better: bool = True


@dataclass(frozen=True)
class Evidence:
    """What the verdict of one comparison rests on."""

    n: int  # seeds
    delta_range: float  # largest minus least delta
    interval: Interval
    p_adjusted: float
    controls_hold: bool = True  # no control arm showed what cannot be
    reference_holds: bool = True  # what the arm is held against is not below the baseline itself


def t_interval(values: Numbers, confidence_level: float, correlation: float = 0.0) -> Interval:
    """Student's t interval of the mean; the ends are NaN for fewer than two values.

    `correlation`, 0..1, is that of any two values, from `mean_overlap` of the label draws. The half
    width is t * sqrt(S^2 * (1 / n + rho / (1 - rho))): exact for equally correlated normal values.
    Source: Nadeau and Bengio (2003), "Inference for the generalization error", corrected t.
    Deviation: they put n_test / (n_test + n_train) for rho, which belongs to their resampling of
    test sets; here the test set is fixed. A score is, to first order, a sum over the labeled
    images (its Hoeffding projection), so that two draws that share a fraction of their images have
    that fraction as their correlation. The randomness of training lowers it; the share errs to the
    wide side. Below `OVERLAP_THAT_MATTERS` nothing is corrected. Draws that are all alike are but
    one draw, and the ends are NaN.

    Bootstrap intervals are not used: over ten seeds their 95 % cover about 90 %.
    """
    mean, half = float(np.mean(values)), float(_half_width(values, confidence_level, correlation))
    return Interval(mean, mean - half, mean + half)


def _half_width(values: Numbers, confidence_level: float, correlation: ArrayLike) -> Numbers:
    """Half widths of the t intervals over the first axis of `values`, (num_seeds, ...)."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    variance = np.var(values, axis=0, ddof=1) / n * _inflation(n, correlation)
    return np.asarray(stats.t.ppf((1 + confidence_level) / 2, n - 1) * np.sqrt(variance))


def _inflation(n: int, correlation: ArrayLike) -> Numbers:
    """By how much correlated values raise the variance of their mean; NaN where all are alike."""
    rho = np.asarray(correlation, dtype=np.float64)
    rho = np.where(rho < OVERLAP_THAT_MATTERS, 0.0, np.where(rho < 1, rho, np.nan))
    return np.asarray(1 + n * rho / (1 - rho))


def mean_overlap(subsets: Sequence[NDArray[Any]]) -> float:
    """Mean over pairs of draws of the share of images in common, 0..1; 0 for fewer than two draws.

    Each draw is (num_images,) ids of its images, positions in the pool or content ids. For draws
    of unequal size, the share is of the geometric mean of the two sizes: the correlation of sums.
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
    """Interval of the mean difference for new test images too; NaN ends for fewer than two seeds.

    `differences` is (num_seeds, num_test): arm right minus baseline right for every test image,
    -1, 0 or 1. The interval is over seeds and test images: both are resampled, independently of
    each other, as rows and columns of a crossed table. Never narrower than `t_interval`, whose
    `correlation` widens the part of the seeds here as well.
    Source: Owen (2007), "The pigeonhole bootstrap"; McCullagh (2000).
    Deviations: the bootstrap's variance is taken in closed form, as over all resamples, so that
    nothing is drawn. Percentile ends cover about 90 % with ten seeds; the ends here are the mean +-
    t (n - 1 degrees of freedom) * bootstrap standard error * sqrt(n / (n - 1)). As in the source,
    the part of the variance that belongs to neither level alone is counted up to three times,
    which errs to the wide side.
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
    """Two-sided p of the paired sign-flip permutation test of a mean of zero.

    The share of all 2 ** n patterns of signs whose sum is at least as far from zero; its least
    possible value is 2 / 2 ** n. Exact up to 40 seeds: a pattern is one of half of the seeds joined
    to one of the others, and sorted sums of the second half tell how many reach what was observed.
    Beyond, the share among 100,000 patterns of a fixed seed, counting the observed one.
    Source: Fisher (1935); the halving is Horowitz and Sahni's (1974).
    """
    n = len(deltas)
    if n < 2 or not np.any(deltas):
        return 1.0
    ordered = np.sort(np.asarray(deltas, dtype=np.float64))  # no matter the order of seeds
    observed = abs(math.fsum(ordered)) - ROUNDING * n
    if n > EXACT_UP_TO:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (SAMPLED_PATTERNS, n))
        return float((1 + np.sum(np.abs(signs @ ordered) >= observed)) / (1 + SAMPLED_PATTERNS))
    first, second = _signed_sums(ordered[::2]), _signed_sums(ordered[1::2])
    reached = len(first) * len(second) - np.searchsorted(second, observed - first).sum()
    return min(1.0, 2 * float(reached) / 2**n)


def _signed_sums(values: Numbers) -> Numbers:
    """The sums of `values` (n,) under all patterns of signs, sorted, (2 ** n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return np.sort(sums)


def mcnemar_p(arm_right: NDArray[np.bool_], baseline_right: NDArray[np.bool_]) -> float:
    """Exact two-sided p of McNemar's test that both are right equally often; one seed.

    Both are (num_test,). The test is over test images for two trained classifiers: it knows nothing
    of training randomness, and is a diagnostic only. Source: McNemar (1947); Dietterich (1998).
    """
    better = int(np.sum(arm_right & ~baseline_right))
    worse = int(np.sum(~arm_right & baseline_right))
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def holm(p_values: list[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: the family-wise error stays below the level."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [min(1.0, (len(order) - rank) * p_values[at]) for rank, at in enumerate(order)]
    result = np.empty(len(order))
    result[order] = np.maximum.accumulate(adjusted)
    return [float(value) for value in result]


def smallest_detectable(
    deltas: Numbers, level: float, power: float = 0.8, correlation: float = 0.0
) -> float:
    """The mean delta that a paired t test at `level` finds with probability `power`.

    For as many seeds, as much spread and `correlation` as `deltas` have, and for that one test:
    a correction for many comparisons asks for more. NaN for fewer than two seeds, 0 without
    spread. Source: Cohen (1988), chapter 2, through the noncentral t distribution. Deviation:
    significance in the wrong direction does not count as found; it has next to no probability.
    """
    n = len(deltas)
    if n < 2:
        return math.nan
    if np.ptp(deltas) <= ROUNDING:
        return 0.0
    threshold = stats.t.ppf(1 - level / 2, n - 1)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(threshold, n - 1, shift) - power)

    upper = 1.0
    while lacking(upper) < 0:
        upper *= 2
    error = stats.sem(deltas) * np.sqrt(_inflation(n, correlation))
    return float(optimize.brentq(lacking, 0, upper) * error)


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
    """How many real labels per class, without the arm, give the accuracy that the arm gives.

    `arm` is (num_seeds,), its accuracies at one budget; `curve` (num_seeds, num_budgets), those of
    real labels alone at `budgets`, ascending, paired by seed; `correlations` (num_budgets,) the
    draws' overlap as in `t_interval`. Between budgets each seed's curve is linear in log labels.
    The mean is the least number at which the arm is no longer ahead. The ends are the least and the
    largest number at which the paired t interval of arm minus curve contains zero: over seeds, on
    this test set. Nothing is extrapolated: a value beyond the largest budget is inf, one below the
    least -inf, each of the three on its own.
    Source: the inversion of a test as in Fieller (1954), on a grid in place of his formula, because
    a curve has bends.
    """
    measured = np.asarray(budgets, dtype=np.float64)
    grid = np.union1d(np.geomspace(measured[0], measured[-1], GRID_POINTS), measured)
    reached = [np.interp(np.log(grid), np.log(measured), of_seed) for of_seed in curve]
    ahead = np.asarray(arm)[:, None] - np.array(reached)
    overlaps = np.zeros(len(measured)) if correlations is None else np.asarray(correlations)
    shared = np.interp(grid, measured, overlaps)
    mean, half = ahead.mean(axis=0), _half_width(ahead, confidence_level, shared)
    half = np.where(np.isnan(half), np.inf, half)
    at, low = _first_not_ahead(grid, mean), _first_not_ahead(grid, mean - half)
    high = -_first_not_ahead(-grid[::-1], -(mean + half)[::-1])
    return Interval(at, min(low, at), max(high, at))  # without spread, the grid may jump over zero


def _first_not_ahead(grid: Numbers, ahead: Numbers) -> float:
    """The first place on the grid at which `ahead` is no longer positive, -inf if before it."""
    if ahead[0] < -ROUNDING:
        return -math.inf
    reached = np.flatnonzero(ahead <= ROUNDING)
    return float(grid[reached[0]]) if len(reached) else math.inf


def evidence(
    deltas: Numbers,
    interval: Interval,
    p_adjusted: float,
    controls_hold: bool = True,
    reference_holds: bool = True,
) -> Evidence:
    """What a comparison's verdict rests on, from its deltas."""
    spread = float(np.ptp(deltas))
    return Evidence(len(deltas), spread, interval, p_adjusted, controls_hold, reference_holds)


def _equivalent(comparison: Evidence, rules: Rules) -> bool:
    return max(abs(comparison.interval.low), abs(comparison.interval.high)) <= rules.smallest_effect


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
    return comparison.n < SEEDS_FOR_A_CLAIM and _excludes_zero(comparison)


# In order: the first that applies is the verdict.
DECISIONS: tuple[tuple[str, Callable[[Evidence, Rules], bool]], ...] = (
    # A control showed what cannot be: the study cannot be trusted, whatever it found.
    ("invalid", lambda comparison, rules: not comparison.controls_hold),
    # Too few seeds for any test.
    ("exploratory", lambda comparison, rules: comparison.n < SEEDS_FOR_A_TEST),
    # Every seed gave the same difference: there is no spread to judge by.
    ("degenerate", lambda comparison, rules: comparison.delta_range <= ROUNDING),
    # The whole interval is smaller than the smallest effect of interest.
    ("equivalent", _equivalent),
    # It would be a gain, but over a reference that is itself worse than the baseline.
    ("weak reference", lambda found, rules: _better(found, rules) and not found.reference_holds),
    # The interval excludes zero, the adjusted p is below the level, with at least ten seeds.
    ("gain", _better),
    ("harm", _worse),
    # The interval excludes zero, but six to nine seeds are too few for a claim.
    ("exploratory", _is_promising),
    ("no evidence", lambda comparison, rules: True),
)


def decide(comparison: Evidence, rules: Rules) -> str:
    """One word for a comparison: the first of `DECISIONS` that applies."""
    return next(word for word, applies in DECISIONS if applies(comparison, rules))

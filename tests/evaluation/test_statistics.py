"""Intervals, p-values, label equivalents and verdicts: invariants, references, rules, coverage.

References are SciPy, statsmodels, mlxtend, or direct computations.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlxtend import evaluate as mlxtend
from scipy import stats as reference
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from pipeline.evaluation.decisions import DECISIONS, Evidence, Rules, decide, evidence
from pipeline.evaluation.statistics import (
    EXACT_UP_TO,
    OVERLAP_THAT_MATTERS,
    SEEDS_FOR_A_CLAIM,
    Interval,
    corrected_t_p,
    holm,
    label_equivalent,
    mcnemar_p,
    mean_overlap,
    paired_p,
    seeds_for_power,
    seeds_for_sign_test,
    sign_flip_p,
    smallest_detectable,
    t_interval,
    two_level_interval,
)

# Multiples of 1/1024 add and subtract without rounding, so that equality can be demanded.
SHARES = st.integers(0, 1024).map(lambda number: number / 1024)
PAIRED = (
    st.integers(2, 9)
    .flatmap(
        lambda n: st.tuples(
            st.lists(SHARES, min_size=n, max_size=n), st.lists(SHARES, min_size=n, max_size=n)
        )
    )
    .map(np.array)
)
P_VALUES = st.lists(st.floats(0, 1), max_size=12)
OVERLAPS = st.sampled_from([0.0, 0.05, 0.1, 0.4, 0.9])
TABLES = st.tuples(st.integers(2, 7), st.integers(1, 30), st.integers(0, 2**32 - 1)).map(
    lambda values: np.random.default_rng(values[2]).integers(-1, 2, values[:2], dtype=np.int8)
)
RULES = Rules(confidence_level=0.95, smallest_effect=0.005)


def three(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def mirrored(interval: Interval) -> tuple[float, float, float]:
    return -interval.mean, -interval.high, -interval.low


def enumerated_p(numbers: list[int]) -> float:
    """Share of all sign patterns whose sum is as far from zero, in whole numbers."""
    observed = abs(sum(numbers))
    patterns = list(itertools.product((-1, 1), repeat=len(numbers)))
    sums = [sum(s * n for s, n in zip(signs, numbers, strict=True)) for signs in patterns]
    return sum(abs(total) >= observed for total in sums) / len(patterns)


@given(paired=PAIRED, overlap=OVERLAPS)
def test_exchanging_arm_and_baseline_mirrors_the_interval_and_keeps_p(
    paired: np.ndarray, overlap: float
) -> None:
    arm, baseline = paired
    one = t_interval(arm - baseline, 0.95, overlap)
    other = t_interval(baseline - arm, 0.95, overlap)
    assert three(one) == pytest.approx(mirrored(other))
    assert sign_flip_p(arm - baseline) == pytest.approx(sign_flip_p(baseline - arm))
    detectable = smallest_detectable(arm - baseline, 0.05)
    assert smallest_detectable(baseline - arm, 0.05) == pytest.approx(detectable)


@given(paired=PAIRED, order=st.randoms(use_true_random=False), overlap=OVERLAPS)
def test_the_order_of_seeds_changes_nothing(paired: np.ndarray, order, overlap: float) -> None:
    deltas = paired[0] - paired[1]
    shuffled = deltas[order.sample(range(len(deltas)), len(deltas))]
    one, other = t_interval(deltas, 0.95, overlap), t_interval(shuffled, 0.95, overlap)
    assert three(one) == pytest.approx(three(other))
    assert sign_flip_p(deltas) == pytest.approx(sign_flip_p(shuffled))
    detectable = smallest_detectable(deltas, 0.05)
    assert smallest_detectable(shuffled, 0.05) == pytest.approx(detectable)


@given(paired=PAIRED, constant=st.integers(-4096, 4096).map(lambda number: number / 1024))
def test_what_is_added_to_both_arms_changes_nothing(paired: np.ndarray, constant: float) -> None:
    arm, baseline = paired
    plain, raised = arm - baseline, (arm + constant) - (baseline + constant)
    assert t_interval(plain, 0.95) == t_interval(raised, 0.95)
    assert sign_flip_p(plain) == sign_flip_p(raised)


@given(paired=PAIRED, factor=st.sampled_from([2.0**-7, 0.5, 8.0]), overlap=OVERLAPS)
def test_another_unit_gives_the_same_answer_in_that_unit(
    paired: np.ndarray, factor: float, overlap: float
) -> None:
    deltas = paired[0] - paired[1]
    plain = np.array(three(t_interval(deltas, 0.95, overlap)))
    assert three(t_interval(factor * deltas, 0.95, overlap)) == pytest.approx(factor * plain)
    assert sign_flip_p(factor * deltas) == sign_flip_p(deltas)
    detectable = factor * smallest_detectable(deltas, 0.05)
    assert smallest_detectable(factor * deltas, 0.05) == pytest.approx(detectable)


@given(paired=PAIRED, confidence_level=st.floats(0.51, 0.999))
def test_the_interval_is_that_of_the_one_sample_t_test(
    paired: np.ndarray, confidence_level: float
) -> None:
    deltas = paired[0] - paired[1]
    result = t_interval(deltas, confidence_level)
    assert result.mean == pytest.approx(deltas.mean())
    if np.ptp(deltas) > 0:
        expected = reference.ttest_1samp(deltas, 0).confidence_interval(confidence_level)
        assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
        other = DescrStatsW(deltas).tconfint_mean(1 - confidence_level)
        assert (result.low, result.high) == pytest.approx(other)
    else:
        assert result.low == result.high == result.mean


@given(paired=PAIRED, overlap=OVERLAPS)
def test_more_confidence_means_a_wider_interval(paired: np.ndarray, overlap: float) -> None:
    deltas = paired[0] - paired[1]
    narrow, wide = t_interval(deltas, 0.8, overlap), t_interval(deltas, 0.99, overlap)
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high


@given(paired=PAIRED, overlap=st.floats(OVERLAP_THAT_MATTERS, 0.99))
def test_overlap_widens_the_interval_as_in_nadeau_and_bengio(
    paired: np.ndarray, overlap: float
) -> None:
    deltas = paired[0] - paired[1]
    plain, corrected = t_interval(deltas, 0.95), t_interval(deltas, 0.95, overlap)
    factor = math.sqrt(1 + len(deltas) * overlap / (1 - overlap))
    assert corrected.high - corrected.low == pytest.approx(factor * (plain.high - plain.low))
    assert corrected.mean == plain.mean


def test_a_small_overlap_changes_nothing_and_a_full_one_leaves_no_interval() -> None:
    deltas = np.array([0.1, 0.2, 0.4])
    below = math.nextafter(OVERLAP_THAT_MATTERS, 0)
    assert t_interval(deltas, 0.95, below) == t_interval(deltas, 0.95)
    assert math.isnan(t_interval(deltas, 0.95, 1.0).low)
    assert math.isnan(t_interval(deltas, 0.95, 1.0).high)


def test_the_corrected_interval_covers_when_seeds_share_what_they_share() -> None:
    rng, overlap = np.random.default_rng(0), 0.4
    shared, separate = rng.standard_normal((1500, 1)), rng.standard_normal((1500, 10))
    values = math.sqrt(overlap) * shared + math.sqrt(1 - overlap) * separate
    plain = np.mean([covers(t_interval(row, 0.95)) for row in values])
    corrected = np.mean([covers(t_interval(row, 0.95, overlap)) for row in values])
    assert plain < 0.7
    assert corrected == pytest.approx(0.95, abs=0.02)


@given(paired=PAIRED, overlap=OVERLAPS)
def test_the_corrected_p_is_below_the_level_where_the_interval_excludes_zero(
    paired: np.ndarray, overlap: float
) -> None:
    deltas = paired[0] - paired[1]
    p_value = corrected_t_p(deltas, overlap)
    if np.ptp(deltas) > 0:
        for level in (0.5, 0.95, 0.999):
            assert (p_value > 1 - level) == covers(t_interval(deltas, level, overlap))
    assert paired_p(deltas, overlap) >= sign_flip_p(deltas)
    assert paired_p(deltas, overlap) == pytest.approx(paired_p(-deltas, overlap))


@pytest.mark.parametrize("n", [2, 5, 10, 30])
def test_without_correlation_the_t_test_is_that_of_scipy(n: int) -> None:
    deltas = np.random.default_rng(n).normal(0.3, 1, n)
    expected = reference.ttest_1samp(deltas, 0).pvalue
    assert corrected_t_p(deltas, 0.0) == pytest.approx(expected)


def test_a_correlation_raises_p_from_the_overlap_that_matters_up() -> None:
    deltas = np.linspace(0.01, 0.03, 10)
    below = math.nextafter(OVERLAP_THAT_MATTERS, 0)
    assert paired_p(deltas) == paired_p(deltas, below) == sign_flip_p(deltas) == 2 / 2**10
    raised = [paired_p(deltas, overlap) for overlap in (0.3, 0.6, 0.9)]
    assert sign_flip_p(deltas) < raised[0] < raised[1] < raised[2] < 1
    variance = np.var(deltas, ddof=1) * (1 / 10 + 0.3 / 0.7)
    expected = 2 * reference.t.sf(deltas.mean() / math.sqrt(variance), 9)
    assert raised[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("deltas", "overlap"), [([0.1, 0.2, 0.3], 1.0), ([0.1], 0.3), ([], 0.3), ([0.1] * 10, 0.3)]
)
def test_what_shows_nothing_of_chance_has_a_p_of_one(deltas: list[float], overlap: float) -> None:
    assert paired_p(np.array(deltas), overlap) == 1
    assert corrected_t_p(np.array(deltas), overlap) == 1


def test_families_of_correlated_seeds_seldom_have_a_false_alarm() -> None:
    rng, overlap, num_families = np.random.default_rng(0), 0.3, 400
    alarms = np.zeros(2)
    for _ in range(num_families):
        shared, separate = rng.standard_normal((5, 1)), rng.standard_normal((5, 10))
        deltas = math.sqrt(overlap) * shared + math.sqrt(1 - overlap) * separate
        for at, rho in enumerate((0.0, overlap)):
            alarms[at] += min(holm([paired_p(row, rho) for row in deltas])) <= 0.05
    assert alarms[0] / num_families > 0.2
    assert alarms[1] / num_families <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / num_families)


def covers(interval: Interval, truth: float = 0.0) -> bool:
    return interval.low <= truth <= interval.high


def test_overlap_is_the_mean_share_of_images_in_common() -> None:
    subsets = [np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6]), np.array([7, 8, 1, 9])]
    assert mean_overlap(subsets) == pytest.approx((2 + 1 + 0) / 4 / 3)
    assert mean_overlap([subset.astype(str) for subset in subsets]) == pytest.approx(0.25)


def test_overlap_of_unequal_draws_is_the_correlation_of_their_sums() -> None:
    small, large = np.arange(4), np.arange(16)
    values = np.random.default_rng(0).standard_normal((40_000, 16))
    sums = values[:, small].sum(axis=1), values[:, large].sum(axis=1)
    assert mean_overlap([small, large]) == pytest.approx(0.5)
    assert np.corrcoef(*sums)[0, 1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("subsets", [[], [np.arange(3)]])
def test_fewer_than_two_subsets_have_no_overlap(subsets: list[np.ndarray]) -> None:
    assert mean_overlap(subsets) == 0


@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(4)))
def test_overlap_is_symmetric_and_a_share(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    subsets = [rng.choice(30, 12, replace=False) for _ in range(4)]
    result = mean_overlap(subsets)
    assert 0 <= result <= 1
    assert mean_overlap([rng.permutation(subsets[at]) for at in order]) == pytest.approx(result)
    assert mean_overlap([subsets[0]] * 3) == pytest.approx(1)
    pairs = itertools.combinations(subsets, 2)
    assert result == pytest.approx(np.mean([len(set(a) & set(b)) / 12 for a, b in pairs]))


def test_independent_draws_overlap_by_their_share_of_the_pool() -> None:
    rng = np.random.default_rng(0)
    subsets = [rng.choice(1000, 300, replace=False) for _ in range(20)]
    assert mean_overlap(subsets) == pytest.approx(0.3, abs=0.01)


def test_one_seed_has_a_mean_but_no_interval() -> None:
    result = t_interval(np.array([0.25]), 0.95)
    assert result.mean == 0.25
    assert math.isnan(result.low)
    assert math.isnan(result.high)


@given(numbers=st.lists(st.integers(-50, 50), min_size=2, max_size=9))
def test_the_p_value_is_the_share_of_sign_patterns_at_least_as_extreme(numbers: list[int]) -> None:
    deltas = np.array(numbers) / 1024
    assert sign_flip_p(deltas) == pytest.approx(enumerated_p(numbers))


@given(paired=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=8))
def test_rounding_of_accuracies_does_not_change_the_p_value(paired: list[tuple[int, int]]) -> None:
    deltas = np.array([arm / 1000 - baseline / 1000 for arm, baseline in paired])
    exact = enumerated_p([arm - baseline for arm, baseline in paired])
    assert sign_flip_p(deltas) == pytest.approx(exact)


@given(paired=PAIRED)
def test_the_p_value_is_that_of_mlxtend(paired: np.ndarray) -> None:
    arm, baseline = paired[:, :6]
    expected = mlxtend.permutation_test(arm, baseline, method="exact", paired=True)
    assert sign_flip_p(arm - baseline) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 5, 6, 10, EXACT_UP_TO])
def test_the_least_p_value_is_two_patterns_of_all(n: int) -> None:
    assert sign_flip_p(np.linspace(0.01, 0.02, n)) == pytest.approx(2 / 2**n)


@pytest.mark.parametrize("deltas", [[0.0] * 8, [0.3], [0.0]])
def test_nothing_to_test_gives_a_p_value_of_one(deltas: list[float]) -> None:
    assert sign_flip_p(np.array(deltas)) == 1


@pytest.mark.parametrize("n", [15, 16, 17])
def test_the_p_value_of_many_seeds_is_that_of_all_patterns(n: int) -> None:
    deltas = np.random.default_rng(n).integers(-40, 60, n) / 1000
    signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    exact = np.mean(np.abs(signs @ deltas) >= abs(deltas.sum()) - 1e-12)
    assert sign_flip_p(deltas) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("n", [20, EXACT_UP_TO + 3])
def test_the_order_of_many_seeds_changes_no_bit_of_the_p_value(n: int) -> None:
    rng = np.random.default_rng(n)
    deltas = rng.normal(0.1, 1, n)
    assert {sign_flip_p(rng.permutation(deltas)) for _ in range(5)} == {sign_flip_p(deltas)}


def test_overlap_widens_the_interval_for_new_images_and_what_can_be_detected() -> None:
    differences = np.random.default_rng(0).integers(-1, 2, (10, 200))
    deltas = differences.mean(axis=1)
    for correlation in (0.05, 0.3, 0.6):
        wide = two_level_interval(differences, 0.95, correlation)
        narrow = t_interval(deltas, 0.95, correlation)
        assert wide.high - wide.low >= narrow.high - narrow.low
        result = smallest_detectable(deltas, 0.05, correlation=correlation)
        plain = smallest_detectable(deltas, 0.05)
        uncorrected = t_interval(deltas, 0.95)
        ratio = (narrow.high - narrow.low) / (uncorrected.high - uncorrected.low)
        assert result == pytest.approx(plain * ratio)


@pytest.mark.parametrize("mean", [0.0, 0.2, 0.5])
def test_beyond_the_exact_range_p_is_sampled_with_a_fixed_seed(mean: float) -> None:
    deltas = np.random.default_rng(0).standard_normal(EXACT_UP_TO + 4) + mean
    result = sign_flip_p(deltas)
    assert result == sign_flip_p(deltas)
    assert result == pytest.approx(reference.ttest_1samp(deltas, 0).pvalue, abs=0.03)


@pytest.mark.parametrize("size", [1, 2, 9, 24])
def test_holm_equals_statsmodels(size: int) -> None:
    p_values = (np.random.default_rng(size).random(size) ** 3).round(2).tolist()  # some are equal
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(p_values=P_VALUES, order=st.randoms(use_true_random=False))
def test_holm_never_lowers_a_p_value_and_ignores_order(p_values: list[float], order) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    positions = order.sample(range(len(p_values)), len(p_values))
    expected = [adjusted[position] for position in positions]
    assert holm([p_values[position] for position in positions]) == pytest.approx(expected)


def test_holm_of_a_textbook_family() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def discordant(better: int, worse: int, alike: int = 20) -> tuple[np.ndarray, np.ndarray]:
    arm = np.repeat([True, False, True, False], [better, worse, alike, alike])
    baseline = np.repeat([False, True, True, False], [better, worse, alike, alike])
    return arm, baseline


@given(better=st.integers(0, 40), worse=st.integers(0, 40))
def test_mcnemar_equals_statsmodels(better: int, worse: int) -> None:
    arm, baseline = discordant(better, worse)
    result = mcnemar_p(arm, baseline)
    if better + worse:
        table = [[20, better], [worse, 20]]
        assert result == pytest.approx(mcnemar(table, exact=True).pvalue)
    else:
        assert result == 1
    assert mcnemar_p(baseline, arm) == pytest.approx(result)


@pytest.mark.parametrize(("n", "level"), [(4, 0.05), (6, 0.05), (10, 0.05), (20, 0.01)])
def test_the_minimum_detectable_effect_equals_statsmodels(n: int, level: float) -> None:
    deltas = np.random.default_rng(n).normal(0.01, 0.02, n)
    expected = TTestPower().solve_power(nobs=n, alpha=level, power=0.8, alternative="two-sided")
    result = smallest_detectable(deltas, level)
    assert result == pytest.approx(expected * deltas.std(ddof=1), rel=1e-4)


def test_the_minimum_detectable_effect_is_detected_with_that_power() -> None:
    rng = np.random.default_rng(0)
    deltas = rng.standard_normal((4000, 10))
    effect = smallest_detectable(deltas[0] / deltas[0].std(ddof=1), 0.05, power=0.6)
    result = reference.ttest_1samp(deltas + effect, 0, axis=1).pvalue <= 0.05
    assert result.mean() == pytest.approx(0.6, abs=0.025)


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("level", [0.05, 0.001])
def test_more_power_needs_a_larger_effect(n: int, level: float) -> None:
    deltas = np.random.default_rng(0).normal(0, 0.02, n)
    result = [smallest_detectable(deltas, level, power) for power in (0.5, 0.8, 0.99)]
    assert 0 < result[0] < result[1] < result[2] < math.inf


def test_the_detectable_effect_without_seeds_or_variance() -> None:
    assert math.isnan(smallest_detectable(np.array([0.1]), 0.05))
    assert smallest_detectable(np.full(10, 0.25), 0.05) == 0


@given(table=TABLES)
def test_exchanging_arm_and_baseline_mirrors_the_two_level_interval(table: np.ndarray) -> None:
    result = two_level_interval(table, 0.95)
    assert three(result) == pytest.approx(mirrored(two_level_interval(-table, 0.95)))


@given(table=TABLES, order=st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_of_test_images_changes_nothing(table: np.ndarray, order) -> None:
    rows, columns = (order.sample(range(size), size) for size in table.shape)
    result = two_level_interval(table, 0.95)
    shuffled = two_level_interval(table[rows][:, columns], 0.95)
    assert three(shuffled) == pytest.approx(three(result), abs=1e-12)


@given(table=TABLES, factor=st.sampled_from([0.5, 3.0]))
def test_the_two_level_interval_keeps_units_and_grows_with_confidence(
    table: np.ndarray, factor: float
) -> None:
    narrow, wide = two_level_interval(table, 0.8), two_level_interval(table, 0.99)
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high
    scaled = three(two_level_interval(factor * table, 0.8))
    assert scaled == pytest.approx([factor * value for value in three(narrow)])


@given(table=TABLES)
def test_new_test_images_never_make_the_interval_narrower(table: np.ndarray) -> None:
    both, seeds = two_level_interval(table, 0.95), t_interval(table.mean(axis=1), 0.95)
    assert both.mean == pytest.approx(seeds.mean, abs=1e-12)
    assert both.high - both.low >= seeds.high - seeds.low - 1e-12


def half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def test_the_two_level_interval_is_the_bootstrap_of_seeds_and_images() -> None:
    rng, (n, num_test) = np.random.default_rng(0), (8, 50)
    table = (rng.random((n, num_test)) < rng.random(num_test)).astype(np.int8)
    table -= rng.random((n, num_test)) < rng.random((n, 1))
    seeds = rng.multinomial(n, np.full(n, 1 / n), 20_000)
    images = rng.multinomial(num_test, np.full(num_test, 1 / num_test), 20_000)
    means = np.sum((seeds @ table) * images, axis=1) / (n * num_test)
    factor = reference.t.ppf(0.975, n - 1) * math.sqrt(n / (n - 1))
    result = half_width(two_level_interval(table, 0.95))
    assert result == pytest.approx(means.std() * factor, rel=0.02)


def test_the_two_level_interval_agrees_with_the_variance_components_of_a_crossed_layout() -> None:
    rng, (n, num_test) = np.random.default_rng(0), (30, 400)
    seeds, images = rng.standard_normal((n, 1)), 2 * rng.standard_normal(num_test)
    table = seeds + images + 1.5 * rng.standard_normal((n, num_test))
    rest = table - table.mean(axis=1)[:, None] - table.mean(axis=0) + table.mean()
    of_rest = np.sum(rest**2) / ((n - 1) * (num_test - 1))  # mean square: the component itself
    of_seeds = np.var(table.mean(axis=1), ddof=1) - of_rest / num_test
    of_images = np.var(table.mean(axis=0), ddof=1) - of_rest / n
    expected = of_seeds / n + of_images / num_test + of_rest / (n * num_test)
    result = half_width(two_level_interval(table, 0.95)) / reference.t.ppf(0.975, n - 1)
    # Wider by up to two thirds of a small term and by the factor for few seeds, never narrower.
    assert 1 <= result / math.sqrt(expected) < 1.05


@pytest.mark.parametrize("level", ["seeds", "images"])
def test_without_variance_on_one_level_it_is_the_bootstrap_of_the_other(level: str) -> None:
    n, num_test = 9, 200
    size = n if level == "seeds" else num_test
    values = np.random.default_rng(0).standard_normal(size)
    table = np.broadcast_to(values[:, None] if level == "seeds" else values, (n, num_test))
    error = reference.bootstrap(
        (values,), np.mean, n_resamples=9999, method="basic", rng=np.random.default_rng(0)
    ).standard_error
    result = half_width(two_level_interval(table, 0.95))
    expected = error * reference.t.ppf(0.975, n - 1) * math.sqrt(n / (n - 1))
    assert result == pytest.approx(expected, rel=0.03)


def test_one_seed_has_no_two_level_interval() -> None:
    result = two_level_interval(np.array([[1, 0, 0, -1, 1]], dtype=np.int8), 0.95)
    assert result.mean == pytest.approx(0.2)
    assert math.isnan(result.low)
    assert math.isnan(result.high)


BUDGETS = [1, 5, 10, 50, 100]
STEP = (100 / 1) ** (1 / 2000)  # between two points of the grid


def curve_at(labels: float | np.ndarray) -> np.ndarray:
    """A curve whose accuracy is linear in log labels, so that interpolation is exact."""
    return 0.5 + 0.1 * np.log10(labels)


def noisy_label_equivalent(arm: float, seed: int, overlaps: list[float] | None = None) -> Interval:
    rng = np.random.default_rng(seed)
    curve = curve_at(np.array(BUDGETS)) + rng.normal(0, 0.01, (8, len(BUDGETS)))
    return label_equivalent(arm + rng.normal(0, 0.01, 8), curve, BUDGETS, 0.95, overlaps)


@pytest.mark.parametrize("labels", [1, 2.5, 5, 17, 50, 99, 100])
def test_the_label_equivalent_is_exact_on_a_curve_without_noise(labels: float) -> None:
    curve = np.tile(curve_at(np.array(BUDGETS)), (6, 1))
    result = label_equivalent(np.full(6, curve_at(labels)), curve, BUDGETS, 0.95)
    assert three(result) == pytest.approx((labels,) * 3, rel=STEP - 1)
    assert result.low <= result.mean <= result.high


def test_rounding_does_not_push_the_label_equivalent_beyond_the_budgets() -> None:
    low, high = 0.1 + 0.2, 0.7 + 0.1  # neither is what it would be without rounding
    assert (low > 0.3, high < 0.8) == (True, True)
    curve = np.tile([low, high], (6, 1))
    assert three(label_equivalent(np.full(6, 0.3), curve, [10, 100], 0.95)) == (10,) * 3
    assert three(label_equivalent(np.full(6, 0.8), curve, [10, 100], 0.95)) == (100,) * 3


@pytest.mark.parametrize(("labels", "expected"), [(0.9, -math.inf), (101, math.inf)])
def test_a_label_equivalent_beyond_the_budgets_is_infinite(labels: float, expected: float) -> None:
    curve = np.tile(curve_at(np.array(BUDGETS)), (6, 1))
    result = label_equivalent(np.full(6, curve_at(labels)), curve, BUDGETS, 0.95)
    assert three(result) == (expected,) * 3


@given(arm=st.floats(0.4, 0.8), seed=st.integers(0, 999))
def test_the_label_equivalent_stays_within_the_budgets_and_in_order(arm: float, seed: int) -> None:
    result = noisy_label_equivalent(arm, seed)
    for value in three(result):
        assert math.isinf(value) or BUDGETS[0] <= value <= BUDGETS[-1]
    assert result.low <= result.mean <= result.high


@given(arm=st.floats(0.4, 0.8), seed=st.integers(0, 999), more=st.floats(0, 0.2))
def test_a_better_arm_has_no_smaller_label_equivalent(arm: float, seed: int, more: float) -> None:
    pairs = zip(
        three(noisy_label_equivalent(arm, seed)),
        three(noisy_label_equivalent(arm + more, seed)),
        strict=True,
    )
    assert all(one <= other for one, other in pairs)


@given(arm=st.floats(0.45, 0.75), seed=st.integers(0, 999))
def test_the_label_equivalent_is_mirrored_for_a_loss(arm: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    budgets = np.array(BUDGETS)
    curve = curve_at(budgets) + np.sort(rng.normal(0, 0.01, (8, len(budgets))))
    values = arm + rng.normal(0, 0.01, 8)
    result = label_equivalent(values, curve, BUDGETS, 0.95)
    back = label_equivalent(
        -values, -curve[:, ::-1], [100 // budget for budget in BUDGETS[::-1]], 0.95
    )
    expected = (
        mirrored_labels(result.mean),
        mirrored_labels(result.high),
        mirrored_labels(result.low),
    )
    assert three(back) == pytest.approx(expected, rel=2 * (STEP - 1))


def mirrored_labels(labels: float) -> float:
    return -labels if math.isinf(labels) else 100 / labels


@given(arm=st.floats(0.4, 0.8), seed=st.integers(0, 999))
def test_overlap_widens_the_label_equivalent_from_its_threshold_on(arm: float, seed: int) -> None:
    plain = noisy_label_equivalent(arm, seed)
    assert noisy_label_equivalent(arm, seed, [0.0, 0.02, 0.04, 0.06, 0.099]) == plain
    wide = noisy_label_equivalent(arm, seed, [0.01, 0.05, 0.1, 0.5, 1.0])
    assert wide.low <= plain.low <= plain.mean == wide.mean <= plain.high <= wide.high


@given(seed=st.integers(0, 999), order=st.permutations(range(8)), constant=st.floats(-0.2, 0.2))
def test_the_label_equivalent_ignores_the_order_of_seeds_and_shifts_of_both(
    seed: int, order: list[int], constant: float
) -> None:
    rng = np.random.default_rng(seed)
    curve = curve_at(np.array(BUDGETS)) + rng.normal(0, 0.01, (8, len(BUDGETS)))
    arm = 0.63 + rng.normal(0, 0.01, 8)
    result = label_equivalent(arm, curve, BUDGETS, 0.95)
    other = label_equivalent(arm[order] + constant, curve[order] + constant, BUDGETS, 0.95)
    assert three(other) == pytest.approx(three(result), rel=2 * (STEP - 1))


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0.1, (math.inf,) * 3),
        (-0.1, (-math.inf,) * 3),
        (0.0, (10, -math.inf, math.inf)),
        (0.001, (math.inf, -math.inf, math.inf)),
    ],
)
def test_the_label_equivalent_with_one_budget_compares_there(
    shift: float, expected: tuple[float, float, float]
) -> None:
    noise = np.array([-0.01, 0.01, -0.02, 0.02, 0.0, 0.0])
    curve = np.full((6, 1), 0.5)
    assert three(label_equivalent(0.5 + shift + noise, curve, [10], 0.95)) == expected


def test_an_arm_equal_to_the_only_budget_has_that_label_equivalent() -> None:
    assert label_equivalent(np.full(6, 0.5), np.full((6, 1), 0.5), [10], 0.95) == Interval(
        10, 10, 10
    )


def test_the_label_equivalent_of_one_seed_has_no_finite_ends() -> None:
    budgets = np.array(BUDGETS)
    result = label_equivalent(np.array([curve_at(10)]), curve_at(budgets)[None], BUDGETS, 0.95)
    assert three(result) == pytest.approx((10, -math.inf, math.inf), rel=STEP - 1)


def test_the_interval_of_the_label_equivalent_has_its_nominal_coverage() -> None:
    rng, truth = np.random.default_rng(0), 23.0
    # Between budgets the mean of the interpolated curve is what a reader sees: the truth is its.
    exact = np.interp(np.log(truth), np.log(BUDGETS), curve_at(np.array(BUDGETS)))
    result = []
    for _ in range(400):
        subsets = rng.normal(0, 0.02, (10, 1))
        curve = curve_at(np.array(BUDGETS)) + subsets + rng.normal(0, 0.02, (10, len(BUDGETS)))
        arm = exact + subsets[:, 0] + rng.normal(0, 0.02, 10)
        result.append(label_equivalent(arm, curve, BUDGETS, 0.95))
    assert np.mean([covers(interval, truth) for interval in result]) == pytest.approx(
        0.95, abs=0.03
    )


def judged(n: int, low: float, high: float, p: float, **other: bool) -> Evidence:
    return Evidence(n, 0.03, Interval((low + high) / 2, low, high), p, **other)


@pytest.mark.parametrize(
    ("n", "low", "high", "p", "expected"),
    [
        (1, math.nan, math.nan, 1.0, "exploratory"),
        (5, 0.02, 0.04, 0.0, "exploratory"),
        (5, -0.001, 0.001, 1.0, "exploratory"),
        (6, -0.005, 0.005, 1.0, "exploratory"),
        (9, -0.005, 0.005, 1.0, "exploratory"),
        (9, -0.005, 0.0051, 1.0, "no evidence"),
        (10, -0.005, 0.005, 1.0, "equivalent"),
        (6, 0.02, 0.04, 0.0, "exploratory"),
        (6, -0.04, -0.02, 1.0, "exploratory"),
        (6, -0.01, 0.04, 0.0, "no evidence"),
        (10, 0.001, 0.004, 0.0, "equivalent"),
        (10, -0.004, -0.001, 0.0, "equivalent"),
        (10, 0.001, 0.03, 0.05, "gain"),
        (10, 0.001, 0.03, 0.0501, "no evidence"),
        (9, 0.001, 0.03, 0.01, "exploratory"),
        (10, -0.001, 0.03, 0.01, "no evidence"),
        (10, 0.0, 0.03, 0.01, "no evidence"),
        (10, -0.03, -0.001, 0.05, "harm"),
        (10, -0.03, -0.001, 0.0501, "no evidence"),
        (9, -0.03, -0.001, 0.01, "exploratory"),
        (10, -0.03, 0.001, 0.01, "no evidence"),
        (10, -0.03, 0.03, 1.0, "no evidence"),
        (10, -0.005, 0.0051, 1.0, "no evidence"),
        (10, math.nan, math.nan, 0.0, "no evidence"),
    ],
)
def test_the_verdict_follows_the_rules_row_by_row(
    n: int, low: float, high: float, p: float, expected: str
) -> None:
    assert decide(judged(n, low, high, p), RULES) == expected
    assert decide(judged(n, low, high, p, controls_hold=False), RULES) == "invalid"


@pytest.mark.parametrize(
    ("n", "low", "high", "p", "expected"),
    [
        (5, 0.02, 0.04, 0.01, "exploratory"),
        (6, 0.02, 0.04, 1.0, "weak reference"),
        (9, 0.02, 0.04, 1.0, "weak reference"),
        (9, -0.04, -0.02, 1.0, "exploratory"),
        (9, -0.01, 0.04, 1.0, "no evidence"),
        (10, 0.02, 0.04, 0.01, "weak reference"),
        (10, 0.02, 0.04, 1.0, "no evidence"),
        (10, 0.001, 0.004, 0.01, "equivalent"),
        (10, -0.04, -0.02, 0.01, "harm"),
    ],
)
def test_a_weak_reference_comes_before_an_exploratory_difference(
    n: int, low: float, high: float, p: float, expected: str
) -> None:
    assert decide(judged(n, low, high, p, reference_holds=False), RULES) == expected

    lower = Rules(RULES.confidence_level, RULES.smallest_effect, higher_is_better=False)
    assert decide(judged(n, -high, -low, p, reference_holds=False), lower) == expected


def test_a_comparison_without_spread_is_degenerate_before_it_is_anything_else() -> None:
    interval = Interval(0.0, 0.0, 0.0)
    assert decide(Evidence(10, 0.0, interval, 1.0), RULES) == "degenerate"
    assert decide(Evidence(5, 0.0, interval, 1.0), RULES) == "exploratory"


def test_every_decision_can_be_reached_and_the_last_one_always_applies() -> None:
    found = [
        decide(judged(10, 0.01, 0.03, 0.01, controls_hold=False), RULES),
        decide(judged(5, 0.01, 0.03, 0.01), RULES),
        decide(Evidence(10, 0.0, Interval(0.01, 0.01, 0.01), 0.01), RULES),
        decide(judged(10, 0.001, 0.003, 0.01), RULES),
        decide(judged(10, 0.01, 0.03, 0.01, reference_holds=False), RULES),
        decide(judged(10, 0.01, 0.03, 0.01), RULES),
        decide(judged(10, -0.03, -0.01, 0.01), RULES),
        decide(judged(9, -0.03, -0.01, 0.01), RULES),
        decide(judged(10, -0.03, 0.01, 0.01), RULES),
    ]
    assert found == [word for word, _ in DECISIONS]


@pytest.mark.parametrize("num_tests", [1, 2, 8, 11, 100])
def test_fewer_seeds_cannot_decide(num_tests: int) -> None:
    n = seeds_for_sign_test(0.05, num_tests)
    assert n >= SEEDS_FOR_A_CLAIM
    assert num_tests * 2.0 ** (1 - n) <= 0.05
    assert n == SEEDS_FOR_A_CLAIM or num_tests * 2.0 ** (2 - n) > 0.05
    unanimous = np.linspace(0.01, 0.02, n)
    assert holm([sign_flip_p(unanimous)] * num_tests)[0] <= 0.05


@pytest.mark.parametrize(("mean", "correlation"), [(1.0, 0.0), (0.3, 0.0), (2.0, 0.2)])
def test_that_many_seeds_detect_the_observed_mean(mean: float, correlation: float) -> None:
    deltas = mean + np.array([-1.0, 1.0, -0.5, 0.5, 0.0, 0.0])
    n = seeds_for_power(deltas, 0.05, correlation=correlation)
    scale = np.std(deltas, ddof=1)

    def detectable(count: int) -> float:
        """The detectable mean of `count` seeds with the same deviation, by the other function."""
        sample = np.resize([1.0, -1.0], count) + (0 if count % 2 == 0 else np.eye(1, count)[0])
        sample = sample / np.std(sample, ddof=1) * scale
        return smallest_detectable(sample, 0.05, correlation=correlation)

    assert detectable(int(n)) <= mean < detectable(int(n) - 1)


def test_seeds_for_power_at_the_edges() -> None:
    assert math.isnan(seeds_for_power(np.array([0.1]), 0.05))
    assert math.isnan(seeds_for_power(np.array([0.1, -0.1]), 0.05))
    assert seeds_for_power(np.array([0.1, 0.1]), 0.05) == 2
    assert seeds_for_power(np.array([1.0, 1.1]), 0.05) < 4
    assert seeds_for_power(np.array([1.0, -0.9999]), 0.05) == math.inf
    assert seeds_for_power(np.array([0.1, -0.05]), 0.05, correlation=0.9) == math.inf
    up = np.array([0.1, 0.3, 0.2])
    assert seeds_for_power(up, 0.05) == seeds_for_power(-up, 0.05)


@pytest.mark.parametrize(("low", "high", "expected"), [(0.1, 0.2, "harm"), (-0.2, -0.1, "gain")])
def test_less_is_better_for_a_loss(low: float, high: float, expected: str) -> None:
    rules = Rules(confidence_level=0.95, smallest_effect=0.0, higher_is_better=False)
    assert decide(judged(10, low, high, 0.01), rules) == expected


@pytest.mark.parametrize("gap", [0.0, 0.25, -0.25])
def test_the_same_difference_in_every_seed_is_degenerate(gap: float) -> None:
    deltas = np.full(SEEDS_FOR_A_CLAIM, gap)
    result = evidence(deltas, t_interval(deltas, 0.95), sign_flip_p(deltas))
    assert decide(result, RULES) == "degenerate"


@pytest.mark.parametrize("gap", [10, -7, 33])
def test_rounding_does_not_turn_a_degenerate_comparison_into_a_claim(gap: int) -> None:
    right = np.arange(400, 400 + SEEDS_FOR_A_CLAIM)
    deltas = (right + gap) / 1000 - right / 1000
    result = evidence(deltas, t_interval(deltas, 0.95), sign_flip_p(deltas))
    assert decide(result, RULES) == "degenerate"


@given(paired=PAIRED, higher_is_better=st.booleans(), controls_hold=st.booleans())
def test_the_mirrored_comparison_gets_the_mirrored_verdict(
    paired: np.ndarray, higher_is_better: bool, controls_hold: bool
) -> None:
    mirror = {"gain": "harm", "harm": "gain"}
    rules = Rules(confidence_level=0.95, smallest_effect=0.005, higher_is_better=higher_is_better)
    words = []
    for deltas in (paired[0] - paired[1], paired[1] - paired[0]):
        long = np.concatenate([deltas, deltas])
        p_value = sign_flip_p(long) if len(long) <= 10 else 0.01
        words.append(decide(evidence(long, t_interval(long, 0.95), p_value, controls_hold), rules))
    assert words[1] == mirror.get(words[0], words[0])


def test_the_interval_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    intervals = [t_interval(rng.standard_normal(10), 0.9) for _ in range(600)]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.9, abs=0.03)

"""Intervals, p-values and verdicts: invariants, references and the table of rules."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from pipeline.stats import (
    EXACT_UP_TO,
    SEEDS_FOR_A_CLAIM,
    SEEDS_FOR_A_TEST,
    Interval,
    Rules,
    holm,
    sign_flip_p,
    t_interval,
    verdict,
)

# Multiples of 1/1024 add and subtract without rounding, so that equality can be demanded.
SHARES = st.integers(0, 1024).map(lambda number: number / 1024)
PAIRED = st.integers(2, 9).flatmap(
    lambda n: st.tuples(
        st.lists(SHARES, min_size=n, max_size=n), st.lists(SHARES, min_size=n, max_size=n)
    )
).map(np.array)  # fmt: skip
P_VALUES = st.lists(st.floats(0, 1), max_size=12)
RULES = Rules(confidence=0.95, smallest_effect=0.005)


def enumerated_p(numbers: list[int]) -> float:
    """Share of all sign patterns whose sum is as far from zero, in whole numbers."""
    observed = abs(sum(numbers))
    patterns = list(itertools.product((-1, 1), repeat=len(numbers)))
    sums = [sum(s * n for s, n in zip(signs, numbers, strict=True)) for signs in patterns]
    return sum(abs(each) >= observed for each in sums) / len(patterns)


@given(paired=PAIRED)
def test_exchanging_arm_and_baseline_mirrors_the_interval_and_keeps_p(paired: np.ndarray) -> None:
    arm, baseline = paired
    one, other = t_interval(arm - baseline, 0.95), t_interval(baseline - arm, 0.95)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert sign_flip_p(arm - baseline) == pytest.approx(sign_flip_p(baseline - arm))


@given(paired=PAIRED, order=st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_nothing(paired: np.ndarray, order) -> None:
    deltas = paired[0] - paired[1]
    shuffled = deltas[order.sample(range(len(deltas)), len(deltas))]
    one, other = t_interval(deltas, 0.95), t_interval(shuffled, 0.95)
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
    assert sign_flip_p(deltas) == pytest.approx(sign_flip_p(shuffled))


@given(paired=PAIRED, constant=st.integers(-4096, 4096).map(lambda number: number / 1024))
def test_what_is_added_to_both_arms_changes_nothing(paired: np.ndarray, constant: float) -> None:
    arm, baseline = paired
    plain, raised = arm - baseline, (arm + constant) - (baseline + constant)
    assert t_interval(plain, 0.95) == t_interval(raised, 0.95)
    assert sign_flip_p(plain) == sign_flip_p(raised)


@given(paired=PAIRED, confidence=st.floats(0.51, 0.999))
def test_the_interval_is_that_of_the_one_sample_t_test(
    paired: np.ndarray, confidence: float
) -> None:
    deltas = paired[0] - paired[1]
    found = t_interval(deltas, confidence)
    assert found.mean == pytest.approx(deltas.mean())
    if np.ptp(deltas) > 0:
        expected = reference.ttest_1samp(deltas, 0).confidence_interval(confidence)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    else:
        assert found.low == found.high == found.mean


@given(paired=PAIRED)
def test_more_confidence_means_a_wider_interval(paired: np.ndarray) -> None:
    deltas = paired[0] - paired[1]
    narrow, wide = t_interval(deltas, 0.8), t_interval(deltas, 0.99)
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high


def test_one_seed_has_a_mean_but_no_interval() -> None:
    found = t_interval(np.array([0.25]), 0.95)
    assert found.mean == 0.25
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@given(numbers=st.lists(st.integers(-50, 50), min_size=2, max_size=9))
def test_the_p_value_is_the_share_of_sign_patterns_at_least_as_extreme(numbers: list[int]) -> None:
    deltas = np.array(numbers) / 1024
    assert sign_flip_p(deltas) == pytest.approx(enumerated_p(numbers))


@given(paired=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=8))
def test_rounding_of_accuracies_does_not_change_the_p_value(paired: list[tuple[int, int]]) -> None:
    deltas = np.array([arm / 1000 - baseline / 1000 for arm, baseline in paired])
    exact = enumerated_p([arm - baseline for arm, baseline in paired])
    assert sign_flip_p(deltas) == pytest.approx(exact)


@pytest.mark.parametrize("n", [2, 5, 6, 10, EXACT_UP_TO])
def test_the_least_p_value_is_two_patterns_of_all(n: int) -> None:
    assert sign_flip_p(np.linspace(0.01, 0.02, n)) == pytest.approx(2 / 2**n)


def test_no_test_of_too_few_seeds_can_be_significant() -> None:
    assert 2 / 2 ** (SEEDS_FOR_A_TEST - 1) > 0.05
    assert 2 / 2**SEEDS_FOR_A_TEST < 0.05


@pytest.mark.parametrize("deltas", [[0.0] * 8, [0.3], [0.0]])
def test_nothing_to_test_gives_a_p_value_of_one(deltas: list[float]) -> None:
    assert sign_flip_p(np.array(deltas)) == 1


@pytest.mark.parametrize("mean", [0.0, 0.2, 0.5])
def test_beyond_the_exact_range_p_is_sampled_with_a_fixed_seed(mean: float) -> None:
    deltas = np.random.default_rng(0).standard_normal(EXACT_UP_TO + 4) + mean
    found = sign_flip_p(deltas)
    assert found == sign_flip_p(deltas)
    assert found == pytest.approx(reference.ttest_1samp(deltas, 0).pvalue, abs=0.03)


def plain_holm(p_values: list[float]) -> list[float]:
    """Holm (1979): the k-th least times the number not yet rejected, never below an earlier one."""
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[position])
        adjusted[position] = min(1.0, largest)
    return adjusted


@given(p_values=P_VALUES)
def test_holm_equals_a_plain_reference(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(plain_holm(p_values))


@given(p_values=P_VALUES, order=st.randoms(use_true_random=False))
def test_holm_never_lowers_a_p_value_and_ignores_order(p_values: list[float], order) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    chosen = order.sample(range(len(p_values)), len(p_values))
    expected = [adjusted[position] for position in chosen]
    assert holm([p_values[position] for position in chosen]) == pytest.approx(expected)


def test_holm_of_a_textbook_family() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def spread(n: int) -> np.ndarray:
    return np.linspace(-0.01, 0.02, n)


@pytest.mark.parametrize(
    ("n", "low", "high", "p", "expected"),
    [
        (1, math.nan, math.nan, 1.0, "exploratory"),
        (5, 0.02, 0.04, 0.0, "exploratory"),
        (5, -0.001, 0.001, 1.0, "exploratory"),
        (6, -0.005, 0.005, 1.0, "equivalent"),
        (10, 0.001, 0.004, 0.0, "equivalent"),
        (10, -0.004, -0.001, 0.0, "equivalent"),
        (10, 0.001, 0.03, 0.05, "gain"),
        (10, 0.001, 0.03, 0.0501, "no evidence"),
        (9, 0.001, 0.03, 0.01, "no evidence"),
        (10, -0.001, 0.03, 0.01, "no evidence"),
        (10, 0.0, 0.03, 0.01, "no evidence"),
        (10, -0.03, -0.001, 0.05, "harm"),
        (10, -0.03, -0.001, 0.0501, "no evidence"),
        (9, -0.03, -0.001, 0.01, "no evidence"),
        (10, -0.03, 0.001, 0.01, "no evidence"),
        (10, -0.03, 0.03, 1.0, "no evidence"),
        (10, -0.005, 0.0051, 1.0, "no evidence"),
    ],
)
def test_the_verdict_follows_the_rules_row_by_row(
    n: int, low: float, high: float, p: float, expected: str
) -> None:
    interval = Interval((low + high) / 2, low, high)
    assert verdict(spread(n), interval, p, RULES) == expected


@pytest.mark.parametrize(("low", "high", "expected"), [(0.1, 0.2, "harm"), (-0.2, -0.1, "gain")])
def test_less_is_better_for_a_loss(low: float, high: float, expected: str) -> None:
    rules = Rules(confidence=0.95, smallest_effect=0.0, higher_is_better=False)
    assert verdict(spread(10), Interval(0.15, low, high), 0.01, rules) == expected


@pytest.mark.parametrize("gap", [0.0, 0.25, -0.25])
def test_the_same_difference_in_every_seed_is_degenerate(gap: float) -> None:
    deltas = np.full(SEEDS_FOR_A_CLAIM, gap)
    judged = verdict(deltas, t_interval(deltas, 0.95), sign_flip_p(deltas), RULES)
    assert judged == "degenerate"


@pytest.mark.parametrize("gap", [10, -7, 33])
def test_rounding_does_not_turn_a_degenerate_comparison_into_a_claim(gap: int) -> None:
    right = np.arange(400, 400 + SEEDS_FOR_A_CLAIM)
    deltas = (right + gap) / 1000 - right / 1000
    judged = verdict(deltas, t_interval(deltas, 0.95), sign_flip_p(deltas), RULES)
    assert judged == "degenerate"


@given(paired=PAIRED)
def test_the_mirrored_comparison_gets_the_mirrored_verdict(paired: np.ndarray) -> None:
    mirror = {"gain": "harm", "harm": "gain"}
    judged = []
    for deltas in (paired[0] - paired[1], paired[1] - paired[0]):
        long = np.concatenate([deltas, deltas])
        p_value = sign_flip_p(long) if len(long) <= 10 else 0.01
        judged.append(verdict(long, t_interval(long, 0.95), p_value, RULES))
    assert judged[1] == mirror.get(judged[0], judged[0])


def test_the_error_of_the_interval_is_what_it_claims() -> None:
    rng = np.random.default_rng(0)
    intervals = [t_interval(rng.standard_normal(10), 0.9) for _ in range(600)]
    covered = np.mean([each.low <= 0 <= each.high for each in intervals])
    assert covered == pytest.approx(0.9, abs=0.03)

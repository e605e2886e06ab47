"""Corrected p-values of many comparisons: references, invariants, family-wise error, power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.max_t import family_p, max_t_p
from pipeline.evaluation.statistics import corrected_t_p, holm, sign_flip_p

DELTAS = st.tuples(st.integers(2, 8), st.integers(1, 6), st.integers(0, 2**32 - 1)).map(
    lambda values: np.random.default_rng(values[2]).integers(-3, 4, values[:2]) / 8
)


@given(deltas=DELTAS)
def test_one_comparison_has_the_p_of_the_sign_flip_test_and_more_have_no_less(
    deltas: np.ndarray,
) -> None:
    alone = [sign_flip_p(column) for column in deltas.T]
    for column, p_value in zip(deltas.T, alone, strict=True):
        assert max_t_p(column[:, None])[0] == pytest.approx(p_value)
    corrected = max_t_p(deltas)
    assert (corrected >= np.array(alone) - 1e-12).all()
    assert (corrected <= 1).all()


@given(deltas=DELTAS, seed=st.integers(0, 99))
def test_neither_order_nor_unit_nor_sign_matters(deltas: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seeds, columns = rng.permutation(len(deltas)), rng.permutation(deltas.shape[1])
    scale = rng.choice([-4.0, 0.5, 1.0], deltas.shape[1])
    changed = (deltas * scale)[seeds][:, columns]
    np.testing.assert_allclose(max_t_p(changed), max_t_p(deltas)[columns])


def test_without_differences_or_seeds_nothing_is_shown() -> None:
    np.testing.assert_array_equal(max_t_p(np.zeros((10, 3))), 1)
    np.testing.assert_array_equal(max_t_p(np.ones((1, 3))), 1)
    assert max_t_p(np.zeros((10, 0))).shape == (0,)


def test_many_seeds_are_sampled_and_agree_with_the_exact_test() -> None:
    deltas = np.random.default_rng(0).normal(0.3, 1, 20)
    assert max_t_p(deltas[:, None])[0] == pytest.approx(sign_flip_p(deltas), abs=0.02)


def test_a_clear_effect_is_found_among_many_where_holm_can_find_none() -> None:
    rng = np.random.default_rng(1)
    deltas = rng.normal(0, 1, (10, 60))
    deltas[:, 7] += 6
    assert min(holm([sign_flip_p(column) for column in deltas.T])) > 0.05
    assert np.flatnonzero(max_t_p(deltas) <= 0.05).tolist() == [7]


@pytest.mark.parametrize("effect", [0.0, 4.0])
def test_few_families_have_any_false_alarm(effect: float) -> None:
    """20 comparisons of shares of few and many images, correlated; one may have an effect."""
    rng, level, num_families = np.random.default_rng(2), 0.05, 400
    alarms = 0
    for _ in range(num_families):
        common = rng.normal(0, 1, (10, 1))
        noise = common + rng.normal(0, 1, (10, 20)) * rng.choice([0.2, 1, 5], 20)
        deltas = np.round(noise * 2) / 2
        deltas[:, 0] += effect * 10
        alarms += (max_t_p(deltas)[1:] <= level).any()
    assert alarms / num_families <= level + 3 * np.sqrt(level * (1 - level) / num_families)


@given(deltas=DELTAS)
def test_a_small_correlation_changes_no_p_value_and_a_larger_one_lowers_none(
    deltas: np.ndarray,
) -> None:
    plain = max_t_p(deltas)
    np.testing.assert_array_equal(family_p(deltas, 0.09), plain)
    raised = family_p(deltas, 0.3)
    expected = holm([corrected_t_p(column, 0.3) for column in deltas.T])
    np.testing.assert_array_equal(raised, np.maximum(plain, expected))
    np.testing.assert_array_equal(family_p(deltas, 1.0), 1)


def test_one_correlated_comparison_is_enough_and_each_has_its_own_correlation() -> None:
    deltas = np.random.default_rng(0).normal(3, 1, (10, 2))
    mixed = family_p(deltas, np.array([0.0, 0.5]))
    assert (mixed > max_t_p(deltas)).any()
    alone = [corrected_t_p(deltas[:, at], rho) for at, rho in enumerate((0.0, 0.5))]
    np.testing.assert_array_equal(mixed, np.maximum(max_t_p(deltas), holm(alone)))


def test_values_that_are_missing_count_as_no_difference_and_not_in_the_t_test() -> None:
    deltas = np.random.default_rng(0).normal(1, 0.2, (10, 2))
    deltas[[3, 4], 0] = np.nan
    np.testing.assert_array_equal(family_p(deltas, 0.0), max_t_p(np.nan_to_num(deltas)))
    t_of_eight = corrected_t_p(np.delete(deltas[:, 0], [3, 4]), 0.3)
    assert family_p(deltas[:, :1], 0.3)[0] == max(
        max_t_p(np.nan_to_num(deltas[:, :1]))[0], t_of_eight
    )
    deltas[:, 1] = np.nan
    assert family_p(deltas, 0.3)[1] == 1
    assert family_p(np.zeros((10, 0)), np.zeros(0)).shape == (0,)


def test_families_of_correlated_seeds_seldom_have_any_false_alarm() -> None:
    """60 comparisons in which any two seeds correlate by 0.3: max-T alone nearly always errs."""
    rng, rho, num_families = np.random.default_rng(3), 0.3, 200
    alarms = np.zeros(2)
    for _ in range(num_families):
        shared, separate = rng.normal(0, 1, (1, 60)), rng.normal(0, 1, (10, 60))
        deltas = np.sqrt(rho) * shared + np.sqrt(1 - rho) * separate
        alarms += [(p <= 0.05).any() for p in (max_t_p(deltas), family_p(deltas, rho))]
    assert alarms[0] / num_families > 0.9
    assert alarms[1] / num_families <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / num_families)

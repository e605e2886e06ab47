"""Corrected p-values of many comparisons: references, invariants, family-wise error, power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.max_t import max_t_p
from pipeline.evaluation.statistics import holm, sign_flip_p

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

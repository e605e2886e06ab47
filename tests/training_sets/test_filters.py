"""Filters judge each synthetic image by the teacher's opinion of it and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.errors import ParamsError
from pipeline.training_sets.filters import FILTERS, agreement, find_filter


def opinions(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Random labels and class probabilities of `n` images."""
    rng = np.random.default_rng(seed)
    scores = rng.random((n, 3)) ** 4
    return rng.integers(0, 3, n), (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 999), min_probability=st.floats(0, 0.99))
def test_agreement_keeps_exactly_the_images_the_teacher_is_sure_of(
    seed: int, min_probability: float
) -> None:
    labels, probabilities = opinions(seed)
    kept = agreement(labels, probabilities, min_probability)
    for label, row, decision in zip(labels, probabilities, kept, strict=True):
        agrees = row[label] == row.max()
        assert decision == (agrees and row[label] >= np.float32(min_probability))


def test_the_least_confidence_itself_is_enough() -> None:
    probabilities = np.array([[0.8, 0.2], [0.7999, 0.2001]], dtype=np.float32)
    kept = agreement(np.array([0, 0]), probabilities, 0.8)
    assert kept.tolist() == [True, False]


@given(seed=st.integers(0, 99))
def test_a_stricter_filter_keeps_a_part_of_what_a_looser_one_keeps(seed: int) -> None:
    labels, probabilities = opinions(seed)
    loose, strict = (agreement(labels, probabilities, each) for each in (0.4, 0.8))
    assert (loose | ~strict).all()


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_decides_on_every_image_by_itself(name: str) -> None:
    keep = find_filter(name)
    labels, probabilities = opinions(1)
    before = labels.copy(), probabilities.copy()
    kept = keep(labels, probabilities, 0.5)
    assert kept.dtype == bool
    assert kept.shape == (40,)
    order = np.random.default_rng(2).permutation(40)
    np.testing.assert_array_equal(keep(labels[order], probabilities[order], 0.5), kept[order])
    assert keep(labels[:0], probabilities[:0], 0.5).shape == (0,)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(probabilities, before[1])


def test_none_keeps_everything() -> None:
    assert find_filter("none")(*opinions(3), 0.99).all()


def test_a_filter_that_does_not_exist_is_refused_with_the_choices() -> None:
    with pytest.raises(ParamsError, match=r"none, agreement, found 'agrement'"):
        find_filter("agrement")

"""Splits are stratified, nested, free of twins, and blind to the order of the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.images import LabeledImages, content_ids, digest
from pipeline.data.splits import (
    canonical,
    hold_out,
    refuse_large_budget,
    refuse_overlap,
    split_subset,
)
from pipeline.runtime.errors import DataError, ParamsError

COUNTS = st.lists(st.integers(3, 9), min_size=2, max_size=5)


def numbered(counts: list[int]) -> LabeledImages:
    """Different images, `counts[k]` of class k."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels))
    return LabeledImages(pixels, labels)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pairs(data: LabeledImages) -> list[tuple[str, int]]:
    return sorted(zip(content_ids(data.images).tolist(), data.labels.tolist(), strict=True))


@given(counts=COUNTS, seed=st.integers(0, 99))
def test_the_canonical_order_forgets_the_order_of_the_source(counts: list[int], seed: int) -> None:
    data = numbered(counts)
    shuffled = data.take(rng(seed).permutation(len(data)))
    assert digest(canonical(shuffled)) == digest(canonical(data))
    assert pairs(canonical(data)) == pairs(data)


@given(counts=COUNTS, seed=st.integers(0, 99))
def test_the_canonical_order_tells_nothing_of_labels(counts: list[int], seed: int) -> None:
    data = numbered(counts)
    dealt = LabeledImages(data.images, rng(seed).permutation(data.labels))
    np.testing.assert_array_equal(canonical(dealt).images, canonical(data).images)


def test_twins_with_different_labels_have_a_fixed_order_too() -> None:
    data = LabeledImages(np.zeros((3, 1, 2, 2), dtype=np.uint8), np.array([2, 0, 1]))
    np.testing.assert_array_equal(canonical(data).labels, [0, 1, 2])


@given(counts=COUNTS, per_class=st.integers(1, 2), seed=st.integers(0, 99))
def test_held_out_images_are_stratified_and_the_rest_is_the_pool(
    counts: list[int], per_class: int, seed: int
) -> None:
    data = numbered(counts)
    pool, test = hold_out(data, per_class, rng(seed))
    np.testing.assert_array_equal(np.bincount(test.labels), [per_class] * len(counts))
    assert sorted(pairs(pool) + pairs(test)) == pairs(data)
    refuse_overlap(pool, test)


def test_a_source_sorted_by_class_and_a_shuffled_one_are_split_alike(bars: LabeledImages) -> None:
    shuffled = bars.take(rng(4).permutation(len(bars)))
    one, other = (hold_out(canonical(data), 7, rng()) for data in (bars, shuffled))
    assert digest(one[0]) == digest(other[0])
    assert digest(one[1]) == digest(other[1])


def test_other_seeds_hold_out_other_images(bars: LabeledImages) -> None:
    tests = {digest(hold_out(bars, 10, rng(seed))[1]) for seed in range(5)}
    assert len(tests) == 5


@pytest.mark.parametrize("copied_label", [0, 1])
def test_no_twin_crosses_from_the_pool_to_the_test_set(copied_label: int) -> None:
    data = numbered([8, 8])
    copies = LabeledImages(data.images[:4], np.full(4, copied_label))
    both = LabeledImages(
        np.concatenate([data.images, copies.images]), np.concatenate([data.labels, copies.labels])
    )
    for seed in range(10):
        pool, test = hold_out(both, 3, rng(seed))
        refuse_overlap(pool, test)
        assert len(pool) == len(both) - 6


@given(counts=COUNTS)
def test_the_largest_test_set_that_the_refusal_suggests_works(counts: list[int]) -> None:
    data = numbered(counts)
    with pytest.raises(ParamsError) as refused:
        hold_out(data, max(counts), rng())
    assert "data.test_per_class" in str(refused.value)
    assert f"found {max(counts)}" in str(refused.value)
    least = min(counts) - 1
    pool, _ = hold_out(data, least, rng())
    assert set(pool.labels) == set(data.labels)


@pytest.mark.parametrize("counts", [[1, 5], [5, 1, 1]])
def test_a_class_with_a_single_image_is_refused_without_impossible_advice(
    counts: list[int],
) -> None:
    with pytest.raises((DataError, ParamsError)) as refused:
        hold_out(numbered(counts), 1, rng())
    assert f"class {counts.index(1)}" in str(refused.value)
    assert "at most 0" not in str(refused.value)


@given(shared=st.integers(0, 6))
def test_every_shared_image_is_counted(shared: int) -> None:
    data = numbered([10, 10])
    test = data.take(np.arange(10 - shared, 16 - shared))
    pool = data.take(np.arange(10))
    if shared:
        with pytest.raises(DataError, match=f"found {shared} exact duplicates"):
            refuse_overlap(pool, test)
    else:
        refuse_overlap(pool, test)


def test_a_training_set_given_as_test_set_is_refused(bars: LabeledImages) -> None:
    with pytest.raises(DataError, match=f"found {len(bars)} exact duplicates"):
        refuse_overlap(bars, bars)


@given(counts=COUNTS, budget=st.integers(1, 12))
def test_a_budget_beyond_the_smallest_class_is_refused(counts: list[int], budget: int) -> None:
    labels = numbered(counts).labels
    if budget > min(counts):
        with pytest.raises(ParamsError) as refused:
            refuse_large_budget(labels, [1, budget], "study.budgets")
        text = str(refused.value)
        assert "study.budgets" in text
        assert f"at most {min(counts)} " in text
        assert f"class {counts.index(min(counts))}" in text
        assert f"found {budget}" in text
    else:
        refuse_large_budget(labels, [1, budget], "study.budgets")


@given(counts=COUNTS, seed=st.integers(0, 99))
def test_a_subset_has_the_budget_of_every_class_and_no_image_twice(
    counts: list[int], seed: int
) -> None:
    labels = rng(1).permutation(numbered(counts).labels)
    budget = min(counts)
    index = split_subset(labels, budget, rng(seed))
    assert len(set(index)) == len(index)
    np.testing.assert_array_equal(np.bincount(labels[index]), [budget] * len(counts))


@given(counts=COUNTS, seed=st.integers(0, 99))
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(counts: list[int], seed: int) -> None:
    labels = numbered(counts).labels
    largest = split_subset(labels, min(counts), rng(seed))
    for budget in range(1, min(counts)):
        smaller = split_subset(labels, budget, rng(seed))
        np.testing.assert_array_equal(smaller, largest[: len(smaller)])


@given(counts=COUNTS, more=st.integers(0, 30), seed=st.integers(0, 99))
def test_beyond_the_smallest_class_the_ranks_end(counts: list[int], more: int, seed: int) -> None:
    labels = rng(1).permutation(numbered(counts).labels)
    most = split_subset(labels, min(counts), rng(seed))
    np.testing.assert_array_equal(split_subset(labels, min(counts) + more, rng(seed)), most)
    np.testing.assert_array_equal(np.bincount(labels[most]), [min(counts)] * len(counts))


@given(counts=COUNTS, budget=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_second_half_of_twice_the_budget_is_stratified_and_apart_from_the_first(
    counts: list[int], budget: int, seed: int
) -> None:
    labels = rng(1).permutation(numbered(counts).labels)
    budget = min(budget, *counts)
    own = split_subset(labels, budget, rng(seed))
    both = split_subset(labels, 2 * budget, rng(seed))
    fresh = both[len(own) :]
    np.testing.assert_array_equal(both[: len(own)], own)
    assert not set(fresh) & set(own)
    found = np.bincount(labels[fresh], minlength=len(counts))
    np.testing.assert_array_equal(found, [min(budget, min(counts) - budget)] * len(counts))


def test_different_seeds_draw_different_images(bars: LabeledImages) -> None:
    subsets = {tuple(split_subset(bars.labels, 5, rng(seed))) for seed in range(20)}
    assert len(subsets) == 20


def test_every_image_has_the_same_chance_to_be_drawn() -> None:
    labels = np.repeat([0, 1], 10)
    counts = np.zeros(20)
    for seed in range(400):
        counts[split_subset(labels, 2, rng(seed))] += 1
    assert np.abs(counts - 80).max() < 40

"""Splits are stratified, nested, free of twins, and blind to the order of the source."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.catalog import whole
from pipeline.data.holdout import hold_out
from pipeline.data.images import LabeledImages, content_ids, digest
from pipeline.data.splits import split_subset

COUNTS = st.lists(st.integers(3, 9), min_size=2, max_size=5)


def numbered(counts: list[int]) -> LabeledImages:
    """Different images, `counts[k]` of class k."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels))
    return LabeledImages(pixels, labels)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def canonical(data: LabeledImages) -> LabeledImages:
    """`data` in the order of `Part.ordered`."""
    return data.take(whole(data, None).ordered().positions)


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
def test_held_out_images_are_stratified(counts: list[int], per_class: int, seed: int) -> None:
    labels = numbered(counts).labels
    held = hold_out(labels, np.full(len(counts), per_class), rng(seed))
    np.testing.assert_array_equal(np.bincount(labels[held]), [per_class] * len(counts))


def test_other_seeds_hold_out_other_images(bars: LabeledImages) -> None:
    wanted = np.full(3, 10)
    tests = {hold_out(bars.labels, wanted, rng(seed)).tobytes() for seed in range(5)}
    assert len(tests) == 5


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


@given(counts=COUNTS, seed=st.integers(0, 99))
def test_classes_with_budgets_of_their_own_are_nested_too(counts: list[int], seed: int) -> None:
    labels = rng(1).permutation(numbered(counts).labels)
    large = np.array(counts)
    small = np.maximum(1, large // 2)
    own, more = (split_subset(labels, wanted, rng(seed)) for wanted in (small, large))
    np.testing.assert_array_equal(np.bincount(labels[own]), small)
    np.testing.assert_array_equal(np.bincount(labels[more]), large)
    assert set(own) <= set(more)

"""How many test images a class gives, and which; a class that is too small is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import DataParams, GroupParams, Params
from pipeline.data.budgets import class_budgets, needed_counts
from pipeline.data.catalog import Catalog, catalog
from pipeline.data.datasets.base import Origins, RawDataset
from pipeline.data.holdout import held_out_counts, hold_out_groups, refuse_test_setting
from pipeline.data.images import LabeledImages
from pipeline.data.splits import split, summary
from pipeline.runtime.errors import DataError, ParamsError

NAMES = ("cat", "dog", "eel")


def with_data(study: Params, **data: Any) -> Params:
    """Budgets 2 and 4, for the curve 8, and fresh labels: 8 images of every class are needed."""
    return study.model_copy(update={"data": DataParams(name="toy", unknown_classes={}, **data)})


def raw(counts: list[int], columns: dict[str, tuple[str, ...]] | None = None) -> RawDataset:
    """Different images, `counts` of every class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.arange(len(labels) * 4, dtype=np.uint32).view(np.uint8).reshape(-1, 1, 4, 4)
    origins = Origins(columns=columns or {})
    return RawDataset(LabeledImages(pixels, labels, "animals"), None, NAMES, origins)


def cataloged(params: Params, counts: list[int]) -> Catalog:
    return catalog(params, raw(counts))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([100, 50, 20], [30, 15, 6]), ([10, 9, 30], [2, 1, 9]), ([12, 12, 12], [4, 4, 4])],
)
def test_a_share_of_every_class_is_held_out_unless_budgets_need_the_images(
    counts: list[int], expected: list[int], study: Params
) -> None:
    params = with_data(study, test={"frac": 0.3})
    assert held_out_counts(params, cataloged(params, counts)).tolist() == expected


def test_a_small_share_is_one_image_at_least(study: Params) -> None:
    params = with_data(study, test={"frac": 0.01})
    assert held_out_counts(params, cataloged(params, [20, 20, 20])).tolist() == [1, 1, 1]


def test_a_class_too_small_for_pool_and_test_set_is_named_with_counts(study: Params) -> None:
    params = with_data(study, test={"frac": 0.3})
    with pytest.raises(DataError, match=r"at least 9 .* class dog \(8 in the pool .*found 8"):
        held_out_counts(params, cataloged(params, [20, 8, 20]))
    with pytest.raises(DataError, match="at least 2 different images of class eel, found 1"):
        held_out_counts(params, cataloged(params, [20, 20, 1]))


@given(counts=st.lists(st.integers(2, 9), min_size=3, max_size=3))
def test_the_largest_test_set_that_the_refusal_suggests_works(
    counts: list[int], study: Params
) -> None:
    params = with_data(study, test_per_class=9)
    found = cataloged(params, counts)
    smallest = NAMES[int(np.argmin(counts))]
    with pytest.raises(ParamsError, match=f"of class {smallest}, found 9") as refused:
        held_out_counts(params, found)
    assert f"set it to at most {min(counts) - 1}" in str(refused.value)


@pytest.mark.parametrize(
    ("data", "has_own", "problem"),
    [
        ({}, False, "expected test or test_per_class, .*found neither"),
        ({"test": {"frac": 0.2}}, True, "toy has a test set of its own, found frac 0.2"),
        ({}, True, None),
        ({"test_per_class": 5}, True, None),
        ({"test_per_class": 5}, False, None),
        ({"test": {"frac": 0.2}}, False, None),
    ],
)
def test_exactly_one_rule_is_needed_without_a_test_set_of_its_own(
    data: dict[str, Any], has_own: bool, problem: str | None, study: Params
) -> None:
    params = with_data(study, **data)
    if problem is None:
        refuse_test_setting(params, has_own)
    else:
        with pytest.raises(ParamsError, match=problem):
            refuse_test_setting(params, has_own)


def grouped(study: Params, writers: list[str], counts: list[int]) -> tuple[Params, Catalog]:
    group = GroupParams(column="writer")
    params = with_data(study, test={"frac": 0.3, "per_seed": True}, group=group)
    return params, catalog(params, raw(counts, {"writer": tuple(writers)}))


def test_no_group_is_on_two_sides_of_any_seed_and_tests_stay_stratified(study: Params) -> None:
    # Twenty writers with two or more images of every class.
    writers = [f"w{position % 20}" for position in range(150)]
    params, found = grouped(study, writers, [50, 50, 50])
    tests = set()
    for seed in range(4):
        parts = split(params, found, seed)
        assert parts.pool.groups is not None
        assert parts.test.groups is not None
        assert not set(parts.pool.groups) & set(parts.test.groups)
        assert len(parts.pool) + len(parts.test) == 150
        assert np.abs(np.bincount(parts.test.labels) - 15).max() <= 4
        tests.add(tuple(parts.test.ids))
    assert len(tests) == 4


def test_a_class_of_a_single_group_is_named(study: Params) -> None:
    writers = [f"w{position}" for position in range(40)] + ["one"] * 20
    params, found = grouped(study, writers, [20, 20, 20])
    with pytest.raises(DataError, match=r"2 groups of class eel.*found 1 with all 20 images"):
        split(params, found, 0)


def test_unlabeled_images_of_a_group_in_the_test_set_are_in_no_part(study: Params) -> None:
    _, found = grouped(study, [f"w{k % 12}" for k in range(90)], [30, 30, 30])
    labels = found.known.labels.copy()
    labels[::2] = -1
    pool = found.known
    object.__setattr__(pool, "labels", labels)
    assert pool.groups is not None
    wanted, most, rng = np.full(3, 4), np.full(3, 9), np.random.default_rng(0)
    held = hold_out_groups(pool, pool.groups, wanted, most, NAMES, rng)
    assert (labels[held] != -1).all()
    rest = pool.take(~held).apart_from(pool.take(held))
    assert not set(rest.groups if rest.groups is not None else ()) & set(pool.groups[held])


def test_classes_that_groups_cannot_divide_are_named(study: Params) -> None:
    # Each writer has two of the classes, so a single one in the test set lacks a class there, and
    # two leave a pool that lacks one.
    writers = ["a"] * 15 + ["b"] * 15 + ["b"] * 15 + ["c"] * 15 + ["c"] * 15 + ["a"] * 15
    params, found = grouped(study, writers, [30, 30, 30])
    with pytest.raises(DataError, match=r"every class is in the pool and in the test set, found"):
        split(params, found, 0)


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_on_both_sides_and_budgets_have_their_images(
    seed: int, study: Params
) -> None:
    # Of every class one large group, which the pool needs, and three small ones.
    sizes = [10, 2, 1, 1]
    writers = [f"{name}{each}" for name in NAMES for each in np.repeat(np.arange(4), sizes)]
    params, found = grouped(study, writers, [14, 14, 14])
    parts = split(params, found, seed)
    assert np.bincount(parts.pool.labels).min() >= 8
    assert np.bincount(parts.test.labels, minlength=3).min() >= 1


def test_images_dropped_for_their_groups_are_counted(study: Params) -> None:
    params, _ = grouped(study, [f"w{k % 9}" for k in range(90)], [30, 30, 30])
    both = raw([30, 30, 30], {"writer": tuple(f"w{k % 9}" for k in range(90))})
    own = LabeledImages(255 - both.images.images[:20], both.images.labels[[0, 30, 60] * 7][:20])
    own_test = replace(both, test=own, test_origins=Origins(columns={"writer": ("w3",) * 20}))
    own_params = params.model_copy(update={"data": params.data.model_copy(update={"test": None})})
    found = catalog(own_params, own_test)
    assert found.num_in_test_groups == 10
    parts = split(own_params, found, None)
    assert (len(parts.pool), parts.num_in_test_groups) == (80, 10)
    record = summary(own_params, own_test, found, [parts], None)
    assert record["groups"]["num_in_test"] == 10

    unlabeled = both.images.labels.copy()
    unlabeled[::2] = -1
    some = replace(both, images=replace(both.images, labels=unlabeled))
    parts = split(params, catalog(params, some), 0)
    assert parts.num_in_test_groups > 0
    assert len(parts.pool) + len(parts.test) + parts.num_in_test_groups == 90


def test_a_class_that_loses_all_images_to_groups_of_the_test_set_is_named(study: Params) -> None:
    params, _ = grouped(study, [f"w{k}" for k in range(90)], [30, 30, 30])
    both = raw([30, 30, 30], {"writer": tuple(f"w{k // 30}" for k in range(90))})
    own = LabeledImages(255 - both.images.images[:3], np.arange(3))
    own_test = replace(both, test=own, test_origins=Origins(columns={"writer": ("w1",) * 3}))
    params = params.model_copy(update={"data": params.data.model_copy(update={"test": None})})
    with pytest.raises(DataError, match="class dog after duplicates and groups of test images"):
        split(params, catalog(params, own_test), None)


def test_too_few_labels_for_folds_are_refused_before_training(study: Params) -> None:
    params = with_data(study, test={"frac": 0.3}, imbalance="natural")
    tune = study.tune.model_copy(update={"min_probability": [0.5, 0.8]})
    found = cataloged(params, [100, 100, 20])
    assert split(params, found, None)
    with pytest.raises(ParamsError, match=r"the 1 labeled images of class eel .*budget 2, found 2"):
        split(params.model_copy(update={"tune": tune}), found, None)


def test_budgets_of_a_long_tail_fall_from_the_first_class_to_the_last() -> None:
    natural = np.array([7, 7, 7])
    assert class_budgets(1.0, 10, natural).tolist() == [10, 10, 10]
    assert class_budgets(100, 200, natural).tolist() == [200, 20, 2]
    assert class_budgets(100, 10, natural).tolist() == [10, 1, 1]


def test_natural_budgets_are_in_proportion_and_one_at_least() -> None:
    assert class_budgets("natural", 10, np.array([50, 100, 2])).tolist() == [5, 10, 1]


@given(
    imbalance=st.sampled_from(["natural", 1.0, 3.0, 100.0]),
    counts=st.lists(st.integers(1, 500), min_size=2, max_size=6),
    budget=st.integers(1, 200),
)
def test_a_larger_budget_has_no_fewer_labels_of_any_class(
    imbalance: Any, counts: list[int], budget: int
) -> None:
    natural = np.array(counts)
    one, more = (class_budgets(imbalance, each, natural) for each in (budget, budget + 1))
    assert (one <= more).all()
    assert one.min() >= 1
    assert one.max() == budget


def test_what_budgets_need_includes_fresh_labels(study: Params) -> None:
    natural = np.array([90, 90, 90])
    assert needed_counts(study, natural).tolist() == [8, 8, 8]
    tail = with_data(study, test_per_class=5, imbalance=4)
    assert needed_counts(tail, natural).tolist() == [8, 4, 2]

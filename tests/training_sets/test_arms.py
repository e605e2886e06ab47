"""Training sets hold what the arm's recipe says, image for image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from pipeline.classifiers.base import TrainingSet
from pipeline.config.arms import SUBSETS, SmoteArm
from pipeline.config.schema import Params
from pipeline.data.images import LabeledImages, content_ids, digest
from pipeline.runtime.errors import DataError, TrialError
from pipeline.training_sets.arms import (
    Candidates,
    Recipe,
    assemble,
    balanced,
    first_of_each_class,
    images_to_add,
    recipe_of,
    with_equal_classes,
)

SEED = 0


@pytest.fixture
def synthetic(bars: LabeledImages) -> Candidates:
    """Twenty images of each class, classes in turns; the teacher doubts every other round."""
    ranked = [np.flatnonzero(bars.labels == label)[20:40] for label in range(3)]
    data = bars.take(np.stack(ranked, axis=1).reshape(-1))
    sure = np.arange(60) // 3 % 2 == 0
    probabilities = np.where(sure[:, None], np.eye(3)[data.labels], 1 / 3).astype(np.float32)
    return Candidates(data, probabilities, min_probability=0.5)


@pytest.fixture
def fresh(bars: LabeledImages) -> LabeledImages:
    """Ten images of each class, none of them in the draw."""
    ranked = [np.flatnonzero(bars.labels == label)[10:20] for label in range(3)]
    return bars.take(np.concatenate(ranked))


def ids(data: LabeledImages) -> list[str]:
    return content_ids(data.images).tolist()


def test_the_baseline_is_the_subset_and_nothing_else(few_bars: LabeledImages) -> None:
    found = assemble(Recipe(per_class=0), few_bars, None, SEED)
    training_set = found.training_set
    np.testing.assert_array_equal(training_set.data.images, few_bars.images)
    np.testing.assert_array_equal(training_set.data.labels, few_bars.labels)
    assert not training_set.extra.any()
    assert training_set.transform is None
    assert training_set.num_classes == 3
    assert (found.num_made, found.num_candidates, found.num_rejected) == (0, 0, 0)


@pytest.mark.parametrize("per_class", [1, 10, 13, 25])
def test_repeated_real_images_come_from_the_subset_in_equal_shares(
    per_class: int, few_bars: LabeledImages
) -> None:
    found = assemble(Recipe(per_class=per_class), few_bars, None, SEED)
    training_set = found.training_set
    added = training_set.data.take(training_set.extra)
    assert len(training_set.data) == 30 + 3 * per_class
    np.testing.assert_array_equal(np.bincount(added.labels), [per_class] * 3)
    known = dict(zip(ids(few_bars), few_bars.labels, strict=True))
    assert [known[each] for each in ids(added)] == added.labels.tolist()
    times = np.unique(ids(added), return_counts=True)[1]
    assert times.max() - times.min() <= 1
    assert found.num_made == 0


@pytest.mark.parametrize("per_class", [1, 7, 20])
def test_synthetic_images_are_added_to_the_subset(
    per_class: int, few_bars: LabeledImages, synthetic: Candidates
) -> None:
    found = assemble(Recipe(per_class=per_class), few_bars, synthetic, SEED)
    training_set = found.training_set
    real, added = (
        training_set.data.take(mask) for mask in (~training_set.extra, training_set.extra)
    )
    assert ids(real) == ids(few_bars)
    assert ids(added) == ids(synthetic.data)[: 3 * per_class]
    np.testing.assert_array_equal(added.labels, synthetic.data.labels[: 3 * per_class])
    assert (found.num_made, found.num_candidates, found.num_rejected) == (3 * per_class, 60, 0)


def test_fewer_images_per_class_are_the_beginning_of_more(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    sets = [assemble(Recipe(per_class=count), few_bars, synthetic, SEED) for count in (4, 9)]
    small, large = (ids(each.training_set.data) for each in sets)
    assert large[: len(small)] == small


def test_a_filter_lets_through_what_it_keeps_and_counts_the_rest(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=6, filter="agreement")
    found = assemble(arm, few_bars, synthetic, SEED)
    added = found.training_set.data.take(found.training_set.extra)
    sure = synthetic.data.take(synthetic.probabilities.max(axis=1) > 0.5)
    assert ids(added) == ids(sure)[:18]
    assert (found.num_made, found.num_candidates, found.num_rejected) == (18, 60, 30)


def test_the_least_probability_comes_with_the_images(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=6, filter="agreement")
    sure = assemble(arm, few_bars, synthetic, SEED)
    lax = assemble(arm, few_bars, replace(synthetic, min_probability=0.0), SEED)
    assert (sure.num_rejected, lax.num_rejected) == (30, 20)


def test_a_class_that_the_filter_thinned_out_gets_what_is_left(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    doubted = synthetic.probabilities.copy()
    doubted[synthetic.data.labels == 1] = 1 / 3
    arm = Recipe(per_class=6, filter="agreement")
    found = assemble(arm, few_bars, replace(synthetic, probabilities=doubted), SEED)
    added = found.training_set.data.take(found.training_set.extra)
    np.testing.assert_array_equal(np.bincount(added.labels, minlength=3), [6, 0, 6])
    assert found.num_made == 12
    assert found.training_set.num_classes == 3


def test_an_arm_without_real_images_has_none(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=6, real=False)
    training_set = assemble(arm, few_bars, synthetic, SEED).training_set
    assert training_set.extra.all()
    assert not set(ids(training_set.data)) & set(ids(few_bars))


def test_an_arm_that_is_left_without_any_image_fails(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=6, real=False, filter="agreement")
    nothing = replace(synthetic, probabilities=np.full((60, 3), 1 / 3, dtype=np.float32))
    with pytest.raises(TrialError, match="agreement"):
        assemble(arm, few_bars, nothing, SEED)


def test_inputs_are_left_as_they_were(few_bars: LabeledImages, synthetic: Candidates) -> None:
    before = ids(few_bars), ids(synthetic.data)
    arm = Recipe(per_class=6)
    found = assemble(arm, few_bars, synthetic, SEED)
    found.training_set.data.images[:] = 0
    assert (ids(few_bars), ids(synthetic.data)) == before


def test_the_transform_of_the_arm_is_passed_on(few_bars: LabeledImages, study: Params) -> None:
    arm = recipe_of(study.arms["classical"], study.transforms)
    assert assemble(arm, few_bars, None, SEED).training_set.transform is not None


@pytest.mark.parametrize("per_class", [1, 10, 16, 25])
def test_fresh_images_are_repeated_up_to_the_number_asked_for(
    per_class: int, few_bars: LabeledImages, fresh: LabeledImages
) -> None:
    arm = Recipe(per_class=per_class)
    found = assemble(arm, few_bars, fresh, SEED)
    training_set = found.training_set
    added = training_set.data.take(training_set.extra)
    assert ids(training_set.data)[:30] == ids(few_bars)
    np.testing.assert_array_equal(np.bincount(added.labels), [per_class] * 3)
    known = dict(zip(ids(fresh), fresh.labels, strict=True))
    assert [known[each] for each in ids(added)] == added.labels.tolist()
    times = np.unique(ids(added), return_counts=True)[1]
    assert times.max() - times.min() <= 1
    assert len(times) == 3 * min(per_class, 10)
    assert (found.num_made, found.num_candidates, found.num_rejected) == (0, 0, 0)


@pytest.mark.parametrize("left", [[0, 1], [2], []])
def test_a_class_without_fresh_images_is_refused_by_name(
    left: list[int], few_bars: LabeledImages, fresh: LabeledImages
) -> None:
    arm = Recipe(per_class=6)
    rest = fresh.take(np.isin(fresh.labels, left))
    missing = min(label for label in range(3) if label not in left)
    with pytest.raises(DataError, match=f"found 0 in place of 10 of class {missing}") as refused:
        assemble(arm, few_bars, rest, SEED)
    assert "study.budgets" in str(refused.value)


def test_fewer_fresh_images_than_the_subset_has_are_refused(
    few_bars: LabeledImages, fresh: LabeledImages
) -> None:
    arm = Recipe(per_class=20)
    with pytest.raises(DataError, match="found 9 in place of 10 of class 0"):
        assemble(arm, few_bars, fresh.take(np.arange(1, 30)), SEED)


@pytest.mark.parametrize("per_class", [10, 13, 25, 200])
def test_repeating_a_subset_is_no_change_of_what_each_image_counts(
    per_class: int, few_bars: LabeledImages
) -> None:
    arm = Recipe(per_class=per_class)
    found = assemble(arm, few_bars, None, SEED).training_set
    counts: dict[str, float] = {}
    for each, weight in zip(ids(found.data), found.weights, strict=True):
        counts[each] = counts.get(each, 0) + weight / found.weights.sum()
    assert len(counts) == len(few_bars)
    assert list(counts.values()) == pytest.approx([1 / len(few_bars)] * len(few_bars))


@pytest.mark.parametrize("real", [True, False])
def test_the_real_images_are_all_but_the_synthetic_ones(
    real: bool, few_bars: LabeledImages, fresh: LabeledImages, synthetic: Candidates
) -> None:
    found = [
        assemble(Recipe(per_class=6, real=real), few_bars, added, SEED)
        for added in (synthetic, None, fresh)
    ]
    assert ids(found[0].real) == (ids(few_bars) if real else [])
    for each in found[1:]:
        assert ids(each.real) == ids(each.training_set.data)
        np.testing.assert_array_equal(each.real.labels, each.training_set.data.labels)
    assert set(ids(found[1].real)) <= set(ids(few_bars))
    assert set(ids(found[2].real)) <= set(ids(few_bars)) | set(ids(fresh))
    assert set(ids(found[2].real)) & set(ids(fresh))


@pytest.mark.parametrize("filter_name", ["none", "agreement"])
@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_permuted_labels_keep_images_and_counts_and_change_labels(
    seed: int, filter_name: str, few_bars: LabeledImages, synthetic: Candidates
) -> None:
    plain, permuted = (
        assemble(
            Recipe(per_class=7, filter=filter_name, permute_labels=permute),
            few_bars,
            synthetic,
            seed,
        )
        for permute in (False, True)
    )
    before, after = plain.training_set, permuted.training_set
    assert ids(after.data) == ids(before.data)
    np.testing.assert_array_equal(after.data.labels[:30], few_bars.labels)
    np.testing.assert_array_equal(np.bincount(after.data.labels), np.bincount(before.data.labels))
    kept = (after.data.labels == before.data.labels)[30:]
    assert 0 < kept.mean() < 0.8
    np.testing.assert_array_equal(after.extra, before.extra)
    np.testing.assert_array_equal(after.weights, before.weights)
    assert (permuted.num_made, permuted.num_candidates, permuted.num_rejected) == (
        plain.num_made,
        plain.num_candidates,
        plain.num_rejected,
    )
    assert ids(permuted.real) == ids(few_bars)


def test_the_order_of_permuted_labels_is_that_of_the_seed(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=7, permute_labels=True)
    once, again = (
        [
            assemble(arm, few_bars, synthetic, seed).training_set.data.labels.tobytes()
            for seed in range(6)
        ]
        for _ in range(2)
    )
    assert once == again
    assert len(set(once)) == 6


def test_permuted_labels_are_right_as_often_as_chance(
    few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=20, permute_labels=True)
    right = [
        assemble(arm, few_bars, synthetic, seed).training_set.data.labels[30:]
        == synthetic.data.labels
        for seed in range(100)
    ]
    assert np.mean(right) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("changed", [{}, {"filter": "agreement"}])
def test_the_seed_decides_nothing_but_the_order_of_permuted_labels(
    changed: dict[str, str], few_bars: LabeledImages, synthetic: Candidates
) -> None:
    arm = Recipe(per_class=6, **changed)
    one, other = (assemble(arm, few_bars, synthetic, seed) for seed in (1, 2))
    assert digest(one.training_set.data) == digest(other.training_set.data)
    np.testing.assert_array_equal(one.training_set.weights, other.training_set.weights)


@pytest.mark.parametrize("real", [True, False])
def test_real_images_are_recorded_with_the_labels_of_the_subset_also_where_they_are_permuted(
    real: bool, few_bars: LabeledImages
) -> None:
    arm = Recipe(per_class=6, real=real, permute_labels=True)
    found = assemble(arm, few_bars, None, SEED).real
    known = dict(zip(ids(few_bars), few_bars.labels, strict=True))
    assert [known[each] for each in ids(found)] == found.labels.tolist()


@given(extra=st.lists(st.booleans(), min_size=1, max_size=30), real_share=st.floats(0.01, 0.99))
def test_weights_give_real_images_their_share_whatever_is_added(
    extra: list[bool], real_share: float
) -> None:
    mask = np.array(extra)
    weights = balanced(mask, real_share, np.ones(mask.sum()))
    assert weights.mean() == pytest.approx(1)
    if mask.all() or not mask.any():
        np.testing.assert_array_equal(weights, 1)
    else:
        assert weights[~mask].sum() / weights.sum() == pytest.approx(real_share)
        assert np.ptp(weights[mask]) == np.ptp(weights[~mask]) == 0


@given(
    labels=st.lists(st.integers(0, 3), max_size=20), count=st.integers(0, 8), repeat=st.booleans()
)
def test_the_first_of_each_class_equal_a_plain_count(
    labels: list[int], count: int, repeat: bool
) -> None:
    by_class = {each: [k for k, at in enumerate(labels) if at == each] for each in set(labels)}
    expected = []
    for rank in range(count):
        for label in sorted(by_class):
            places = by_class[label]
            if repeat or rank < len(places):
                expected.append(places[rank % len(places)])
    found = first_of_each_class(np.array(labels, dtype=np.int64), np.full(4, count), repeat)
    assert found.tolist() == expected


# --- classes of different sizes ------------------------------------------------------------------


@pytest.fixture
def unequal(bars: LabeledImages) -> LabeledImages:
    """Ten, four and one image of the three classes."""
    chosen = [
        np.flatnonzero(bars.labels == label)[:count] for label, count in enumerate((10, 4, 1))
    ]
    return bars.take(np.concatenate(chosen))


def class_weights_of(training_set: TrainingSet) -> np.ndarray:
    """The share of every class of the total weight."""
    totals = np.bincount(training_set.data.labels, training_set.weights)
    return totals / totals.sum()


@pytest.mark.parametrize(
    ("per_class", "expected"),
    [
        (0, [0, 0, 0]),
        (1, [1, 1, 1]),  # at least one
        (20, [20, 8, 2]),
        (200, [200, 80, 20]),
        ("balance", [0, 6, 9]),
    ],
)
def test_a_number_keeps_the_shares_of_classes_and_balance_fills_them_up(
    per_class: Any, expected: list[int], unequal: LabeledImages
) -> None:
    assert images_to_add(unequal.labels, per_class).tolist() == expected


@given(size=st.integers(1, 30), classes=st.integers(2, 6), per_class=st.integers(0, 300))
def test_classes_of_equal_size_get_the_number_itself(
    size: int, classes: int, per_class: int
) -> None:
    labels = np.tile(np.arange(classes), size)
    assert images_to_add(labels, per_class).tolist() == [per_class] * classes
    assert images_to_add(labels, "balance").tolist() == [0] * classes


@pytest.mark.parametrize("per_class", [10, 13, 25, 200])
def test_repeating_unequal_classes_changes_no_weight(
    per_class: int, unequal: LabeledImages
) -> None:
    found = assemble(Recipe(per_class=per_class), unequal, None, SEED).training_set
    assert class_weights_of(found) == pytest.approx(np.array([10, 4, 1]) / 15)
    counts: dict[str, float] = {}
    for each, weight in zip(ids(found.data), found.weights, strict=True):
        counts[each] = counts.get(each, 0) + weight / found.weights.sum()
    assert list(counts.values()) == pytest.approx([1 / 15] * 15)


def test_generated_images_come_in_the_shares_of_the_subset_also_with_wrong_labels(
    unequal: LabeledImages, synthetic: Candidates
) -> None:
    for permute in (False, True):
        recipe = Recipe(per_class=20, permute_labels=permute)
        found = assemble(recipe, unequal, synthetic, SEED).training_set
        assert np.bincount(found.data.labels[found.extra]).tolist() == [20, 8, 2]
        assert class_weights_of(found) == pytest.approx(np.array([10, 4, 1]) / 15)


def test_balance_fills_every_class_and_counts_every_image_once(
    unequal: LabeledImages, synthetic: Candidates
) -> None:
    for added, num_made in ((None, 0), (synthetic, 15)):
        found = assemble(Recipe(per_class="balance"), unequal, added, SEED)
        assert np.bincount(found.training_set.data.labels).tolist() == [10, 10, 10]
        np.testing.assert_array_equal(found.training_set.weights, 1)
        assert found.num_made == num_made
        assert set(ids(found.real)) == set(ids(unequal))
    repeated = assemble(Recipe(per_class="balance"), unequal, None, SEED).training_set
    assert set(ids(repeated.data)) == set(ids(unequal))


def test_a_class_that_the_filter_thins_out_is_not_filled_up(
    unequal: LabeledImages, synthetic: Candidates
) -> None:
    doubted = synthetic.probabilities.copy()
    doubted[synthetic.data.labels == 2] = 1 / 3
    recipe = Recipe(per_class="balance", filter="agreement")
    found = assemble(recipe, unequal, replace(synthetic, probabilities=doubted), SEED)
    assert np.bincount(found.training_set.data.labels).tolist() == [10, 10, 1]
    assert found.num_made == 6


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_class_weights_are_those_of_scikit_learn(labels: list[int], seed: int) -> None:
    values = np.array(labels)
    plain = with_equal_classes(np.ones(len(values)), values)
    np.testing.assert_allclose(plain, compute_sample_weight("balanced", values))
    assert plain.mean() == pytest.approx(1)

    weights = np.random.default_rng(seed).random(len(values)) + 0.1
    classes = np.unique(values)
    factors = compute_class_weight("balanced", classes=classes, y=values, sample_weight=weights)
    expected = weights * factors[np.searchsorted(classes, values)]
    np.testing.assert_allclose(with_equal_classes(weights, values), expected)


@pytest.mark.parametrize("per_class", [0, 20, "balance"])
def test_class_weights_give_every_class_the_same_weight(
    per_class: Any, unequal: LabeledImages, synthetic: Candidates
) -> None:
    recipe = Recipe(per_class=per_class, class_weights="balanced")
    found = assemble(recipe, unequal, synthetic, SEED).training_set
    assert class_weights_of(found) == pytest.approx([1 / 3] * 3)
    assert found.weights.mean() == pytest.approx(1)


def test_smote_balances_and_learns_from_the_subset_alone(unequal: LabeledImages) -> None:
    recipe = Recipe(per_class="balance", k_neighbors=5)
    found = assemble(recipe, unequal, None, SEED)
    assert np.bincount(found.training_set.data.labels).tolist() == [10, 10, 10]
    assert ids(found.real) == ids(unequal)
    assert (found.num_made, found.num_candidates, found.num_rejected) == (15, 0, 0)
    again, other = (assemble(recipe, unequal, None, seed) for seed in (SEED, SEED + 1))
    assert digest(again.training_set.data) == digest(found.training_set.data)
    assert digest(other.training_set.data) != digest(found.training_set.data)


def test_the_settings_of_an_arm_reach_its_recipe(study: Params) -> None:
    arm = SmoteArm(inputs=SUBSETS, per_class="balance", k_neighbors=3, class_weights="balanced")
    recipe = recipe_of(arm, study.transforms)
    assert (recipe.per_class, recipe.k_neighbors, recipe.class_weights) == (
        "balance",
        3,
        "balanced",
    )
    assert recipe_of(study.arms["real"], study.transforms).k_neighbors is None

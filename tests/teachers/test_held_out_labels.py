"""Held-out labels decide what is sure, and class shares come from the pool."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.nn.temperature import apply_temperature
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers.calibration import (
    NEVER_CONFIDENT,
    SURE_ACCURACY,
    HeldOut,
    assign_folds,
    class_shares,
    label_shares,
    minimum_probability,
    sure_share,
    without_whole_classes,
)


def two_classes(confidences: list[float], correct: list[bool]) -> HeldOut:
    """Images of class 0 that are predicted with these confidences, rightly or wrongly."""
    first = np.where(correct, confidences, 1 - np.array(confidences))
    probabilities = np.stack([first, 1 - first], axis=1).astype(np.float32)
    return HeldOut(np.zeros(len(confidences), np.int64), probabilities)


def test_an_accurate_teacher_keeps_the_minimum_of_its_settings() -> None:
    held_out = two_classes([0.99] * 30, [True] * 30)
    assert sure_share(held_out) == 1
    assert minimum_probability(held_out, 0.95, held_out.probabilities) == 0.95


def test_an_overconfident_teacher_needs_a_higher_minimum() -> None:
    confidences = [0.999] * 20 + [0.96] * 20
    held_out = two_classes(confidences, [True] * 20 + [True, False] * 10)
    assert 0.5 <= sure_share(held_out) < 0.6
    minimum = minimum_probability(held_out, 0.95, held_out.probabilities)
    assert np.float32(0.96) <= minimum <= np.float32(0.999)


@pytest.mark.parametrize("power", [0.5, 1.0, 4.0])
def test_the_share_of_sure_labels_does_not_depend_on_the_level_of_the_probabilities(
    power: float,
) -> None:
    rng = numpy_rng("levels")
    confidence = rng.uniform(0.5, 1, 2000)
    correct = rng.random(2000) < 0.3 + 1.4 * (confidence - 0.5)
    held_out = two_classes(confidence[:200].tolist(), correct[:200].tolist())

    # A model that learned from all labels is surer of every image, or less sure.
    sharper = apply_temperature(
        two_classes(confidence.tolist(), [True] * 2000).probabilities, 1 / power
    )
    pool = sharper[200:].astype(np.float32)
    minimum = minimum_probability(held_out, 0.0, pool)
    sure = (pool.max(axis=1) >= minimum).mean()
    assert sure == pytest.approx(sure_share(held_out), abs=0.02)


def test_no_label_is_sure_where_too_few_are_right() -> None:
    held_out = two_classes([0.99] * 40, [False, True, True, True] * 10)
    assert sure_share(held_out) == 0
    assert minimum_probability(held_out, 0.95, held_out.probabilities) == NEVER_CONFIDENT


def test_a_handful_of_labels_decides_nothing() -> None:
    held_out = two_classes([0.99] * 9, [False] * 9)
    assert sure_share(held_out) == 1
    assert minimum_probability(held_out, 0.95, held_out.probabilities) == 0.95


def test_sure_labels_of_new_images_are_right_nine_times_in_ten() -> None:
    # Confidence and truth of the same kind of images: the chance to be right rises from 0.3 to 1.
    rng = numpy_rng("sure")
    shares = []
    for _ in range(200):
        confidence = rng.uniform(0.5, 1, 4000)
        correct = rng.random(4000) < 0.3 + 1.4 * (confidence - 0.5)
        held_out = two_classes(confidence[:100].tolist(), correct[:100].tolist())
        pool = two_classes(confidence[100:].tolist(), correct[100:].tolist())
        minimum = minimum_probability(held_out, 0.5, pool.probabilities)
        sure = pool.probabilities.max(axis=1) >= minimum
        shares.append(correct[100:][sure].mean() if sure.any() else 1.0)
    assert np.mean(shares) > SURE_ACCURACY - 0.01


@pytest.mark.parametrize(("accuracy", "limit"), [(0.5, 0.02), (0.7, 0.08), (0.8, 0.25)])
def test_a_teacher_that_errs_often_is_rarely_trusted(accuracy: float, limit: float) -> None:
    # The confidence says nothing about the truth.
    rng = numpy_rng("rates", round(100 * accuracy))
    trusted = []
    for _ in range(300):
        confidence, correct = rng.uniform(0.5, 1, 100), rng.random(100) < accuracy
        trusted.append(sure_share(two_classes(confidence.tolist(), correct.tolist())) > 0)
    assert np.mean(trusted) < limit


def test_shares_like_those_of_the_labels_are_taken_for_equal() -> None:
    prior = np.full(3, 1 / 3)
    one_hot = np.eye(3)
    similar = one_hot[[0] * 50 + [1] * 40 + [2] * 30]
    np.testing.assert_allclose(class_shares(similar, prior), prior, rtol=1e-6)
    np.testing.assert_allclose(class_shares(similar[:0], prior), prior, rtol=1e-6)


def test_shares_of_an_unbalanced_pool_are_found() -> None:
    prior = np.full(3, 1 / 3)
    unbalanced = np.eye(3)[[0] * 50 + [1] * 45 + [2] * 5]
    np.testing.assert_allclose(class_shares(unbalanced, prior), [0.5, 0.45, 0.05], rtol=1e-6)
    assert class_shares(unbalanced[:95], prior)[2] > 0


@pytest.mark.parametrize("sizes", [[9, 6, 2], [1, 20, 20], [2, 2, 2], [1, 2, 1], [100, 3, 1]])
@pytest.mark.parametrize("num_folds", [2, 3, 5])
def test_every_class_has_labels_outside_of_every_fold(sizes: list[int], num_folds: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    folds = assign_folds(labels, num_folds, 0)
    single = np.isin(labels, np.flatnonzero(np.array(sizes) == 1))
    np.testing.assert_array_equal(folds == -1, single)
    counts = np.bincount(folds[folds >= 0])
    assert len(counts) == min(num_folds, (~single).sum())
    assert np.ptp(counts) <= 1
    for fold in range(len(counts)):
        assert len(np.unique(labels[folds != fold])) == len(sizes)
    np.testing.assert_array_equal(folds, assign_folds(labels, num_folds, 0))


@pytest.mark.parametrize("num_folds", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_folds_and_no_fold_has_a_whole_class(num_folds: int, seed: int) -> None:
    rng = numpy_rng("grouped", seed)
    labels = rng.integers(0, 4, 60)
    groups = rng.integers(-1, 12, 60)
    groups[labels == 3] = 12  # its images are near twins, and some of class 0 are among them
    groups[np.flatnonzero(labels == 0)[:2]] = 12
    folds = assign_folds(labels, num_folds, seed, groups)
    assert folds.max() == num_folds - 1
    assert (folds[groups == 12] == -1).all()
    for group in range(12):
        assert len(np.unique(folds[groups == group])) <= 1
    for fold in range(num_folds):
        assert set(labels[folds != fold]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(folds, assign_folds(labels, num_folds, seed, groups))


def test_folds_of_one_group_per_class_are_none() -> None:
    labels = np.repeat([0, 1], 5)
    assert (assign_folds(labels, 3, 0, labels) == -1).all()
    folds = without_whole_classes(np.array([0, 1, 2, 2, 1, 0]), np.array([0, 0, 1, 1, 2, 2]))
    np.testing.assert_array_equal(folds, [0, 1, -1, -1, 1, 0])


def test_a_single_label_of_every_class_gives_no_folds() -> None:
    assert (assign_folds(np.arange(10), 3, 0) == -1).all()
    assert (assign_folds(np.array([0, 0, 1]), 0, 0) == -1).all()


def test_class_shares_of_a_labeled_subset() -> None:
    labels = np.repeat([0, 1, 2], [9, 6, 2])
    np.testing.assert_allclose(label_shares(labels, 4), [9 / 17, 6 / 17, 2 / 17, 0])

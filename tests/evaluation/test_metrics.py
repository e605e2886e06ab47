"""Metrics equal those of scikit-learn and torchmetrics and have the direction they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_f1_score,
)

from pipeline.evaluation.metrics import (
    METRICS,
    accuracy,
    balanced_accuracy,
    computed_metrics,
    confusion,
    ece,
    log_loss,
    macro_f1,
    recall_per_class,
)

SEEDS = st.integers(0, 10_000)


def predictions(seed: int, n: int = 80, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels of every class and random class probabilities."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.resize(np.arange(classes), n))
    scores = rng.random((n, classes)) ** 3 + 0.3 * np.eye(classes)[labels]
    return labels, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@given(seed=SEEDS)
def test_accuracy_equals_that_of_scikit_learn(seed: int) -> None:
    labels, probabilities = predictions(seed)
    expected = reference.accuracy_score(labels, probabilities.argmax(axis=1))
    assert accuracy(labels, probabilities) == pytest.approx(expected)


@given(seed=SEEDS)
def test_macro_f1_equals_that_of_torchmetrics(seed: int) -> None:
    labels, probabilities = predictions(seed)
    expected = multiclass_f1_score(
        torch.from_numpy(probabilities), torch.from_numpy(labels), 4, average="macro"
    )
    assert macro_f1(labels, probabilities) == pytest.approx(float(expected), abs=1e-6)


def test_a_class_that_is_never_predicted_scores_zero() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1]] * 4, dtype=np.float32)
    assert macro_f1(labels, probabilities) == pytest.approx((2 / 3 + 0) / 2)


@given(seed=SEEDS)
def test_log_loss_equals_that_of_scikit_learn(seed: int) -> None:
    labels, probabilities = predictions(seed)
    exact = probabilities.astype(np.float64)
    expected = reference.log_loss(labels, exact / exact.sum(axis=1, keepdims=True))
    assert log_loss(labels, probabilities) == pytest.approx(expected, rel=1e-5)


def test_a_probability_of_zero_gives_a_large_but_finite_loss() -> None:
    loss = log_loss(np.array([0, 1]), np.array([[0, 1], [0, 1]], dtype=np.float32))
    assert np.isfinite(loss)
    assert loss > 5


@given(seed=SEEDS)
def test_the_calibration_error_equals_that_of_torchmetrics(seed: int) -> None:
    labels, probabilities = predictions(seed)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), 4, n_bins=15, norm="l1"
    )
    assert ece(labels, probabilities) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(("share_right", "expected"), [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)])
def test_full_confidence_is_as_wrong_as_it_is_often_wrong(
    share_right: float, expected: float
) -> None:
    labels = np.zeros(10, dtype=np.int64)
    right = np.arange(10) < 10 * share_right
    probabilities = np.stack([right, ~right], axis=1).astype(np.float32)
    assert ece(labels, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize("name", METRICS)
@given(seed=SEEDS)
def test_perfect_predictions_are_never_worse_than_others(name: str, seed: int) -> None:
    metric = METRICS[name]
    labels, probabilities = predictions(seed)
    found = metric.compute(labels, probabilities)
    best = metric.compute(labels, np.eye(4, dtype=np.float32)[labels])
    assert isinstance(found, float)
    assert (best >= found) if metric.higher_is_better else (best <= found)
    assert not metric.is_share or 0 <= found <= 1


@pytest.mark.parametrize("name", METRICS)
@given(seed=SEEDS)
def test_the_order_of_images_does_not_matter(name: str, seed: int) -> None:
    labels, probabilities = predictions(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    found = METRICS[name].compute(labels[order], probabilities[order])
    assert found == pytest.approx(METRICS[name].compute(labels, probabilities))


@given(seed=SEEDS)
def test_confusion_counts_every_image_once_and_accuracy_is_its_diagonal(seed: int) -> None:
    labels, probabilities = predictions(seed)
    counts = confusion(labels, probabilities)
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=4))
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=4)
    np.testing.assert_array_equal(counts.sum(axis=0), predicted)
    assert np.trace(counts) / len(labels) == pytest.approx(accuracy(labels, probabilities))


def test_confusion_has_a_row_for_a_class_without_images() -> None:
    counts = confusion(np.array([0, 0]), np.array([[0.9, 0.1, 0], [0, 0.2, 0.8]]))
    assert counts.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]


@given(seed=SEEDS)
def test_balanced_accuracy_is_that_of_scikit_learn_and_the_mean_recall(seed: int) -> None:
    labels, probabilities = predictions(seed)
    kept = (labels < 2) | (np.arange(len(labels)) % 3 == 0) | (np.arange(len(labels)) < 20)
    labels, probabilities = labels[kept], probabilities[kept]
    found = balanced_accuracy(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    assert found == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert found == pytest.approx(np.nanmean(recall_per_class(labels, probabilities)))


def test_a_class_without_test_images_has_no_recall() -> None:
    labels, probabilities = np.array([0, 0, 2]), np.eye(3, dtype=np.float32)[[0, 1, 2]]
    np.testing.assert_array_equal(recall_per_class(labels, probabilities), [0.5, np.nan, 1])
    assert balanced_accuracy(labels, probabilities) == 0.75


@pytest.mark.parametrize(
    ("labels", "declared", "is_computed"),
    [
        ([0, 0, 1, 1], "accuracy", False),
        ([0, 0, 1, 1], "balanced_accuracy", True),
        ([0, 0, 1], "accuracy", True),
    ],
)
def test_balanced_accuracy_is_computed_where_it_says_something(
    labels: list[int], declared: str, is_computed: bool
) -> None:
    found = computed_metrics(np.array(labels), declared)
    assert found[:4] == ["accuracy", "macro_f1", "log_loss", "ece"]
    assert found[4:] == ["balanced_accuracy"] * is_computed

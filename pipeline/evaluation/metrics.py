"""Metrics of class probabilities: functions of labels (n,) and probabilities (n, classes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from pipeline.data.images import Labels
from pipeline.runtime.errors import DivergedError

Probabilities = NDArray[np.float32]
ECE_BINS = 15  # as in Guo et al.


@dataclass(frozen=True)
class Metric:
    """A function and how its values are compared."""

    compute: Callable[[Labels, Probabilities], float]
    higher_is_better: bool
    # Whether it is a share of images, like `report.smallest_effect`.
    is_share: bool


def refuse_not_finite(probabilities: Probabilities, model: str, fix: str) -> None:
    """Raise `DivergedError` when a probability of the trained `model` is NaN or infinite."""
    if not np.isfinite(probabilities).all():
        raise DivergedError(model, "expected finite class probabilities, found others", fix)


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Share of images whose most probable class is the true class, 0..1."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def macro_f1(labels: Labels, probabilities: Probabilities) -> float:
    """Mean of the per-class F1 scores, 0..1; a class that is never predicted scores 0."""
    predicted = probabilities.argmax(axis=1)
    return float(sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0.0))


def balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Mean of the per-class recalls, 0..1, over the classes that have images."""
    return float(np.nanmean(recall_per_class(labels, probabilities)))


def recall_per_class(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Share of each class's images whose most probable class is the true one, (classes,).

    NaN for a class without images.
    """
    predicted, classes = probabilities.argmax(axis=1), np.arange(probabilities.shape[1])
    recalls = sklearn_metrics.recall_score(
        labels, predicted, labels=classes, average=None, zero_division=np.nan
    )
    return np.asarray(recalls, dtype=np.float64)


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean negative log probability of the true class, in nats; clipped at float32's epsilon."""
    true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(true_class, np.finfo(np.float32).eps, 1)).mean())


def ece(labels: Labels, probabilities: Probabilities) -> float:
    """Expected calibration error, 0..1: |confidence - accuracy| averaged over 15 equal bins.

    Source: Guo et al. (2017), "On calibration of modern neural networks", equation 3.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(which, weights=confidence - correct, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(labels))


def share(holds: NDArray[np.bool_]) -> float | None:
    """Share of True values, 0..1; None if there are no values."""
    return float(holds.mean()) if len(holds) else None


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % confidence interval of a share, from `count` of `total` > 0. Source: Wilson (1927)."""
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, higher_is_better=True, is_share=True),
    "macro_f1": Metric(macro_f1, higher_is_better=True, is_share=True),
    "log_loss": Metric(log_loss, higher_is_better=False, is_share=False),
    "ece": Metric(ece, higher_is_better=False, is_share=False),
    # Equal to accuracy where all classes of the test set have the same size (`computed_metrics`).
    "balanced_accuracy": Metric(balanced_accuracy, higher_is_better=True, is_share=True),
}


def computed_metrics(labels: Labels, declared: str) -> list[str]:
    """The metrics to compute for these test labels, in the order of `METRICS`.

    Balanced accuracy is left out if all classes have the same size, unless it is `declared`.
    """
    sizes = np.bincount(labels)
    is_needed = declared == "balanced_accuracy" or np.ptp(sizes) > 0
    return [name for name in METRICS if is_needed or name != "balanced_accuracy"]


def confusion(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Counts (classes, classes): true class by row, most probable class by column."""
    num_classes = probabilities.shape[1]
    return np.asarray(
        sklearn_metrics.confusion_matrix(
            labels, probabilities.argmax(axis=1), labels=np.arange(num_classes)
        )
    )

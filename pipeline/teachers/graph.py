"""Which features a graph is made of, and how accurate its labels are.

The labeled subset decides: each of its labels is hidden in turn, and the others are propagated to
that image. One propagation with a column per labeled image gives all of these at once, because
propagation is linear in the labels. See `features` for graphs and propagation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import laplacian

from pipeline.data.images import Background, Images, LabeledImages, flat
from pipeline.nn.temperature import apply_temperature
from pipeline.teachers.calibration import HeldOut, temperature
from pipeline.teachers.features import (
    Rows,
    affinity,
    hog_features,
    num_steps,
    principal_components,
)

MAX_POOL = 5000  # images of the pool that take part in the choice of features
CLIP = 0.02  # smallest probability in the log loss: one wrong label must not decide


def hog_deslanted(images: Images, background: Background) -> Rows:
    """HOG features of images without slant: for handwriting."""
    return hog_features(images, background)


def hog_deslanted_y(images: Images, background: Background) -> Rows:
    """HOG features of images without slant along y: for handwriting that is on its side."""
    return hog_features(np.ascontiguousarray(images.swapaxes(2, 3)), background)


def hog(images: Images, background: Background) -> Rows:
    """HOG features of the images as they are."""
    return hog_features(images, None)


def pixels(images: Images, background: Background) -> Rows:
    """Levels in 0..1 of all pixels and channels."""
    return flat(images)


FeatureName = Literal["hog_deslanted", "hog_deslanted_y", "hog", "pixels"]
FEATURES: dict[FeatureName, Callable[[Images, Background], Rows]] = {
    "hog_deslanted": hog_deslanted,
    "hog_deslanted_y": hog_deslanted_y,
    "hog": hog,
    "pixels": pixels,
}


def choose_features(
    names: Sequence[FeatureName],
    labeled: LabeledImages,
    unlabeled: Images,
    components: int,
    neighbors: int,
    alpha: float,
) -> tuple[FeatureName, HeldOut]:
    """The features whose graph predicts hidden labels best, and those predictions.

    `names` are of `FEATURES`. By the log loss of calibrated probabilities; a later name must be
    better than the best one before it by a standard error of the paired difference, so that the
    first one is kept where the labels cannot tell. At most `MAX_POOL` images of the pool take part,
    evenly spaced.
    """
    pool_index = np.linspace(0, len(unlabeled) - 1, min(MAX_POOL, len(unlabeled)), dtype=int)
    images = np.concatenate([labeled.images, unlabeled[pool_index]])

    scored = []
    for name in names:
        rows = principal_components(FEATURES[name](images, labeled.background), components)
        scored.append((name, predict_hidden(affinity(rows, neighbors), labeled, alpha)))

    best = scored[0]
    for other in scored[1:]:
        if is_better(log_losses(other[1]), log_losses(best[1])):
            best = other
    return best


def log_losses(held_out: HeldOut) -> NDArray[np.float64]:
    """The log loss of every held-out image, (n,), of calibrated probabilities of at least `CLIP`.

    Calibrated by their own temperature, since propagation says little about how sure a label is.
    """
    calibrated = apply_temperature(held_out.probabilities, temperature(held_out))
    own = calibrated[np.arange(len(held_out.labels)), held_out.labels]
    losses: NDArray[np.float64] = -np.log(np.maximum(own, CLIP))
    return losses


def is_better(losses: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether the mean of `losses` is lower, by more than its paired standard error."""
    difference = others - losses
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
    return bool(difference.mean() > error)


def spread(
    links: sparse.csr_matrix, start: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """What rows get from `start` (n, k) by propagation, (n, k), before rows are normalized.

    Zhou et al. (2004), algorithm 1, with the number of steps of `propagate_labels`.
    """
    normalized = -sparse.csr_matrix(laplacian(links, normed=True))
    normalized.setdiag(0.0)
    result = start
    for _ in range(num_steps(alpha)):
        result = alpha * (normalized @ result) + (1 - alpha) * start
    return np.asarray(result)


def predict_hidden(links: sparse.csr_matrix, labeled: LabeledImages, alpha: float) -> HeldOut:
    """Class probabilities of every labeled image from the labels of all others.

    The labeled images are the first rows of `links`. An image that no other label reaches has equal
    probabilities.
    """
    count, num_classes = len(labeled), labeled.num_classes
    start = np.zeros((links.shape[0], count))
    start[np.arange(count), np.arange(count)] = 1
    influence = spread(links, start, alpha)[:count]
    np.fill_diagonal(influence, 0)

    scores = influence @ np.eye(num_classes)[labeled.labels]
    totals = scores.sum(axis=1, keepdims=True)
    equal = np.full_like(scores, 1 / num_classes)
    probabilities = np.divide(scores, totals, out=equal, where=totals > 0)
    return HeldOut(labeled.labels, probabilities.astype(np.float32))

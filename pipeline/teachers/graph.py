"""Which features a graph is made of, and how accurate its labels are.

The labeled subset decides: its labels are hidden fold by fold, and those of the other folds are
propagated to these images. One propagation with a column per fold and class gives all of them. See
`features` for graphs and propagation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import laplacian

from pipeline.data.images import Background, Images, LabeledImages, flat
from pipeline.nn.hog import Rows, hog_features
from pipeline.nn.temperature import apply_temperature
from pipeline.teachers.calibration import Folds, HeldOut, temperature
from pipeline.teachers.features import affinity, num_steps, principal_components

MAX_POOL = 5000  # images of the pool that take part in the choice of features
MAX_FOLDS = 5  # of the hidden labels
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


class GraphSettings(NamedTuple):
    """Those of `LabelPropagationConfig` of the same names."""

    components: int
    neighbors: int
    alpha: float


def distinct_features(names: Sequence[FeatureName], background: Background) -> list[FeatureName]:
    """`names` without those of equal features: photos have no slant, so their HOG features are one.

    With x and y exchanged they are the same in another order.
    """
    if background is not None:
        return list(names)
    return list(dict.fromkeys(name if name == "pixels" else "hog" for name in names))


def choose_features(
    names: Sequence[FeatureName],
    labeled: LabeledImages,
    unlabeled: Images,
    folds: Folds,
    settings: GraphSettings,
) -> tuple[FeatureName, HeldOut]:
    """The features whose graph predicts hidden labels best, and predictions of these labels.

    `names` are of `FEATURES`; see `best_features` for the choice. The predictions of a fold are
    those of the features that the labels of the other folds choose, so that a choice among many is
    not taken for accuracy. At most `MAX_POOL` images of the pool take part, evenly spaced. Without
    folds the first features are taken, and there are no predictions.
    """
    names = distinct_features(names, labeled.background)
    is_hidden = folds >= 0
    if not is_hidden.any():
        nothing = np.zeros((0, labeled.num_classes), dtype=np.float32)
        return names[0], HeldOut(labeled.labels[is_hidden], nothing)

    pool_index = np.linspace(0, len(unlabeled) - 1, min(MAX_POOL, len(unlabeled)), dtype=int)
    images = np.concatenate([labeled.images, unlabeled[pool_index]])

    predictions, losses = [], []
    for name in names:
        rows = principal_components(FEATURES[name](images, labeled.background), settings.components)
        links = affinity(rows, settings.neighbors)
        held_out = predict_hidden(links, labeled, folds, settings.alpha)
        predictions.append(held_out.probabilities)
        losses.append(log_losses(held_out))

    fold = folds[is_hidden]
    probabilities = np.empty_like(predictions[0])
    for number in np.unique(fold):
        best = best_features([values[fold != number] for values in losses])
        probabilities[fold == number] = predictions[best][fold == number]
    return names[best_features(losses)], HeldOut(labeled.labels[is_hidden], probabilities)


def best_features(losses: Sequence[NDArray[np.float64]]) -> int:
    """The position of the best features, by the losses (n,) of each.

    A later one must be better than the best one before it by a standard error of the paired
    difference, so that the first one is kept where the labels cannot tell.
    """
    best = 0
    for number in range(1, len(losses)):
        if is_better(losses[number], losses[best]):
            best = number
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


def predict_hidden(
    links: sparse.csr_matrix, labeled: LabeledImages, folds: Folds, alpha: float
) -> HeldOut:
    """Class probabilities of every image that has a fold, from the labels outside of its fold.

    The labeled images are the first rows of `links`. An image that no such label reaches has equal
    probabilities.
    """
    count, num_classes = len(labeled), labeled.num_classes
    one_hot = np.eye(num_classes)[labeled.labels]
    start = np.zeros((links.shape[0], int(folds.max()) + 1, num_classes))
    for number in range(start.shape[1]):
        start[:count, number] = one_hot * (folds != number)[:, None]
    columns = spread(links, start.reshape(len(start), -1), alpha)

    is_hidden = folds >= 0
    scores = columns.reshape(start.shape)[:count][is_hidden, folds[is_hidden]]
    totals = scores.sum(axis=1, keepdims=True)
    equal = np.full_like(scores, 1 / num_classes)
    probabilities = np.divide(scores, totals, out=equal, where=totals > 0)
    return HeldOut(labeled.labels[is_hidden], probabilities.astype(np.float32))

"""What held-out labels of a labeled subset say about a teacher, and the class shares of a pool.

A label is held out if the model that predicts its image was trained without it. No label of the
pool is read. Arrays in, numbers out.

Sources: Guo et al. (2017), "On calibration of modern neural networks", for the temperature;
Geifman and El-Yaniv (2017), "Selective classification for deep neural networks", for the minimum
probability. Deviation: the bound of the risk is the simple one of conformal prediction, with one
wrong label added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import Labels
from pipeline.data.parts import Groups, assign_groups, whole_groups
from pipeline.nn.temperature import TINY, temperature_losses
from pipeline.runtime.seeds import numpy_rng

Probabilities = NDArray[np.float32]
Folds = NDArray[np.int64]  # (n,): the fold of every image, -1 for none

SURE_ACCURACY = 0.9  # what sure labels must reach
MIN_HELD_OUT = 10  # with fewer labels, nine in ten cannot be tested: the settings stay as they are
NEVER_CONFIDENT = 1.01  # a minimum probability that no image has
TEMPERATURES = np.geomspace(0.05, 8.0, 61)
# Estimated shares of a pool count as those of the labeled subset while the largest ratio between
# the two is less than this many times the smallest. Below, the error of the estimate is as large
# as what a correction gains.
SHARES_RATIO = 3.0


@dataclass(frozen=True)
class HeldOut:
    """Predictions of held-out images: `labels` (n,) and `probabilities` (n, num_classes)."""

    labels: Labels
    probabilities: Probabilities

    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the label, (n,)."""
        matches: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return matches

    def accuracy(self) -> float:
        """The share of images whose most probable class is the label; NaN without images."""
        return float(self.correct().mean()) if len(self.labels) else float("nan")


def minimum_probability(held_out: HeldOut, minimum: float, probabilities: Probabilities) -> float:
    """The minimum probability, at least `minimum`, with which labels of a pool can be trusted.

    `probabilities` (n, num_classes) are those of the pool, by the teacher that learned from all
    labels. The models that predicted the held-out labels are others, with other levels, so they
    give the share of the pool that is sure (see `sure_share`), and the teacher says which images:
    those of the highest probabilities, with all that are equal. `NEVER_CONFIDENT` where the share
    is 0.
    """
    share = sure_share(held_out)
    if share == 0:
        return NEVER_CONFIDENT
    if share == 1 or not len(probabilities):
        return minimum
    return max(minimum, float(np.quantile(probabilities.max(axis=1), 1 - share)))


def sure_share(held_out: HeldOut) -> float:
    """The largest share of images, those with the largest margin, whose labels can be trusted.

    0 to 1. At least `SURE_ACCURACY` of their labels must be right, where one wrong label is added
    for the finite sample: at least nine confident images, all right, are needed. 1 with fewer than
    `MIN_HELD_OUT` labels: then nothing can be tested.

    The largest of many shares that pass is optimistic, since some pass by chance. Simulated with
    confidence that is independent of whether a label is right (10 to 1,000 held-out labels), some
    share passes for a teacher of 70 % accuracy in 4 to 5 % of cases, of 80 % in 13 to 22 %, of 85 %
    in 24 to 41 %. With 100 labels it is a fifth or more in 1, 9 and 32 %.
    """
    if len(held_out.labels) < MIN_HELD_OUT:
        return 1.0
    second, first = np.partition(held_out.probabilities, -2, axis=1)[:, -2:].T
    correct = held_out.correct()[np.argsort(second - first, kind="stable")]
    for count in range(len(correct), 0, -1):
        if is_accurate(correct[:count]):
            return count / len(correct)
    return 0.0


def is_accurate(correct: NDArray[np.bool_]) -> bool:
    """Whether at least `SURE_ACCURACY` of the labels are right, one wrong label being added."""
    return bool(correct.sum() >= SURE_ACCURACY * (len(correct) + 1))


def temperature(held_out: HeldOut) -> float:
    """The temperature that minimizes the log loss of the held-out labels; 1 without labels."""
    if not len(held_out.labels):
        return 1.0
    logits = np.log(held_out.probabilities.astype(np.float64) + TINY)
    losses = temperature_losses(logits, held_out.labels, TEMPERATURES)
    return float(TEMPERATURES[np.minimum(losses, -np.log(TINY)).mean(axis=1).argmin()])


def class_shares(probabilities: NDArray[np.floating], prior: NDArray[np.float64]) -> Probabilities:
    """The class shares of a pool, (num_classes,): the shares of the predicted classes.

    `probabilities` (n, num_classes) are those of a model that learned from class shares `prior`.
    A class that is never predicted counts as one image, so that no class is ruled out. Returns
    `prior` where the estimate is close to it (see `SHARES_RATIO`) or the pool is empty.
    Expectation maximization (Saerens et al. 2002) took rare classes for absent ones (LOG.md).
    """
    if not len(probabilities):
        return prior.astype(np.float32)
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(prior)).clip(min=1)
    shares = counts / counts.sum()
    ratios = shares / prior
    is_close = ratios.max() < SHARES_RATIO * max(ratios.min(), TINY)
    return (prior if is_close else shares).astype(np.float32)


def label_shares(labels: Labels, num_classes: int) -> NDArray[np.float64]:
    """The class shares of a labeled subset, (num_classes,)."""
    counts = np.bincount(labels, minlength=num_classes)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def assign_folds(labels: Labels, num_folds: int, seed: int, groups: Groups | None = None) -> Folds:
    """The fold of every image, (n,): every class is spread evenly and at random.

    The only image of a class has no fold, -1: without it, no model can predict the class. So every
    class has images outside of every fold. With `groups` (n,), no group is in two folds, and a
    group with all images of a class has none. There are at most as many folds as images or groups
    that have one; all are -1 where these or `num_folds` are fewer than 2.
    """
    numbers = np.arange(len(labels)) if groups is None else whole_groups(groups)
    needed = [np.unique(numbers[labels == label]) for label in np.unique(labels)]
    alone = [members[0] for members in needed if len(members) == 1]
    is_free = ~np.isin(numbers, alone)
    folds = np.full(len(labels), -1, dtype=np.int64)
    num_folds = min(num_folds, len(np.unique(numbers[is_free])))
    if num_folds < 2:
        return folds

    rng = numpy_rng("folds", seed)
    if groups is not None:
        counts = np.bincount(labels[is_free])
        wanted = np.tile(counts / num_folds, (num_folds, 1))
        folds[is_free] = assign_groups(labels[is_free], numbers[is_free], wanted, rng)
        return without_whole_classes(folds, labels)

    # A class goes on where the one before it ends, so that folds differ by at most one image.
    start = 0
    for label in np.unique(labels[is_free]):
        positions = rng.permutation(np.flatnonzero(labels == label))
        folds[positions] = np.arange(start, start + len(positions)) % num_folds
        start += len(positions)
    return folds


def without_whole_classes(folds: Folds, labels: Labels) -> Folds:
    """`folds` renumbered from 0, without those that have all images of a class.

    All -1 where fewer than two are left.
    """
    by_class = [np.unique(folds[labels == label]) for label in np.unique(labels)]
    whole = [members[0] for members in by_class if len(members) == 1]
    kept = np.setdiff1d(folds, [-1, *whole])
    if len(kept) < 2:
        return np.full(len(folds), -1, dtype=np.int64)
    return np.where(np.isin(folds, kept), np.searchsorted(kept, folds), -1)

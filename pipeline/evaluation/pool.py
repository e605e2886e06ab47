"""The pool of a dataset with all its labels, and its parts, for evaluations only.

A judge, the classifier that evaluates generators, needs images of its own, and synthetic images
are compared with real ones that it has not seen. A large pool has one fold: half of the images
train the judge, the other half is compared with. A small one has four, each compared by a judge of
the other three (cross-fitting), so that a judge has half as many images again and all images of the
pool serve on either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import (
    BLACK,
    UNLABELED,
    Background,
    Images,
    LabeledImages,
    Labels,
    background_of,
)
from pipeline.data.parts import Groups, assign_groups, whole_groups
from pipeline.runtime.files import read_npz
from pipeline.runtime.seeds import numpy_rng

SHARES = (0.5, 0.25, 0.25)  # of judge, reference and floor in the labeled images of a large pool
NUM_FOLDS = 4  # of a small pool
# A judge needs this many training images of every class.
MIN_JUDGE_IMAGES = 10
# Images of each of two sets whose distances are computed, per class. With fewer than the neighbors
# that measure a density, the distances between classes take the place of those within one: among 2
# or 3 images per class, images of noise have a density of 0.3 to 2.8 and a precision of 0.8 to 1.0
# (MNIST, `digits`, photos of hands and of electronic parts), where real images have 1.0. With 20 it
# is 0.1 at most.
MIN_COMPARED_PER_CLASS = 20

Index = NDArray[np.int64]  # positions in the pool


@dataclass(frozen=True)
class Fold:
    """Positions of the images that train a judge, and of two parts that it has not seen.

    Synthetic images are compared with `reference`, and so is `floor`: real images in their place.
    """

    judge: Index
    reference: Index
    floor: Index

    @property
    def unseen(self) -> Index:
        """All images that the judge has not seen."""
        return np.concatenate([self.reference, self.floor])


@dataclass(frozen=True)
class Pool:
    """The pool with all its labels, its groups (n,) from 0, and one or more folds."""

    data: LabeledImages
    groups: Groups
    folds: tuple[Fold, ...]

    @property
    def unseen(self) -> Index:
        """The images that are compared with, fold by fold."""
        return np.concatenate([fold.unseen for fold in self.folds])


def min_compared(num_classes: int) -> int:
    """How many images each of two sets must have for distances between them."""
    return MIN_COMPARED_PER_CLASS * num_classes


def split_pool(
    images: Images, labels: Labels, groups: Groups | None = None, background: Background = BLACK
) -> Pool:
    """The pool with its folds, the same at every call; unlabeled images are in none of them.

    With `groups` (n,), no group is in two parts of a fold. The pool is cross-fitted if half of it
    has too few images of a class to train a judge, or a quarter of it too few to compute distances.
    """
    data = LabeledImages(images, labels, background=background)
    alone = np.full(len(labels), -1)
    numbers = whole_groups(alone if groups is None else groups)
    labeled = np.flatnonzero(labels != UNLABELED)
    rng = numpy_rng("audit", len(data))

    if groups is None:
        halves = _halves(rng.permutation(labeled))
    else:
        halves = _grouped(labels, numbers, labeled, SHARES, rng)
    whole = Pool(data, numbers, (Fold(*halves),))
    is_large = min(map(len, halves[1:])) >= min_compared(data.num_classes)
    if is_large and why_untrained(whole) is None:
        return whole
    folds = _cross_fitted(labels, numbers if groups is not None else None, labeled, rng)
    crossed = Pool(data, numbers, folds)
    # Where a class has few groups, the judge of a fold may lack it while the halves have it.
    return whole if why_untrained(crossed) and not why_untrained(whole) else crossed


def _halves(order: Index) -> list[Index]:
    """A half and two quarters, in this order."""
    half, quarter = len(order) // 2, len(order) // 4
    return [order[:half], order[half : half + quarter], order[half + quarter :]]


def _grouped(
    labels: Labels,
    groups: Groups,
    labeled: Index,
    shares: tuple[float, ...],
    rng: np.random.Generator,
) -> list[Index]:
    """Parts with these shares of every class, and no group in two of them."""
    wanted = np.outer(shares, np.bincount(labels[labeled]))
    parts = assign_groups(labels[labeled], groups[labeled], wanted, rng)
    return [labeled[parts == part] for part in range(len(shares))]


def _cross_fitted(
    labels: Labels, groups: Groups | None, labeled: Index, rng: np.random.Generator
) -> tuple[Fold, ...]:
    """Four folds with equal shares of every class; one without images is left out."""
    num_parts = 2 * NUM_FOLDS
    if groups is not None:
        parts = _grouped(labels, groups, labeled, (1 / num_parts,) * num_parts, rng)
    else:
        part_of = np.zeros(len(labeled), dtype=np.int64)
        for label in range(int(labels.max()) + 1):
            members = rng.permutation(np.flatnonzero(labels[labeled] == label))
            # Other classes begin with other folds, so that these are equally large.
            turn = np.arange(len(members))
            fold, part = (turn + label) % NUM_FOLDS, turn // NUM_FOLDS % 2
            part_of[members] = 2 * fold + part
        parts = [labeled[part_of == part] for part in range(num_parts)]
    pairs = [parts[at : at + 2] for at in range(0, num_parts, 2)]
    return tuple(
        Fold(np.setdiff1d(labeled, np.concatenate(pair)), *pair)
        for pair in pairs
        if sum(map(len, pair))
    )


def why_untrained(pool: Pool) -> str | None:
    """Why the pool cannot train a judge, in words, or None."""
    num_classes = pool.data.num_classes
    counts = [
        np.bincount(pool.data.labels[fold.judge], minlength=num_classes) for fold in pool.folds
    ]
    least = int(np.min(counts))
    if least >= MIN_JUDGE_IMAGES:
        return None
    return (
        f"the pool leaves {least} images of a class to train a judge, and it needs "
        f"{MIN_JUDGE_IMAGES} of each"
    )


def read_pool(images: Path, labels: Path) -> Pool:
    """The pool with its folds; `labels` has the groups and the background as well."""
    known = read_npz(labels)
    return split_pool(
        read_npz(images)["images"], known["labels"], known.get("groups"), background_of(known)
    )

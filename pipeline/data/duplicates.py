"""Exact duplicates, pixel for pixel, and which of them are dropped.

Copies of images of the dataset's own test set are dropped from the pool, whatever their label.
Within a class one copy is kept. Copies with different labels are all dropped, since one of the
labels is wrong; an image of the test set stays there if only a copy in the pool has another label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import UNLABELED, Labels

Ids = NDArray[np.str_]
Mask = NDArray[np.bool_]
MAX_LISTED = 100


@dataclass
class Duplicates:
    """How many images were dropped and why; of conflicting labels, the image and two of them.

    `across_parts` are images that have another label in the test set, named by their paths outside
    it; they are among those `from_train`.
    """

    within_class: int = 0
    from_train: int = 0
    across_classes: list[tuple[str, int, int]] = field(default_factory=list)
    num_across_classes: int = 0
    across_parts: list[tuple[str, int, int]] = field(default_factory=list)

    def record(self, class_names: Sequence[str]) -> dict[str, Any]:
        """As JSON, the first `MAX_LISTED` of each list by their paths and class names."""

        def named(conflicts: list[tuple[str, int, int]]) -> list[list[str]]:
            return [
                [name, class_names[one], class_names[other]]
                for name, one, other in conflicts[:MAX_LISTED]
            ]

        return {
            "within_class": self.within_class,
            "from_train": self.from_train,
            "across_classes": named(self.across_classes),
            "num_across_classes": self.num_across_classes,
            "across_parts": named(self.across_parts),
            "num_across_parts": len(self.across_parts),
        }


@dataclass(frozen=True)
class Named:
    """Content ids and labels of images, (n,), and `paths` (n,) or empty, which name them."""

    ids: Ids
    labels: Labels
    paths: Sequence[str]

    def take(self, mask: Mask) -> Named:
        """Those marked in `mask`."""
        paths = [self.paths[at] for at in np.flatnonzero(mask).tolist()] if len(self.paths) else []
        return Named(self.ids[mask], self.labels[mask], paths)

    def name(self, position: int | np.intp) -> str:
        """The path of an image, or the beginning of its content id."""
        return self.paths[int(position)] if len(self.paths) else str(self.ids[position])[:16]


def distinct(images: Named, test: Named | None) -> tuple[Mask, Mask | None, Duplicates]:
    """Which images, (n,), and which of the dataset's own test set to keep, and what is dropped."""
    found = Duplicates()
    if test is None:
        return without_copies(images, found), None, found
    keep = not_in(images, test, found)
    keep[keep] = without_copies(images.take(keep), found)
    return keep, without_copies(test, found), found


def without_copies(images: Named, found: Duplicates) -> Mask:
    """Which images of one part to keep, (n,); what is dropped is counted in `found`.

    An unlabeled copy of a labeled image is dropped like a copy of its class.
    """
    ids, labels = images.ids, images.labels
    _, which, counts = np.unique(ids, return_inverse=True, return_counts=True)
    keep = np.ones(len(ids), dtype=bool)
    repeated = np.flatnonzero(counts[which] > 1)
    repeated = repeated[np.argsort(which[repeated], kind="stable")]
    starts = np.flatnonzero(np.diff(which[repeated], prepend=-1))
    for copies in np.split(repeated, starts[1:]) if len(repeated) else ():
        of_copies = labels[copies]
        distinct = np.unique(of_copies[of_copies != UNLABELED])
        keep[copies] = False
        if len(distinct) > 1:
            one, other = distinct[:2].tolist()
            first = copies[of_copies == one][0]
            found.across_classes.append((images.name(first), one, other))
            found.num_across_classes += len(copies)
            continue
        keep[copies[np.argmax(of_copies)]] = True
        found.within_class += len(copies) - 1
    return keep


def not_in(images: Named, test: Named, found: Duplicates) -> Mask:
    """Which images are not in the test set, (n,); the others are counted in `found`."""
    shared = np.isin(images.ids, test.ids)
    found.from_train += int(shared.sum())

    # The first of several labels that the test set itself gives an image is listed.
    of_test = dict(zip(test.ids[::-1].tolist(), test.labels[::-1].tolist(), strict=True))
    for position in np.flatnonzero(shared):
        label, other = int(images.labels[position]), of_test[str(images.ids[position])]
        if label != other and UNLABELED not in {label, other}:
            found.across_parts.append((images.name(position), label, other))
    return ~shared

"""Exact duplicates, pixel for pixel, and which of them are dropped.

Within a class one copy is kept. Copies with different labels are all dropped, since one of the
labels is wrong. Copies of images of the dataset's own test set are dropped from the pool.
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
    """How many images were dropped and why; of copies across classes, the image and two labels."""

    within_class: int = 0
    from_train: int = 0
    across_classes: list[tuple[str, int, int]] = field(default_factory=list)
    num_across_classes: int = 0

    def record(self, class_names: Sequence[str]) -> dict[str, Any]:
        """As JSON, the first `MAX_LISTED` copies across classes by their paths and class names."""
        return {
            "within_class": self.within_class,
            "from_train": self.from_train,
            "across_classes": [
                [name, class_names[one], class_names[other]]
                for name, one, other in self.across_classes[:MAX_LISTED]
            ],
            "num_across_classes": self.num_across_classes,
        }


def without_copies(ids: Ids, labels: Labels, paths: Sequence[str], found: Duplicates) -> Mask:
    """Which images of one part to keep, (n,); what is dropped is counted in `found`.

    `paths` (n,) or empty name the images; without them content ids do. An unlabeled copy of a
    labeled image is dropped like a copy of its class.
    """
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
            name = paths[first] if len(paths) else str(ids[first])[:16]
            found.across_classes.append((name, one, other))
            found.num_across_classes += len(copies)
            continue
        keep[copies[np.argmax(of_copies)]] = True
        found.within_class += len(copies) - 1
    return keep


def not_in(ids: Ids, test_ids: Ids, found: Duplicates) -> Mask:
    """Which images are not in the test set, (n,); the others are counted in `found`."""
    shared = np.isin(ids, test_ids)
    found.from_train += int(shared.sum())
    return ~shared

"""SMOTE: images interpolated between labeled images of the same class.

Source: Chawla et al. (2002), "SMOTE: synthetic minority over-sampling technique", as implemented in
imbalanced-learn. Deviations: pixels are rounded to whole numbers; the number of neighbors is
reduced to what a class has; a class with a single image, which has no neighbor, gets copies of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import Images, LabeledImages
from pipeline.runtime.seeds import derive_seed


def interpolated(
    subset: LabeledImages, counts: NDArray[np.int64], k_neighbors: int, seed: int
) -> LabeledImages:
    """`counts[label]` new images of every class, class by class.

    Every pixel lies between those of an image of `subset` and of one of its `k_neighbors` nearest
    images of the same class. Equal inputs and seeds give equal images.
    """
    wanted = [label for label in range(len(counts)) if counts[label]]
    parts = [
        of_class(
            subset.images[subset.labels == label],
            int(counts[label]),
            k_neighbors,
            derive_seed("smote", seed, label) % 2**32,
        )
        for label in wanted
    ]
    images = np.concatenate([subset.images[:0], *parts])
    return replace(subset, images=images, labels=np.repeat(wanted, counts[wanted]).astype(np.int64))


def of_class(images: Images, count: int, k_neighbors: int, random_state: int) -> Images:
    """`count` images interpolated between uint8 `images` (n, c, h, w) of one class."""
    if len(images) == 1:
        return np.repeat(images, count, axis=0)

    from imblearn.over_sampling import SMOTE  # slow to load

    # The library needs a second class: one row, which is not used.
    rows = images.reshape(len(images), -1).astype(np.float64)
    smote = SMOTE(
        sampling_strategy={1: len(images) + count},
        k_neighbors=min(k_neighbors, len(images) - 1),
        random_state=random_state,
    )
    classes = np.r_[np.ones(len(images), dtype=np.int64), 0]
    resampled, _ = smote.fit_resample(np.concatenate([rows, rows[:1]]), classes)

    added = np.rint(resampled[len(images) + 1 :]).astype(np.uint8)
    return added.reshape(count, *images.shape[1:])

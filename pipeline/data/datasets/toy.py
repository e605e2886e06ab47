"""Generated images of 8 x 8 pixels with one bar each, for tests.

The bar is horizontal in class 0, vertical in class 1 and diagonal in class 2, at a random position,
with random brightness and noise. A few images per class suffice to learn it, but not trivially.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from pipeline.data.datasets.base import BuiltIn, Dataset, RawDataset
from pipeline.data.images import LabeledImages
from pipeline.runtime.seeds import numpy_rng

SIZE = 8
PER_CLASS = 60
CLASS_NAMES = ("horizontal", "vertical", "diagonal")


class Toy(Dataset):
    """180 images."""

    Config = BuiltIn

    @override
    def load(self) -> RawDataset:
        """180 images, the same at every call; no test set."""
        rng = numpy_rng("toy")
        labels = np.repeat(np.arange(len(CLASS_NAMES)), PER_CLASS)
        pixels = rng.uniform(0, 40, (len(labels), SIZE, SIZE))
        place = rng.integers(1, SIZE - 1, len(labels))
        ink = rng.uniform(150, 255, len(labels))
        steps = np.arange(SIZE)
        for image, label, where, level in zip(pixels, labels, place, ink, strict=True):
            rows, columns = [
                (np.full(SIZE, where), steps),
                (steps, np.full(SIZE, where)),
                (steps, (steps + where) % SIZE),
            ][label]
            image[rows, columns] = level
        images = LabeledImages(pixels.astype(np.uint8)[:, None], labels.astype(np.int64), "toy")
        return RawDataset(images, None, CLASS_NAMES)

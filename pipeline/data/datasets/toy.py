"""Generated 8 x 8 pictures of three kinds of bars, for tests that need no real data.

Class 0 has a horizontal bar, class 1 a vertical one, class 2 a diagonal one, each at a random
place, with random brightness and noise: learnable from a handful of images, but not trivially.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config.schema import DataParams
from pipeline.data.datasets.base import RawDataset
from pipeline.data.images import LabeledImages
from pipeline.runtime.seeds import numpy_rng

SIZE = 8
PER_CLASS = 60
CLASS_NAMES = ("horizontal", "vertical", "diagonal")


def load(params: DataParams, root: Path) -> RawDataset:
    """180 images, the same on every call; no test set of its own."""
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

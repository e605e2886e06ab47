"""1,797 handwritten digits of 8 x 8 pixels from scikit-learn, for fast tests on real data.

Source: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI repository.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from pipeline.data.datasets.base import DIGIT_NAMES, BuiltIn, Dataset, RawDataset
from pipeline.data.images import LabeledImages

LEVELS = 16  # gray levels of the original: counts of black pixels in blocks of 4 x 4


class Digits(Dataset):
    """All 1,797 images."""

    Config = BuiltIn

    @override
    def load(self) -> RawDataset:
        """All 1,797 images, scaled from 0..16 to 0..255; no test set."""
        from sklearn.datasets import load_digits  # slow to load

        source = load_digits()
        pixels = np.round(source.images * (255 / LEVELS)).astype(np.uint8)
        labels = source.target.astype(np.int64)
        images = LabeledImages(pixels[:, None], labels, "scikit-learn's digits")
        return RawDataset(images, None, DIGIT_NAMES)

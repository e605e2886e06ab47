"""1,797 handwritten digits of 8 x 8 pixels from scikit-learn: real data for fast tests.

Source: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config.schema import DataParams
from pipeline.data.datasets.base import DIGIT_NAMES, RawDataset
from pipeline.data.images import LabeledImages

LEVELS = 16  # the source counts ink in 4 x 4 blocks: 0 to 16


def load(params: DataParams, root: Path) -> RawDataset:
    """All 1,797 images, levels 0..16 stretched to 0..255; no test set of its own."""
    from sklearn.datasets import load_digits  # slow to load

    source = load_digits()
    pixels = np.round(source.images * (255 / LEVELS)).astype(np.uint8)
    images = LabeledImages(pixels[:, None], source.target.astype(np.int64), "scikit-learn's digits")
    return RawDataset(images, None, DIGIT_NAMES)

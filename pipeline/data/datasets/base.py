"""The contract of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.schema import DataParams
from pipeline.data.images import UNLABELED, LabeledImages
from pipeline.runtime.errors import DataError


@dataclass(frozen=True)
class RawDataset:
    """All images of a dataset, and its test set if it has one.

    `class_names[label]` is the name in reports. Images outside the test set may be unlabeled (-1)
    and then belong to the pool. Raises `DataError` for fewer than two classes, for classes without
    an image and for labels without a name.
    """

    images: LabeledImages
    test: LabeledImages | None
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        num_classes = len(self.class_names)
        named = self.images.take(self.images.labels != UNLABELED)
        for part in [named] + ([] if self.test is None else [self.test]):
            labels = np.unique(part.labels)
            if num_classes < 2 or not np.array_equal(labels, np.arange(num_classes)):
                raise DataError(
                    part.source,
                    f"expected every label from 0 to {num_classes - 1}, at least two of them, "
                    f"found {labels.tolist()[:20]}",
                    "give each class at least one image",
                )


Source = Callable[[DataParams, Path], RawDataset]

DIGIT_NAMES = tuple(str(digit) for digit in range(10))

"""The contract of a classifier, and the training set it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.data.images import Images, LabeledImages
from pipeline.nn.augment import Transform
from pipeline.runtime.errors import ParamsError


@dataclass(frozen=True)
class TrainingSet:
    """Labeled images and the transform that belongs to their arm.

    `extra`, (n,) bool, marks the images that the arm added to the draw; `weights`, (n,) with mean
    1, say how much each image counts. A classifier that sees one
    batch at a time transforms every image anew; one that sees a fixed table transforms each extra
    image once (`expanded`), so that tables of all arms have the same number of rows.
    """

    data: LabeledImages
    extra: NDArray[np.bool_]
    weights: NDArray[np.float64]
    num_classes: int
    transform: Transform | None = None


def plain(data: LabeledImages, transform: Transform | None = None) -> TrainingSet:
    """`data` alone, all images alike."""
    nothing = np.zeros(len(data), dtype=bool)
    return TrainingSet(data, nothing, np.ones(len(data)), data.num_classes, transform)


class Classifier(ABC):
    """Fit once on a training set, then give class probabilities.

    The same configuration, seed and training set give the same bits. `fit` reads no global random
    state and changes none of its inputs.
    """

    Config: ClassVar[type[Section]]

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def fit(self, training_set: TrainingSet) -> Classifier:
        """Train from scratch, return self; a class without images gets next to no probability."""

    def start_from(self, discriminator: Mapping[str, Tensor]) -> None:
        """Let `fit` begin with a discriminator's convolutions in place of random weights.

        `critic` has their `weight` and `bias` by number, from the image on: `0.weight`, `0.bias`,
        `1.weight`, ... Raises `ParamsError` where a classifier cannot, as most.
        """
        raise ParamsError(
            f"classifiers: {type(self).__name__}",
            "expected a classifier that can start from a discriminator, found one that cannot",
            "let the arm say `classifiers: [critic]`",
        )

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of everything that was learned, as hex: equal exactly for equal classifiers."""

    @abstractmethod
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes) for uint8 images (n, c, h, w); rows sum to 1."""

"""The contract of a classifier, and the training set that it learns from.

Knows no arm and no generator: it gets images, labels and weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.nn.mixing import AnyTransform
from pipeline.runtime.errors import ParamsError


@dataclass(frozen=True)
class TrainingSet:
    """Labeled images, their weights and the transform of their arm.

    `extra`, (n,) bool, marks the images that the arm added to the labeled subset. `weights`, (n,)
    with mean 1, are the sample weights.

    A classifier trained on batches applies the transform anew to every batch. A classifier trained
    on a fixed table applies it to the extra images only, once or, by its setting `copies`, several
    times. With one copy the tables of all arms that add as many images have equally many rows.
    """

    data: LabeledImages
    extra: NDArray[np.bool_]
    weights: NDArray[np.float64]
    num_classes: int
    transform: AnyTransform | None = None


def plain(data: LabeledImages, transform: AnyTransform | None = None) -> TrainingSet:
    """A training set of `data` alone: no extra images, equal weights."""
    no_extra = np.zeros(len(data), dtype=bool)
    return TrainingSet(data, no_extra, np.ones(len(data)), data.num_classes, transform)


class Classifier(ABC):
    """Fits a training set once, then predicts class probabilities.

    The same configuration, seed and training set give the same bits. `fit` does not read the global
    random state and does not change its inputs.
    """

    Config: ClassVar[type[Section]]
    # Whether `fit` can learn from mixed labels, such as those of mixup.
    learns_from_mixed: ClassVar[bool] = False

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    def build(self, spec: ImageSpec) -> None:  # noqa: B027 (a family without a network builds none)
        """Build the untrained network, to check that the settings allow one for `spec`."""

    @abstractmethod
    def fit(self, training_set: TrainingSet) -> Self:
        """Train from scratch and return self.

        A class without images gets a probability close to 0.
        """

    def fit_labeled(self, data: LabeledImages, transform: AnyTransform | None = None) -> Self:
        """`fit` on `data` alone, with equal weights, and return self."""
        return self.fit(plain(data, transform))

    def start_from(self, discriminator: Mapping[str, Tensor]) -> None:
        """Make `fit` start from a discriminator's convolutions instead of random weights.

        `discriminator` maps `0.weight`, `0.bias`, `1.weight`, ... to tensors, numbered from the
        image on. Raises `ParamsError` if the classifier does not support it, which is the default.
        """
        raise ParamsError(
            f"classifiers: {type(self).__name__}",
            "expected a classifier that can start from a discriminator, found one that cannot",
            "list only classifiers of the family discriminator_cnn in the arm, for example "
            "`classifiers: [discriminator_cnn]`",
        )

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that was learned, by name; `load` restores it to the bit."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        """Become the fitted classifier with that `state` and return self.

        `spec` is the shape of the training images and the number of classes.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of everything that was learned, as hex; equal exactly for equal classifiers."""

    @abstractmethod
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes) of uint8 images (n, c, h, w); rows sum to 1."""

"""A classifier trained on the labeled subset alone, as a teacher.

Its probabilities are used by filters of synthetic images. Its labels of the pool are classic
pseudo-labels: Lee (2013), "Pseudo-Label: the simple and efficient semi-supervised learning method
for deep neural networks". Deviation: labels are given once, after the training, and the arm decides
which images are learned from.

Knows no family of classifiers: the stage builds the classifier and passes it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.data.parts import Groups
from pipeline.nn.mixing import AnyTransform
from pipeline.teachers.base import Teacher, TeacherConfig


class SupervisedConfig(TeacherConfig):
    """The classifier and the transform are names of members of those sections."""

    min_probability: float = Field(default=0.8, ge=0, lt=1)
    classifier: str = "cnn"
    # Of the training images; `none` leaves them as they are.
    transform: str = "none"


class SupportsFit(Protocol):
    """The part of a classifier that this teacher uses."""

    def fit_labeled(self, data: LabeledImages, transform: AnyTransform | None = None) -> Any:
        """Train from scratch on `data` alone, with equal weights."""

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes) of uint8 images (n, c, h, w)."""

    def state(self) -> dict[str, Tensor]:
        """Everything that was learned, by name."""

    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Any:
        """Become the fitted classifier with that state."""


class Supervised(Teacher):
    """Fits its classifier on the labeled subset; `fit` ignores unlabeled images and the folder."""

    Config = SupervisedConfig
    config: SupervisedConfig
    needs_unlabeled = False

    def __init__(
        self,
        config: SupervisedConfig,
        seed: int,
        classifier: SupportsFit,
        transform: AnyTransform | None = None,
    ) -> None:
        """`classifier` has its own configuration and seed; `transform` is what the config names."""
        super().__init__(config, seed)
        self.classifier = classifier
        self.transform = transform

    @override
    def fit(
        self,
        labeled: LabeledImages,
        unlabeled: Images,
        folder: Path,
        groups: Groups | None = None,
    ) -> Self:
        self.classifier.fit_labeled(labeled, self.transform)
        return self

    @override
    def state(self) -> dict[str, Tensor]:
        return self.classifier.state()

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        self.classifier.load(state, spec)
        return self

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        return self.classifier.predict_proba(images)

"""The contract of a teacher: a model that gives labels or probabilities to images for training.

It learns from a labeled subset and, where the family needs them, from images without labels. Both
are passed to `fit`; no other label can reach it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.data.parts import Groups
from pipeline.nn.tensors import map_images
from pipeline.teachers.calibration import HeldOut, minimum_probability

ADVICE = "lower that teacher's learning rate in params.yaml"  # where training diverges
PREDICT_BATCH = 200  # larger batches do not fit into the processor's cache


class TeacherConfig(Section):
    """The settings of every family."""

    # Minimum probability of the predicted class for the filter `agreement`.
    min_probability: float = Field(default=0.95, ge=0, lt=1)
    # Share of the unlabeled images that get a label, those with the lowest OOD score. Less than 1
    # where the pool has images of unknown classes.
    keep_frac: float = Field(default=1.0, gt=0, le=1)


class Teacher(ABC):
    """Fits a labeled subset and unlabeled images once, then predicts class probabilities.

    The same configuration, seed and images give the same bits. `fit` does not read the global
    random state and does not change its inputs.
    """

    Config: ClassVar[type[TeacherConfig]]
    # Whether the family learns from unlabeled images; its regime is then `labeled+unlabeled`.
    needs_unlabeled: ClassVar[bool] = True
    # What `fit` learns about the teacher itself, for the families that can tell; otherwise None:
    # predictions of labels that it did not learn from, the class shares of the unlabeled images,
    # and which of these images a label reached, (n,). The others get no label. `choice`: what it
    # chose by held-out labels, in words; empty where there is nothing to choose.
    held_out: HeldOut | None = None
    pool_shares: NDArray[np.float32] | None = None
    reached: NDArray[np.bool_] | None = None
    choice: str = ""

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    def build(self, spec: ImageSpec) -> None:  # noqa: B027 (a family without a network builds none)
        """Build the untrained network, to check that the settings allow one for `spec`."""

    @abstractmethod
    def fit(
        self,
        labeled: LabeledImages,
        unlabeled: Images,
        folder: Path,
        groups: Groups | None = None,
    ) -> Self:
        """Train from scratch and return self.

        `unlabeled` are uint8 images (n, c, h, w); n may be 0 where `needs_unlabeled` is False.
        `folder` is for checkpoints: after an interruption, `fit` with the same folder resumes.
        `groups` (n_labeled,): labeled images of the same group are held out together; -1 alone.
        Raises `DivergedError` if the training diverges.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that was learned, by name; `load` restores it to the bit."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        """Become the fitted teacher with that `state` and return self.

        `spec` is the shape of the labeled images and the number of classes.
        """

    @abstractmethod
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes) of uint8 images (n, c, h, w); rows sum to 1."""

    def min_probability(self, probabilities: NDArray[np.float32]) -> float:
        """The minimum probability of the predicted class with which a label of the pool is sure.

        `probabilities` (n, num_classes) are those of the pool. The setting, or more where held-out
        labels of the subset demand it: sure labels must be right at least nine times in ten.
        """
        minimum = float(self.config.min_probability)
        if self.held_out is None:
            return minimum
        return minimum_probability(self.held_out, minimum, probabilities)

    def ood_score(self, images: Images, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Out-of-distribution score of each image, (n,); higher means less like the known classes.

        By default one minus the maximum of `probabilities`, the teacher's class probabilities of
        `images`.
        """
        return 1 - probabilities.max(axis=1)


def in_batches(images: Images, function: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
    """Rows (n, d) of `function` applied to uint8 images, in batches.

    All batches have the same size, so that a row does not depend on the other images.
    """
    return map_images(images, function, PREDICT_BATCH, pad=True)

"""What classifiers of tables share: one row of features per image, and one fixed training table.

A family says how a table is fitted and how rows are predicted; which images and features are in the
table, and classes without images, are the same for all.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.classifiers.table_features import TABLE_FEATURES, table_rows
from pipeline.config.validation import Section, refuse_repeats, unknown_name
from pipeline.data.images import Images
from pipeline.nn.backend import stream
from pipeline.nn.hog import Rows
from pipeline.nn.mixing import Mixing
from pipeline.nn.tensors import to_input
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed


class TableConfig(Section):
    """What the columns and the rows of the table are."""

    # Any of pixels, hog (edges) and color; several kinds stand side by side.
    features: list[str] = Field(default=["pixels"], min_length=1)
    copies: int = Field(default=1, gt=0, le=1000)  # how often the transform moves each extra image

    @model_validator(mode="after")
    def _refuse_unknown_features(self) -> Self:
        for name in self.features:
            for problem in unknown_name("features", name, TABLE_FEATURES):
                raise ValueError(problem)
        refuse_repeats("features", self.features)
        return self


class TableClassifier(Classifier):
    """One row per image; the transform is applied once, to the extra images, before the fit."""

    Config: ClassVar[type[TableConfig]] = TableConfig
    config: TableConfig
    classes: NDArray[np.int64]  # those that the training set has, in increasing order
    num_classes: int

    @abstractmethod
    def predict_rows(self, images: Images) -> NDArray[np.floating]:
        """Probabilities (n, len(classes)) of the classes of the training set, at least two."""

    def tables(self, images: Images) -> list[Rows]:
        """The features of uint8 images (n, c, h, w), one table (n, d) for each kind."""
        return table_rows(images, self.config.features)

    def rows(self, images: Images) -> Rows:
        """All features of uint8 images (n, c, h, w) side by side, (n, d)."""
        return np.concatenate(self.tables(images), axis=1)

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        # Classes without training images keep a probability of 0.
        probabilities = np.zeros((len(images), self.num_classes), dtype=np.float32)

        # With one class there is nothing to tell apart.
        several = len(self.classes) > 1
        probabilities[:, self.classes] = self.predict_rows(images) if several else 1.0
        return probabilities


def copied(training_set: TrainingSet, copies: int) -> TrainingSet:
    """A training set in which every extra image occurs `copies` times, each with a share of its
    weight, so that a transform which is applied once changes it in as many ways.

    The weights keep their sum. Nothing is copied where there is no transform.
    """
    if copies == 1 or training_set.transform is None:
        return training_set
    times = np.where(training_set.extra, copies, 1)
    index = np.repeat(np.arange(len(times)), times)
    return replace(
        training_set,
        data=training_set.data.take(index),
        extra=training_set.extra[index],
        weights=(training_set.weights / times)[index],
    )


def expanded(training_set: TrainingSet, seed: int) -> Images:
    """The training images, uint8 (n, c, h, w), with each extra image transformed once."""
    images, extra = training_set.data.images, training_set.extra
    if training_set.transform is None or not extra.any():
        return images

    if isinstance(training_set.transform, Mixing):
        raise ParamsError(
            "params.yaml: arms",
            "expected a transform that keeps labels for a classifier of tables, found one that "
            "mixes them",
            "list only classifiers that are trained on batches, such as `classifiers: [cnn]`",
        )
    generator = stream(derive_seed("expand", seed))
    batch = to_input(images[extra]).contiguous()
    changed = training_set.transform(batch, generator).mul(255).round().to(torch.uint8)

    result = images.copy()
    result[extra] = changed.contiguous().numpy()
    return result

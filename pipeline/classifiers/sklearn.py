"""Any classifier of scikit-learn by its name: logistic regression, support vectors, forests, ...

Source: Pedregosa et al. (2011), "Scikit-learn: machine learning in Python". Deviations: features
are scaled (`scaling`). Equal images with equal labels are one row with the sum of their weights, so
repeating the labeled subset changes nothing. An estimator that gives scores but no probabilities,
such as `SVC`, gets the softmax of its scores; see `temperature_of`. An estimator whose `fit` has no
`sample_weight`, such as `KNeighborsClassifier`, ignores the weights: there an added image counts as
much as a real one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from pipeline.classifiers.base import TrainingSet
from pipeline.classifiers.estimators import (
    class_scores,
    create_estimator,
    fit_estimator,
    has_probabilities,
    predict_estimator,
)
from pipeline.classifiers.scaling import Scaler, Scaling
from pipeline.classifiers.table import TableClassifier, TableConfig, copied, expanded
from pipeline.data.images import Images, ImageSpec, Labels
from pipeline.data.parts import assign_stratified
from pipeline.nn.temperature import temperature_losses
from pipeline.runtime.seeds import derive_seed, numpy_rng

FOLDS = 5  # at most, for the temperature
TEMPERATURES = 2.0 ** np.arange(-8, 16, 0.25)  # scores of different estimators differ in size


class SklearnConfig(TableConfig):
    """The estimator, and those of its parameters that differ from the library's defaults."""

    estimator: str = Field(examples=["LogisticRegression"])
    settings: dict[str, Any] = Field(default_factory=dict)
    scaling: Scaling = "kind"

    @model_validator(mode="after")
    def _refuse_unknown_estimator(self) -> Self:
        create_estimator(self.estimator, self.settings, seed=0)
        return self


@dataclass(frozen=True)
class Rows:
    """The distinct images of a training set, with labels (n,) and weights (n,) of mean 1.

    `extra`, (n,) bool, marks those that are not in the labeled subset.
    """

    images: Images
    labels: Labels
    weights: NDArray[np.float64]
    extra: NDArray[np.bool_]

    def take(self, index: NDArray[Any]) -> Rows:
        """The rows at `index`; the weights keep their values."""
        return Rows(self.images[index], self.labels[index], self.weights[index], self.extra[index])


class Sklearn(TableClassifier):
    """The estimator `config.estimator` on the rows of `TableClassifier`.

    What is saved is the training table and the seed: loading fits again, to the same bits, so that
    no file with weights can run code.
    """

    Config = SklearnConfig
    config: SklearnConfig
    training: Rows
    temperature: float

    @override
    def build(self, spec: ImageSpec) -> None:
        """Fit a small random table, to find settings that only `fit` refuses."""
        rng = numpy_rng("build")
        labels = np.tile(np.arange(spec.num_classes), 10)
        table = [rng.random((len(labels), 8), dtype=np.float32)]
        rows = Scaler(table, self.config.scaling)(table)
        fit_estimator(self._unfitted(), rows, labels, np.ones(len(labels)))

    @override
    def fit(self, training_set: TrainingSet) -> Self:
        self.num_classes = training_set.num_classes
        training_set = copied(training_set, self.config.copies)
        self._fit(distinct(training_set, expanded(training_set, self.seed)))
        self.temperature = self.temperature_of()
        return self

    def _fit(self, training: Rows) -> None:
        self.training, self.classes = training, np.unique(training.labels)
        if len(self.classes) > 1:
            tables = self.tables(training.images)
            self.scaler = Scaler(tables, self.config.scaling)
            self.estimator = self._unfitted()
            rows = self.scaler(tables)
            fit_estimator(self.estimator, rows, training.labels, training.weights)

    def _unfitted(self) -> Any:
        seed = derive_seed("sklearn", self.seed)
        return create_estimator(self.config.estimator, self.config.settings, seed)

    def temperature_of(self) -> float:
        """The temperature of the softmax of scores: the one with the least held-out log loss.

        The source is in `nn.temperature`. The images of the labeled subset alone are held out, fold
        by fold, and scored by the estimator fitted on the others; copies of an image could tell its
        label otherwise. 1 for an estimator that gives probabilities, and where a class of the
        subset has fewer than two images. The class with the largest score stays the first one.
        """
        if len(self.classes) < 2 or has_probabilities(self.estimator):
            return 1.0
        base = self.training.take(~self.training.extra)
        counts = np.bincount(base.labels, minlength=self.num_classes)[self.classes]
        num_folds = min(FOLDS, int(counts.min()))
        if num_folds < 2:
            return 1.0

        rng = numpy_rng("temperature", self.seed)
        folds, losses = assign_stratified(base.labels, num_folds, rng), np.zeros(len(TEMPERATURES))
        for fold in range(num_folds):
            part = Sklearn(self.config, self.seed)
            part._fit(base.take(folds != fold))
            held_out = base.take(folds == fold)
            scores = class_scores(part.estimator, part.scaler(part.tables(held_out.images)))
            columns = np.searchsorted(self.classes, held_out.labels)
            losses += temperature_losses(scores, columns, TEMPERATURES).sum(axis=1)
        return float(TEMPERATURES[losses.argmin()])

    @override
    def predict_rows(self, images: Images) -> NDArray[np.floating]:
        rows = self.scaler(self.tables(images))
        return predict_estimator(self.estimator, rows, self.temperature)

    @override
    def state(self) -> dict[str, Tensor]:
        training = self.training
        return {
            "images": torch.from_numpy(training.images),
            "labels": torch.from_numpy(training.labels),
            "weights": torch.from_numpy(training.weights),
            "extra": torch.from_numpy(training.extra),
            "temperature": torch.tensor(self.temperature, dtype=torch.float64),
            "seed": torch.tensor(self.seed, dtype=torch.int64),
        }

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        names = ("images", "labels", "weights", "extra")
        self.seed, self.temperature = int(state["seed"]), float(state["temperature"])
        self.num_classes = spec.num_classes
        self._fit(Rows(*(state[name].numpy() for name in names)))
        return self

    @override
    def digest(self) -> str:
        settings = json.dumps(self.config.model_dump(mode="json"), sort_keys=True)
        running = hashlib.sha256(settings.encode())
        for name, value in self.state().items():
            running.update(f"{name}\0{tuple(value.shape)}\0".encode())
            running.update(value.contiguous().numpy().tobytes())
        return running.hexdigest()


def distinct(training_set: TrainingSet, images: Images) -> Rows:
    """The distinct pairs of image and label, in order, with the sum of the weights of each.

    `images` are those of the training set, transformed. A pair that is in the labeled subset is not
    extra.
    """
    data = training_set.data
    first: dict[tuple[bytes, int], int] = {}
    keys = [(image.tobytes(), int(label)) for image, label in zip(images, data.labels, strict=True)]
    which = np.array([first.setdefault(key, len(first)) for key in keys])
    index = np.unique(which, return_index=True)[1]

    weights = np.bincount(which, training_set.weights)
    real = np.bincount(which, ~training_set.extra) > 0
    return Rows(images[index], data.labels[index], weights / weights.mean(), ~real)

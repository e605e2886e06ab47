"""LightGBM's gradient-boosted trees, on raw pixels or other features.

Source: Ke et al. (2017), "LightGBM: a highly efficient gradient boosting decision tree", with the
random thresholds of Geurts et al. (2006), "Extremely randomized trees". Deviation: the library's
minimum number of rows in a leaf is off. With its default of 20, a hundred rows give trees with
hardly a split; and with any minimum, repeating images at equal total weight changes the trees.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from pipeline.classifiers.base import TrainingSet
from pipeline.classifiers.table import TableClassifier, TableConfig, copied, expanded
from pipeline.config.validation import Count
from pipeline.data.images import Images, ImageSpec
from pipeline.runtime.determinism import NUM_THREADS
from pipeline.runtime.seeds import derive_seed


class LightGBMConfig(TableConfig):
    """The names are those of the library's parameters, but for the last two and the inherited
    ones."""

    num_trees: Count = 100  # boosting rounds; each grows one tree per class
    num_leaves: int = Field(default=15, gt=1, le=1_000_000)
    learning_rate: float = Field(default=0.1, gt=0)
    # Minimum sum of hessians in a leaf, as a share of the total weight of all rows.
    min_hessian_frac: float = Field(default=1.0e-6, gt=0, lt=1)
    colsample_frac: float = Field(default=0.05, gt=0, le=1)  # share of the columns per tree


class LightGBM(TableClassifier):
    """Trees on the rows of `TableClassifier`."""

    Config = LightGBMConfig
    config: LightGBMConfig

    @override
    def fit(self, training_set: TrainingSet) -> Self:
        import lightgbm  # takes a second, which stages without trees save

        config, training_set = self.config, copied(training_set, self.config.copies)
        min_hessian = config.min_hessian_frac * float(training_set.weights.sum())
        model = lightgbm.LGBMClassifier(
            n_estimators=config.num_trees,
            num_leaves=config.num_leaves,
            learning_rate=config.learning_rate,
            min_child_weight=min_hessian,
            # Nothing may count rows; see the module. Zero, not one: even one changes the fit on
            # the labeled subset alone.
            min_child_samples=0,
            min_data_in_bin=1,
            extra_trees=True,
            colsample_bytree=config.colsample_frac,
            random_state=derive_seed("lightgbm", self.seed) % 2**31,
            deterministic=True,
            # By default the library times both memory layouts and takes the faster one. The trees
            # are the same; by rows, a tree also reads the pixels that it does not use.
            force_col_wise=True,
            n_jobs=NUM_THREADS,
            verbosity=-1,
        )

        rows = self.rows(expanded(training_set, self.seed))
        with warnings.catch_warnings():
            # With one or two images per class the library warns that this may be a regression.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            model.fit(rows, training_set.data.labels, sample_weight=training_set.weights)
        self._set(model.booster_.model_to_string(), model.classes_, training_set.num_classes)
        return self

    def _set(self, text: str, classes: NDArray[np.int64], num_classes: int) -> None:
        """Keep a fitted model: its text, the classes that it saw, and how many there are."""
        import lightgbm

        self.text = text
        self.classes = classes
        self.num_classes = num_classes
        self.booster = lightgbm.Booster(model_str=text)

    @override
    def state(self) -> dict[str, Tensor]:
        text = np.frombuffer(self.text.encode(), dtype=np.uint8).copy()
        return {"model": torch.from_numpy(text), "classes": torch.from_numpy(self.classes)}

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        text = state["model"].numpy().tobytes().decode()
        self._set(text, state["classes"].numpy(), spec.num_classes)
        return self

    @override
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @override
    def predict_rows(self, images: Images) -> NDArray[np.floating]:
        predicted = np.asarray(self.booster.predict(self.rows(images), num_threads=NUM_THREADS))
        if len(self.classes) == 2:  # binary trees give the probability of the second class
            return np.stack([1.0 - predicted, predicted], axis=1)
        return predicted

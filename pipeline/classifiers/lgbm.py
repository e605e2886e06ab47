"""LightGBM's gradient-boosted trees on raw pixels.

Source: Ke et al. (2017), "LightGBM: a highly efficient gradient boosting decision tree", with the
random thresholds of Geurts et al. (2006), "Extremely randomized trees". The library's least number
of rows in a leaf is off: with 20 a hundred rows give trees without splits worth having, and a count
of rows would make repeated images a change.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.config.validation import Count, Section
from pipeline.data.images import Images
from pipeline.nn.backend import stream
from pipeline.runtime.determinism import NUM_THREADS
from pipeline.runtime.seeds import derive_seed


class LightGBMConfig(Section):
    """See the library's parameter page for the meaning beyond the comments."""

    num_trees: Count  # boosting rounds; each grows one tree per class
    num_leaves: int = Field(gt=1, le=1_000_000)
    learning_rate: float = Field(gt=0)
    min_hessian_frac: float = Field(gt=0, lt=1)  # least hessian in a leaf per weight of all rows
    colsample_frac: float = Field(gt=0, le=1)  # share of the pixels each tree may use


class LightGBM(Classifier):
    """One row per image; a transform is applied to the extra images once, before the fit."""

    Config = LightGBMConfig

    def __init__(self, config: LightGBMConfig, seed: int) -> None:
        super().__init__(config, seed)
        import lightgbm  # a second of imports that stages without trees are spared

        self.model = lightgbm.LGBMClassifier(
            n_estimators=config.num_trees,
            num_leaves=config.num_leaves,
            learning_rate=config.learning_rate,
            # Nothing may count rows, or repeating images at equal total weight would be a change.
            # Zero, not one: even one changes the fit on the draw alone.
            min_child_samples=0,
            min_data_in_bin=1,
            extra_trees=True,
            colsample_bytree=config.colsample_frac,
            random_state=derive_seed("lightgbm", seed) % 2**31,
            deterministic=True,
            # Without it the library times both layouts and takes the faster. The trees are the
            # same, but by rows a tree goes through the pixels that it does not use, too.
            force_col_wise=True,
            n_jobs=NUM_THREADS,
            verbosity=-1,
        )

    def fit(self, training_set: TrainingSet) -> LightGBM:
        """See `Classifier.fit`."""
        data = training_set.data
        self.num_classes = training_set.num_classes
        rows = _rows(expanded(training_set, self.seed))
        least = self.config.min_hessian_frac * float(training_set.weights.sum())
        self.model.set_params(min_child_weight=least)
        self.model.fit(rows, data.labels, sample_weight=training_set.weights)
        return self

    def digest(self) -> str:
        """See `Classifier.digest`."""
        return hashlib.sha256(self.model.booster_.model_to_string().encode()).hexdigest()

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`."""
        probabilities = np.zeros((len(images), self.num_classes), dtype=np.float32)
        if len(self.model.classes_) == 1:  # the library then gives two columns
            probabilities[:, self.model.classes_] = 1.0
        else:
            probabilities[:, self.model.classes_] = self.model.predict_proba(_rows(images))
        return probabilities


def expanded(training_set: TrainingSet, seed: int) -> Images:
    """The training images with each extra one transformed once, uint8 (n, c, h, w)."""
    images, extra = training_set.data.images, training_set.extra
    if training_set.transform is None or not extra.any():
        return images
    generator = stream(derive_seed("expand", seed))
    batch = torch.from_numpy(images[extra]).to(torch.float32).div_(255)
    changed = training_set.transform(batch, generator).mul(255).round().to(torch.uint8)
    result = images.copy()
    result[extra] = changed.numpy()
    return result


def _rows(images: Images) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32)

"""Cross-validation in a replicate: standard deviation of the noise, threshold of the filter.

Only the replicate's labeled subset is used. For each fold a generator and a teacher are trained on
the other folds; with every pair of candidates images are sampled and filtered, a classifier learns
from these and the other folds, and its log loss on the fold is the score. So no model sees the fold
that it is scored on. Knows no family of generators or classifiers: it receives their trainers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import Classifier, TrainingSet, plain
from pipeline.data.images import LabeledImages
from pipeline.data.parts import Groups
from pipeline.evaluation.metrics import log_loss
from pipeline.generators.base import Generator
from pipeline.generators.sampling import sample_classes
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.arms import Candidates, Recipe, assemble
from pipeline.training_sets.folds import stratified
from pipeline.training_sets.transforms.building import build_transform
from pipeline.trials.specs import MemberSpec


@dataclass(frozen=True)
class Choice:
    """The standard deviation of the noise and the minimum probability of the filter."""

    latent_std: float
    min_probability: float


@dataclass(frozen=True)
class Search:
    """The candidates, the number of folds, and how images are sampled and classifiers trained.

    `per_class` images are sampled per class; `transform` is that of the teacher.
    """

    latent_std: tuple[float, ...]
    min_probability: tuple[float, ...]
    folds: int
    per_class: int
    transform: MemberSpec | None = None

    def pairs(self) -> list[Choice]:
        """All pairs of candidates, in the order of params.yaml."""
        return [Choice(*pair) for pair in itertools.product(self.latent_std, self.min_probability)]


@dataclass(frozen=True)
class Trainers:
    """Functions that train a generator, or a classifier like the teacher's, from data and a seed.

    The folder is for the generator's checkpoints.
    """

    generator: Callable[[LabeledImages, int, Path], Generator]
    classifier: Callable[[TrainingSet, int], Classifier]


def choose(
    subset: LabeledImages,
    search: Search,
    trainers: Trainers,
    seed: int,
    folder: Path,
    groups: Groups | None = None,
) -> Choice:
    """The pair with the least total log loss over all folds of `subset`, the first of equals.

    No group of `groups` (n,) is in two folds. A single pair is returned without training anything.
    Raises `DivergedError` when the training of a generator diverges.
    """
    pairs = search.pairs()
    if len(pairs) == 1:
        return pairs[0]

    folds = stratified(subset.labels, search.folds, seed, groups)
    losses = np.zeros(len(pairs))
    for fold in range(search.folds):
        parts = subset.take(folds != fold), subset.take(folds == fold)
        fold_seed = derive_seed("fold", seed, fold)
        losses += held_out_losses(parts, search, trainers, fold_seed, folder / f"fold-{fold}")
    return pairs[int(np.where(np.isnan(losses), np.inf, losses).argmin())]


def held_out_losses(
    parts: tuple[LabeledImages, LabeledImages],
    search: Search,
    trainers: Trainers,
    seed: int,
    folder: Path,
) -> NDArray[np.float64]:
    """Log loss of every pair of candidates, summed over the images of a fold, (pairs,).

    `parts` are the images to learn from and the fold. All pairs share the generator, the teacher,
    the noise and the initial weights of the classifier, so they differ in the candidates only.
    """
    rest, fold = parts
    # Like an arm of the study: all images that pass the filter, with half of the weight.
    recipe = Recipe(search.per_class, filter="agreement", transform=search.transform)

    generator = trainers.generator(rest, derive_seed("generator", seed), folder)
    training_set = plain(rest, build_transform(search.transform, rest.background))
    teacher = trainers.classifier(training_set, derive_seed("teacher", seed))
    losses = []
    for latent_std in search.latent_std:
        data = sample_classes(generator, search.per_class, seed, latent_std)
        probabilities = teacher.predict_proba(data.images)
        for min_probability in search.min_probability:
            added = Candidates(data, probabilities, min_probability)
            training_set = assemble(recipe, rest, added, seed).training_set
            student = trainers.classifier(training_set, derive_seed("student", seed))
            losses.append(log_loss(fold.labels, student.predict_proba(fold.images)) * len(fold))
    return np.array(losses)

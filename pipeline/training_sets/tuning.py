"""What a replicate chooses for itself: how wide the noise is, and how sure the teacher must be.

Cross-fitting inside the replicate's own draw. For each fold a generator and a teacher are trained
on the other folds; every pair of candidates makes and filters images, a classifier learns from
these and the other folds, and its log loss on the fold counts. So a fold reaches nothing that is
judged by it, and no label outside the draw takes part. Knows no family of generators or
classifiers: it is handed what trains them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import Classifier, TrainingSet, plain
from pipeline.config.schema import SYNTHETIC, ArmParams, Params
from pipeline.data.images import LabeledImages, Labels
from pipeline.evaluation.metrics import log_loss
from pipeline.generators.base import Generator
from pipeline.generators.sampling import sample_classes
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.training_sets.arms import Candidates, assemble
from pipeline.training_sets.transforms import build_transform


@dataclass(frozen=True)
class Choice:
    """The standard deviation of the noise, and the least probability that the filter wants."""

    latent_std: float
    min_probability: float


@dataclass(frozen=True)
class Trainers:
    """What trains a generator and a classifier of the teacher's kind, from data and a seed.

    The folder is for the generator's checkpoints.
    """

    generator: Callable[[LabeledImages, int, Path], Generator]
    classifier: Callable[[TrainingSet, int], Classifier]


def candidates(params: Params) -> list[Choice]:
    """Every pair there is to choose from, in the order of params.yaml."""
    tune = params.tune
    return [Choice(*pair) for pair in itertools.product(tune.latent_std, tune.min_probability)]


def choose(
    subset: LabeledImages, params: Params, trainers: Trainers, seed: int, folder: Path
) -> Choice:
    """The pair with the least loss over all folds of `subset`, the first of equals.

    A single pair is fixed: then nothing is held out and nothing trained. Raises `DivergedError`
    when the training of a fold's generator does.
    """
    pairs = candidates(params)
    if len(pairs) == 1:
        return pairs[0]
    folds = stratified(subset.labels, params.tune.folds, seed)
    losses = np.zeros(len(pairs))
    for fold in range(params.tune.folds):
        parts = subset.take(folds != fold), subset.take(folds == fold)
        fold_seed = derive_seed("fold", seed, fold)
        losses += held_out_losses(parts, params, trainers, fold_seed, folder / f"fold-{fold}")
    return pairs[int(np.where(np.isnan(losses), np.inf, losses).argmin())]


def stratified(labels: Labels, num_folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of every image, (n,), dealt out class by class.

    Raises `ParamsError` when a fold would be left without an image of a class.
    """
    rng = numpy_rng("folds", seed)
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        if len(positions) < num_folds:
            raise ParamsError(
                "params.yaml: tune.folds",
                f"expected at most the {len(positions)} labeled images of class {label}, "
                f"found {num_folds}",
                "lower it, raise study.budgets, or give one candidate each for what is tuned",
            )
        folds[positions] = np.arange(len(positions)) % num_folds
    return folds


def held_out_losses(
    parts: tuple[LabeledImages, LabeledImages],
    params: Params,
    trainers: Trainers,
    seed: int,
    folder: Path,
) -> NDArray[np.float64]:
    """Log loss of every pair of candidates, summed over the images of a fold, (pairs,).

    `parts` are the images to learn from and the fold. All pairs share generator, teacher, noise and
    a classifier's first weights, so that they differ in nothing but what is chosen.
    """
    rest, fold = parts
    settings = params.synthesize
    # An arm like those of the study: everything the filter keeps, half of the weight.
    arm = ArmParams(
        inputs=SYNTHETIC,
        per_class=settings.per_class,
        filter="agreement",
        transform=settings.teacher.transform,
    )
    transform = build_transform(arm.transform, params.transforms)
    generator = trainers.generator(rest, derive_seed("generator", seed), folder)
    teacher = trainers.classifier(plain(rest, transform), derive_seed("teacher", seed))
    losses = []
    for latent_std in params.tune.latent_std:
        data = sample_classes(generator, settings.per_class, seed, latent_std)
        probabilities = teacher.predict_proba(data.images)
        for min_probability in params.tune.min_probability:
            added = Candidates(data, probabilities, min_probability)
            training_set = assemble(arm, rest, added, params, seed).training_set
            student = trainers.classifier(training_set, derive_seed("student", seed))
            losses.append(log_loss(fold.labels, student.predict_proba(fold.images)) * len(fold))
    return np.array(losses)

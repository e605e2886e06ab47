"""Cross-validation in a replicate: which transform, and which settings of a classifier.

Only the replicate's labeled subset is used. For each fold, the classifier is trained with every
candidate on the other folds, as an arm of augmented real images would be, and predicts the fold.
First the transform is chosen, with the classifier's first settings; then its settings, with that
transform. So the cost is a sum and not a product. Knows no family of classifiers or transforms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.data.images import LabeledImages
from pipeline.data.parts import Groups
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.arms import Recipe, assemble
from pipeline.training_sets.folds import stratified
from pipeline.trials.specs import MemberSpec

NONE = "none"
MARGIN = 1.0  # standard errors by which a candidate must be better
SHARPEST, BLUNTEST, NUM_TEMPERATURES = 0.25, 16.0, 49

Losses = NDArray[np.float64]  # (n,): of every image of the subset, when it was held out
Train = Callable[[TrainingSet, int, int], Classifier]  # training set, number of settings, seed


@dataclass(frozen=True)
class TransformSearch:
    """The candidates: names and specs of the transforms, `none` among them, and the settings.

    `folds` is the largest number of folds; `per_class` images are added per class.
    """

    transforms: tuple[tuple[str, MemberSpec | None], ...]
    num_settings: int
    folds: int
    per_class: int


@dataclass(frozen=True)
class TransformChoice:
    """What was chosen: the transform, and the number of the settings among the candidates.

    `folds` is the number of folds, 0 if the subset allows none; then `reason` says why.
    `candidates` has a row for every candidate that was compared.
    """

    transform: str
    settings: int
    folds: int
    reason: str
    candidates: list[dict[str, Any]]


def choose_transform(
    subset: LabeledImages,
    search: TransformSearch,
    train: Train,
    seed: int,
    groups: Groups | None = None,
) -> TransformChoice:
    """The transform and the settings that predict held-out images of `subset` best.

    No group of `groups` (n,) is in two folds. All candidates share the folds and the seeds. Without
    two folds that both have every class, nothing is compared: `none` and the first settings.
    """
    folds, reason = folds_of(subset, search.folds, seed, groups)
    if folds is None:
        return TransformChoice(NONE, 0, 0, reason, [])

    rows: list[dict[str, Any]] = []

    def losses(name: str, settings: int) -> Losses:
        transform = dict(search.transforms)[name]
        recipe = Recipe(search.per_class, transform=transform)
        values = held_out_losses(subset, folds, recipe, settings, train, seed)
        rows.append({"transform": name, "settings": settings, "loss": float(values.mean())})
        return values

    # `none` first: all others have to beat it.
    names = [NONE, *(name for name, _ in search.transforms if name != NONE)]
    table = [losses(name, 0) for name in names]
    name = names[best(table)]
    table = [table[names.index(name)]]
    table += [losses(name, number) for number in range(1, search.num_settings)]
    return TransformChoice(name, best(table), int(folds.max()) + 1, reason, rows)


def folds_of(
    subset: LabeledImages, most: int, seed: int, groups: Groups | None
) -> tuple[NDArray[np.int64] | None, str]:
    """The fold of every image, with the largest number of folds up to `most` that has every class
    in every fold; None, and a sentence, if not even two folds have.
    """
    for number in range(most, 1, -1):
        try:
            return stratified(subset.labels, number, derive_seed("folds", seed), groups), ""
        except ParamsError as error:
            reason = str(error.args[1])
    return None, f"no cross-validation: {reason}"


def held_out_losses(
    subset: LabeledImages,
    folds: NDArray[np.int64],
    recipe: Recipe,
    settings: int,
    train: Train,
    seed: int,
) -> Losses:
    """The log loss of every image by the classifier that did not learn from its fold, (n,)."""
    probabilities = np.zeros((len(subset), subset.num_classes))
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        fold_seed = derive_seed("fold", seed, fold)
        training_set = assemble(recipe, subset.take(~held_out), None, fold_seed).training_set
        classifier = train(training_set, settings, fold_seed)
        probabilities[held_out] = classifier.predict_proba(subset.images[held_out])
    return calibrated_losses(subset, probabilities)


def calibrated_losses(subset: LabeledImages, probabilities: NDArray[np.float64]) -> Losses:
    """The log loss of every image, (n,), at the temperature at which their mean is least.

    Source: Guo et al. (2017), "On calibration of modern neural networks", section 4.2. Without it,
    augmentation would be chosen for its less confident errors alone, where accuracy counts.
    """
    logits = np.log(np.clip(np.nan_to_num(probabilities), np.finfo(np.float32).eps, 1))
    temperatures = np.geomspace(SHARPEST, BLUNTEST, NUM_TEMPERATURES)
    scaled = logits / temperatures[:, None, None]
    scaled = scaled - np.logaddexp.reduce(scaled, axis=2, keepdims=True)
    losses = -scaled[:, np.arange(len(subset)), subset.labels]  # (temperatures, n)
    return np.asarray(losses[losses.mean(axis=1).argmin()])


def best(table: list[Losses]) -> int:
    """The number of the candidate to use; 0, the first one, where the evidence is weak.

    The candidate with the least mean loss, if it is less than that of the first one by more than
    `MARGIN` standard errors of the paired difference.
    """
    means = np.array([losses.mean() for losses in table])
    least = int(means.argmin())
    difference = table[least] - table[0]
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return least if difference.mean() < -MARGIN * error else 0

"""Cross-validation in a replicate: which transform, and which settings of a classifier.

Only the replicate's labeled subset is used. For each fold, the classifier is trained with every
candidate on the other folds, as an arm of augmented real images would be, and predicts the fold.
First the transform is chosen, with the classifier's first settings; then its settings, with that
transform. So the cost is a sum and not a product. Knows no family of classifiers or transforms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.data.images import LabeledImages, Labels
from pipeline.data.parts import Groups, whole_groups
from pipeline.nn.temperature import temperature_losses
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.arms import Recipe, assemble
from pipeline.training_sets.folds import stratified
from pipeline.trials.specs import MemberSpec

NONE = "none"
# One-sided level at which a candidate must be better than the first one, over all candidates.
LEVEL = 0.1
MIN_TEMPERATURE, MAX_TEMPERATURE, NUM_TEMPERATURES = 0.25, 16.0, 49

Losses = NDArray[np.float64]  # (n,): of every image of the subset, when it was held out
Train = Callable[[TrainingSet, int, int], Classifier]  # training set, number of settings, seed


@dataclass(frozen=True)
class TransformSearch:
    """The candidates: names and specs of the transforms, `none` among them, and the settings.

    `folds` is the largest number of folds; `per_class` images are added per class. The whole
    cross-validation is done `repeats` times, with other folds, and its losses are averaged.
    """

    transforms: tuple[tuple[str, MemberSpec | None], ...]
    num_settings: int
    folds: int
    per_class: int
    repeats: int = 1


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
    seeds = [derive_seed("repeat", seed, number) for number in range(search.repeats)]
    fold_results = [folds_of(subset, search.folds, repeat_seed, groups) for repeat_seed in seeds]
    repeats = [
        (folds, repeat_seed)
        for (folds, _), repeat_seed in zip(fold_results, seeds, strict=True)
        if folds is not None
    ]
    if not repeats:
        return TransformChoice(NONE, 0, 0, fold_results[0][1], [])

    def losses(name: str, settings: int) -> Losses:
        recipe = Recipe(search.per_class, transform=dict(search.transforms)[name])
        values = [
            held_out_losses(subset, folds, recipe, settings, train, repeat_seed)
            for folds, repeat_seed in repeats
        ]
        return np.mean(values, axis=0)

    # `none` first: all others have to beat it.
    names = [NONE, *(name for name, _ in search.transforms if name != NONE)]
    table = [losses(name, 0) for name in names]
    rows = [compared(name, 0, values, table[0]) for name, values in zip(names, table, strict=True)]

    name = names[best(table)]
    table = [table[names.index(name)]]
    table += [losses(name, number) for number in range(1, search.num_settings)]
    rows += [compared(name, number, values, table[0]) for number, values in enumerate(table)][1:]
    return TransformChoice(name, best(table), int(repeats[0][0].max()) + 1, "", rows)


def compared(name: str, settings: int, losses: Losses, baseline: Losses) -> dict[str, Any]:
    """A candidate with its mean loss, its difference from the baseline, and its standard error."""
    difference, error = paired(losses, baseline)
    return {
        "transform": name,
        "settings": settings,
        "loss": float(losses.mean()),
        "difference": difference,
        "standard_error": error,
    }


def paired(losses: Losses, baseline: Losses) -> tuple[float, float]:
    """The mean of the paired difference over images, and its standard error."""
    difference = losses - baseline
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def folds_of(
    subset: LabeledImages, max_folds: int, seed: int, groups: Groups | None
) -> tuple[NDArray[np.int64] | None, str]:
    """The fold of every image, with the largest number of folds up to `max_folds` that has
    every class in every fold; None, and a sentence, if not even two folds have.
    """
    for number in range(max_folds, 1, -1):
        try:
            return stratified(subset.labels, number, derive_seed("folds", seed), groups), ""
        except ParamsError:
            continue
    return None, f"no cross-validation: {too_few(subset.labels, groups)}"


def too_few(labels: Labels, groups: Groups | None) -> str:
    """Why `labels` (n,), with their groups, give no two folds that both have every class."""
    units = np.arange(len(labels)) if groups is None else whole_groups(groups)
    counts = {int(label): len(np.unique(units[labels == label])) for label in np.unique(labels)}
    label, count = min(counts.items(), key=lambda pair: pair[1])
    unit = "labeled image" if groups is None else "group of labeled images"
    if count < 2:
        return f"class {label} has {count} {unit}, and two folds need 2"
    return "the groups cannot be divided into two folds that both have every class"


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

    The source is in `nn.temperature`. Without it, augmentation would be chosen for its less
    confident errors alone, where accuracy counts.
    """
    logits = np.log(np.clip(np.nan_to_num(probabilities), np.finfo(np.float32).eps, 1))
    temperatures = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, NUM_TEMPERATURES)
    losses = temperature_losses(logits, subset.labels, temperatures)
    return np.asarray(losses[losses.mean(axis=1).argmin()])


def best(table: list[Losses]) -> int:
    """The number of the candidate to use; 0, the first one, where the evidence is weak.

    The candidate with the least mean loss, if a paired test finds it better than the first one. Its
    level is divided by the number of others, since the best of many may be so by chance.
    """
    if len(table) == 1:
        return 0
    means = np.array([losses.mean() for losses in table])
    lowest = int(means.argmin())
    difference, error = paired(table[lowest], table[0])
    margin = NormalDist().inv_cdf(1 - LEVEL / (len(table) - 1))
    return lowest if difference < -margin * error else 0

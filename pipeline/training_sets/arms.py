"""From a labeled subset, added images and the recipe of an arm to a training set.

Every arm adds `per_class` images to the labeled subset: its own images again, fresh real ones,
generated images, images labeled by a teacher, if they pass the filter, or interpolated ones. So
arms with equal `per_class` differ in which images they add, not in how many. If the classes of
the subset differ in size, `per_class` is for the largest one and the others get images in
proportion, or every class is filled up to the largest. Knows no classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import TrainingSet
from pipeline.config.arms import BALANCE, ArmParams, SmoteArm
from pipeline.config.schema import MemberParams
from pipeline.data.images import LabeledImages, Labels, joined
from pipeline.runtime.errors import DataError, TrialError
from pipeline.runtime.seeds import numpy_rng
from pipeline.training_sets.filters import find_filter
from pipeline.training_sets.smote import interpolated
from pipeline.training_sets.transforms.building import build_transform, transform_spec
from pipeline.trials.specs import MemberSpec


@dataclass(frozen=True)
class Recipe:
    """The part of an arm that decides its training sets; see `config.arms` for the meaning.

    `k_neighbors` is that of SMOTE, None for arms that interpolate nothing.
    """

    per_class: int | Literal["balance"]
    real: bool = True
    real_share: float = 0.5
    filter: str = "none"
    permute_labels: bool = False
    transform: MemberSpec | None = None
    class_weights: str = "none"
    k_neighbors: int | None = None


def recipe_of(arm: ArmParams, transforms: Mapping[str, MemberParams]) -> Recipe:
    """The recipe of an arm; raises `ParamsError` when its transform's settings are wrong."""
    return Recipe(
        arm.per_class,
        arm.real,
        arm.real_share,
        arm.filter,
        arm.permute_labels,
        transform_spec(arm.transform, transforms),
        arm.class_weights,
        arm.k_neighbors if isinstance(arm, SmoteArm) else None,
    )


@dataclass(frozen=True)
class Candidates:
    """Images with the labels of their generator or teacher, from which a filter selects.

    `probabilities`, (n, num_classes), are those of the teacher that filters; `min_probability` is
    the minimum that the filter requires.
    """

    data: LabeledImages
    probabilities: NDArray[np.float32]
    min_probability: float


@dataclass(frozen=True)
class ArmSet:
    """A training set, its real images with their true labels, and the counts of the filter.

    `num_made` is the number of images in it that a generator made, a teacher labeled or SMOTE
    interpolated.
    """

    training_set: TrainingSet
    real: LabeledImages
    num_made: int
    num_candidates: int
    num_rejected: int


def assemble(
    recipe: Recipe,
    subset: LabeledImages,
    added: Candidates | LabeledImages | None,
    seed: int,
) -> ArmSet:
    """The training set of one replicate.

    `added` is what the arm adds: candidates, real images, or None for those of the subset. Real
    images are repeated up to `per_class`. Candidates are not: a class with fewer selected
    images stays smaller, which the counts record. `seed` decides what SMOTE interpolates and the
    order of permuted labels. Raises `TrialError` when no image is left, `DataError` when there are
    too few real images to add.
    """
    wanted = images_to_add(subset.labels, recipe.per_class)
    is_made = isinstance(added, Candidates) or recipe.k_neighbors is not None
    num_candidates = num_kept = 0
    if recipe.k_neighbors is not None:
        source = interpolated(subset, wanted, recipe.k_neighbors, seed)
    elif isinstance(added, Candidates):
        keep = find_filter(recipe.filter)
        mask = keep(added.data.labels, added.probabilities, added.min_probability)
        source = added.data.take(mask)
        num_candidates, num_kept = len(added.data), len(source)
    else:
        source = subset if added is None else added
        refuse_fewer(source, subset)

    positions = first_of_each_class(source.labels, wanted, repeat=not is_made)
    extra = source.take(positions)
    base = subset if recipe.real else subset.take(np.arange(0))
    # The manifest records real images only, with their labels before they are permuted.
    real = base if is_made else joined(base, extra)

    if recipe.permute_labels:
        order = numpy_rng("permute", seed).permutation(len(extra))
        extra = replace(extra, labels=extra.labels[order])
    data = joined(base, extra)
    if len(data) == 0:
        raise TrialError(
            "the training set of an arm without real images",
            f"expected images, found that filter {recipe.filter} rejected all of them",
            "lower tune.min_probability or the teacher's min_probability, or set real: true",
        )

    is_extra = np.arange(len(data)) >= len(base)
    once = 1 / np.bincount(positions)[positions]
    training_set = TrainingSet(
        data=data,
        extra=is_extra,
        weights=sample_weights(recipe, is_extra, once, data.labels),
        num_classes=subset.num_classes,
        transform=build_transform(recipe.transform, subset.background),
    )
    num_made = len(extra) if is_made else 0
    return ArmSet(training_set, real, num_made, num_candidates, num_candidates - num_kept)


def images_to_add(labels: Labels, per_class: int | Literal["balance"]) -> NDArray[np.int64]:
    """How many images every class gets, (num_classes,), by the `labels` of the labeled subset.

    A number is for the largest class; the others get it in proportion to their size, rounded, and
    at least one image. So the shares of the classes stay as they are, and where all classes have
    the same size each gets this number. `balance`: the difference to the largest class.
    """
    sizes = np.bincount(labels)
    if per_class == BALANCE:
        return np.where(sizes > 0, sizes.max() - sizes, 0)
    in_proportion = np.rint(per_class * sizes / sizes.max()).astype(np.int64)
    return np.where(sizes > 0, np.maximum(in_proportion, min(per_class, 1)), 0)


def refuse_fewer(source: LabeledImages, subset: LabeledImages) -> None:
    """Raise `DataError` when `source` has fewer images of a class than the subset.

    With the same total weight as the subset, a few images would have too much weight each.
    """
    needed = np.bincount(subset.labels)
    counts = np.bincount(source.labels, minlength=len(needed))
    if (counts < needed).any():
        label = int((counts - needed).argmin())
        raise DataError(
            source.source,
            f"expected at least as many real images as in the labeled subset, found "
            f"{counts[label]} in place of {needed[label]} of class {label}: the pool has no more",
            "lower study.budgets or remove the arm that adds fresh labels",
        )


def sample_weights(
    recipe: Recipe, extra: NDArray[np.bool_], once: NDArray[np.float64], labels: Labels
) -> NDArray[np.float64]:
    """The weights of a recipe, (n,) with mean 1; `extra` and `once` as in `balanced`."""
    if recipe.per_class == BALANCE:
        weights = np.ones(len(extra))
    else:
        weights = balanced(extra, recipe.real_share, once)
    is_plain = recipe.class_weights == "none"
    return weights if is_plain else with_equal_classes(weights, labels)


def balanced(
    extra: NDArray[np.bool_], real_share: float, once: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (n,) with mean 1 that give the images which are not `extra` the share `real_share`.

    Otherwise a hundred real images would have little weight among thousands of added ones. `once`,
    (number of extra images,), is one over how often each of them occurs, so an image counts the
    same however often it is repeated, and repeating the subset changes no image's total weight.
    """
    num_base = len(extra) - len(once)
    weights = np.full(len(extra), (real_share if len(once) else 1) / max(num_base, 1))
    weights[extra] = once * (1 - real_share if num_base else 1) / once.sum()
    return weights * len(extra)


def with_equal_classes(weights: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Weights (n,) scaled so that every class that has images has the same total weight, mean 1.

    Equal weights become scikit-learn's `class_weight="balanced"`, n / (classes * count).
    """
    totals = np.bincount(labels, weights)
    return weights * weights.sum() / (np.count_nonzero(totals) * totals[labels])


def first_of_each_class(
    labels: Labels, counts: NDArray[np.int64], repeat: bool
) -> NDArray[np.int64]:
    """Positions of the first `counts[label]` images of every class, classes alternating.

    With `repeat`, a class with fewer images starts over; otherwise it has fewer positions.
    """
    by_class = []
    for label in np.unique(labels):
        count, positions = int(counts[label]), np.flatnonzero(labels == label)
        by_class.append(np.resize(positions, count) if repeat else positions[:count])

    ranks = np.concatenate([np.arange(len(positions)) for positions in by_class] or [np.arange(0)])
    joined_positions = np.concatenate(by_class or [np.arange(0)])
    return joined_positions[np.argsort(ranks, kind="stable")].astype(np.int64)

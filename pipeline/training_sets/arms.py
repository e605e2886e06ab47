"""From a draw, synthetic images and an arm's recipe to a training set.

Every arm adds `per_class` images to the draw: the draw's own again, fresh real ones, a generator's
or those that a teacher labeled, as far as they pass the filter. Thus arms of one `per_class` differ
in what they add, not in how much. Knows no classifier's inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import TrainingSet
from pipeline.config.schema import ArmParams, Params
from pipeline.data.images import LabeledImages, Labels, joined
from pipeline.runtime.errors import DataError, TrialError
from pipeline.runtime.seeds import numpy_rng
from pipeline.training_sets.filters import find_filter
from pipeline.training_sets.transforms import build_transform


@dataclass(frozen=True)
class Candidates:
    """Images with the labels they were made with or given, a teacher's class probabilities of them,
    (n, num_classes), and how high the filter wants these.
    """

    data: LabeledImages
    probabilities: NDArray[np.float32]
    min_probability: float


@dataclass(frozen=True)
class ArmSet:
    """An arm's training set, its real images with their true labels, and what the filter did.

    `num_made` counts images in it that a generator made or a teacher labeled.
    """

    training_set: TrainingSet
    real: LabeledImages
    num_made: int
    num_candidates: int
    num_rejected: int


def assemble(
    arm: ArmParams,
    subset: LabeledImages,
    added: Candidates | LabeledImages | None,
    params: Params,
    seed: int,
) -> ArmSet:
    """The training set of `arm` for one replicate.

    `added` is what the arm adds: candidates, real ones, or None for the draw's own. Real
    images are repeated up to `per_class`; a class of which the filter kept fewer synthetic images
    gets those it kept, and the counts say so. `seed` decides the order of permuted labels. Raises
    `TrialError` when nothing is left to train on, `DataError` when there are no real images to add.
    """
    is_filtered = isinstance(added, Candidates)
    if isinstance(added, Candidates):
        keep = find_filter(arm.filter)
        source = added.data.take(
            keep(added.data.labels, added.probabilities, added.min_probability)
        )
        num_candidates, num_kept = len(added.data), len(source)
    else:
        source = subset if added is None else added
        num_candidates = num_kept = 0
        refuse_fewer(source, subset)
    positions = first_of_each_class(source.labels, arm.per_class, repeat=not is_filtered)
    extra = source.take(positions)
    base = subset if arm.real else subset.take(np.arange(0))
    real = base if is_filtered else joined(base, extra)
    if arm.permute_labels:
        order = numpy_rng("permute", seed).permutation(len(extra))
        extra = LabeledImages(extra.images, extra.labels[order])
    data = joined(base, extra)
    if len(data) == 0:
        raise TrialError(
            f"arm with inputs {arm.inputs}",
            f"expected images to train on, found that filter {arm.filter} turned all away",
            "lower tune.min_probability, or the teacher's, or let the arm keep real images",
        )
    is_extra = np.arange(len(data)) >= len(base)
    training_set = TrainingSet(
        data=data,
        extra=is_extra,
        weights=balanced(is_extra, arm.real_share, 1 / np.bincount(positions)[positions]),
        num_classes=subset.num_classes,
        transform=build_transform(arm.transform, params.transforms),
    )
    num_made = len(extra) if is_filtered else 0
    return ArmSet(training_set, real, num_made, num_candidates, num_candidates - num_kept)


def refuse_fewer(source: LabeledImages, subset: LabeledImages) -> None:
    """Raise `DataError` when `source` has fewer images than the draw, of any class.

    Weighted like the draw, a few images would count for too much.
    """
    needed = np.bincount(subset.labels)
    counts = np.bincount(source.labels, minlength=len(needed))
    if (counts < needed).any():
        label = int((counts - needed).argmin())
        raise DataError(
            source.source,
            f"expected as many real images as in the draw, found {counts[label]} in place of "
            f"{needed[label]} of class {label}: the pool has no more",
            "lower study.budgets or take out the arm that adds fresh labels",
        )


def balanced(
    extra: NDArray[np.bool_], real_share: float, once: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights of mean 1 that give the images that are not `extra` the share `real_share`.

    Without it a hundred real images would drown among thousands of added ones. `once`, (number of
    extra images,), is one over how often each occurs: an image that is repeated more often than
    another one counts no more, so that repeating a draw is no change whatever the numbers are.
    """
    num_own = len(extra) - len(once)
    shares = np.full(len(extra), (real_share if len(once) else 1) / max(num_own, 1))
    shares[extra] = once * (1 - real_share if num_own else 1) / once.sum()
    return shares * len(extra)


def first_of_each_class(labels: Labels, count: int, repeat: bool) -> NDArray[np.int64]:
    """Positions of the first `count` images of every class, classes interleaved.

    With `repeat`, a class with fewer images starts over; without, it gives what it has.
    """
    ranked = []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        ranked.append(np.resize(positions, count) if repeat else positions[:count])
    order = np.concatenate([np.arange(len(positions)) for positions in ranked] or [np.arange(0)])
    joined = np.concatenate(ranked or [np.arange(0)])
    return joined[np.argsort(order, kind="stable")].astype(np.int64)

"""From a draw, synthetic images and an arm's recipe to a training set.

Every arm adds `per_class` images to the draw: the draw's own again, or a generator's that passed
the filter. Thus arms differ in what they add, not in how much. Knows no classifier's inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import TrainingSet
from pipeline.errors import DataError
from pipeline.filters import build_filter
from pipeline.images import LabeledImages, Labels
from pipeline.params import ArmParams, Params
from pipeline.transforms import build_transform


@dataclass(frozen=True)
class Synthetic:
    """Synthetic images, and the teacher's class probabilities of them, (n, num_classes)."""

    data: LabeledImages
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class ArmSet:
    """An arm's training set, and how its synthetic images came through the filter."""

    training_set: TrainingSet
    num_synthetic: int
    num_candidates: int
    num_rejected: int


def assemble(arm: ArmParams, draw: LabeledImages, synthetic: Synthetic | None,
             params: Params) -> ArmSet:  # fmt: skip
    """The training set of `arm` for one replicate.

    `synthetic` is None exactly for arms that add no generator's images. A class of which the filter
    kept fewer than `per_class` images gets those it kept, and the counts say so. Raises `DataError`
    when nothing is left to train on.
    """
    if synthetic is None:
        added = draw.take(first_of_each_class(draw.labels, arm.per_class, repeat=True))
        num_candidates = num_kept = 0
    else:
        keep = build_filter(arm.filter, params.filters)
        kept = synthetic.data.take(keep(synthetic.data.labels, synthetic.probabilities))
        added = kept.take(first_of_each_class(kept.labels, arm.per_class, repeat=False))
        num_candidates, num_kept = len(synthetic.data), len(kept)
    real = draw if arm.real else draw.take(np.arange(0))
    data = LabeledImages(
        np.concatenate([real.images, added.images]), np.concatenate([real.labels, added.labels])
    )
    if len(data) == 0:
        raise DataError(
            f"arm with inputs {arm.inputs}",
            f"expected images to train on, found that filter {arm.filter} turned all away",
            "lower the filter's confidence or let the arm keep real images",
        )
    extra = np.arange(len(data)) >= len(real)
    training_set = TrainingSet(
        data=data,
        extra=extra,
        weights=balanced(extra, arm.real_share),
        num_classes=int(draw.labels.max()) + 1,
        transform=build_transform(arm.transform, params.transforms),
    )
    num_synthetic = 0 if synthetic is None else len(added)
    return ArmSet(training_set, num_synthetic, num_candidates, num_candidates - num_kept)


def balanced(extra: NDArray[np.bool_], real_share: float) -> NDArray[np.float64]:
    """Weights of mean 1 that give the images that are not `extra` the share `real_share`.

    Without it a hundred real images would drown among thousands of added ones. All images count
    alike where there is only one kind.
    """
    num_extra = int(extra.sum())
    if num_extra in (0, len(extra)):
        return np.ones(len(extra))
    shares = np.where(extra, (1 - real_share) / num_extra, real_share / (len(extra) - num_extra))
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

"""The images that an audit compares, as rows of pixels and of a judge's features.

Features of different judges must not be compared. Arrays in, arrays out; knows no measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import Images, LabeledImages, flat, joined
from pipeline.evaluation import fidelity
from pipeline.evaluation.fidelity import Features
from pipeline.evaluation.pool import Fold, Index, Pool

SPACES = ("pixels", "features")
MAX_COMPARED = 2000  # images per set: pairwise distances need n * n numbers


class Judge(Protocol):
    """The part of a classifier that the audit uses."""

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes)."""

    def embed(self, images: Images) -> Features:
        """Features (n, d) of the images, in which distances are computed."""


@dataclass(frozen=True)
class EmbeddedImages:
    """Images as rows of pixels and of features, and their distance to the labeled subset."""

    data: LabeledImages
    points: dict[str, Features]  # by space, (n, d)
    nearest: dict[str, Features]  # by space, distance to the nearest image of the subset, (n,)

    def of(self, label: int) -> EmbeddedImages:
        """The images of one class."""
        mask = self.data.labels == label
        return EmbeddedImages(
            self.data.take(mask),
            {space: points[mask] for space, points in self.points.items()},
            {space: distances[mask] for space, distances in self.nearest.items()},
        )


@dataclass(frozen=True)
class Sets:
    """Held-out real images, others in place of synthetic ones, and synthetic ones.

    `index` are the positions of `reference`, then of `floor`, in the pool.
    """

    reference: EmbeddedImages
    floor: EmbeddedImages
    synthetic: EmbeddedImages
    index: Index


def compare(
    pool: Pool,
    fold: Fold,
    judge: Judge | None,
    index: Index,
    synthetic: LabeledImages,
    rng: np.random.Generator,
) -> Sets:
    """The sets of one fold and its judge, at most `MAX_COMPARED` images of each."""
    subset = embed(judge, pool.data.images[index])
    at_reference, at_floor = (
        sample_positions(np.setdiff1d(part, index), rng) for part in (fold.reference, fold.floor)
    )
    sampled = synthetic.take(sample_positions(np.arange(len(synthetic)), rng))
    reference, floor, embedded = (
        embed_images(judge, data, subset)
        for data in (pool.data.take(at_reference), pool.data.take(at_floor), sampled)
    )
    return Sets(reference, floor, embedded, np.concatenate([at_reference, at_floor]))


def sample_positions(positions: Index, rng: np.random.Generator) -> Index:
    """At most `MAX_COMPARED` random ones of `positions`, without repeats."""
    return positions[rng.permutation(len(positions))[:MAX_COMPARED]]


def embed(judge: Judge | None, images: Images) -> dict[str, Features]:
    """`images` as rows, in both spaces of `SPACES`; without a judge, in pixels alone."""
    if len(images) == 0:
        return dict.fromkeys(SPACES if judge else SPACES[:1], np.zeros((0, 1), dtype=np.float32))
    features = {"features": judge.embed(images)} if judge else {}
    return {"pixels": flat(images), **features}


def embed_images(
    judge: Judge | None, data: LabeledImages, subset: dict[str, Features]
) -> EmbeddedImages:
    """`data` with its distances to the subset, whose rows by space are `subset`."""
    points = embed(judge, data.images)
    nearest = {space: fidelity.nearest_distance(points[space], subset[space]) for space in points}
    return EmbeddedImages(data, points, nearest)


def merged(sets: Sequence[Sets]) -> Sets:
    """The sets of all folds as one, without points: judges have features of their own.

    Distances of a fold are divided by their median over its real images, so that those of
    different judges are on one scale.
    """
    scaled = [_scaled(each) for each in sets]
    reference, floor, synthetic = (
        EmbeddedImages(
            joined_all([part.data for part in parts]),
            {},
            {
                space: np.concatenate([part.nearest[space] for part in parts])
                for space in parts[0].nearest
            },
        )
        for parts in zip(
            *((each.reference, each.floor, each.synthetic) for each in scaled), strict=True
        )
    )
    # The order: images of `reference`, then of `floor`.
    counts = [len(each.reference.data) for each in sets]
    first = [each.index[:count] for each, count in zip(sets, counts, strict=True)]
    rest = [each.index[count:] for each, count in zip(sets, counts, strict=True)]
    return Sets(reference, floor, synthetic, np.concatenate([*first, *rest]))


def _scaled(sets: Sets) -> Sets:
    """The sets with distances in features divided by their median over real images."""
    if "features" not in sets.reference.nearest:
        return sets
    known = np.concatenate([sets.reference.nearest["features"], sets.floor.nearest["features"]])
    median = np.float32(np.median(known)) if len(known) else np.float32(0)
    if median <= 0:
        return sets
    reference, floor, synthetic = (
        EmbeddedImages(
            part.data, part.points, part.nearest | {"features": part.nearest["features"] / median}
        )
        for part in (sets.reference, sets.floor, sets.synthetic)
    )
    return Sets(reference, floor, synthetic, sets.index)


def with_pixels(sets: Sets) -> Sets:
    """The sets with their pixels as points, which do not depend on a judge."""
    reference, floor, synthetic = (
        replace(part, points=embed(None, part.data.images))
        for part in (sets.reference, sets.floor, sets.synthetic)
    )
    return replace(sets, reference=reference, floor=floor, synthetic=synthetic)


def split_evenly(data: LabeledImages, count: int) -> list[LabeledImages]:
    """`count` parts of the images, each with every `count`-th image of every class."""
    part_of = np.zeros(len(data), dtype=np.int64)
    for label in np.unique(data.labels):
        members = np.flatnonzero(data.labels == label)
        part_of[members] = np.arange(len(members)) % count
    return [data.take(part_of == part) for part in range(count)]


def joined_all(parts: Sequence[LabeledImages]) -> LabeledImages:
    """All images, part by part."""
    whole = parts[0]
    for part in parts[1:]:
        whole = joined(whole, part)
    return whole

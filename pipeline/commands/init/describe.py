"""What is in a dataset: counts, copies, near twins, names of sequences, the background."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datasets.base import RawDataset
from pipeline.data.duplicates import Duplicates, Named, distinct
from pipeline.data.groups import twin_pairs
from pipeline.data.images import UNLABELED, Background, Images, content_ids, joined

# At this correlation, exposures of one scene are twins, but no two digits of MNIST and no two
# photos of hands of different people.
TWIN = 0.98
MAX_COMPARED = 20_000  # images; more take minutes
SEQUENCE = "^(.*[^0-9])[0-9]+[.]"  # the beginning of a numbered file name
FRAMES = 3  # numbered files with the same prefix that may be a sequence

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Twins:
    """Images that are nearly the same: how many have a twin, and the closest pairs, (pairs, 2).

    Pairs are positions among the images and then those of the dataset's own test set, of which
    `num_across` training images have a twin.
    """

    num_images: int = 0
    num_across: int = 0
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    is_known: bool = True  # False: there were too many images to compare


@dataclass(frozen=True)
class Description:
    """A dataset and what was found in it.

    `kept` (n,) marks the images that remain after copies are dropped.
    """

    raw: RawDataset
    kept: NDArray[np.bool_]
    duplicates: Duplicates
    twins: Twins
    sequences: tuple[str, ...]
    background: Background

    @cached_property
    def counts(self) -> Counts:
        """Different labeled images of every class outside the test set, (num_classes,)."""
        return _counts(self.raw.images.labels[self.kept], len(self.raw.class_names))

    @cached_property
    def test_counts(self) -> Counts | None:
        """Images of every class in the dataset's own test set, or None."""
        test = self.raw.test
        return None if test is None else _counts(test.labels, len(self.raw.class_names))

    @property
    def num_unlabeled(self) -> int:
        """Different images without a label."""
        return int((self.raw.images.labels[self.kept] == UNLABELED).sum())

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.raw.images.images.shape[1:]
        return channels, height, width

    @property
    def imbalance(self) -> float:
        """The ratio of the largest class to the smallest."""
        return float(self.counts.max() / max(1, self.counts.min()))

    @property
    def twin_share(self) -> float:
        """The share of images, test images included, that have a near twin."""
        num_test = 0 if self.raw.test is None else len(self.raw.test)
        return self.twins.num_images / max(1, int(self.kept.sum()) + num_test)

    def images_at(self, positions: NDArray[np.int64]) -> Images:
        """The images at the positions of `Twins.pairs`, (n, c, h, w)."""
        parts = [self.raw.images] + ([self.raw.test] if self.raw.test is not None else [])
        found = np.empty((len(positions), *self.shape), dtype=np.uint8)
        start = 0
        for part in parts:
            inside = (positions >= start) & (positions < start + len(part))
            found[inside] = part.images[positions[inside] - start]
            start += len(part)
        return found


def describe(raw: RawDataset, background: Background) -> Description:
    """The description of `raw`; reads all of its images."""
    images, test = raw.images, raw.test
    kept, _, found = distinct(
        Named(content_ids(images.images), images.labels, raw.origins.paths),
        None
        if test is None
        else Named(content_ids(test.images), test.labels, raw.test_origins.paths),
    )
    return Description(
        raw,
        kept,
        found,
        near_twins(raw, kept),
        sequences(raw.origins.paths),
        background,
    )


def near_twins(raw: RawDataset, kept: NDArray[np.bool_]) -> Twins:
    """Near twins among the images that are kept and the test set; the closest pairs first."""
    num_train = len(raw.images)
    index, data = np.flatnonzero(kept), raw.images
    if raw.test is not None:
        index = np.concatenate([index, num_train + np.arange(len(raw.test))])
    if len(index) > MAX_COMPARED:
        return Twins(is_known=False)
    if raw.test is not None:
        data = joined(data, raw.test)

    blocks = list(twin_pairs(data.images[index], TWIN))
    if not blocks:
        return Twins()
    first, second, correlation = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    order = np.argsort(-correlation, kind="stable")
    pairs = np.stack([index[first[order]], index[second[order]]], axis=1)
    # The first position of a pair is the smaller one.
    across = pairs[(pairs[:, 0] < num_train) & (pairs[:, 1] >= num_train), 0]
    # Pairs within the test set concern no split.
    pairs = pairs[pairs[:, 0] < num_train]
    return Twins(len(np.unique(pairs)), len(np.unique(across)), pairs)


def sequences(paths: Sequence[str]) -> tuple[str, ...]:
    """Prefixes of numbered file names, such as `exp1_num_`, that several files share.

    Only if a folder has several such prefixes, which may then be recordings.
    """
    by_folder: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path in paths:
        name = PurePosixPath(path)
        numbered = re.match(SEQUENCE, name.name)
        if numbered:
            by_folder[str(name.parent)][numbered[1]] += 1
    found: set[str] = set()
    for beginnings in by_folder.values():
        several = {beginning for beginning, count in beginnings.items() if count >= FRAMES}
        found |= several if len(several) > 1 else set()
    return tuple(sorted(found))


def _counts(labels: NDArray[np.int64], num_classes: int) -> Counts:
    return np.bincount(labels[labels != UNLABELED], minlength=num_classes).astype(np.int64)

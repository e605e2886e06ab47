"""Labels, content ids and groups of all images of a dataset, without their pixels.

Splits depend on these alone, so the images may stay in a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import GroupParams, Params
from pipeline.data.budgets import Counts, class_counts
from pipeline.data.datasets.base import Origins, RawDataset
from pipeline.data.duplicates import Duplicates, Named, distinct
from pipeline.data.groups import groups_of
from pipeline.data.images import (
    UNLABELED,
    Background,
    Images,
    LabeledImages,
    Labels,
    content_ids,
    joined,
)
from pipeline.data.parts import Groups, whole_groups
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import Rows

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Some images of a dataset by their `positions` in `images`; all else is (n,).

    `groups` is None if params.yaml has no rule for groups.
    """

    images: Images  # all of the dataset, perhaps memory-mapped
    positions: Index
    labels: Labels
    ids: NDArray[np.str_]
    groups: Groups | None
    source: str

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, index: Index | Mask) -> Part:
        """The images at `index`, positions or a mask, in that order."""
        return replace(
            self,
            positions=self.positions[index],
            labels=self.labels[index],
            ids=self.ids[index],
            groups=None if self.groups is None else self.groups[index],
        )

    def ordered(self) -> Part:
        """Sorted by content id, then by label, so that equal sets have the same order."""
        return self.take(np.lexsort((self.labels, self.ids)))

    def apart_from(self, other: Part) -> Part:
        """Without the images of groups that `other` has as well."""
        if self.groups is None or other.groups is None:
            return self
        return self.take((self.groups == -1) | ~np.isin(self.groups, other.groups))

    def rows(self) -> Rows:
        """The images in order, read in chunks."""
        return Rows(self.images, self.positions)

    def load(self, index: Index, background: Background) -> LabeledImages:
        """The images at `index`, in memory."""
        images = Rows(self.images, self.positions[index]).load()
        return LabeledImages(images, self.labels[index], self.source, background)


@dataclass(frozen=True)
class Catalog:
    """The images of a dataset without its duplicates.

    `known` are those of the classes of the task, in canonical order, labeled or not; `unknown`
    those of `data.unknown_classes`, without labels; `test` is the dataset's own test set.
    `num_in_test_groups` other images were left out since their groups are in that test set.
    """

    known: Part
    unknown: Part
    test: Part | None
    class_names: tuple[str, ...]
    duplicates: Duplicates
    num_in_test_groups: int = 0

    @property
    def counts(self) -> Counts:
        """How many labeled images of every class there are outside a test set of its own."""
        return class_counts(self.known.labels, len(self.class_names))


def catalog(params: Params, raw: RawDataset) -> Catalog:
    """The catalog of a dataset; see `duplicates` for which copies are left out.

    Raises `ParamsError` for unknown classes that the dataset does not have.
    """
    rule = params.data.group
    groups, test_groups = (None, None) if rule is None else group_numbers(rule, raw)
    everything = whole(raw.images, groups)
    own = None if raw.test is None else whole(raw.test, test_groups)
    keep, keep_test, found = distinct(
        Named(everything.ids, everything.labels, raw.origins.paths),
        None if own is None else Named(own.ids, own.labels, raw.test_origins.paths),
    )
    every = kept = everything.take(keep)
    test = None
    if own is not None and keep_test is not None:
        test = own.take(keep_test)
        kept = every.apart_from(test)

    classes = params.data.unknown_classes.classes
    known, unknown = without_classes(kept, classes)
    return Catalog(
        known.ordered(),
        unknown,
        None if test is None else without_classes(test, classes)[0].ordered(),
        tuple(np.delete(raw.class_names, classes).tolist()),
        found,
        len(every) - len(kept),
    )


def whole(data: LabeledImages, groups: Groups | None) -> Part:
    """All images of `data`."""
    positions = np.arange(len(data))
    return Part(data.images, positions, data.labels, content_ids(data.images), groups, data.source)


def group_numbers(rule: GroupParams, raw: RawDataset) -> tuple[Groups, Groups | None]:
    """The groups of the images and of the test set; equal numbers mean the same group."""
    if raw.test is None:
        return groups_of(rule, raw.origins, raw.images), None
    first, second = raw.origins, raw.test_origins
    columns = {name: (*first.columns[name], *second.columns[name]) for name in first.columns}
    origins = Origins((*first.paths, *second.paths), columns)
    numbers = groups_of(rule, origins, joined(raw.images, raw.test))
    return numbers[: len(raw.images)], numbers[len(raw.images) :]


def group_record(
    rule: GroupParams | None, parts: Sequence[Part], num_in_test: int
) -> dict[str, Any] | None:
    """The rule, the number of groups in all `parts` and the images of the largest; or None.

    `num_in_test` images are in no part, since their groups are in the test set.
    """
    if rule is None:
        return None
    groups = np.concatenate([part.groups for part in parts if part.groups is not None])
    sizes = np.bincount(whole_groups(groups))
    return {
        "rule": rule.model_dump(exclude_defaults=True),
        "num_groups": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "num_in_test": num_in_test,
    }


def without_classes(data: Part, unknown: list[int]) -> tuple[Part, Part]:
    """`data` without the classes `unknown`, renumbered from 0, and the removed images, unlabeled.

    Raises `ParamsError` when one of `unknown` is not a class of `data`, when fewer than two classes
    would be left, or when `data` has unlabeled images, which may be of those classes.
    """
    if not unknown:
        return data, data.take(np.zeros(len(data), dtype=bool))
    if (data.labels == UNLABELED).any():
        raise ParamsError(
            "params.yaml: data.unknown_classes.classes",
            f"expected none, since {data.source} has unlabeled images itself, found {unknown}",
            "remove them or use a dataset in which all images are labeled",
        )
    classes = np.unique(data.labels)
    classes_left = np.setdiff1d(classes, unknown)
    absent = sorted({*unknown} - {*classes.tolist()})
    if absent or len(classes_left) < 2:
        problem = f"{absent[0]}" if absent else f"only {len(classes_left)} others"
        raise ParamsError(
            "params.yaml: data.unknown_classes.classes",
            f"expected some of {classes.tolist()} and at least two others, found {problem}",
            "name fewer or other classes",
        )
    inside = np.isin(data.labels, classes_left)
    known, removed = data.take(inside), data.take(~inside)
    return (
        replace(known, labels=np.searchsorted(classes_left, known.labels)),
        replace(removed, labels=np.full(len(removed), UNLABELED)),
    )

"""Which images are held out as the test set of a dataset without its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Params
from pipeline.data.budgets import Counts, class_counts, needed_counts
from pipeline.data.catalog import Catalog, Part
from pipeline.data.images import UNLABELED, Labels
from pipeline.data.parts import Groups, assign_groups, whole_groups
from pipeline.runtime.errors import DataError, ParamsError

Mask = NDArray[np.bool_]


def refuse_test_setting(params: Params, has_own_test: bool) -> None:
    """Raise `ParamsError` unless params.yaml says how to get a test set, where that is needed."""
    data = params.data
    if has_own_test and data.test is not None:
        raise ParamsError(
            "params.yaml: data.test",
            f"expected none, since {data.name} has a test set of its own, "
            f"found frac {data.test.frac}",
            "remove it",
        )
    if not has_own_test and data.test is None and data.test_per_class is None:
        raise ParamsError(
            "params.yaml: data",
            f"expected test or test_per_class, since {data.name} has no test set of its own, "
            "found neither",
            "add test: {frac: 0.3, per_seed: true} or, for a large dataset, test_per_class: 100",
        )


def test_counts(params: Params, catalog: Catalog) -> Counts:
    """How many test images of every class are held out.

    `data.test_per_class` of each, or the share `data.test.frac`, at least one, less where the pool
    needs more images for the budgets. Raises `DataError` or `ParamsError` naming a class that is
    too small.
    """
    counts, names = catalog.counts, catalog.class_names
    if int(counts.min()) < 2:
        raise DataError(
            catalog.known.source,
            f"expected at least 2 different images of class {names[int(counts.argmin())]}, "
            f"found {counts.min()}",
            "add images of that class or remove the class",
        )
    if params.data.test is None:
        per_class, smallest = params.data.test_per_class or 1, int(counts.argmin())
        if counts[smallest] <= per_class:
            raise ParamsError(
                "params.yaml: data.test_per_class",
                f"expected fewer than the {counts[smallest]} different images of class "
                f"{names[smallest]}, found {per_class}",
                f"set it to at most {counts[smallest] - 1}",
            )
        return np.full(len(counts), per_class)

    needed = needed_counts(params, counts)
    scarce = int((counts - needed).argmin())
    if counts[scarce] <= needed[scarce]:
        raise DataError(
            catalog.known.source,
            f"expected at least {needed[scarce] + 1} different images of class {names[scarce]} "
            f"({needed[scarce]} in the pool for the budgets of study, 1 in the test set), found "
            f"{counts[scarce]}",
            "lower study.budgets, add images of that class or remove the class",
        )
    share = np.round(params.data.test.frac * counts).astype(np.int64)
    return np.minimum(np.maximum(share, 1), counts - needed)


def hold_out(labels: Labels, wanted: Counts, rng: np.random.Generator) -> Mask:
    """The test images, (n,): `wanted` random ones of every class."""
    held = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(wanted):
        held[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    return held


def hold_out_groups(
    data: Part, groups: Groups, wanted: Counts, names: Sequence[str], rng: np.random.Generator
) -> Mask:
    """The test images, (n,), if whole groups are held out; see `parts.assign_groups`.

    Every class gets about as many as wanted, and at least one. Raises `DataError` naming a class
    with a single group, which cannot be divided.
    """
    labeled = data.labels != UNLABELED
    numbers, labels = whole_groups(groups)[labeled], data.labels[labeled]
    total = class_counts(labels, len(wanted))
    held = assign_groups(labels, numbers, [total - wanted, wanted], rng) == 1

    # If a class is on one side only, its smallest group moves to the other.
    for label, side in itertools.product(range(len(names)), (True, False)):
        inside = labels == label
        if (held[inside] == side).any():
            continue
        candidates, sizes = np.unique(numbers[inside], return_counts=True)
        if len(candidates) < 2:
            raise DataError(
                data.source,
                f"expected at least 2 groups of class {names[label]}, one for the pool and one for "
                f"the test set, found {len(candidates)} with all {inside.sum()} images",
                "change data.group, add images of that class or remove the class",
            )
        held[numbers == candidates[sizes.argmin()]] = side
    chosen = np.zeros(len(data), dtype=bool)
    chosen[np.flatnonzero(labeled)[held]] = True
    return chosen

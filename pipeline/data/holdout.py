"""Which images are held out as the test set of a dataset without its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Params
from pipeline.data.budgets import Counts, needed_counts
from pipeline.data.catalog import Catalog, Part
from pipeline.data.images import UNLABELED, Labels
from pipeline.data.parts import Groups, draw_groups, group_counts, whole_groups
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


def held_out_counts(params: Params, catalog: Catalog) -> Counts:
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
    data: Part,
    groups: Groups,
    wanted: Counts,
    most: Counts,
    names: Sequence[str],
    rng: np.random.Generator,
) -> Mask:
    """The test images, (n,), if whole groups are held out at random; see `parts.draw_groups`.

    Every class gets about as many as `wanted`, and between one and `most` if groups allow that.
    Raises `DataError` naming a class that would be on one side only.
    """
    labeled = data.labels != UNLABELED
    numbers, labels = whole_groups(groups[labeled]), data.labels[labeled]
    counts = group_counts(labels, numbers, len(names))
    num_groups = (counts > 0).sum(axis=0)
    scarce = int(num_groups.argmin())
    if num_groups[scarce] < 2:
        raise DataError(
            data.source,
            f"expected at least 2 groups of class {names[scarce]}, one for the pool and one for "
            f"the test set, found {num_groups[scarce]} with all {counts[:, scarce].sum()} images",
            "change data.group, add images of that class or remove the class",
        )

    drawn = draw_groups(counts, wanted, most, rng)
    for side, held in (("pool", ~drawn), ("test set", drawn)):
        have = counts[held].sum(axis=0)
        if not have.all():
            raise DataError(
                data.source,
                f"expected groups that can be divided so that every class is in the pool and in "
                f"the test set, found no image of class {names[int(have.argmin())]} in the {side}",
                "change data.group, add groups of that class or remove the class",
            )
    chosen = np.zeros(len(data), dtype=bool)
    chosen[np.flatnonzero(labeled)[drawn[numbers]]] = True
    return chosen

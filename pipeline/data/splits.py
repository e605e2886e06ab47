"""Test sets and labeled subsets, stratified by class and nested across budgets.

Functions of arrays and of a catalog. Images are first put into an order that depends on their
content alone, so the order in which a dataset lists its images does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.config.schema import Params
from pipeline.data.budgets import (
    Counts,
    class_budgets,
    class_counts,
    needed_counts,
    refuse_budgets,
)
from pipeline.data.catalog import Catalog, Index, Part, group_record
from pipeline.data.datasets.base import RawDataset
from pipeline.data.holdout import held_out_counts, hold_out, hold_out_groups
from pipeline.data.images import (
    UNLABELED,
    Background,
    Labels,
    digest_of,
)
from pipeline.runtime.errors import DataError, ParamsError
from pipeline.runtime.seeds import derive_seed, numpy_rng


@dataclass(frozen=True)
class Split:
    """The pool and the test set of one seed, or of all seeds; both in canonical order.

    `num_in_test_groups` images are in neither, since their groups are in the test set.
    """

    pool: Part
    test: Part
    num_in_test_groups: int = 0


def split(params: Params, catalog: Catalog, seed: int | None) -> Split:
    """The pool and the test set of a seed, or those of all seeds (None).

    Raises `DataError` or `ParamsError` when a class or the pool is too small.
    """
    name, pool, unknown = params.data.name, catalog.known, catalog.unknown
    names = (name,) if seed is None else (name, seed)
    test, num_in_test_groups = catalog.test, catalog.num_in_test_groups
    if test is None:
        wanted, rng = held_out_counts(params, catalog), numpy_rng("test", *names)
        if pool.groups is None:
            held = hold_out(pool.labels, wanted, rng)
        else:
            most = catalog.counts - needed_counts(params, catalog.counts)
            held = hold_out_groups(pool, pool.groups, wanted, most, catalog.class_names, rng)
        test, pool = pool.take(held), pool.take(~held)
        # Nor are unlabeled images of the groups in the test set in the pool.
        num_left = len(pool) + len(unknown)
        pool, unknown = pool.apart_from(test), unknown.apart_from(test)
        num_in_test_groups += num_left - len(pool) - len(unknown)
    refuse_empty_classes([pool, test], catalog.class_names)
    frac = params.data.unknown_classes.frac
    pool = add_unknown_classes(pool, unknown, frac, numpy_rng("foreign", *names))
    refuse_budgets(params, pool.labels, catalog.counts, catalog.class_names)
    return Split(pool, test, num_in_test_groups)


def refuse_empty_classes(parts: Sequence[Part], class_names: Sequence[str]) -> None:
    """Raise `DataError` when the pool or the test set lacks a class."""
    for part in parts:
        counts = class_counts(part.labels, len(class_names))
        if not counts.all():
            dropped = (
                "duplicates" if part.groups is None else "duplicates and groups of test images"
            )
            raise DataError(
                part.source,
                f"expected different images of every class, found none of class "
                f"{class_names[int(counts.argmin())]} after {dropped} were dropped",
                "add images of that class or remove the class",
            )


def add_unknown_classes(pool: Part, unknown: Part, frac: float, rng: np.random.Generator) -> Part:
    """`pool` with random images of `unknown` added, up to the share `frac` of all images.

    Raises `ParamsError` when `unknown` has too few images.
    """
    count = round(frac / (1 - frac) * len(pool))
    if count > len(unknown):
        most = len(unknown) / (len(unknown) + len(pool))
        raise ParamsError(
            "params.yaml: data.unknown_classes.frac",
            f"expected at most {most:.3f}, since data.unknown_classes.classes have only "
            f"{len(unknown)} images and the other classes {len(pool)}, found {frac}",
            "lower it or name more classes",
        )
    added = unknown.take(rng.permutation(len(unknown))[:count])
    groups = pool.groups
    if groups is not None and added.groups is not None:
        groups = np.concatenate([groups, added.groups])
    both = replace(
        pool,
        positions=np.concatenate([pool.positions, added.positions]),
        labels=np.concatenate([pool.labels, added.labels]),
        ids=np.concatenate([pool.ids, added.ids]),
        groups=groups,
    )
    return both.ordered()


def split_subset(labels: Labels, counts: ArrayLike, rng: np.random.Generator) -> Index:
    """Positions of a stratified random subset, (sum of `counts`,).

    `counts` are the images of every class, (num_classes,), or a single number for all classes,
    which ends with the smallest class. The order is the first image of every class, then the second
    of every class and so on: with an equal `rng`, a smaller budget is the beginning of a larger one
    if all classes have equal counts, and otherwise a part of it. Unlabeled images are not chosen.
    """
    classes = np.unique(labels[labels != UNLABELED])
    ranked = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    sizes = np.array([len(positions) for positions in ranked])
    wanted = np.asarray(counts)
    wanted = np.minimum(wanted, sizes if wanted.ndim else sizes.min())
    chosen = [
        positions[:count]
        for positions, count in zip(ranked, np.broadcast_to(wanted, sizes.shape), strict=True)
    ]
    ranks = np.concatenate([np.arange(len(positions)) for positions in chosen])
    return np.concatenate(chosen)[np.argsort(ranks, kind="stable")]


def split_replicate(
    params: Params, pool: Part, natural: Counts, budget: int, seed: int
) -> tuple[Index, Index]:
    """Positions of the labeled subset of a replicate, and of as many fresh labels beyond it.

    Fresh labels continue the order of the subset in the same proportions, up to the end of the
    pool: the class that is used up first ends them.
    """
    seeds = derive_seed("draw", params.data.name, seed)
    counts = class_budgets(params.data.imbalance, budget, natural)
    own = split_subset(pool.labels, counts, np.random.default_rng(seeds))

    left = class_counts(pool.labels, len(natural)) - counts
    scarce = int((left / counts).argmin())
    fresh = np.minimum(counts, counts * left[scarce] // counts[scarce])
    both = split_subset(pool.labels, counts + fresh, np.random.default_rng(seeds))
    return own, both[~np.isin(both, own)]


def summary(
    params: Params, raw: RawDataset, catalog: Catalog, splits: Sequence[Split], color: Background
) -> dict[str, Any]:
    """The record of a split dataset: names, shape, counts, digests and what was dropped.

    `pool` and `test` are those of the first seed; `color` is the background.
    """
    first = splits[0]
    sizes = [len(each.test) for each in splits]
    num_repeated = len(first.pool) - len(np.unique(first.pool.ids))
    return {
        "dataset": params.data.name,
        # `check` relies on this record only if its settings are those of params.yaml.
        "settings": params.data.settings,
        "resize": None if params.data.resize is None else params.data.resize.model_dump(),
        "class_names": list(catalog.class_names),
        "shape": list(first.pool.images.shape[1:]),
        "background": None if color is None else list(color),
        "imbalance": params.data.imbalance,
        # Labeled images outside a test set of the dataset's own.
        "class_counts": catalog.counts.tolist(),
        "per_seed": params.data.per_seed,
        "pool": _counts(first.pool, catalog) | {"num_duplicates": num_repeated},
        "test": _counts(first.test, catalog),
        "test_images": {"min": min(sizes), "max": max(sizes)},
        "reading": dict(raw.reading),
        "duplicates": catalog.duplicates.record(raw.class_names),
        "groups": group_record(
            params.data.group, [first.pool, first.test], first.num_in_test_groups
        ),
    }


def _counts(part: Part, catalog: Catalog) -> dict[str, object]:
    return {
        "num_images": len(part),
        "per_class": class_counts(part.labels, len(catalog.class_names)).tolist(),
        "num_unlabeled": int((part.labels == UNLABELED).sum()),
        "sha256": digest_of(part.rows(), part.labels),
    }

"""Test sets and labeled subsets, stratified by class and nested across budgets.

Functions of arrays. Images are first put into an order that depends on their content alone, so the
order in which a dataset lists its images does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import UNLABELED, LabeledImages, content_ids, digest
from pipeline.runtime.errors import DataError, ParamsError

Index = NDArray[np.int64]


def canonical(data: LabeledImages) -> LabeledImages:
    """`data` sorted by content id, then by label: equal sets have equal orders."""
    return data.take(np.lexsort((data.labels, content_ids(data.images))))


def without_classes(data: LabeledImages, unknown: list[int]) -> tuple[LabeledImages, LabeledImages]:
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
    inside_images = data.take(inside)
    others = data.images[~inside]
    return (
        LabeledImages(
            inside_images.images, np.searchsorted(classes_left, inside_images.labels), data.source
        ),
        LabeledImages(others, np.full(len(others), UNLABELED), data.source),
    )


def add_unknown_classes(
    pool: LabeledImages, unknown: LabeledImages, frac: float, rng: np.random.Generator
) -> LabeledImages:
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
    return canonical(
        LabeledImages(
            np.concatenate([pool.images, added.images]),
            np.concatenate([pool.labels, added.labels]),
            pool.source,
        )
    )


def hold_out(
    data: LabeledImages, per_class: int, rng: np.random.Generator
) -> tuple[LabeledImages, LabeledImages]:
    """(pool, test) with `per_class` random test images of every class.

    Images that occur more than once stay in the pool, so no copy of a test image is in it. Raises
    `ParamsError` when a class would have no image left for the pool, `DataError` when it has too
    few images for any split.
    """
    _, which, counts = np.unique(content_ids(data.images), return_inverse=True, return_counts=True)
    single = counts[which] == 1
    held = np.zeros(len(data), dtype=bool)
    for label in np.unique(data.labels[data.labels != UNLABELED]):
        available = np.flatnonzero((data.labels == label) & single)
        if len(available) < 2:
            raise DataError(
                data.source,
                f"expected at least 2 different images of class {label}, found {len(available)}",
                "add images of that class or remove the class",
            )
        if len(available) <= per_class:
            raise ParamsError(
                "data.test_per_class",
                f"expected fewer than the {len(available)} different images of class {label}, "
                f"found {per_class}",
                f"set it to at most {len(available) - 1}",
            )
        held[rng.permutation(available)[:per_class]] = True
    return data.take(~held), data.take(held)


def refuse_overlap(pool: LabeledImages, test: LabeledImages) -> None:
    """Raise `DataError` when an image of `test` is also in `pool`, pixel for pixel."""
    shared = np.isin(content_ids(test.images), content_ids(pool.images))
    if shared.any():
        raise DataError(
            test.source,
            f"expected no test image among the training images, found {shared.sum()} exact "
            f"duplicates (test rows {np.flatnonzero(shared)[:5].tolist()})",
            "remove them from one of the two sets",
        )


def refuse_large_budget(labels: NDArray[np.int64], budgets: list[int], key: str) -> None:
    """Raise `ParamsError` naming `key` when a budget exceeds the pool's smallest class."""
    classes, counts = np.unique(labels[labels != UNLABELED], return_counts=True)
    smallest = int(counts.argmin())
    if max(budgets, default=0) > counts[smallest]:
        raise ParamsError(
            f"params.yaml: {key}",
            f"expected at most {counts[smallest]} labeled images per class (the pool has no more "
            f"of class {classes[smallest]}), found {max(budgets)}",
            "lower that budget or use a larger dataset",
        )


def split_subset(labels: NDArray[np.int64], budget: int, rng: np.random.Generator) -> Index:
    """Positions of a stratified random subset with `budget` images per class, (budget * classes,).

    The order is the first image of every class, then the second of every class and so on: with an
    equal `rng`, a smaller budget is the beginning of a larger one. It ends with the smallest class.
    Unlabeled images are not chosen.
    """
    classes = np.unique(labels[labels != UNLABELED])
    ranked = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    budget = min(budget, *map(len, ranked))
    return np.stack([positions[:budget] for positions in ranked], axis=1).reshape(-1)


def summary(
    name: str, class_names: tuple[str, ...], pool: LabeledImages, test: LabeledImages
) -> dict[str, Any]:
    """Names, shape, counts per class and digests of a split dataset."""
    ids = content_ids(pool.images)
    return {
        "dataset": name,
        "class_names": list(class_names),
        "shape": list(pool.images.shape[1:]),
        "pool": _counts(pool) | {"num_duplicates": len(ids) - len(np.unique(ids))},
        "test": _counts(test),
    }


def _counts(data: LabeledImages) -> dict[str, object]:
    return {
        "num_images": len(data),
        "per_class": np.bincount(data.labels[data.labels != UNLABELED]).tolist(),
        "num_unlabeled": int((data.labels == UNLABELED).sum()),
        "sha256": digest(data),
    }

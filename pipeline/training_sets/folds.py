"""Folds of a labeled subset for cross-validation: stratified, with whole groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import Labels
from pipeline.data.parts import Groups, assign_groups, assign_stratified, whole_groups
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import numpy_rng


def stratified(
    labels: Labels, num_folds: int, seed: int, groups: Groups | None = None
) -> NDArray[np.int64]:
    """The fold of every image, (n,): every class is spread evenly and at random.

    With `groups` (n,), no group is in two folds, and classes are spread as evenly as that allows.
    Raises `ParamsError` when a fold would have no image of a class.
    """
    rng = numpy_rng("folds", seed)
    if groups is not None:
        return _grouped(labels, num_folds, groups, rng)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < num_folds:
            raise ParamsError(
                "params.yaml: tune.folds",
                f"expected at most the {count} labeled images of class {label}, found {num_folds}",
                "lower it, raise study.budgets, or give a single candidate for each tuned setting",
            )
    return assign_stratified(labels, num_folds, rng)


def _grouped(
    labels: Labels, num_folds: int, groups: Groups, rng: np.random.Generator
) -> NDArray[np.int64]:
    """See `stratified`: folds of whole groups."""
    counts = np.bincount(labels)
    folds = assign_groups(labels, groups, np.tile(counts / num_folds, (num_folds, 1)), rng)
    table = np.zeros((num_folds, len(counts)), dtype=np.int64)
    np.add.at(table, (folds, labels), 1)
    if not table.all():
        label = int((table == 0).any(axis=0).argmax())
        num_groups = len(np.unique(whole_groups(groups)[labels == label]))
        raise ParamsError(
            "params.yaml: tune.folds",
            f"expected images of class {label} in each of {num_folds} folds, found its "
            f"{counts[label]} labeled images in {num_groups} groups, which stay together",
            "lower it, raise study.budgets, or give a single candidate for each tuned setting",
        )
    return folds

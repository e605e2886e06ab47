"""Splits that keep groups together: hold-outs, folds, parts of an audit.

Functions of arrays of labels and groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.data.images import UNLABELED, Labels

Groups = NDArray[np.int64]  # (n,): images with the same number are never in two parts; -1 alone
Parts = NDArray[np.int64]  # (n,): the part of every image


def whole_groups(groups: Groups) -> Groups:
    """Groups renumbered from 0; an image without one (-1) is a group of its own."""
    alone = groups == -1
    numbers = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def assign_groups(
    labels: Labels, groups: Groups, wanted: ArrayLike, rng: np.random.Generator
) -> Parts:
    """The part of every image, (n,), with no group in two parts.

    `wanted` (num_parts, num_classes): how many labeled images of every class each part is to get.
    Groups are assigned one by one, the largest first, equally large ones in random order; each goes
    to the part where this increases the relative squared distance from `wanted` least. Only labeled
    images count.

    Source: the greedy algorithm of scikit-learn's `StratifiedGroupKFold`. Deviation: parts may
    have different sizes.
    """
    targets = np.asarray(wanted, dtype=np.float64)
    numbers = whole_groups(groups)
    counts = np.zeros((numbers.max(initial=-1) + 1, targets.shape[1]))
    labeled = labels != UNLABELED
    np.add.at(counts, (numbers[labeled], labels[labeled]), 1)

    # Small targets weigh more: one image too few matters there.
    weights = 1 / np.maximum(targets, 1) ** 2
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part_of, have = np.zeros(len(counts), dtype=np.int64), np.zeros_like(targets)
    for group in order:
        before, after = (have - targets) ** 2, (have + counts[group] - targets) ** 2
        part = int((weights * (after - before)).sum(axis=1).argmin())
        part_of[group] = part
        have[part] += counts[group]
    return part_of[numbers]

"""Splits by class, and splits that keep groups together: hold-outs, folds, parts of an audit.

Functions of arrays of labels and groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.data.images import UNLABELED, Labels

MAX_DRAWS = 100
MAX_DECISIONS = 1_000_000  # groups times draws; more take seconds
CLOSEST = 0.5  # the share of the draws that one is chosen from
SPREAD = 1.0  # standard deviation of the noise on the logarithms of group sizes

Groups = NDArray[np.int64]  # (n,): images with the same number are never in two parts; -1 alone
Parts = NDArray[np.int64]  # (n,): the part of every image
Counts = NDArray[np.int64]  # (num_groups, num_classes) or (num_classes,): labeled images
Mask = NDArray[np.bool_]


def whole_groups(groups: Groups) -> Groups:
    """Groups renumbered from 0; an image without one (-1) is a group of its own."""
    alone = groups == -1
    numbers = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def group_counts(labels: Labels, numbers: Groups, num_classes: int) -> Counts:
    """Labeled images of every class in every group, (num_groups, num_classes)."""
    counts = np.zeros((numbers.max(initial=-1) + 1, num_classes), dtype=np.int64)
    labeled = labels != UNLABELED
    np.add.at(counts, (numbers[labeled], labels[labeled]), 1)
    return counts


def assign_stratified(labels: Labels, num_parts: int, rng: np.random.Generator) -> Parts:
    """The part of every image, (n,), from 0: every class is spread evenly and at random."""
    parts = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        parts[positions] = np.arange(len(positions)) % num_parts
    return parts


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
    counts = group_counts(labels, numbers, targets.shape[1])

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


def draw_groups(counts: Counts, wanted: Counts, most: Counts, rng: np.random.Generator) -> Mask:
    """A random set of groups, (num_groups,), with about `wanted` images of every class.

    `counts` (num_groups, num_classes) has no empty group. At least one and at most `most` images of
    every class are in the set, and it has a class only in part, wherever that is possible.

    Every group is in a draw with the same probability, the share that is wanted of its main class,
    whatever its size; of many draws one of those closest to `wanted` is chosen.
    """
    total = counts.sum(axis=0)
    num_draws = max(1, min(MAX_DRAWS, MAX_DECISIONS // len(counts)))
    draws = np.array([systematic_draw(counts, wanted / total, rng) for _ in range(num_draws)])
    have = draws @ counts

    # What is not possible counts first. Few of the draws would exclude the largest groups.
    lacking = shortage(have, total, most)
    distance = (np.abs(have - wanted) / np.maximum(wanted, 1)).sum(axis=1)
    closest = np.lexsort((distance, lacking))[: max(1, round(CLOSEST * num_draws))]
    closest = closest[lacking[closest] == lacking.min()]
    return mended(draws[rng.choice(closest)], counts, most)


def systematic_draw(counts: Counts, shares: NDArray[np.float64], rng: np.random.Generator) -> Mask:
    """Groups in a draw, (num_groups,): each with the share of the class that it has most of.

    Groups are ordered by that class and, with noise, by size. The sum of their probabilities passes
    an integer at the chosen ones, so neighbours are rarely chosen together.

    Source: Madow (1949), "On the theory of systematic sampling, II".
    """
    # A class in few groups needs one of them on either side.
    least = 1 / np.maximum(2, (counts > 0).sum(axis=0))
    main = (counts / counts.sum(axis=0)).argmax(axis=1)
    probabilities = np.clip(shares, least, 1 - least)[main]

    sizes = np.log(counts.sum(axis=1)) + SPREAD * rng.standard_normal(len(counts))
    order = np.lexsort((sizes, rng.permutation(counts.shape[1])[main]))
    # Rounded, so that sums such as 3 * (1 / 3) are integers.
    sums = np.floor(np.round(rng.random() + np.cumsum(probabilities[order]), 9))
    drawn = np.zeros(len(counts), dtype=bool)
    drawn[order] = np.diff(sums, prepend=0) > 0
    return drawn


def shortage(have: Counts, total: Counts, most: Counts) -> NDArray[np.int64]:
    """How far sets with `have` images, (..., num_classes), are from what is possible; 0: possible.

    Images beyond `most` count twice, so that a group may leave before another takes its place.
    """
    beyond = np.maximum(have - np.clip(most, 1, total - 1), 0)
    return (2 * beyond + (have == 0)).sum(axis=-1)


def mended(drawn: Mask, counts: Counts, most: Counts) -> Mask:
    """`drawn` with groups moved, one by one, as long as that lessens its shortage."""
    drawn, total = drawn.copy(), counts.sum(axis=0)
    lacking = int(shortage(counts[drawn].sum(axis=0), total, most))
    while lacking:
        moved = np.where(drawn[:, None], -counts, counts)
        after = shortage(counts[drawn].sum(axis=0) + moved, total, most)
        best = int(after.argmin())
        if after[best] >= lacking:
            break
        drawn[best], lacking = not drawn[best], int(after[best])
    return drawn

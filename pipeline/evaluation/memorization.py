"""Whether a generator copied its training images: distances to the labeled subset.

Arrays in, numbers out. A distance to the nearest labeled image means nothing by itself, so every
measure compares it with that of *held-out* real images, which no generator has seen. There are
three measures, since each misses what another detects (Bhattacharjee et al. 2023): equal pixels, a
share of images that are too close, and a test of the whole distribution, in pixels and in features.

With 1 to 10 labels per class, small distances are expected: from one image of a class, a generator
can learn little but variations of it. These numbers qualify a gain; they do not exclude it.

The nearest labeled image may be of any class: a copy with another label is a copy as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import combine_pvalues, mannwhitneyu, rankdata

from pipeline.data.images import Images, Labels, content_ids
from pipeline.data.parts import Groups
from pipeline.evaluation.fidelity import Features, nearest_distance

Distances = NDArray[np.float32]

# Near copies lie closer to the labeled subset than this share of held-out real images.
NEAR_QUANTILE = 0.01
# With fewer held-out images the quantile is too uncertain: the share of real images below the
# lowest of them varies up to the threshold of the flag.
MIN_HELD_OUT = 100
MIN_TESTED = 5  # images of a class on either side, below which it is not tested

# --- thresholds of the flag "copies" ------------------------------------------------------------
# Share of pixel-equal images. Real datasets have a few duplicates; above 1 % it is copying.
MAX_EXACT_FRAC = 0.01
# Effects that matter. If a share q of the images are copies and the others like real ones, near
# copies are q + 0.01 and the score is 0.5 + q / 2: these are one copy in ten, and one in five. On
# MNIST, copies that are shifted by up to a pixel score 0.72 in pixels and 0.89 in features with 10
# labels per class, 0.53 and 0.74 with 100; the shipped DCGAN scores 0.65 to 0.69 in pixels, and
# 0.50 to 0.56 against labeled images that it has not seen (five subsets of 10 labels per class).
MAX_NEAR_FRAC = 10 * NEAR_QUANTILE
MAX_COPYING = 0.6
# Real images of the dataset raise these limits where they reach further themselves: `real_limits`,
# the largest values in so many random splits, where one in 200 images of the same kind exceeds it.
NUM_SPLITS = 200
# How often other images take the place of the labeled subset, see `unseen_score`, and how many of a
# class at most.
NUM_UNSEEN = 3
MAX_UNSEEN = 20
# A high score of a few images may be chance. With tests in both spaces, none of 400 random splits
# of real MNIST images with 300 or 1,000 on either side is flagged, and 2 of 200 with 150.
COPYING_LEVEL = 0.001


@dataclass(frozen=True)
class Limits:
    """What a set of images has to exceed to count as copied: a share and a score."""

    near: float = MAX_NEAR_FRAC
    score: float = MAX_COPYING


@dataclass(frozen=True)
class Copying:
    """How often a synthetic image lies closer to the labeled subset than a held-out real one.

    `score` 0..1: 0.5 like real images, 1 for copies, 0 far from all labeled images. `p_value` is
    one-sided: small if synthetic images are closer than by chance.
    """

    score: float
    p_value: float


def exact_copies(images: Images, subset: Images) -> int:
    """The number of `images` that equal an image of `subset` in every pixel."""
    return int(np.isin(content_ids(images), content_ids(subset)).sum())


def near_copies_frac(distances: Distances, held_out: Distances) -> float | None:
    """Share of `distances` (n,) below the 1 % quantile of those of `held_out` real images (m,).

    About 0.01 for other real images. Classes whose images lie close together determine the
    quantile. None without images, or with too few held-out ones.
    """
    if len(distances) == 0 or len(held_out) < MIN_HELD_OUT:
        return None
    return float((distances < np.quantile(held_out, NEAR_QUANTILE)).mean())


def copying(distances: Distances, held_out: Distances) -> Copying | None:
    """The three-sample test of one cell, from distances to the labeled subset (n,) and (m,).

    Source: Meehan, Chaudhuri and Dasgupta (2020), section 3, the Mann-Whitney statistic between
    distances of generated and of held-out points to the training set. Deviation: the score is the
    probability that the generated point is the *closer* one (ties count half), so higher is worse.
    None if either side has fewer than 5 images.
    """
    if min(len(distances), len(held_out)) < MIN_TESTED:
        return None
    test = mannwhitneyu(distances, held_out, alternative="less", method="asymptotic")
    score = 1 - float(test.statistic) / (len(distances) * len(held_out))
    return Copying(score, float(test.pvalue))


def copying_by_class(
    distances: Distances, labels: Labels, held_out: Distances, held_out_labels: Labels
) -> dict[int, Copying]:
    """The test of every class with enough images on both sides, by label."""
    tests = {
        int(label): copying(distances[labels == label], held_out[held_out_labels == label])
        for label in np.unique(labels)
    }
    return {label: result for label, result in tests.items() if result is not None}


def copying_overall(tests: dict[int, Copying], labels: Labels) -> Copying | None:
    """The tests of all classes as one; None without tests.

    As in section 4 of the paper, where the score is a mean over cells weighted by the number of
    generated points. Deviations: the cells are classes instead of k-means clusters, so a frequent
    class whose images all lie close together (ones) does not look like copying; p-values are
    combined by Stouffer's method with weights of the square root of that number.
    """
    if not tests:
        return None
    counts = np.array([(labels == label).sum() for label in tests], dtype=np.float64)
    scores = np.array([test.score for test in tests.values()])
    # Stouffer's method turns 0 and 1 into infinities of opposite signs.
    p_values = np.array([test.p_value for test in tests.values()]).clip(1e-300, 1 - 1e-16)
    combined = combine_pvalues(p_values, method="stouffer", weights=np.sqrt(counts))
    return Copying(float(np.average(scores, weights=counts)), float(combined.pvalue))


def real_limits(
    distances: Distances,
    labels: Labels,
    groups: Groups,
    num_first: int,
    rng: np.random.Generator,
) -> Limits:
    """The limits for a dataset, from how far real images of it differ from other real images.

    `distances` (n,) are those of held-out real images to the labeled subset, of classes `labels`
    (n,) and `groups` (n,) from 0. They are split at random into about `num_first` that play
    synthetic images and a rest, whole groups at a time: images of one person or object lie at
    similar distances, so few groups differ more than as many images would. A limit is the largest
    value of `NUM_SPLITS` splits, but at least the effect that matters.
    """
    if len(distances) == 0 or not 0 < num_first < len(distances):
        return Limits()
    splits = group_splits(groups, num_first, rng)
    near = [near_copies_frac(distances[first], distances[~first]) for first in splits]
    scores = split_scores(distances, labels, splits)
    return Limits(
        max([MAX_NEAR_FRAC, *(frac for frac in near if frac is not None)]),
        float(np.nanmax([MAX_COPYING, *scores])),
    )


def unseen_score(
    real: Features, real_labels: Labels, synthetic: Features, synthetic_labels: Labels, seed: int
) -> float | None:
    """The score of images against held-out real images in place of the labeled subset.

    `real` (n, d) and `synthetic` (m, d) are rows. Half of the real images of every class, at most
    `MAX_UNSEEN`, take the place of the subset, the others are the held-out ones. Smooth or typical
    images lie close to any image, so this is above 0.5 for a generator that has copied nothing: the
    limit of its score is raised by as much. A mean over `NUM_UNSEEN` choices; None with too few
    images.
    """
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(NUM_UNSEEN):
        order = rng.permutation(len(real))
        taken = np.zeros(len(real), dtype=bool)
        for label in np.unique(real_labels):
            members = order[real_labels[order] == label]
            taken[members[: min(MAX_UNSEEN, len(members) // 2)]] = True
        if not taken.any():
            return None
        distances, held_out = (
            nearest_distance(rows, real[taken]) for rows in (synthetic, real[~taken])
        )
        tests = copying_by_class(distances, synthetic_labels, held_out, real_labels[~taken])
        if test := copying_overall(tests, synthetic_labels):
            scores.append(test.score)
    return float(np.mean(scores)) if scores else None


def group_splits(groups: Groups, num_first: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random masks (NUM_SPLITS, n) of whole groups with about `num_first` images each."""
    numbers = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    masks = np.empty((NUM_SPLITS, len(groups)), dtype=bool)
    for mask in masks:
        order = rng.permutation(len(sizes))
        # The cut between groups that is closest; at least one group stays on either side.
        cut = (
            int(np.abs(np.cumsum(sizes[order]) - num_first)[:-1].argmin()) if len(order) > 1 else 0
        )
        is_first = np.zeros(len(sizes), dtype=bool)
        is_first[order[: cut + 1]] = True
        mask[:] = is_first[numbers]
    return masks


def split_scores(
    distances: Distances, labels: Labels, splits: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The overall score of the first part of every split, (num_splits,), as `copying_overall`.

    NaN where no class has enough images on both sides.
    """
    sums, weights = np.zeros(len(splits)), np.zeros(len(splits))
    for label in np.unique(labels):
        inside = labels == label
        first = splits[:, inside]
        count, rest = first.sum(axis=1), (~first).sum(axis=1)
        above = first @ rankdata(distances[inside]) - count * (count + 1) / 2
        is_tested = np.minimum(count, rest) >= MIN_TESTED
        pairs = np.where(is_tested, count * rest, 1)
        sums += np.where(is_tested, count * (1 - above / pairs), 0)
        weights += np.where(is_tested, count, 0)
    return np.divide(sums, weights, out=np.full(len(splits), np.nan), where=weights > 0)


def is_copied(
    exact_frac: float, near: tuple[float | None, float], tests: Sequence[tuple[Copying, float]]
) -> bool:
    """Whether a set of images gets the flag "copies".

    `near` is the share of near copies with its limit, `tests` are those of every space with the
    limits of their scores.
    """
    too_close = any(test.score > limit and test.p_value < COPYING_LEVEL for test, limit in tests)
    frac, most = near
    return exact_frac > MAX_EXACT_FRAC or (frac is not None and frac > most) or too_close

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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import combine_pvalues, mannwhitneyu

from pipeline.data.images import Images, Labels, content_ids

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
# Ten times the value of real images. Even if only 100 of them determine the quantile, the share of
# other real images below it is that large in 1 of 3,000 cases.
MAX_NEAR_FRAC = 10 * NEAR_QUANTILE
# On MNIST, copies that are shifted by up to a pixel score 0.72 in pixels and 0.89 in features with
# 10 labels per class, 0.53 and 0.74 with 100; the DCGAN from 10 labels at most 0.47, real images
# in random splits of 1,000 from 0.46 to 0.54.
MAX_COPYING = 0.6
# A high score of a few images may be chance. With tests in both spaces, none of 400 random splits
# of real MNIST images with 300 or 1,000 on either side is flagged, and 2 of 200 with 150.
COPYING_LEVEL = 0.001


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


def is_copied(exact_frac: float, near_frac: float | None, tests: list[Copying]) -> bool:
    """Whether a set of images gets the flag "copies", by the thresholds above."""
    too_close = any(test.score > MAX_COPYING and test.p_value < COPYING_LEVEL for test in tests)
    too_near = near_frac is not None and near_frac > MAX_NEAR_FRAC
    return exact_frac > MAX_EXACT_FRAC or too_near or too_close

"""Did a generator copy the images it was trained on? Distances to the draw, against real images'.

Arrays in, numbers out. A distance to the nearest image of the draw says nothing by itself; every
measure here sets it against that of *held-out* real images, which no generator has seen. Three
are needed, since each misses what another finds (Bhattacharjee et al. 2023): equal pixels, a share
of images that are too close, and a test of the whole distribution, in pixels and in features.

With 1 to 10 labels per class closeness is the expected outcome: whoever has seen one image of a
class can do little but vary it. These numbers belong beside a gain; they do not forbid it.

The nearest image of the draw may be of any class: a copy is a copy, whatever label it was given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import combine_pvalues, mannwhitneyu

from pipeline.data.images import Images, Labels, content_ids

Distances = NDArray[np.float32]

# Near copies lie closer to the draw than this share of held-out real images does.
NEAR_QUANTILE = 0.01
# Fewer held-out images have no such quantile: the share of real images below the lowest of them
# scatters as far as the threshold of the flag.
MIN_HELD_OUT = 100
MIN_TESTED = 5  # images of a class, on either side, below which its test says nothing

# --- thresholds of the flag "copies" ------------------------------------------------------------
# Share of pixel-equal images. Real datasets hold a few twins; over one in a hundred is copying.
MAX_EXACT_FRAC = 0.01
# Ten times what real images get. Even if only 100 of them set the quantile, the share of other real
# images below it is that large in 1 of 3,000 cases.
MAX_NEAR_FRAC = 10 * NEAR_QUANTILE
# On MNIST, copies that are shifted by up to a pixel score 0.72 in pixels and 0.89 in features with
# 10 labels per class, 0.53 and 0.74 with 100; the DCGAN from 10 labels at most 0.47, real images
# in random splits of 1,000 from 0.46 to 0.54.
MAX_COPYING = 0.6
# A high score of a few images is chance. Looking at both spaces flagged none of 400 random splits
# of real MNIST images with 300 or 1,000 on either side, and 2 of 200 with 150.
COPYING_LEVEL = 0.001


@dataclass(frozen=True)
class Copying:
    """How often a synthetic image lies closer to the draw than a held-out real one.

    `score` 0..1: 0.5 like real images, 1 copies, 0 far from anything drawn. `p_value` is one-sided:
    small when the synthetic images are closer than chance allows.
    """

    score: float
    p_value: float


def exact_copies(images: Images, subset: Images) -> int:
    """How many of `images` equal an image of `subset` in every pixel."""
    return int(np.isin(content_ids(images), content_ids(subset)).sum())


def near_copies_frac(distances: Distances, held_out: Distances) -> float | None:
    """Share of `distances` (n,) to the draw below the 1 % quantile of `held_out` real images' (m,).

    About 0.01 of other real images. Classes whose images lie close together decide the quantile.
    None of no images, or with too few held-out ones to tell.
    """
    if len(distances) == 0 or len(held_out) < MIN_HELD_OUT:
        return None
    return float((distances < np.quantile(held_out, NEAR_QUANTILE)).mean())


def copying(distances: Distances, held_out: Distances) -> Copying | None:
    """The three-sample test of one cell, from distances to the draw (n,) and (m,).

    Source: Meehan, Chaudhuri and Dasgupta (2020), section 3, the Mann-Whitney statistic between
    distances of generated and of held-out points to the training set. Deviation: the score is the
    chance that the generated point is the *closer* one (ties count half), so that more is worse.
    None where either side has fewer than 5 images.
    """
    if min(len(distances), len(held_out)) < MIN_TESTED:
        return None
    test = mannwhitneyu(distances, held_out, alternative="less", method="asymptotic")
    score = 1 - float(test.statistic) / (len(distances) * len(held_out))
    return Copying(score, float(test.pvalue))


def copying_by_class(
    distances: Distances, labels: Labels, held_out: Distances, held_out_labels: Labels
) -> dict[int, Copying]:
    """The test within every class that has enough images on both sides, by label."""
    tests = {
        int(label): copying(distances[labels == label], held_out[held_out_labels == label])
        for label in np.unique(labels)
    }
    return {label: result for label, result in tests.items() if result is not None}


def copying_overall(tests: dict[int, Copying], labels: Labels) -> Copying | None:
    """All classes' tests as one; None of none.

    As in section 4 of the paper, where the score is a mean over cells weighted by the number of
    generated points. Deviations: classes take the place of k-means cells, so that a class whose
    images all lie close together (ones) does not pass for copying where it is frequent; p-values
    are combined by Stouffer's method with weights of the square root of that number.
    """
    if not tests:
        return None
    counts = np.array([(labels == label).sum() for label in tests], dtype=np.float64)
    scores = np.array([test.score for test in tests.values()])
    # Stouffer's method turns 0 and 1 into infinities, which may not meet.
    p_values = np.array([test.p_value for test in tests.values()]).clip(1e-300, 1 - 1e-16)
    combined = combine_pvalues(p_values, method="stouffer", weights=np.sqrt(counts))
    return Copying(float(np.average(scores, weights=counts)), float(combined.pvalue))


def is_copied(exact_frac: float, near_frac: float | None, tests: list[Copying]) -> bool:
    """Whether a set of images deserves the flag "copies"; the thresholds stand above."""
    too_close = any(test.score > MAX_COPYING and test.p_value < COPYING_LEVEL for test in tests)
    too_near = near_frac is not None and near_frac > MAX_NEAR_FRAC
    return exact_frac > MAX_EXACT_FRAC or too_near or too_close

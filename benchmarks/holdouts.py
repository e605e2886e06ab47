"""Simulated studies of small datasets in which every seed has its own test set.

A part of `calibration`: arm and baseline are equally good at new images, and the test sets of two
seeds have images in common.
"""

from __future__ import annotations

import numpy as np

from benchmarks.judging import (
    CLAIMS,
    NUM_ARMS,
    NUM_CLASSIFIERS,
    RULES,
    Floats,
    judge,
    limit,
    percent,
    t_ends,
    verdicts,
)
from benchmarks.wording import Row, markdown
from pipeline.evaluation import decisions, statistics
from pipeline.evaluation.max_t import family_p, max_t_p
from pipeline.runtime.seeds import numpy_rng

HOLD_OUTS: list[tuple[int, float]] = [
    (100, 0.2),
    (100, 0.3),
    (400, 0.3),
    (400, 0.5),
]  # images and the share held out
NUM_SEEDS = (10, 20)
NUM_FAMILY_STUDIES = 500
NUM_CLASSES = 10
FAMILIES: list[tuple[int, float, int]] = [
    (100, 0.3, 10),
    (400, 0.3, 10),
    (400, 0.3, 20),
]  # images, the share held out, seeds


def simulate_holdouts(
    num_images: int, frac: float, n: int, is_fixed: bool, num_studies: int
) -> Row:
    """The error rates of studies of a small dataset in which every seed has its own test set.

    Arm and baseline are equally good at new images, but not on every single one: each image is
    classified correctly with its own probability, which is 0 or 1 with `is_fixed`. Then seeds
    differ only by their test images, the hardest case. *uncorrected*: without the correction for
    common test images.
    """
    rng = numpy_rng("calibration", "holdouts", num_images, str(frac), n, int(is_fixed))
    covers, plain, claimed = [], [], []
    for _ in range(num_studies):
        tests = [rng.permutation(num_images)[: round(frac * num_images)] for _ in range(n)]
        chances = rng.uniform(0.6, 1, (2, num_images))  # of arm and baseline, of every image
        if is_fixed:
            chances = (rng.random(chances.shape) < chances).astype(np.float64)
        right = rng.random((n, 2, num_images)) < chances
        gains = right[:, 0].astype(np.float64) - right[:, 1]
        deltas = np.array([gain[test].mean() for gain, test in zip(gains, tests, strict=True)])

        overlap = statistics.mean_overlap(tests)
        interval = statistics.t_interval(deltas, RULES.confidence_level, overlap)
        naive = statistics.t_interval(deltas, RULES.confidence_level)
        p = statistics.paired_p(deltas, overlap)
        word = decisions.decide(decisions.evidence(deltas, interval, p), RULES)
        covers.append(interval.low <= 0 <= interval.high)
        plain.append(naive.low <= 0 <= naive.high)
        claimed.append(word in CLAIMS)
    return {
        "images": str(num_images),
        "held out": percent(frac),
        "seeds": str(n),
        "images decide": "alone" if is_fixed else "in part",
        "uncorrected covers": percent(np.mean(plain)),
        "t covers": percent(np.mean(covers)),
        "primary errs": percent(np.mean(claimed)),
        "promise": "kept" if np.mean(claimed) <= limit(num_studies) else "BROKEN",
    }


def simulate_families(
    num_images: int, frac: float, n: int, is_fixed: bool, num_studies: int
) -> Row:
    """How often a study with a test set per seed has any false *gain* or *harm*.

    As in `simulate_holdouts`, with ten balanced classes and as many comparisons as in `simulate`,
    all but the first of which are corrected together. *classes*: the recalls of all classes in all
    comparisons, one family. *uncorrected*: with p-values that ignore common test images, though
    the intervals do not.
    """
    rng = numpy_rng("calibration", "families", num_images, str(frac), n, int(is_fixed))
    claims = []
    for _ in range(num_studies):
        accuracies, recalls, overlap = null_holdouts(num_images, frac, n, is_fixed, rng)
        arm_ends, class_ends = (t_ends(deltas, overlap) for deltas in (accuracies, recalls))
        arm_p = [[statistics.paired_p(row, rho) for row in accuracies] for rho in (0, overlap)]
        class_p = [max_t_p(recalls.T), family_p(recalls.T, overlap)]
        words = [
            *(judge(accuracies, *arm_ends, np.array(p_values))[1:] for p_values in arm_p),
            *(verdicts(recalls, *class_ends, p_values.tolist()) for p_values in class_p),
        ]
        claims.append([bool(np.isin(of_family, CLAIMS).any()) for of_family in words])
    errors = np.mean(claims, axis=0)
    is_kept = max(errors[1], errors[3]) <= limit(num_studies)
    return {
        "images": str(num_images),
        "held out": percent(frac),
        "seeds": str(n),
        "images decide": "alone" if is_fixed else "in part",
        "arms, uncorrected": percent(errors[0]),
        "arms": percent(errors[1]),
        "classes, uncorrected": percent(errors[2]),
        "classes": percent(errors[3]),
        "promise": "kept" if is_kept else "BROKEN",
    }


def null_holdouts(
    num_images: int, frac: float, n: int, is_fixed: bool, rng: np.random.Generator
) -> tuple[Floats, Floats, float]:
    """Deltas of accuracy (comparisons, n), of recall (comparisons * classes, n), and the overlap.

    Arms and baseline are equally good at new images; see `simulate_holdouts`. The test set of a
    seed has the share `frac` of every class.
    """
    of_class = num_images // NUM_CLASSES
    order = rng.permuted(np.tile(np.arange(of_class), (n, NUM_CLASSES, 1)), axis=-1)
    tests = order[:, :, : round(frac * of_class)]  # (n, classes, test images)
    ids = tests + of_class * np.arange(NUM_CLASSES)[:, None]

    # Whether every arm is correct, the baseline first, for each classifier.
    shape = (NUM_CLASSIFIERS, 1 + NUM_ARMS, num_images)
    chances = rng.uniform(0.6, 1, shape)
    if is_fixed:
        chances = (rng.random(shape) < chances).astype(np.float64)
    right = (rng.random((n, *shape)) < chances).astype(np.float64)
    gains = (right[:, :, 1:] - right[:, :, :1]).reshape(n, -1, num_images)

    recalls = np.stack([gain[:, test].mean(axis=-1) for gain, test in zip(gains, ids, strict=True)])
    overlap = statistics.mean_overlap([*ids.reshape(n, -1)])
    return recalls.mean(axis=-1).T, recalls.reshape(n, -1).T, overlap


def family_table(num_studies: int) -> str:
    """The table of `simulate_families`, in Markdown."""
    return markdown(
        [
            simulate_families(*family, is_fixed, num_studies)
            for family in FAMILIES
            for is_fixed in (False, True)
        ]
    )


def holdout_table(num_studies: int) -> str:
    """The table of `simulate_holdouts`, in Markdown."""
    return markdown(
        [
            simulate_holdouts(num_images, frac, n, is_fixed, num_studies)
            for num_images, frac in HOLD_OUTS
            for n in NUM_SEEDS
            for is_fixed in (False, True)
        ]
    )

"""How good synthetic images are: distances, copies, wrong labels and diversity, with flags.

A judge, a classifier trained on a part of the pool with all its labels, gives features and
predictions; it never filters and never teaches. Images of the pool that it has not seen are split
in two: `reference`, which synthetic images are compared with, and `floor`, real images in place of
the synthetic ones, so that every number has a value that real images get. The images of the
replicate's labeled subset are left out of both. In a small pool there are several judges, each
for a part of all images (`pool`): a synthetic image is judged by one of them, in turn. Where the
pool is too small to train a judge, what depends on it is unknown (None), and the report says why.
Arrays in, numbers out; knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import LabeledImages, Labels, joined
from pipeline.evaluation import fidelity, memorization
from pipeline.evaluation.embedding import (
    SPACES,
    EmbeddedImages,
    Judge,
    Sets,
    compare,
    joined_all,
    merged,
    split_evenly,
    with_pixels,
)
from pipeline.evaluation.metrics import share, wilson_interval
from pipeline.evaluation.pool import Index, Pool, min_compared, why_untrained
from pipeline.runtime.seeds import derive_seed

DISTANCES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
# A judge is trusted from this skill on images that it has not seen:
# (accuracy - chance) / (1 - chance), chance being the share of the most frequent class.
MIN_JUDGE_SKILL = 0.75

Mask = NDArray[np.bool_]
Report = dict[str, Any]  # numbers by name, None where there are too few images to compute one


@dataclass(frozen=True)
class Judged:
    """Images, and whether a judge that has not seen them predicts their label, (n,)."""

    data: LabeledImages
    correct: Mask | None  # None without judges


def held_out(pool: Pool, index: Index) -> LabeledImages:
    """The images of the pool that an audit compares with; `index` is that of the subset."""
    return pool.data.take(np.setdiff1d(pool.unseen, index))


def why_unknown(labels: Labels, correct: Mask) -> str | None:
    """Why the judges cannot be trusted, in words, or None.

    `labels` (n,) are those of real images that the judges have not seen, `correct` (n,) whether
    they are predicted. The skill, (accuracy - chance) / (1 - chance), must be at least
    `MIN_JUDGE_SKILL`; chance is the share of the most frequent class.
    """
    if len(labels) == 0:
        return "the pool leaves no image to test the judge with"
    accuracy, chance = float(correct.mean()), float(np.bincount(labels).max() / len(labels))
    if accuracy - chance >= MIN_JUDGE_SKILL * (1 - chance):
        return None
    return (
        f"the judge is right on {accuracy:.0%} of {len(labels)} real images that it has not seen, "
        f"and the most frequent class alone is {chance:.0%} of them"
    )


def audit(
    pool: Pool,
    judges: Sequence[Judge],
    subset: LabeledImages,
    index: Index,
    synthetic: LabeledImages,
    rng: np.random.Generator,
) -> Report:
    """All measures of one replicate's synthetic images, and the flags that follow from them.

    `judges` has one for every fold of the pool, or none. `index` are the positions of `subset` in
    the pool; `rng` chooses which images are compared. Without judges that can be trusted, what
    depends on them is None and `unknown` says why.
    """
    real_predictions = judged(judges, [pool.data.take(fold.unseen) for fold in pool.folds])
    unknown: str | None
    if real_predictions.correct is None:
        unknown = why_untrained(pool) or "no judge was trained"
    elif unknown := why_unknown(real_predictions.data.labels, real_predictions.correct):
        judges, real_predictions = (), Judged(real_predictions.data, None)

    parts = split_evenly(synthetic, len(pool.folds))
    synthetic_predictions = judged(judges, parts)
    trusted: Sequence[Judge | None] = judges or [None] * len(parts)
    sets = [
        compare(pool, fold, judge, index, part, rng)
        for fold, judge, part in zip(pool.folds, trusted, parts, strict=True)
    ]
    whole = merged(sets)
    report = {
        **distance_report(sets[0], pool.data.num_classes),
        **label_report(
            synthetic_predictions.correct, real_predictions.correct, pool.data.num_classes
        ),
        **copy_report(whole.synthetic, whole.reference, ""),
        **copy_report(whole.floor, whole.reference, "_floor"),
        **real_limits(pool, sets, whole),
        "exact_copies": memorization.exact_copies(synthetic.images, subset.images),
        "exact_copies_floor": memorization.exact_copies(whole.floor.data.images, subset.images),
        "classes": class_rows(
            sets[0], whole, synthetic_predictions, real_predictions, subset, pool.data.num_classes
        ),
    }
    reason = {"unknown": unknown} if unknown else {}
    return report | {"flags": flags(report, len(synthetic))} | reason


def judged(judges: Sequence[Judge], parts: Sequence[LabeledImages]) -> Judged:
    """The images part by part, and whether the judge of each part predicts their labels."""
    correct = [agrees(judge, part) for judge, part in zip(judges, parts, strict=False)]
    return Judged(joined_all(parts), np.concatenate(correct) if judges else None)


def real_limits(pool: Pool, sets: Sequence[Sets], whole: Sets) -> Report:
    """The limits of near copies and of the score of every space, from real images of the pool.

    A limit of a score is also raised where synthetic images lie close to any real image
    (`memorization.unseen_score`).
    """
    labels, groups = pool.data.labels[whole.index], pool.groups[whole.index]
    names = [f"copying_{space}_{end}" for space in SPACES for end in ("unseen", "limit")]
    report: Report = dict.fromkeys(names)
    for space in whole.reference.nearest:
        distances = np.concatenate([whole.reference.nearest[space], whole.floor.nearest[space]])
        rng = np.random.default_rng(derive_seed("audit limits", space))
        limits = memorization.real_limits(distances, labels, groups, len(whole.floor.data), rng)
        # Pixels are the same for all judges, so all folds are one set.
        unseen = unseen_score([with_pixels(whole)] if space == "pixels" else sets, space)
        report[f"copying_{space}_unseen"] = unseen
        report[f"copying_{space}_limit"] = limits.score + max(0.0, (unseen or 0.5) - 0.5)
        if space == "pixels":
            report["near_copies_limit"] = limits.near
    return report


def unseen_score(sets: Sequence[Sets], space: str) -> float | None:
    """`memorization.unseen_score` in one space, the mean over folds where it is known."""
    scores = []
    for at, part in enumerate(sets):
        if min(len(part.reference.data), len(part.floor.data), len(part.synthetic.data)) == 0:
            continue
        real = np.concatenate([part.reference.points[space], part.floor.points[space]])
        labels = np.concatenate([part.reference.data.labels, part.floor.data.labels])
        points, synthetic_labels = part.synthetic.points[space], part.synthetic.data.labels
        seed = derive_seed("audit fresh", space, at)
        scores.append(memorization.unseen_score(real, labels, points, synthetic_labels, seed))
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None


def agrees(judge: Judge, data: LabeledImages) -> Mask:
    """Whether the judge predicts the label, (n,)."""
    if len(data) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(judge.predict_proba(data.images).argmax(axis=1) == data.labels)


def distance_report(sets: Sets, num_classes: int) -> Report:
    """All distances in the judge's features, between equally many images of each set.

    Of several judges those of the first are used. None with fewer images than `min_compared`, in a
    small pool or where a large budget leaves few images of it.
    """
    count = min(len(part.data) for part in (sets.reference, sets.floor, sets.synthetic))
    least = min_compared(num_classes)
    report: Report = {"num_compared": count, "min_compared": least}
    for suffix, seen in (("", sets.synthetic), ("_floor", sets.floor)):
        values: dict[str, float | None] = dict.fromkeys(DISTANCES)
        if count >= least and "features" in seen.points:
            first, second = (images.points["features"][:count] for images in (sets.reference, seen))
            values["frechet"] = fidelity.frechet_distance(first, second)
            values["kernel"] = fidelity.kernel_distance(first, second, derive_seed("kernel"))
            values |= fidelity.prdc(first, second)
        report |= {f"{name}{suffix}": value for name, value in values.items()}
    return report


def copy_report(seen: EmbeddedImages, held_out: EmbeddedImages, suffix: str) -> Report:
    """How close images lie to the subset, compared with held-out real images.

    Names end in `suffix`. `nearest_drawn` is a median of Euclidean distances of pixels in 0..1.
    """
    pixels = seen.nearest["pixels"]
    report: Report = {
        "nearest_drawn": float(np.median(pixels)) if len(pixels) else None,
        "near_copies_frac": memorization.near_copies_frac(pixels, held_out.nearest["pixels"]),
    }
    labels = seen.data.labels
    report |= {f"copying_{space}{end}": None for space in SPACES for end in ("", "_p")}
    for space in seen.nearest:
        tests = memorization.copying_by_class(
            seen.nearest[space], labels, held_out.nearest[space], held_out.data.labels
        )
        test = memorization.copying_overall(tests, labels)
        report[f"copying_{space}"] = None if test is None else test.score
        report[f"copying_{space}_p"] = None if test is None else test.p_value
    return {f"{name}{suffix}": value for name, value in report.items()}


def share_of(holds: Mask | None, inside: Mask) -> float | None:
    """The share of `inside` where `holds` is true; None if unknown or if `inside` is empty."""
    return None if holds is None else share(holds[inside])


def label_report(correct: Mask | None, correct_floor: Mask | None, num_classes: int) -> Report:
    """Shares of labels that the judge agrees with, and the estimated share of wrong labels.

    The bounds of the estimate use the worse ends of the 95 % intervals of both shares.
    """
    report: Report = {
        "label_fidelity": None if correct is None else share(correct),
        "label_fidelity_floor": None if correct_floor is None else share(correct_floor),
        **dict.fromkeys(("wrong_label_frac", "wrong_label_frac_low", "wrong_label_frac_high")),
    }
    if correct is not None and correct_floor is not None and len(correct) and len(correct_floor):
        low, high = wilson_interval(int(correct.sum()), len(correct))
        floor_low, floor_high = wilson_interval(int(correct_floor.sum()), len(correct_floor))
        for name, agreed, floor in (
            ("wrong_label_frac", correct.mean(), correct_floor.mean()),
            ("wrong_label_frac_low", high, floor_low),
            ("wrong_label_frac_high", low, floor_high),
        ):
            report[name] = fidelity.wrong_label_frac(float(agreed), float(floor), num_classes)
    return report


def label_row(correct: Mask | None, inside: Mask) -> Report:
    """The label fidelity of one class, whose images are `inside`, with its 95 % interval."""
    count, low, high = int(inside.sum()), None, None
    if correct is not None and count:
        low, high = wilson_interval(int(correct[inside].sum()), count)
    return {
        "num_images": count,
        "label_fidelity": share_of(correct, inside),
        "label_fidelity_low": low,
        "label_fidelity_high": high,
    }


def class_rows(
    first: Sets,
    whole: Sets,
    synthetic_predictions: Judged,
    real_predictions: Judged,
    subset: LabeledImages,
    num_classes: int,
) -> list[Report]:
    """One row per class, from the sets of the first fold and of all, and the judged images.

    A class is not called collapsed if real images of it are as much alike.
    """
    collapsed_real = fidelity.collapsed_classes(
        joined(whole.reference.data, whole.floor.data), subset
    )
    collapsed = {*fidelity.collapsed_classes(synthetic_predictions.data, subset)} - {
        *collapsed_real
    }
    return [
        {
            "label": label,
            **label_row(synthetic_predictions.correct, synthetic_predictions.data.labels == label),
            "label_fidelity_floor": share_of(
                real_predictions.correct, real_predictions.data.labels == label
            ),
            **coverage_row(
                first.reference.of(label), first.floor.of(label), first.synthetic.of(label)
            ),
            **variety_row(
                whole.reference.of(label), whole.floor.of(label), whole.synthetic.of(label)
            ),
            "collapsed": label in collapsed,
        }
        for label in range(num_classes)
    ]


def coverage_row(
    reference: EmbeddedImages, floor: EmbeddedImages, synthetic: EmbeddedImages
) -> Report:
    """Coverage and recall of one class, for synthetic and for real images.

    They depend on the number of images, so all sets are cut to the same size. None with fewer
    images than `min_compared` of one class.
    """
    count = min(len(reference.data), len(floor.data), len(synthetic.data))
    row: Report = {}
    for suffix, seen in (("", synthetic), ("_floor", floor)):
        row[f"coverage{suffix}"] = row[f"recall{suffix}"] = None
        if count >= min_compared(1) and "features" in seen.points:
            first, second = (images.points["features"][:count] for images in (reference, seen))
            values = fidelity.prdc(first, second)
            row |= {f"{name}{suffix}": values[name] for name in ("coverage", "recall")}
    return row


def variety_row(
    reference: EmbeddedImages, floor: EmbeddedImages, synthetic: EmbeddedImages
) -> Report:
    """Diversity and copying of one class, for synthetic and for real images."""
    row: Report = {}
    for suffix, seen in (("", synthetic), ("_floor", floor)):
        row[f"spread{suffix}"] = fidelity.diversity(seen.data.images, reference.data.images)
        for space in SPACES:
            row[f"copying_{space}{suffix}"] = None
            if space in seen.nearest:
                test = memorization.copying(seen.nearest[space], reference.nearest[space])
                row[f"copying_{space}{suffix}"] = None if test is None else test.score
    return row


def flags(report: Report, num_images: int) -> list[str]:
    """Warnings that belong next to a gain; thresholds and their reasons are with the measures.

    `copies`: closer to the subset than real images are. `wrong_labels`: more than a tenth, by the
    lower bound. `collapsed`: a class with almost no diversity.
    """
    tests = [
        (
            memorization.Copying(report[f"copying_{space}"], report[f"copying_{space}_p"]),
            report[f"copying_{space}_limit"],
        )
        for space in SPACES
        if report[f"copying_{space}"] is not None
    ]
    exact_frac = report["exact_copies"] / max(num_images, 1)
    near = (report["near_copies_frac"], report["near_copies_limit"])
    raised = {
        "copies": memorization.is_copied(exact_frac, near, tests),
        "wrong_labels": (report["wrong_label_frac_low"] or 0) > fidelity.MAX_WRONG_FRAC,
        "collapsed": any(row["collapsed"] for row in report["classes"]),
    }
    return [word for word, holds in raised.items() if holds]

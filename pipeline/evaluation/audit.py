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
    in_turn,
    joined_all,
    merged,
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
    real = judged(judges, [pool.data.take(fold.unseen) for fold in pool.folds])
    unknown: str | None
    if real.correct is None:
        unknown = why_untrained(pool) or "no judge was trained"
    elif unknown := why_unknown(real.data.labels, real.correct):
        judges, real = (), Judged(real.data, None)

    parts = in_turn(synthetic, len(pool.folds))
    made = judged(judges, parts)
    trusted: Sequence[Judge | None] = judges or [None] * len(parts)
    sets = [
        compare(pool, fold, judge, index, part, rng)
        for fold, judge, part in zip(pool.folds, trusted, parts, strict=True)
    ]
    whole = merged(sets)
    report = {
        **distance_report(sets[0], pool.data.num_classes),
        **label_report(made.correct, real.correct, pool.data.num_classes),
        **copy_report(whole.fake, whole.real, ""),
        **copy_report(whole.other, whole.real, "_floor"),
        **real_limits(pool, sets, whole),
        "exact_copies": memorization.exact_copies(synthetic.images, subset.images),
        "exact_copies_floor": memorization.exact_copies(whole.other.data.images, subset.images),
        "classes": class_rows(sets[0], whole, made, real, subset, pool.data.num_classes),
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
    (`memorization.fresh_score`).
    """
    labels, groups = pool.data.labels[whole.index], pool.groups[whole.index]
    names = [f"copying_{space}_{end}" for space in SPACES for end in ("fresh", "limit")]
    report: Report = dict.fromkeys(names)
    for space in whole.real.nearest:
        distances = np.concatenate([whole.real.nearest[space], whole.other.nearest[space]])
        rng = np.random.default_rng(derive_seed("audit limits", space))
        limits = memorization.real_limits(distances, labels, groups, len(whole.other.data), rng)
        # Pixels are the same for all judges, so all folds are one set.
        fresh = fresh_score([with_pixels(whole)] if space == "pixels" else sets, space)
        report[f"copying_{space}_fresh"] = fresh
        report[f"copying_{space}_limit"] = limits.score + max(0.0, (fresh or 0.5) - 0.5)
        if space == "pixels":
            report["near_copies_limit"] = limits.near
    return report


def fresh_score(sets: Sequence[Sets], space: str) -> float | None:
    """`memorization.fresh_score` in one space, the mean over folds where it is known."""
    scores = []
    for at, part in enumerate(sets):
        if min(len(part.real.data), len(part.other.data), len(part.fake.data)) == 0:
            continue
        real = np.concatenate([part.real.points[space], part.other.points[space]])
        labels = np.concatenate([part.real.data.labels, part.other.data.labels])
        fake, seed = part.fake, derive_seed("audit fresh", space, at)
        scores.append(
            memorization.fresh_score(real, labels, fake.points[space], fake.data.labels, seed)
        )
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
    real, other, fake = sets.real, sets.other, sets.fake
    count, least = min(len(real.data), len(other.data), len(fake.data)), min_compared(num_classes)
    report: Report = {"num_compared": count, "min_compared": least}
    for suffix, seen in (("", fake), ("_floor", other)):
        values: dict[str, float | None] = dict.fromkeys(DISTANCES)
        if count >= least and "features" in seen.points:
            first, second = (images.points["features"][:count] for images in (real, seen))
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
    first: Sets, whole: Sets, made: Judged, real: Judged, subset: LabeledImages, num_classes: int
) -> list[Report]:
    """One row per class, from the sets of the first fold and of all, and the judged images.

    A class is not called collapsed if real images of it are as much alike.
    """
    alike = fidelity.collapsed_classes(joined(whole.real.data, whole.other.data), subset)
    collapsed = {*fidelity.collapsed_classes(made.data, subset)} - {*alike}
    return [
        {
            "label": label,
            **label_row(made.correct, made.data.labels == label),
            "label_fidelity_floor": share_of(real.correct, real.data.labels == label),
            **coverage_row(first.real.of(label), first.other.of(label), first.fake.of(label)),
            **variety_row(whole.real.of(label), whole.other.of(label), whole.fake.of(label)),
            "collapsed": label in collapsed,
        }
        for label in range(num_classes)
    ]


def coverage_row(real: EmbeddedImages, other: EmbeddedImages, fake: EmbeddedImages) -> Report:
    """Coverage and recall of one class, for synthetic and for real images.

    They depend on the number of images, so all sets are cut to the same size. None with fewer
    images than `min_compared` of one class.
    """
    count = min(len(real.data), len(other.data), len(fake.data))
    row: Report = {}
    for suffix, seen in (("", fake), ("_floor", other)):
        row[f"coverage{suffix}"] = row[f"recall{suffix}"] = None
        if count >= min_compared(1) and "features" in seen.points:
            first, second = (images.points["features"][:count] for images in (real, seen))
            values = fidelity.prdc(first, second)
            row |= {f"{name}{suffix}": values[name] for name in ("coverage", "recall")}
    return row


def variety_row(real: EmbeddedImages, other: EmbeddedImages, fake: EmbeddedImages) -> Report:
    """Diversity and copying of one class, for synthetic and for real images."""
    row: Report = {}
    for suffix, seen in (("", fake), ("_floor", other)):
        row[f"spread{suffix}"] = fidelity.diversity(seen.data.images, real.data.images)
        for space in SPACES:
            row[f"copying_{space}{suffix}"] = None
            if space in seen.nearest:
                test = memorization.copying(seen.nearest[space], real.nearest[space])
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

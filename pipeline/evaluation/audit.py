"""How good synthetic images are: distances, copies, wrong labels and diversity, with flags.

A judge, a classifier trained on half of the pool with all its labels, gives features and
predictions; it never filters and never teaches. The other half of the pool is split in two:
`reference`, which synthetic images are compared with, and `floor`, real images in place of the
synthetic ones, so that every number has a value that real images get. The images of the
replicate's labeled subset are left out of both. Where the pool is too small to train a judge, what
depends on it is unknown (None), and the report says why. Arrays in, numbers out; knows no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import BLACK, UNLABELED, Background, Images, LabeledImages, Labels, flat
from pipeline.data.parts import Groups, assign_groups
from pipeline.evaluation import fidelity, memorization
from pipeline.evaluation.fidelity import Features
from pipeline.evaluation.metrics import share, wilson_interval
from pipeline.runtime.seeds import derive_seed, numpy_rng

DISTANCES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
SPACES = ("pixels", "features")
MAX_COMPARED = 2000  # images per set: pairwise distances need n * n numbers
SHARES = (0.5, 0.25, 0.25)  # of judge, reference and floor in the labeled images of the pool
# A judge needs this many training images of every class. It is trusted from this skill on images
# that it has not seen: (accuracy - chance) / (1 - chance), chance being the most frequent class.
MIN_JUDGE_IMAGES = 10
MIN_JUDGE_SKILL = 0.75

Mask = NDArray[np.bool_]
Report = dict[str, Any]  # numbers by name, None where there are too few images to compute one


class Judge(Protocol):
    """The part of a classifier that the audit uses."""

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes)."""

    def embed(self, images: Images) -> Features:
        """Features (n, d) of the images, in which distances are computed."""


@dataclass(frozen=True)
class Pool:
    """The pool with all its labels, and its three parts as positions."""

    data: LabeledImages
    judge: NDArray[np.int64]
    reference: NDArray[np.int64]
    floor: NDArray[np.int64]


def split_pool(
    images: Images, labels: Labels, groups: Groups | None = None, background: Background = BLACK
) -> Pool:
    """The pool with its parts, the same at every call; unlabeled images are in none of them.

    With `groups` (n,), no group is in two parts.
    """
    data = LabeledImages(images, labels, background=background)
    labeled = np.flatnonzero(labels != UNLABELED)
    rng = numpy_rng("audit", len(data))
    if groups is not None:
        wanted = np.outer(SHARES, np.bincount(labels[labeled]))
        parts = assign_groups(labels[labeled], groups[labeled], wanted, rng)
        return Pool(data, *(labeled[parts == part] for part in range(len(SHARES))))
    order = rng.permutation(labeled)
    half, quarter = len(order) // 2, len(order) // 4
    return Pool(data, order[:half], order[half : half + quarter], order[half + quarter :])


def why_untrained(pool: Pool) -> str | None:
    """Why the pool cannot train a judge, in words, or None."""
    counts = np.bincount(pool.data.labels[pool.judge], minlength=pool.data.num_classes)
    if counts.min() >= MIN_JUDGE_IMAGES:
        return None
    return (
        f"the pool leaves {counts.min()} images of a class to train a judge, and it needs "
        f"{MIN_JUDGE_IMAGES} of each"
    )


def why_unknown(pool: Pool, judge: Judge | None) -> str | None:
    """Why the judge cannot be trusted, in words, or None.

    Its skill on the part `floor`, (accuracy - chance) / (1 - chance), must be at least
    `MIN_JUDGE_SKILL`; chance is the share of the most frequent class.
    """
    if judge is None:
        return why_untrained(pool)
    floor = pool.data.take(pool.floor)
    if len(floor) == 0:
        return "the pool leaves no image to test the judge with"
    accuracy = float(agrees(judge, floor).mean())
    chance = float(np.bincount(floor.labels).max() / len(floor))
    if accuracy - chance >= MIN_JUDGE_SKILL * (1 - chance):
        return None
    return (
        f"the judge is right on {accuracy:.0%} of {len(floor)} real images that it has not seen, "
        f"and the most frequent class alone is {chance:.0%} of them"
    )


@dataclass(frozen=True)
class EmbeddedImages:
    """Images as rows of pixels and of features, and their distance to the labeled subset."""

    data: LabeledImages
    points: dict[str, Features]  # by space, (n, d)
    nearest: dict[str, Features]  # by space, distance to the nearest image of the subset, (n,)

    def of(self, label: int) -> EmbeddedImages:
        """The images of one class."""
        mask = self.data.labels == label
        return EmbeddedImages(
            self.data.take(mask),
            {space: points[mask] for space, points in self.points.items()},
            {space: distances[mask] for space, distances in self.nearest.items()},
        )


def held_out(pool: Pool, index: NDArray[np.int64]) -> LabeledImages:
    """The images of the pool that an audit compares with; `index` is that of the subset."""
    return pool.data.take(np.setdiff1d(np.concatenate([pool.reference, pool.floor]), index))


def audit(
    pool: Pool,
    judge: Judge | None,
    subset: LabeledImages,
    index: NDArray[np.int64],
    synthetic: LabeledImages,
    rng: np.random.Generator,
) -> Report:
    """All measures of one replicate's synthetic images, and the flags that follow from them.

    `index` are the positions of `subset` in the pool; `rng` chooses which images are compared.
    Without a judge that can be trusted, what depends on it is None and `unknown` says why.
    """
    if unknown := why_unknown(pool, judge):
        judge = None
    reference = pool.data.take(np.setdiff1d(pool.reference, index))
    floor = pool.data.take(np.setdiff1d(pool.floor, index))
    near = embed(judge, subset.images)
    real, other, fake = (
        embed_images(judge, subsample(data, MAX_COMPARED, rng), near)
        for data in (reference, floor, synthetic)
    )

    correct, correct_floor = (agrees(judge, data) if judge else None for data in (synthetic, floor))
    collapsed = fidelity.collapsed_classes(synthetic, subset)
    rows = [
        {
            "label": label,
            **label_row(correct, synthetic.labels == label),
            "label_fidelity_floor": share_of(correct_floor, floor.labels == label),
            **variety_row(real.of(label), other.of(label), fake.of(label)),
            "collapsed": label in collapsed,
        }
        for label in range(pool.data.num_classes)
    ]
    report = {
        **distance_report(real, other, fake),
        **label_report(correct, correct_floor, pool.data.num_classes),
        **copy_report(fake, real, ""),
        **copy_report(other, real, "_floor"),
        "exact_copies": memorization.exact_copies(synthetic.images, subset.images),
        "exact_copies_floor": memorization.exact_copies(floor.images, subset.images),
        "classes": rows,
    }
    reason = {"unknown": unknown} if unknown else {}
    return report | {"flags": flags(report, len(synthetic))} | reason


def subsample(data: LabeledImages, count: int, rng: np.random.Generator) -> LabeledImages:
    """`count` random images of `data`, without repeats."""
    return data.take(rng.permutation(len(data))[:count])


def embed(judge: Judge | None, images: Images) -> dict[str, Features]:
    """`images` as rows, in both spaces of `SPACES`; without a judge, in pixels alone."""
    if len(images) == 0:
        return dict.fromkeys(SPACES if judge else SPACES[:1], np.zeros((0, 1), dtype=np.float32))
    features = {"features": judge.embed(images)} if judge else {}
    return {"pixels": flat(images), **features}


def embed_images(
    judge: Judge | None, data: LabeledImages, reference: dict[str, Features]
) -> EmbeddedImages:
    """`data` with its distances to the subset, whose rows by space are `reference`."""
    points = embed(judge, data.images)
    nearest = {
        space: fidelity.nearest_distance(points[space], reference[space]) for space in points
    }
    return EmbeddedImages(data, points, nearest)


def agrees(judge: Judge, data: LabeledImages) -> Mask:
    """Whether the judge predicts the label, (n,)."""
    if len(data) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(judge.predict_proba(data.images).argmax(axis=1) == data.labels)


def distance_report(real: EmbeddedImages, other: EmbeddedImages, fake: EmbeddedImages) -> Report:
    """All distances in the judge's features, between equally many images of each set.

    None where there are too few images: a large budget leaves few images of the pool.
    """
    count = min(len(real.data), len(other.data), len(fake.data))
    report: Report = {"num_compared": count}
    for suffix, seen in (("", fake), ("_floor", other)):
        values: dict[str, float | None] = dict.fromkeys(DISTANCES)
        if count > fidelity.NEIGHBORS and "features" in seen.points:
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


def variety_row(real: EmbeddedImages, other: EmbeddedImages, fake: EmbeddedImages) -> Report:
    """Coverage, recall, diversity and copying of one class, for synthetic and for real images.

    Coverage and recall depend on the number of images, so all sets are cut to the same size.
    """
    count = min(len(real.data), len(other.data), len(fake.data))
    row: Report = {}
    for suffix, seen in (("", fake), ("_floor", other)):
        row[f"coverage{suffix}"] = row[f"recall{suffix}"] = None
        if count > fidelity.NEIGHBORS and "features" in seen.points:
            first, second = (images.points["features"][:count] for images in (real, seen))
            values = fidelity.prdc(first, second)
            row |= {f"{name}{suffix}": values[name] for name in ("coverage", "recall")}
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
        memorization.Copying(report[f"copying_{space}"], report[f"copying_{space}_p"])
        for space in SPACES
        if report[f"copying_{space}"] is not None
    ]
    exact_frac = report["exact_copies"] / max(num_images, 1)
    raised = {
        "copies": memorization.is_copied(exact_frac, report["near_copies_frac"], tests),
        "wrong_labels": (report["wrong_label_frac_low"] or 0) > fidelity.MAX_WRONG_FRAC,
        "collapsed": any(row["collapsed"] for row in report["classes"]),
    }
    return [word for word, holds in raised.items() if holds]

"""evaluate_generator@<generator>: how good the synthetic images are, by a judge that nothing else
may use.

The judge is a classifier trained on half of the pool with all its labels, far beyond any budget; it
never filters and never teaches. The pool's other half is cut in two: `reference`, which synthetic
images are compared with, and `floor`, real images in the place of the synthetic ones, so that every
number stands beside what real images get. Images of the replicate's own draw are left out of both.

`data/audit/<generator>/` gets one `.json` per replicate: distances, copies of the draw, wrong
labels, one row per class, and `flags`, the words that a reader must see beside a gain.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig, LeNet
from pipeline.config.schema import Params
from pipeline.data.images import UNLABELED, Images, LabeledImages, flat, read_images
from pipeline.evaluation import fidelity, memorization
from pipeline.evaluation.fidelity import Features
from pipeline.nn.augment import AffineConfig, affine
from pipeline.nn.weights import read_weights, write_weights
from pipeline.runtime.files import read_npz, require, write_json
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.provenance import outputs_of, provenance, refuse_failed, trial_code

# The judge's settings are fixed: a ruler that changes with the study measures nothing.
JUDGE = CNNConfig(
    steps=1000,
    batch_size=64,
    learning_rate=3e-3,
    weight_decay=1e-2,
    channels=16,
    features=64,
    dropout=0.3,
)
JUDGE_AUGMENTATION = AffineConfig(degrees=10, translate=0.08, scale=0.1, shear=5)
DISTANCES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
SPACES = ("pixels", "features")
MAX_COMPARED = 2000  # images per set: pairwise distances take n * n numbers

Mask = NDArray[np.bool_]
Report = dict[str, Any]  # numbers by name, None where one cannot be told


@dataclass(frozen=True)
class Pool:
    """The pool with all its labels, and the three parts it is cut into, as positions."""

    data: LabeledImages
    judge: NDArray[np.int64]
    reference: NDArray[np.int64]
    floor: NDArray[np.int64]


def read_pool(splits: Path) -> Pool:
    """The pool of `data/splits`, cut the same way at every call; foreign images are in no part."""
    labels = read_npz(splits / "labels.npz")["labels"]
    data = LabeledImages(read_npz(splits / "pool.npz")["images"], labels)
    order = numpy_rng("evaluate_generator", len(data)).permutation(
        np.flatnonzero(labels != UNLABELED)
    )
    half, quarter = len(order) // 2, len(order) // 4
    return Pool(data, order[:half], order[half : half + quarter], order[half + quarter :])


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/audit/<name>/`."""
    splits = root / "data/splits"
    pool = [require(splits / file, "prepare") for file in ("pool.npz", "labels.npz")]
    code = trial_code(
        __file__,
        "pipeline.classifiers.cnn",
        "pipeline.evaluation.fidelity",
        "pipeline.evaluation.memorization",
    )
    judge_task = Task(
        provenance=provenance(code, pool, params, [], derive_seed("judge"), root),
        work=functools.partial(train_judge, splits),
        outputs={"judge.safetensors": Path("judge.safetensors")},
        tags={"stage": "evaluate_generator", "item": "judge"},
        required=True,
    )
    judge = compute([judge_task], params.engine, root)[0] / "judge.safetensors"

    def task(replicate: Replicate) -> Task:
        place = replicate.file(".npz")
        subset = require(splits / "subsets" / place, "prepare")
        synthetic = root / "data/synthetic" / name / place
        inputs = [judge, *pool, subset, *outputs_of(synthetic, f"synthesize@{name}")]
        return Task(
            provenance=provenance(code, inputs, params, [], derive_seed("audit", name), root),
            work=functools.partial(audit_trial, splits, judge, subset, synthetic),
            outputs={"audit.json": replicate.file(".json")},
            tags={"stage": "evaluate_generator", "item": name, **replicate.columns()},
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("data/audit") / name, tasks, compute(tasks, params.engine, root))


def train_judge(splits: Path, folder: Path) -> LabeledImages:
    """Train the judge on its half of the pool."""
    pool = read_pool(splits)
    data = pool.data.take(pool.judge)
    judge = CNN(JUDGE, derive_seed("judge")).fit(plain(data, affine(JUDGE_AUGMENTATION)))
    write_weights(folder / "judge.safetensors", judge.network.state_dict())
    return data


def audit_trial(
    splits: Path, judge: Path, subset: Path, synthetic: Path, folder: Path
) -> LabeledImages:
    """Audit one replicate, unless its generator came to nothing."""
    refuse_failed(synthetic)
    return audit(splits, judge, subset, synthetic, folder)


@dataclass(frozen=True)
class EmbeddedImages:
    """Images as rows of pixels and of the judge's features, and how far they lie from the draw."""

    data: LabeledImages
    points: dict[str, Features]  # by space, (n, d)
    nearest: dict[str, Features]  # by space, distance to the nearest drawn image of any class, (n,)

    def of(self, label: int) -> EmbeddedImages:
        """The images of one class."""
        mask = self.data.labels == label
        return EmbeddedImages(
            self.data.take(mask),
            {space: points[mask] for space, points in self.points.items()},
            {space: distances[mask] for space, distances in self.nearest.items()},
        )


def audit(
    splits: Path, judge_path: Path, subset: Path, synthetic_path: Path, folder: Path
) -> LabeledImages:
    """Compare one replicate's synthetic images with held-out real ones; gives back the latter."""
    pool = read_pool(splits)
    judge = CNN(JUDGE, derive_seed("judge"))
    judge.network = LeNet(JUDGE, pool.data.spec()).eval()
    judge.network.load_state_dict(read_weights(judge_path))
    index, drawn = read_npz(subset)["index"], read_images(subset)
    reference = pool.data.take(np.setdiff1d(pool.reference, index))
    floor = pool.data.take(np.setdiff1d(pool.floor, index))
    synthetic = read_images(synthetic_path)
    rng = numpy_rng("audit", synthetic_path.parent.name, synthetic_path.stem)
    near = spaces(judge, drawn.images)
    real, other, fake = (
        embed_images(judge, subsample(data, MAX_COMPARED, rng), near)
        for data in (reference, floor, synthetic)
    )
    correct, right_floor = agrees(judge, synthetic), agrees(judge, floor)
    rows = [
        {
            "label": label,
            **label_row(correct[synthetic.labels == label]),
            "label_fidelity_floor": share(right_floor[floor.labels == label]),
            **variety_row(real.of(label), other.of(label), fake.of(label)),
        }
        for label in range(pool.data.num_classes)
    ]
    collapsed = fidelity.collapsed_classes(synthetic, drawn)
    report = {
        **distance_report(real, other, fake),
        **label_report(correct, right_floor, pool.data.num_classes),
        **copy_report(fake, real, ""),
        **copy_report(other, real, "_floor"),
        "exact_copies": memorization.exact_copies(synthetic.images, drawn.images),
        "exact_copies_floor": memorization.exact_copies(floor.images, drawn.images),
        "classes": [row | {"collapsed": row["label"] in collapsed} for row in rows],
    }
    write_json(folder / "audit.json", report | {"flags": flags(report, len(synthetic))})
    return pool.data.take(np.setdiff1d(np.concatenate([pool.reference, pool.floor]), index))


def subsample(data: LabeledImages, count: int, rng: np.random.Generator) -> LabeledImages:
    """`count` random images of `data`, without repeats."""
    return data.take(rng.permutation(len(data))[:count])


def spaces(judge: CNN, images: Images) -> dict[str, Features]:
    """`images` as rows in both spaces that distances are taken in."""
    if len(images) == 0:
        return dict.fromkeys(SPACES, np.zeros((0, 1), dtype=np.float32))
    return {"pixels": flat(images), "features": judge.embed(images)}


def embed_images(judge: CNN, data: LabeledImages, reference: dict[str, Features]) -> EmbeddedImages:
    """`data` beside the draw, `subset` by space."""
    points = spaces(judge, data.images)
    nearest = {
        space: fidelity.nearest_distance(points[space], reference[space]) for space in SPACES
    }
    return EmbeddedImages(data, points, nearest)


def agrees(judge: CNN, data: LabeledImages) -> Mask:
    """Whether the label is the judge's first choice, (n,)."""
    if len(data) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(judge.predict_proba(data.images).argmax(axis=1) == data.labels)


def share(correct: Mask) -> float | None:
    """Share of True; None of none."""
    return float(correct.mean()) if len(correct) else None


def distance_report(real: EmbeddedImages, other: EmbeddedImages, fake: EmbeddedImages) -> Report:
    """All distances in the judge's features, between equally many images of each set.

    None where there are too few images to tell: a large budget leaves next to nothing of the pool.
    """
    count = min(len(real.data), len(other.data), len(fake.data))
    report: Report = {"num_compared": count}
    first = real.points["features"][:count]
    for suffix, seen in (("", fake), ("_floor", other)):
        values: dict[str, float | None] = dict.fromkeys(DISTANCES)
        if count > fidelity.NEIGHBORS:
            second = seen.points["features"][:count]
            values["frechet"] = fidelity.frechet_distance(first, second)
            values["kernel"] = fidelity.kernel_distance(first, second, derive_seed("kernel"))
            values |= fidelity.prdc(first, second)
        report |= {f"{name}{suffix}": value for name, value in values.items()}
    return report


def copy_report(seen: EmbeddedImages, held_out: EmbeddedImages, suffix: str) -> Report:
    """How close images lie to the draw, against held-out real ones; names end in `suffix`.

    `nearest_drawn` is a median of Euclidean distances between pixels of 0..1.
    """
    pixels = seen.nearest["pixels"]
    report: Report = {
        "nearest_drawn": float(np.median(pixels)) if len(pixels) else None,
        "near_copies_frac": memorization.near_copies_frac(pixels, held_out.nearest["pixels"]),
    }
    labels = seen.data.labels
    for space in SPACES:
        tests = memorization.copying_by_class(
            seen.nearest[space], labels, held_out.nearest[space], held_out.data.labels
        )
        test = memorization.copying_overall(tests, labels)
        report[f"copying_{space}"] = None if test is None else test.score
        report[f"copying_{space}_p"] = None if test is None else test.p_value
    return {f"{name}{suffix}": value for name, value in report.items()}


def label_report(correct: Mask, right_floor: Mask, num_classes: int) -> Report:
    """Shares of labels the judge agrees with, and the share of wrong ones that follows.

    The bounds of that share take the worse end of both shares' 95 % intervals.
    """
    report: Report = {
        "label_fidelity": share(correct),
        "label_fidelity_floor": share(right_floor),
        **dict.fromkeys(("wrong_label_frac", "wrong_label_frac_low", "wrong_label_frac_high")),
    }
    if len(correct) and len(right_floor):
        low, high = fidelity.wilson_interval(int(correct.sum()), len(correct))
        floor_low, floor_high = fidelity.wilson_interval(int(right_floor.sum()), len(right_floor))
        for name, agreed, floor in (
            ("wrong_label_frac", correct.mean(), right_floor.mean()),
            ("wrong_label_frac_low", high, floor_low),
            ("wrong_label_frac_high", low, floor_high),
        ):
            report[name] = fidelity.wrong_label_frac(float(agreed), float(floor), num_classes)
    return report


def label_row(correct: Mask) -> Report:
    """The label fidelity of one class, with its 95 % interval."""
    low, high = (
        fidelity.wilson_interval(int(correct.sum()), len(correct)) if len(correct) else [None] * 2
    )
    return {
        "num_images": len(correct),
        "label_fidelity": share(correct),
        "label_fidelity_low": low,
        "label_fidelity_high": high,
    }


def variety_row(real: EmbeddedImages, other: EmbeddedImages, fake: EmbeddedImages) -> Report:
    """How one class's images cover, vary and copy, and what real images get in their place.

    Coverage and recall depend on how many images there are, so all sets are cut to one size.
    """
    count = min(len(real.data), len(other.data), len(fake.data))
    row: Report = {}
    for suffix, seen in (("", fake), ("_floor", other)):
        row[f"coverage{suffix}"] = row[f"recall{suffix}"] = None
        if count > fidelity.NEIGHBORS:
            first, second = (images.points["features"][:count] for images in (real, seen))
            values = fidelity.prdc(first, second)
            row |= {f"{name}{suffix}": values[name] for name in ("coverage", "recall")}
        row[f"spread{suffix}"] = fidelity.diversity(seen.data.images, real.data.images)
        for space in SPACES:
            test = memorization.copying(seen.nearest[space], real.nearest[space])
            row[f"copying_{space}{suffix}"] = None if test is None else test.score
    return row


def flags(report: Report, num_images: int) -> list[str]:
    """The words a reader must see beside a gain; thresholds and reasons stand with the measures.

    `copies`: closer to the draw than real images are. `wrong_labels`: more than a tenth, beyond
    doubt. `collapsed`: a class without variety.
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

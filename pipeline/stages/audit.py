"""audit@<generator>: how good the synthetic images are, by a judge that nothing else may use.

The judge is a classifier trained on half of the pool with all its labels, far beyond any budget; it
never filters and never teaches. The pool's other half is cut in two: `reference`, which synthetic
images are compared with, and `floor`, real images in the place of the synthetic ones, so that every
distance stands beside what real images get. Images of the replicate's own draw are left out of
both. `data/audit/<generator>/` gets one `.json` per replicate.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from pipeline import fidelity
from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig, LeNet
from pipeline.engine import Task, compute, lay_out, trial_code, trial_name
from pipeline.images import Images, LabeledImages, read_images
from pipeline.params import Params
from pipeline.runtime import derive_seed, numpy_rng
from pipeline.stages.entry import enter_group
from pipeline.store import read_npz, require, write_json
from pipeline.transforms import AffineConfig, affine
from pipeline.trials import Replicate, replicates

# The judge's settings are fixed: a ruler that changes with the study measures nothing.
JUDGE = CNNConfig(
    steps=1000, batch_size=64, learning_rate=3e-3, weight_decay=1e-2, channels=16, features=64,
    dropout=0.3,
)  # fmt: skip
JUDGE_VIEW = AffineConfig(degrees=10, translate=0.08, scale=0.1, shear=5)
DISTANCES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
MOST_COMPARED = 2000  # images per set: pairwise distances take n * n numbers


@dataclass(frozen=True)
class Pool:
    """The pool with all its labels, and the three parts it is cut into, as positions."""

    data: LabeledImages
    judge: NDArray[np.int64]
    reference: NDArray[np.int64]
    floor: NDArray[np.int64]


def read_pool(splits: Path) -> Pool:
    """The pool of `data/splits`, cut the same way at every call."""
    labels = read_npz(splits / "labels.npz")["labels"]
    data = LabeledImages(read_npz(splits / "pool.npz")["images"], labels)
    order = numpy_rng("audit", len(data)).permutation(len(data))
    half, quarter = len(data) // 2, len(data) // 4
    return Pool(data, order[:half], order[half : half + quarter], order[half + quarter :])


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/audit/<name>/`."""
    splits = root / "data/splits"
    pool = [require(splits / file, "prepare") for file in ("pool.npz", "labels.npz")]
    code = trial_code(__file__, "pipeline.classifiers.cnn", "pipeline.fidelity")
    judge_task = Task(
        name=trial_name(code, pool, {"judge": JUDGE.model_dump(), "view": JUDGE_VIEW.model_dump()}),
        work=functools.partial(train_judge, splits),
        outputs={"judge.safetensors": Path("judge.safetensors")},
        labels={"stage": "audit", "item": "judge"},
    )
    judge = compute([judge_task], params.engine, root)[0] / "judge.safetensors"

    def task(replicate: Replicate) -> Task:
        place = replicate.file(".npz")
        draw = require(splits / "draws" / place, "prepare")
        synthetic = require(root / "data/synthetic" / name / place, f"synthesize@{name}")
        return Task(
            name=trial_name(code, [judge, *pool, draw, synthetic], {}),
            work=functools.partial(audit, splits, judge, draw, synthetic),
            outputs={"audit.json": replicate.file(".json")},
            labels={"stage": "audit", "item": name, **replicate.labels()},
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("data/audit") / name, tasks, compute(tasks, params.engine, root))


def train_judge(splits: Path, folder: Path) -> None:
    """Train the judge on its half of the pool."""
    pool = read_pool(splits)
    data = pool.data.take(pool.judge)
    judge = CNN(JUDGE, derive_seed("judge")).fit(plain(data, affine(JUDGE_VIEW)))
    weights = {name: value.contiguous() for name, value in judge.network.state_dict().items()}
    save_file(weights, folder / "judge.safetensors")


def audit(splits: Path, judge_path: Path, draw: Path, synthetic_path: Path, folder: Path) -> None:
    """Compare one replicate's synthetic images with held-out real ones."""
    pool = read_pool(splits)
    judge = CNN(JUDGE, derive_seed("judge"))
    judge.network = LeNet(JUDGE, pool.data.spec()).eval()
    judge.network.load_state_dict(load_file(judge_path))
    drawn = read_npz(draw)
    reference = pool.data.take(np.setdiff1d(pool.reference, drawn["index"]))
    floor = pool.data.take(np.setdiff1d(pool.floor, drawn["index"]))
    synthetic = read_images(synthetic_path)
    rng = numpy_rng("audit", synthetic_path.parent.name, synthetic_path.stem)
    count = min(len(reference), len(floor), len(synthetic), MOST_COMPARED)
    real, other, fake = (some(data, count, rng) for data in (reference, floor, synthetic))
    report = {
        "num_compared": count,
        "label_fidelity": agreement(judge, synthetic),
        "label_fidelity_floor": agreement(judge, floor),
        **distances(judge, real, fake, ""),
        **distances(judge, real, other, "_floor"),
        "nearest_drawn": median_nearest(fake.images, drawn["images"]),
        "nearest_drawn_floor": median_nearest(other.images, drawn["images"]),
    }
    write_json(folder / "audit.json", report)


def some(data: LabeledImages, count: int, rng: np.random.Generator) -> LabeledImages:
    """`count` random images of `data`, without repeats."""
    return data.take(rng.permutation(len(data))[:count])


def agreement(judge: CNN, data: LabeledImages) -> float | None:
    """Share of images whose label is the judge's first choice; None of no images."""
    if len(data) == 0:
        return None
    return float((judge.predict_proba(data.images).argmax(axis=1) == data.labels).mean())


def distances(
    judge: CNN, real: LabeledImages, other: LabeledImages, suffix: str
) -> dict[str, float | None]:
    """All distances between two sets in the judge's features, their names ending in `suffix`.

    None where there are too few images to tell: a large budget leaves next to nothing of the pool.
    """
    found: dict[str, float | None] = dict.fromkeys(DISTANCES)
    if len(real) > fidelity.NEIGHBORS:
        features, others = judge.embed(real.images), judge.embed(other.images)
        found["frechet"] = fidelity.frechet_distance(features, others)
        found["kernel"] = fidelity.kernel_distance(features, others, derive_seed("kernel"))
        found |= fidelity.prdc(features, others)
    return {f"{name}{suffix}": value for name, value in found.items()}


def median_nearest(images: Images, drawn: Images) -> float | None:
    """Median Euclidean pixel distance (0..1 scale) to the nearest image of the draw."""
    if len(images) == 0:
        return None
    points, references = (
        part.reshape(len(part), -1).astype(np.float32) / np.float32(255) for part in (images, drawn)
    )
    return float(np.median(fidelity.nearest_distance(points, references)))


if __name__ == "__main__":
    from pipeline.stages import audit as stage  # by its own name: workers can import that

    enter_group(stage.run, lambda params: params.generators)

"""train_teacher@<teacher>: per replicate, a teacher from its draw and the unlabeled rest of the
pool.

`models/<teacher>/` gets, per replicate, `.safetensors` (the teacher) and `.npz`, in the form
of synthetic images: `images` uint8 (n, c, h, w) of the pool without the draw and, by `keep_frac`,
without the strangest, `labels` int64 (n,), the teacher's first choice, `teacher` float32
(n, classes), its probabilities, and `confidence`, which filters want. For audits, `index` (n,) are
their places in the pool; `unlabeled` (m,) are the places of all that were looked at, `ood_score`
float32 (m,) how strange they were found, `remoteness` how far all of them lie from the draw. No
label outside the draw is read here.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from pipeline.config.schema import Params
from pipeline.config.validation import member_config
from pipeline.data.images import LabeledImages, read_images
from pipeline.nn.weights import write_weights
from pipeline.runtime.errors import DivergedError
from pipeline.runtime.files import read_npz, require, write_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers import TEACHERS
from pipeline.teachers.base import Teacher, refuse_unusable
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.provenance import provenance, trial_code


def run(params: Params, root: Path, name: str) -> None:
    """Write `models/<name>/`."""
    family = TEACHERS[name]
    config = member_config(family.Config, params.teachers[name], f"teachers.{name}")
    code = trial_code(__file__, family.__module__)
    pool = require(root / "data/splits/pool.npz", "prepare")

    def task(replicate: Replicate) -> Task:
        subset = require(root / "data/splits/subsets" / replicate.file(".npz"), "prepare")
        seed = derive_seed("teacher", name, replicate.budget, replicate.seed)
        return Task(
            provenance=provenance(code, [subset, pool], params, [f"teachers.{name}"], seed, root),
            work=functools.partial(teach, family(config, seed), subset, pool),
            outputs={
                "pseudo.npz": replicate.file(".npz"),
                "teacher.safetensors": replicate.file(".safetensors"),
            },
            tags={"stage": "train_teacher", "item": name, **replicate.columns()},
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("models") / name, tasks, compute(tasks, params.engine, root))


def teach(teacher: Teacher, subset_path: Path, pool_path: Path, folder: Path) -> LabeledImages:
    """Train one teacher and let it label the pool; see the module for what is left in `folder`."""
    subset, index = read_images(subset_path), read_npz(subset_path)["index"]
    images = read_npz(pool_path)["images"]
    rest = np.setdiff1d(np.arange(len(images)), index)
    distance_rank = refuse_unusable(subset, images[rest])
    teacher.fit(subset, images[rest])
    probabilities = teacher.predict_proba(images[rest])
    if not np.isfinite(probabilities).all():
        raise DivergedError(
            "the trained teacher",
            "expected finite class probabilities, found others",
            "lower that teacher's learning rate in params.yaml",
        )
    ood_score = teacher.ood_score(images[rest], probabilities)
    # A stable order, so that equally strange images are told apart by their place.
    count = int(np.ceil(teacher.config.keep_frac * len(rest)))
    ranks = np.sort(np.argsort(ood_score, kind="stable")[:count])
    index_kept = rest[ranks]
    write_npz(
        folder / "pseudo.npz",
        images=images[index_kept],
        labels=probabilities[ranks].argmax(axis=1),
        teacher=probabilities[ranks],
        confidence=np.array(teacher.config.min_probability),
        index=index_kept,
        unlabeled=rest,
        ood_score=ood_score,
        remoteness=np.array(distance_rank),
    )
    write_weights(folder / "teacher.safetensors", teacher.network.state_dict())
    return subset

"""train_teacher@<teacher>: per replicate, a teacher, and its labels of the rest of the pool.

It learns from the labeled subset and, unless it is of the family `supervised`, from the images of
the pool without labels. `models/<teacher>/` gets, per replicate, `.safetensors` (the state of the
teacher) and `.npz`, in the form of synthetic images:

* `images` uint8 (n, c, h, w): the pool without the subset and, by `keep_frac`, without the images
  of the highest OOD scores; `index` (n,) are their positions in the pool
* `labels` int64 (n,), the most probable class; `probabilities` float32 (n, classes);
  `min_probability`, the minimum that filters require
* `unlabeled` (m,): the positions of all images of the pool outside the subset; `ood_score` float32
  (m,); `distance_rank`: how far the subset lies from them, NaN for a supervised teacher
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.classifiers import CLASSIFIERS
from pipeline.config.schema import Params
from pipeline.data.images import read_images
from pipeline.evaluation.metrics import refuse_not_finite
from pipeline.nn.weights import to_safetensors
from pipeline.runtime.files import read_npz, to_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers import TEACHERS
from pipeline.teachers.pool_checks import refuse_missing_class, refuse_unusable
from pipeline.training_sets.teaching import TeacherSpec, teacher_spec
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import replicates
from pipeline.trials.layout import Artifact, pool_file, subset
from pipeline.trials.specs import Spec


@dataclass(frozen=True)
class TrainTeacherSpec(Spec):
    """What decides a trained teacher."""

    teacher: TeacherSpec


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    teacher = teacher_spec(params, name, TEACHERS, CLASSIFIERS)
    made = []
    for replicate in replicates(params.study):
        seed = derive_seed("teacher", name, replicate.budget, replicate.seed)
        artifact = Artifact("train_teacher", name, replicate)
        inputs = {"subset": subset(replicate), "pool": pool_file(params, replicate.seed)}
        made.append(TrialPlan(artifact, train, TrainTeacherSpec(seed, teacher), inputs))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `models/<name>/`."""
    run_trials(params, root, plans(params, name))


def train(spec: TrainTeacherSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Train one teacher and label the rest of the pool; see the module for the files."""
    labeled, index = read_images(paths["subset"]), read_npz(paths["subset"])["index"]
    pool = read_npz(paths["pool"])["images"]
    rest = np.setdiff1d(np.arange(len(pool)), index)

    teacher = spec.teacher.build(spec.seed, labeled.background)
    if teacher.needs_unlabeled:
        distance_rank = refuse_unusable(labeled, pool[rest])
    else:
        refuse_missing_class(labeled)
        distance_rank = float("nan")
    teacher.fit(labeled, pool[rest], scratch)
    # A budget may take the whole pool: then there is nothing to predict.
    nothing = np.zeros((0, labeled.num_classes), dtype=np.float32)
    probabilities = teacher.predict_proba(pool[rest]) if len(rest) else nothing
    advice = "lower that teacher's learning rate in params.yaml"
    refuse_not_finite(probabilities, "the trained teacher", advice)

    # A stable sort, so that images with equal scores keep the order of the pool.
    ood_score = teacher.ood_score(pool[rest], probabilities)
    num_kept = int(np.ceil(teacher.config.keep_frac * len(rest)))
    kept = np.sort(np.argsort(ood_score, kind="stable")[:num_kept])
    pseudo = to_npz(
        images=pool[rest[kept]],
        labels=probabilities[kept].argmax(axis=1),
        probabilities=probabilities[kept],
        min_probability=np.array(teacher.config.min_probability),
        index=rest[kept],
        unlabeled=rest,
        ood_score=ood_score,
        distance_rank=np.array(distance_rank),
    )
    return Result({".npz": pseudo, ".safetensors": to_safetensors(teacher.state())}, labeled)

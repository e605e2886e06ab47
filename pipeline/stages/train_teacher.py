"""train_teacher@<teacher>: per replicate, a teacher, and its labels of the rest of the pool.

It learns from the labeled subset and, unless it is of the family `supervised`, from the images of
the pool without labels. `models/<teacher>/` gets, per replicate, `.safetensors` (the state of the
teacher) and `.npz`, in the form of synthetic images:

* `images` uint8 (n, c, h, w): the pool without the subset, without images that no label reached
  and, by `keep_frac`, without those of the highest OOD scores; `index` (n,) are their positions in
  the pool
* `labels` int64 (n,), the most probable class; `probabilities` float32 (n, classes);
  `min_probability`, the minimum that filters require: the setting, or more where held-out labels of
  the subset demand it, and above 1 where no label of the teacher can be trusted
* `unlabeled` (m,): the positions of all images of the pool outside the subset; `ood_score` float32
  (m,); `distance_rank`: how far the subset lies from them, NaN for a supervised teacher
* of a teacher that predicts labels held out of the subset: `held_out_labels` (k,),
  `held_out_probabilities` float32 (k, classes), `trusted` (bool: some labels are sure and at least
  nine in ten of these right), `pool_shares` float32 (classes,), the estimated class shares, and
  `choice`, a string: what the teacher chose by these labels
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
from pipeline.teachers.base import Teacher
from pipeline.teachers.calibration import NEVER_CONFIDENT
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
    labeled, subset_arrays = read_images(paths["subset"]), read_npz(paths["subset"])
    pool = read_npz(paths["pool"])["images"]
    rest = np.setdiff1d(np.arange(len(pool)), subset_arrays["index"])

    teacher = spec.teacher.build(spec.seed, labeled.background)
    if teacher.needs_unlabeled:
        distance_rank = refuse_unusable(labeled, pool[rest])
    else:
        refuse_missing_class(labeled)
        distance_rank = float("nan")
    teacher.fit(labeled, pool[rest], scratch, subset_arrays.get("groups"))
    # A budget may take the whole pool: then there is nothing to predict.
    nothing = np.zeros((0, labeled.num_classes), dtype=np.float32)
    probabilities = teacher.predict_proba(pool[rest]) if len(rest) else nothing
    advice = "lower that teacher's learning rate in params.yaml"
    refuse_not_finite(probabilities, "the trained teacher", advice)

    # A stable sort, so that images with equal scores keep the order of the pool.
    ood_score = teacher.ood_score(pool[rest], probabilities)
    num_kept = int(np.ceil(teacher.config.keep_frac * len(rest)))
    kept = np.sort(np.argsort(ood_score, kind="stable")[:num_kept])
    if teacher.reached is not None:
        kept = kept[teacher.reached[kept]]
    minimum = teacher.min_probability(probabilities)
    pseudo = to_npz(
        images=pool[rest[kept]],
        labels=probabilities[kept].argmax(axis=1),
        probabilities=probabilities[kept],
        min_probability=np.array(minimum),
        index=rest[kept],
        unlabeled=rest,
        ood_score=ood_score,
        distance_rank=np.array(distance_rank),
        **held_out_arrays(teacher, minimum),
    )
    return Result({".npz": pseudo, ".safetensors": to_safetensors(teacher.state())}, labeled)


def held_out_arrays(teacher: Teacher, minimum: float) -> dict[str, np.ndarray]:
    """What a teacher knows of itself, as arrays; none of a teacher that holds out no labels."""
    if teacher.held_out is None or teacher.pool_shares is None:
        return {}
    return {
        "held_out_labels": teacher.held_out.labels,
        "held_out_probabilities": teacher.held_out.probabilities,
        "trusted": np.array(minimum < NEVER_CONFIDENT),
        "pool_shares": teacher.pool_shares,
        "choice": np.array(teacher.choice),
    }

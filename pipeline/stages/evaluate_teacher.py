"""evaluate_teacher@<teacher>: how accurate a teacher's labels are.

`data/audit/<teacher>/` gets one `.json` per replicate: measures of all labels and of every class,
and `flags`, the reasons why the labels must not be trusted. Reads the labels of the pool, which no
stage that trains for an arm may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import Params
from pipeline.evaluation.pseudo_labels import pseudo_label_report
from pipeline.runtime.files import read_npz, to_json
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.filters import agreement
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import replicates
from pipeline.trials.layout import Artifact, labels_file
from pipeline.trials.specs import Spec


@dataclass(frozen=True)
class EvaluateTeacherSpec(Spec):
    """`unknown_classes` and `unknown_frac`: classes outside the task and their share of the pool.

    Without such classes, images without a true label are images that nobody labeled.
    """

    unknown_classes: tuple[int, ...]
    unknown_frac: float


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    unknown = params.data.unknown_classes
    spec = EvaluateTeacherSpec(derive_seed("audit"), tuple(unknown.classes), unknown.frac)
    made = []
    for replicate in replicates(params.study):
        pseudo = Artifact("train_teacher", name, replicate).output(".npz")
        artifact = Artifact("evaluate_teacher", name, replicate)
        inputs = {"labels": labels_file(params, replicate.seed), "pseudo": pseudo}
        made.append(TrialPlan(artifact, evaluate, spec, inputs))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/audit/<name>/`."""
    run_trials(params, root, plans(params, name))


def evaluate(spec: EvaluateTeacherSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Compare the labels of one teacher with the true ones."""
    true_labels, pseudo = read_npz(paths["labels"])["labels"], read_npz(paths["pseudo"])
    confident = agreement(
        pseudo["labels"], pseudo["probabilities"], float(pseudo["min_probability"])
    )
    report = pseudo_label_report(
        pseudo,
        true_labels,
        confident,
        bool(spec.unknown_classes),
        num_classes=pseudo["probabilities"].shape[1],
    )
    return Result({".json": to_json(report).encode()}, None)

"""evaluate_teacher@<teacher>: how right a teacher's labels are, and does it know foreign images.

`data/audit/<teacher>/` gets one `.json` per replicate. It reads the labels of the pool, which
nothing that trains may see.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.config.schema import MODELS, Params
from pipeline.data.images import UNLABELED, LabeledImages
from pipeline.runtime.files import read_npz, require, write_json
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.filters import agreement
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.provenance import outputs_of, provenance, refuse_failed, trial_code


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/audit/<name>/`."""
    labels = require(root / "data/splits/labels.npz", "prepare")
    code = trial_code(__file__, "pipeline.training_sets.filters")

    def task(replicate: Replicate) -> Task:
        pseudo = root / MODELS / name / replicate.file(".npz")
        inputs = [labels, *outputs_of(pseudo, f"train_teacher@{name}")]
        return Task(
            provenance=provenance(code, inputs, params, [], derive_seed("audit"), root),
            work=functools.partial(
                audit, bool(params.data.unknown_classes.classes), labels, pseudo
            ),
            outputs={"audit.json": replicate.file(".json")},
            tags={"stage": "evaluate_teacher", "item": name, **replicate.columns()},
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("data/audit") / name, tasks, compute(tasks, params.engine, root))


def audit(
    has_unknown: bool, labels_path: Path, pseudo_path: Path, folder: Path
) -> LabeledImages | None:
    """Compare one teacher's labels with the true ones.

    Images without a true label are foreign ones if the study has such, else nobody knows theirs.
    `sure` are the images that the filter `agreement` keeps. Accuracies count images with a true
    label alone, None without any; `foreign_*` are the shares of foreign images among all, those
    that got a label (see `keep_frac`) and those it is sure of; `strangeness_auroc` is
    the chance that a foreign image is found stranger than another, None without foreign images;
    `remoteness` is that of `pipeline.teachers.base`.
    """
    refuse_failed(pseudo_path)
    truth, pseudo = read_npz(labels_path)["labels"], read_npz(pseudo_path)
    true_labels = truth[pseudo["index"]]
    sure = agreement(pseudo["labels"], pseudo["teacher"], float(pseudo["confidence"]))
    right, has_label = pseudo["labels"] == true_labels, true_labels != UNLABELED
    unknown = (truth[pseudo["unlabeled"]] == UNLABELED) & has_unknown
    report = {
        "num_unlabeled": len(unknown),
        "label_accuracy": share(right[has_label]),
        "sure_frac": share(sure),
        "sure_accuracy": share(right[has_label & sure]),
        "foreign_frac": share(unknown),
        "foreign_labeled_frac": share(~has_label & has_unknown),
        "foreign_sure_frac": share(~has_label[sure] & has_unknown),
        "strangeness_auroc": (
            float(roc_auc_score(unknown, pseudo["ood_score"])) if 0 < unknown.mean() < 1 else None
        ),
        "remoteness": float(pseudo["remoteness"]),
    }
    write_json(folder / "audit.json", report)
    return None


def share(holds: np.ndarray) -> float | None:
    """Share of True; None of none."""
    return float(holds.mean()) if len(holds) else None

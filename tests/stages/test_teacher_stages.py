"""The stages of teachers: which images get a label, and what the evaluation of labels counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_teachers import SECTIONS, halves

from pipeline.data.images import LabeledImages
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.files import read_npz, write_npz
from pipeline.stages import evaluate_teacher, train_teacher
from pipeline.teachers.label_propagation import LabelPropagation

__all__ = ["halves"]  # a fixture


def test_the_strangest_images_get_no_label(
    halves: tuple[LabeledImages, LabeledImages], tmp_path: Path
) -> None:
    subset, rest = halves
    index = np.arange(len(subset))
    write_npz(tmp_path / "draw.npz", images=subset.images, labels=subset.labels, index=index)
    write_npz(tmp_path / "pool.npz", images=np.concatenate([subset.images, rest.images]))
    config = LabelPropagation.Config.model_validate(
        {**SECTIONS["label_propagation"], "keep_frac": 0.25}
    )
    with deterministic():
        train_teacher.teach(
            LabelPropagation(config, 3), tmp_path / "draw.npz", tmp_path / "pool.npz", tmp_path
        )
    found = read_npz(tmp_path / "pseudo.npz")
    kept = np.isin(found["unlabeled"], found["index"])
    assert kept.sum() == len(found["labels"]) == np.ceil(0.25 * len(rest))
    ood_score = found["ood_score"]
    assert np.ptp(ood_score) > 0
    assert ood_score[kept].max() <= ood_score[~kept].min()


def audited(tmp_path: Path, truth: list[int], **arrays: object) -> dict[str, float | None]:
    write_npz(tmp_path / "labels.npz", labels=np.array(truth))
    found = {"confidence": 0.8, "remoteness": 0.625, **arrays}
    write_npz(tmp_path / "seed-00.npz", **{name: np.array(each) for name, each in found.items()})
    manifest = {name: {} for name in audit_teacher_parts()} | {"failure": None}
    (tmp_path / "seed-00.manifest.json").write_text(json.dumps(manifest))
    evaluate_teacher.audit(True, tmp_path / "labels.npz", tmp_path / "seed-00.npz", tmp_path)
    report: dict[str, float | None] = json.loads((tmp_path / "audit.json").read_text())
    return report


def audit_teacher_parts() -> tuple[str, ...]:
    from pipeline.trials.provenance import PARTS

    return PARTS


def test_an_audit_counts_right_sure_and_unknown_labels(tmp_path: Path) -> None:
    # Places 0 and 5 of the pool are the draw; 4 is foreign, found strange, and sure all the same.
    report = audited(
        tmp_path,
        [0, 0, 1, 1, -1, 1],
        index=[1, 2, 3, 4],
        labels=[0, 1, 0, 1],
        teacher=[[0.9, 0.1], [0.3, 0.7], [0.85, 0.15], [0.05, 0.95]],
        unlabeled=[1, 2, 3, 4],
        ood_score=[0.1, 0.3, 0.2, 0.9],
    )
    assert report == {
        "num_unlabeled": 4,
        "label_accuracy": pytest.approx(2 / 3),
        "sure_frac": 0.75,
        "sure_accuracy": 0.5,
        "foreign_frac": 0.25,
        "foreign_labeled_frac": 0.25,
        "foreign_sure_frac": pytest.approx(1 / 3),
        "strangeness_auroc": 1.0,
        "remoteness": 0.625,
    }


def test_without_unknown_images_nothing_is_said_of_ood_score(tmp_path: Path) -> None:
    report = audited(
        tmp_path,
        [0, 1, 1],
        index=[1, 2],
        labels=[1, 1],
        teacher=[[0.1, 0.9], [0.4, 0.6]],
        unlabeled=[1, 2],
        ood_score=[0.1, 0.4],
    )
    assert report["strangeness_auroc"] is None
    assert report["sure_frac"] == 0.5

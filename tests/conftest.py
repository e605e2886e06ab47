"""Fixtures shared by all tests: the project's folders, a small study, toy data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from pipeline import presets
from pipeline.datasets import toy
from pipeline.images import LabeledImages
from pipeline.params import DataParams, Params, load_params, parse_yaml, validate
from pipeline.runtime import derive_seed, numpy_rng
from pipeline.stages import audit
from pipeline.store import TIMINGS, file_digest, write_json, write_npz, write_text
from pipeline.trials import Trial, expected_trials, replicates

# One thread per test process: two run at once on two cores, and results are defined for one thread.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
# No time limit per example, since the machine may be shared; the same examples at every run.
settings.register_profile(
    "project", max_examples=40, deadline=None, derandomize=True, database=None
)
settings.load_profile("project")

ROOT = Path(__file__).resolve().parent.parent
CLASS_NAMES = ("horizontal", "vertical", "diagonal")
STUDY = """\
data: {name: toy, test_per_class: 20}
study: {budgets: [4, 2], seeds: [3, 1, 2, 0]}
generators: {dcgan: {steps: 5, batch_size: 4}}
synthesize: {per_class: 6, teacher: {classifier: cnn}}
filters: {agreement: {confidence: 0.5}}
classifiers: {cnn: {}, lgbm: {}}
transforms: {affine: {degrees: 10, translate: 0.1, scale: 0.1, shear: 5}}
arms:
  real: {inputs: data/splits/draws, per_class: 0}
  oversample: {inputs: data/splits/draws, per_class: 6, control: true}
  classical: {inputs: data/splits/draws, per_class: 6, transform: affine}
  dcgan: {inputs: data/synthetic/dcgan, per_class: 6, filter: agreement}
  dcgan_classical: {inputs: data/synthetic/dcgan, per_class: 6, transform: affine}
  dcgan_only: {inputs: data/synthetic/dcgan, per_class: 6, real: false, control: true}
report:
  baseline: real
  rival: classical
  primary: {classifier: cnn, arm: dcgan, budget: 2}
  confidence: 0.95
  smallest_effect: 0.005
engine: {kind: serial, workers: 1}
"""
DISTANCES = ("label_fidelity", *audit.DISTANCES, "nearest_drawn")
FIDELITY = (*DISTANCES, *(f"{name}_floor" for name in DISTANCES))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def bars() -> LabeledImages:
    """All images of the toy dataset: 180 of 8 x 8 pixels, three classes."""
    return toy.load(DataParams(name="toy", test_per_class=1), ROOT).images


@pytest.fixture
def few_bars(bars: LabeledImages) -> LabeledImages:
    """Ten toy images of each class."""
    chosen = np.concatenate([np.flatnonzero(bars.labels == label)[:10] for label in range(3)])
    return bars.take(chosen)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Params:
    """The project's params.yaml under the preset `smoke`: every member, small."""
    folder = tmp_path_factory.mktemp("smoke")
    shutil.copy(ROOT / "params.yaml", folder)
    presets.apply("smoke", folder)
    return load_params(folder)


@pytest.fixture(scope="session")
def study() -> Params:
    """Two classifiers, six arms, two budgets, four seeds in no order."""
    return validate(Params, parse_yaml(STUDY, "study"), "study")


@pytest.fixture
def project(tmp_path: Path, finished_study: Path) -> Path:
    """A copy of `finished_study` that a test may change."""
    return Path(shutil.copytree(finished_study, tmp_path / "project"))


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory, study: Params) -> Path:
    """A folder with hand-made results, audits and seconds of `study`, as its stages leave them."""
    tmp_path = tmp_path_factory.mktemp("study")
    (tmp_path / "params.yaml").write_text(STUDY, encoding="utf-8")
    for trial in expected_trials(study):
        write_npz(tmp_path / "results" / trial.file(), **scored(trial, study))
    for name in study.generators:
        for each in replicates(study.study):
            numbers = numpy_rng("audit", each.budget, each.seed).random(len(FIDELITY)).tolist()
            report = {"num_compared": 60, **dict(zip(FIDELITY, numbers, strict=True))}
            write_json(tmp_path / "data/audit" / name / each.file(".json"), report)
    seconds = []
    for each in replicates(study.study):
        file = tmp_path / "models/dcgan" / each.file(".safetensors")
        write_text(file, str(each))
        seconds.append(
            {
                "stage": "train_generator",
                "item": "dcgan",
                "num_images": 20,
                **each.labels(),
                "seconds": 1.0 + each.seed,
                "file": file.relative_to(tmp_path).as_posix(),
                "sha256": file_digest(file),
            }
        )
    write_json(tmp_path / TIMINGS / "train_generator@dcgan.json", seconds)
    return tmp_path


def scored(trial: Trial, params: Params) -> dict[str, np.ndarray]:
    """What a trial leaves: probabilities of sixty test images, right more often than not."""
    each, arm = trial.replicate, params.arms[trial.arm]
    rng = np.random.default_rng(
        derive_seed("scored", trial.classifier, trial.arm, each.budget, each.seed)
    )
    labels = np.repeat(np.arange(3), 20)
    scores = rng.random((60, 3)) + 0.5 * np.eye(3)[labels]
    counts: dict[str, Any] = {
        "num_train": 3 * (each.budget * arm.real + arm.per_class),
        "num_synthetic": 3 * arm.per_class if arm.generator else 0,
        "num_candidates": 18 if arm.generator else 0,
        "num_rejected": each.seed if arm.filter != "none" else 0,
    }
    return {
        "probabilities": (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32),
        "labels": labels,
        **{name: np.array(value) for name, value in counts.items()},
    }

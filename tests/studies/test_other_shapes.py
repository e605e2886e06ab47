"""Whole studies on images that are not square gray digits: every stage, and the report's page."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from typing_extensions import override

from pipeline.commands.check import check_params
from pipeline.config.schema import Params, load_params
from pipeline.data.datasets import DATASETS
from pipeline.data.datasets.base import BuiltIn, Dataset, RawDataset
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.stages.__main__ import ITEMS

PER_CLASS = 34
STUDY = """\
bits: portable
data: {name: patches, path: null, test_per_class: 10, unknown_classes: {classes: [], frac: 0.0}}
study: {budgets: [2], curve_budgets: [1], seeds: [0, 1]}
teachers:
  supervised: {classifier: cnn}
  graph:
    family: label_propagation
    rounds: [{steps: 2, batch_size: 4}, {steps: 2, batch_size: 4, fixmatch: {batch_size: 4}}]
  kplus1: {family: ssgan, steps: 2, batch_size: 4}
generators:
  dcgan: {inputs: data/splits/subsets, steps: 2, steps_per_image: 0, batch_size: 16}
  cvae: {inputs: data/splits/subsets, steps: 3, batch_size: 8}
  plain_dcgan: {inputs: data/splits/subsets, steps: 2, batch_size: 8}
synthesize: {per_class: 6, teacher: supervised}
tune: {latent_std: [1.0], min_probability: [0.0], folds: 2}
classifiers:
  cnn: {steps: 3}
  critic: {family: discriminator_cnn, steps: 3}
  lgbm: {num_trees: 3}
transforms:
  elastic: {degrees: 15, translate: 0.1, scale: 0.1, shear: 10, bend: 0.02, cutout: 0.2}
  flip: {}
  mixup: {}
  mixed: {family: sequence, of: [flip, mixup]}
  tuned:
    choices: [none, elastic, mixed]
    per_class: 4
    classifier_settings: {lgbm: [{}, {copies: 2}]}
arms:
  real: {kind: real, inputs: data/splits/subsets, per_class: 0}
  shuffled:
    kind: synthetic
    inputs: data/synthetic/dcgan
    per_class: 4
    permute_labels: true
    role: must_not_help
  fresh_real: {kind: real, inputs: data/splits/fresh, per_class: 4, role: must_help}
  classical: {kind: real, inputs: data/splits/subsets, per_class: 4, transform: elastic}
  tuned: {kind: real, inputs: data/splits/subsets, per_class: 4, transform: tuned}
  dcgan: {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 4}
  dcgan_tuned: {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 4, transform: tuned}
  cvae: {kind: synthetic, inputs: data/synthetic/cvae, per_class: 4, role: measure}
  warm:
    kind: warm_start
    inputs: models/plain_dcgan
    per_class: 0
    classifiers: [critic]
    role: measure
  pseudo_label: {kind: pseudo, inputs: models/graph, per_class: 4, role: measure}
  kplus1: {kind: teacher, inputs: models/kplus1, classifiers: [cnn]}
report:
  baseline: real
  reference: tuned
  primary: {classifier: cnn, arm: dcgan, budget: 2}
  confidence_level: 0.95
  smallest_effect: 0.005
engine: {kind: serial, workers: 1}
"""
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_judge")]


def patches(spec: ImageSpec) -> type[Dataset]:
    """A dataset of `spec`: a bright square whose place tells the class, on noise."""

    class Patches(Dataset):
        Config = BuiltIn

        @override
        def load(self) -> RawDataset:
            rng = np.random.default_rng(0)
            count = PER_CLASS * spec.num_classes
            shape = (count, spec.channels, spec.height, spec.width)
            images = rng.integers(0, 90, shape, dtype=np.uint8)
            labels = np.arange(count) % spec.num_classes
            side = spec.height // spec.num_classes
            for image, label in zip(images, labels, strict=True):
                image[:, side * label : side * (label + 1), 3:9] = 220
            names = tuple(f"place {label}" for label in range(spec.num_classes))
            return RawDataset(LabeledImages(images, labels), None, names)

    return Patches


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(ImageSpec(3, 40, 32, 3), marks=pytest.mark.proof, id="color"),
        pytest.param(ImageSpec(1, 12, 12, 2), id="gray"),
    ],
)
def test_a_whole_study_of_other_images_ends_with_a_report(
    spec: ImageSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "patches", patches(spec))
    (tmp_path / "params.yaml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    params = check_params(tmp_path)
    run_all(params, tmp_path)

    trials = pd.read_csv(tmp_path / "reports/trials.csv")
    assert set(trials["arm"]) == set(params.arms)
    assert trials["accuracy"].between(0, 1).all()
    page = (tmp_path / "reports/report.html").read_text("utf-8")
    assert "place 1" in page
    assert load_params(tmp_path) == check_params(tmp_path)  # again, at the shape of the splits


def run_all(params: Params, root: Path) -> None:
    """Every stage for every item, in the order of the pipeline."""
    for name, section in ITEMS.items():
        run = import_module(f"pipeline.stages.{name}").run
        if section is None:
            run(params, root)
            continue
        for item in getattr(params, section):
            run(params, root, item)

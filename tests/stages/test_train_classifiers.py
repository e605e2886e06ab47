"""Known answers: synthetic images that are real ones, and labels that mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.config.schema import ArmParams, Params
from pipeline.data.images import LabeledImages
from pipeline.evaluation.metrics import accuracy
from pipeline.report import tables
from pipeline.runtime.errors import DivergedError, ParamsError
from pipeline.runtime.files import read_npz, write_json, write_npz
from pipeline.stages.train_classifiers import inputs_of, score
from pipeline.trials.grid import Replicate, Trial
from pipeline.trials.provenance import PARTS, manifest_of

REPLICATE = Replicate(10, 0)


@pytest.fixture
def params(smoke: Params) -> Params:
    """Enough steps to learn; every arm takes ten images per class."""
    classifiers = {name: dict(section) for name, section in smoke.classifiers.items()}
    classifiers["cnn"] |= {"steps": 150, "channels": 8, "features": 32}
    return smoke.model_copy(update={"classifiers": classifiers})


@pytest.fixture
def inputs(bars: LabeledImages, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Test images, a draw, and a generator's file that holds the draw itself."""
    ranked = np.stack([np.flatnonzero(bars.labels == label) for label in range(3)], axis=1)
    test, subset, synthetic = (
        tmp_path / name for name in ("test.npz", "draw.npz", "synthetic.npz")
    )
    for path, ranks in ((test, slice(10, 60)), (subset, slice(0, 10)), (synthetic, slice(0, 10))):
        data = bars.take(ranked[ranks].reshape(-1))
        teacher = np.eye(3, dtype=np.float32)[data.labels]
        write_npz(
            path, images=data.images, labels=data.labels, teacher=teacher, confidence=np.array(0.5)
        )
    write_json(manifest_of(synthetic), dict.fromkeys(PARTS))
    return test, subset, synthetic


def scored(
    params: Params,
    arm: str,
    classifier: str,
    files: tuple[Path, Path, Path],
    folder: Path,
    seed: int = 3,
) -> tuple[float, str]:
    """Accuracy, and the digest of what was learned."""
    folder.mkdir()
    score(params, Trial(classifier, arm, REPLICATE), files, seed, folder)
    found = read_npz(folder / "scored.npz")
    return accuracy(found["labels"], found["probabilities"]), str(found["learned"])


@pytest.mark.parametrize("classifier", ["cnn", "lgbm"])
def test_the_score_of_real_images_as_synthetic_ones_is_real_accuracy(
    classifier: str, params: Params, inputs: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    real = scored(params, "real", classifier, inputs, tmp_path / "real")
    cas = scored(params, "dcgan_only", classifier, inputs, tmp_path / "cas")
    assert cas == real
    assert real[0] > 0.45


@pytest.mark.parametrize("classifier", [pytest.param("cnn", marks=pytest.mark.proof), "lgbm"])
def test_the_score_of_images_with_permuted_labels_is_chance(
    classifier: str, params: Params, inputs: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    only = params.arms["dcgan_only"].model_copy(update={"permute_labels": True})
    poisoned = params.model_copy(update={"arms": params.arms | {"dcgan_only": only}})
    scores = [
        scored(poisoned, "dcgan_only", classifier, inputs, tmp_path / str(seed), seed)[0]
        for seed in range(12)
    ]
    # Ten images per class leave a permutation some luck; over twelve of them it evens out.
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.1)


def test_a_classifier_that_diverges_is_a_trial_that_came_to_nothing(
    params: Params, inputs: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    classifiers = {"cnn": params.classifiers["cnn"] | {"learning_rate": 1e20}}
    wild = params.model_copy(update={"classifiers": classifiers})
    with pytest.raises(DivergedError, match=r"classifiers\.cnn"):
        scored(wild, "real", "cnn", inputs, tmp_path / "wild")
    assert not list((tmp_path / "wild").iterdir())


def test_an_arm_lets_its_classifier_start_from_a_discriminator(
    params: Params, inputs: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    section = params.classifiers["cnn"] | {"channels": 2, "steps": 2}
    arm = ArmParams(inputs="models/gan", per_class=0, start_from_discriminator=True, role="measure")
    changed = params.model_copy(
        update={"classifiers": {"critic": section}, "arms": params.arms | {"critic": arm}}
    )
    weights = inputs[2].with_suffix(".discriminator.safetensors")
    shapes = {"0": (2, 1, 5, 5), "1": (4, 2, 5, 5)}
    save_file(
        {
            f"{number}.{part}": torch.full(shape[: 4 if part == "weight" else 1], 0.1)
            for number, shape in shapes.items()
            for part in ("weight", "bias")
        },
        weights,
    )
    first = scored(changed, "critic", "critic", inputs, tmp_path / "first")
    scratch = scored(changed, "real", "critic", inputs, tmp_path / "scratch")
    assert first[1] != scratch[1]
    with pytest.raises(ParamsError, match="start from a discriminator"):
        scored(
            params.model_copy(update={"arms": changed.arms}),
            "critic",
            "cnn",
            inputs,
            tmp_path / "cnn",
        )


def test_an_arm_depends_on_the_discriminator_it_starts_from(tmp_path: Path) -> None:
    arm = ArmParams(inputs="models/gan", per_class=0, start_from_discriminator=True, role="measure")
    place = tmp_path / "seed_0.npz"
    for suffix in (".safetensors", ".discriminator.safetensors"):
        (tmp_path / f"seed_0{suffix}").touch()
    write_json(manifest_of(place), dict.fromkeys(PARTS))
    assert inputs_of(arm, place) == [tmp_path / "seed_0.discriminator.safetensors"]
    failed = dict.fromkeys(PARTS) | {"failure": ["generator", "diverged", "lower the rate"]}
    write_json(manifest_of(place), failed)
    assert inputs_of(arm, place) == [manifest_of(place)]


def test_permuted_labels_do_not_pass_for_a_classification_accuracy_score(
    study: Params, finished_study: Path
) -> None:
    only = study.arms["dcgan_only"].model_copy(update={"permute_labels": True})
    changed = study.model_copy(update={"arms": study.arms | {"dcgan_only": only}})
    trials = tables.trials_table("toy", list(tables.read_trials(study, finished_study)))
    assert tables.fidelity_table(changed, finished_study, trials)["cas"].isna().all()

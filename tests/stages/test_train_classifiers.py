"""Known answers: synthetic images that are real ones, and labels that mean nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from transform_sections import SECTIONS

from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.classifiers.discriminator_cnn import DiscriminatorCNN
from pipeline.classifiers.lgbm import LightGBM, LightGBMConfig
from pipeline.config.arms import AnyArm
from pipeline.config.schema import FRESH, SUBSETS, Params
from pipeline.data.images import LabeledImages
from pipeline.evaluation.metrics import accuracy
from pipeline.report import tables
from pipeline.runtime.errors import DivergedError, ParamsError
from pipeline.runtime.files import write_json, write_npz
from pipeline.stages.train_classifiers import ClassifierTrialSpec, plans, score
from pipeline.training_sets.arms import Recipe
from pipeline.training_sets.sources import added_files
from pipeline.training_sets.transforms.building import named_spec
from pipeline.trials import layout
from pipeline.trials.grid import Replicate
from pipeline.trials.specs import MemberSpec

CLASSIFIERS: dict[str, MemberSpec] = {
    "cnn": MemberSpec(CNN, CNNConfig(steps=150, channels=8, features=32)),
    "lgbm": MemberSpec(LightGBM, LightGBMConfig(num_trees=40)),
    "critic": MemberSpec(DiscriminatorCNN, DiscriminatorCNN.Config(steps=2, channels=2)),
}
REAL, ONLY = Recipe(per_class=0), Recipe(per_class=10, real=False)


@pytest.fixture
def paths(bars: LabeledImages, tmp_path: Path) -> dict[str, Path]:
    """Test images, a labeled subset, and a generator's file that holds the subset itself."""
    ranked = np.stack([np.flatnonzero(bars.labels == label) for label in range(3)], axis=1)
    ranks = {"test": slice(10, 60), "subset": slice(0, 10), "candidates": slice(0, 10)}
    files = {name: tmp_path / f"{name}.npz" for name in ranks}
    for name, path in files.items():
        data = bars.take(ranked[ranks[name]].reshape(-1))
        write_npz(
            path,
            images=data.images,
            labels=data.labels,
            probabilities=np.eye(3, dtype=np.float32)[data.labels],
            min_probability=np.array(0.5),
        )
    return files


def scored(
    recipe: Recipe, classifier: MemberSpec, paths: dict[str, Path], seed: int = 3
) -> tuple[float, str]:
    """Accuracy, and the digest of what was learned."""
    spec = ClassifierTrialSpec(seed, recipe, classifier)
    content = score(spec, paths, Path()).files[".npz"]
    arrays = np.load(io.BytesIO(content))
    return accuracy(arrays["labels"], arrays["probabilities"]), str(arrays["learned"])


def without(paths: dict[str, Path], name: str = "candidates") -> dict[str, Path]:
    return {key: path for key, path in paths.items() if key != name}


@pytest.mark.parametrize("classifier", ["cnn", "lgbm"])
def test_the_score_of_real_images_as_synthetic_ones_is_real_accuracy(
    classifier: str, paths: dict[str, Path]
) -> None:
    real = scored(REAL, CLASSIFIERS[classifier], without(paths))
    assert scored(ONLY, CLASSIFIERS[classifier], paths) == real
    assert real[0] > 0.45


@pytest.mark.parametrize("classifier", [pytest.param("cnn", marks=pytest.mark.proof), "lgbm"])
def test_the_score_of_images_with_permuted_labels_is_chance(
    classifier: str, paths: dict[str, Path]
) -> None:
    permuted = replace(ONLY, permute_labels=True)
    scores = [scored(permuted, CLASSIFIERS[classifier], paths, seed)[0] for seed in range(12)]
    # Ten images per class leave a permutation some luck; over twelve of them it evens out.
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.1)


def test_a_classifier_that_diverges_is_a_failed_trial(paths: dict[str, Path]) -> None:
    wild = MemberSpec(CNN, CNNConfig(steps=150, channels=8, features=32, learning_rate=1e20))
    with pytest.raises(DivergedError, match="classifier CNN"):
        scored(REAL, wild, without(paths))


@pytest.mark.parametrize("classifier", ["cnn", "lgbm"])
def test_a_choice_decides_transform_and_settings(
    classifier: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    first = CLASSIFIERS[classifier]
    key, value = {"cnn": ("features", 16), "lgbm": ("num_leaves", 4)}[classifier]
    second = replace(first, config=first.config.model_copy(update={key: value}))
    tuned = named_spec("tuned", SECTIONS)
    for transform, number, expected in (
        ("none", 0, scored(REAL, first, without(paths))),
        ("none", 1, scored(REAL, second, without(paths))),
        ("affine", 0, scored(with_transform("affine"), first, without(paths))),
        ("sequence", 1, scored(with_transform("sequence"), second, without(paths))),
    ):
        choice = tmp_path / "choice.json"
        write_json(choice, {"transform": transform, "settings": number})
        recipe = Recipe(per_class=10, transform=tuned)
        spec = ClassifierTrialSpec(3, recipe, first, (first, second))
        result = score(spec, without(paths) | {"choice": choice}, Path()).files[".npz"]
        arrays = np.load(io.BytesIO(result))
        found = accuracy(arrays["labels"], arrays["probabilities"]), str(arrays["learned"])
        assert found == expected


def with_transform(name: str) -> Recipe:
    return Recipe(per_class=10, transform=named_spec(name, SECTIONS))


def test_arms_of_a_tuned_transform_read_the_choice_of_their_classifier(
    tuned_study: Params,
) -> None:
    for arm in ("tuned", "dcgan_tuned", "classical"):
        for plan in plans(tuned_study, arm):
            artifact = plan.artifact
            file = layout.choice("tuned", artifact.replicate, artifact.classifier).output(".json")
            assert plan.inputs.get("choice") == (None if arm == "classical" else file)


def test_an_arm_lets_its_classifier_start_from_a_discriminator(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    weights = tmp_path / "seed-00.discriminator.safetensors"
    shapes = {"0": (2, 1, 5, 5), "1": (4, 2, 5, 5)}
    save_file(
        {
            f"{number}.{part}": torch.full(shape[: 4 if part == "weight" else 1], 0.1)
            for number, shape in shapes.items()
            for part in ("weight", "bias")
        },
        weights,
    )
    scratch, start = without(paths), without(paths) | {"discriminator": weights}
    critic = CLASSIFIERS["critic"]
    assert scored(REAL, critic, start)[1] != scored(REAL, critic, scratch)[1]
    with pytest.raises(ParamsError, match="start from a discriminator"):
        scored(REAL, CLASSIFIERS["cnn"], start)


def test_every_kind_of_arm_reads_its_own_files(study: Params) -> None:
    replicate = Replicate(2, 1)
    place = replicate.file("").as_posix()
    expected = {
        ("real", SUBSETS): {},
        ("real", FRESH): {"fresh": f"{FRESH}/{place}.npz"},
        ("synthetic", "data/synthetic/gan"): {"candidates": f"data/synthetic/gan/{place}.npz"},
        ("pseudo", "models/graph"): {"candidates": f"models/graph/{place}.npz"},
        ("teacher", "models/graph"): {
            "candidates": f"models/graph/{place}.npz",
            "teacher": f"models/graph/{place}.safetensors",
        },
        ("warm_start", "models/gan"): {
            "discriminator": f"models/gan/{place}.discriminator.safetensors"
        },
    }
    for (kind, inputs), files in expected.items():
        section = {"kind": kind, "inputs": inputs} | ({} if kind == "teacher" else {"per_class": 3})
        arm = TypeAdapter(AnyArm).validate_python(section)
        found = added_files(arm, replicate)
        assert {name: file.path.as_posix() for name, file in found.items()} == files


def test_only_the_baseline_must_not_fail(study: Params) -> None:
    for name in study.arms:
        required = {plan.required for plan in plans(study, name)}
        assert required == {name == study.report.baseline}


def test_an_arm_and_its_baseline_share_their_seeds(study: Params) -> None:
    seeds = [
        {(plan.artifact.classifier, plan.artifact.replicate): plan.spec.seed for plan in arm}
        for arm in (plans(study, "real"), plans(study, "dcgan"))
    ]
    assert all(seeds[0][key] == seed for key, seed in seeds[1].items())


def test_permuted_labels_do_not_pass_for_a_classification_accuracy_score(
    study: Params, finished_study: Path
) -> None:
    only = study.arms["dcgan_only"].model_copy(update={"permute_labels": True})
    changed = study.model_copy(update={"arms": study.arms | {"dcgan_only": only}})
    trials = tables.trials_table("toy", list(tables.read_trials(study, finished_study)))
    assert tables.fidelity_table(changed, finished_study, trials)["cas"].isna().all()

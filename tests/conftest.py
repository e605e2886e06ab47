"""Fixtures shared by all tests: the project's folders, a small study, toy data."""

from __future__ import annotations

import os

# Portable bits, whatever the caller's environment says, and set before numpy and torch are loaded.
os.environ["PIPELINE_BITS"] = "portable"
import pipeline  # noqa: F401

# isort: split
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from pipeline.classifiers import judge
from pipeline.config.schema import Params, family
from pipeline.config.validation import Member, member_config, parse_yaml, validate
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.toy import Toy
from pipeline.data.images import LabeledImages, read_images
from pipeline.evaluation import audit, pool
from pipeline.generators import GENERATORS
from pipeline.report.teachers import CLASS_COLUMNS, TEACHER_COLUMNS
from pipeline.runtime.errors import TrialError
from pipeline.runtime.files import file_digest, write_json, write_npz, write_text
from pipeline.runtime.seeds import derive_seed, library_versions, numpy_rng
from pipeline.stages import prepare
from pipeline.trials import layout
from pipeline.trials.grid import Trial
from pipeline.trials.integrity import code_group
from pipeline.trials.layout import Artifact, artifacts, subset
from pipeline.trials.provenance import Provenance, complete, consumed, describe, read_manifest
from pipeline.trials.store import TIMINGS

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
bits: portable
data: {name: toy, test_per_class: 20, unknown_classes: {classes: [], frac: 0.0}}
study: {budgets: [4, 2], curve_budgets: [8], seeds: [3, 1, 2, 0]}
generators:
  dcgan:
    inputs: data/splits/subsets
    steps: 5
    batch_size: 4
teachers: {supervised: {classifier: cnn}}
synthesize: {per_class: 6, teacher: supervised}
tune: {latent_std: [1.0], min_probability: [0.5], folds: 2}
classifiers: {cnn: {}, lgbm: {}}
transforms: {affine: {degrees: 10, translate: 0.1, scale: 0.1, shear: 5}}
arms:
  real: {kind: real, inputs: data/splits/subsets, per_class: 0}
  oversample: {kind: real, inputs: data/splits/subsets, per_class: 6, role: must_not_differ}
  shuffled:
    kind: synthetic
    inputs: data/synthetic/dcgan
    per_class: 6
    permute_labels: true
    role: must_not_help
  fresh_real: {kind: real, inputs: data/splits/fresh, per_class: 6, role: must_help}
  classical: {kind: real, inputs: data/splits/subsets, per_class: 6, transform: affine}
  dcgan: {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 6, filter: agreement}
  dcgan_classical: {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 6, transform: affine}
  dcgan_only:
    {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 6, real: false, role: measure}
report:
  baseline: real
  reference: classical
  primary: {classifier: cnn, arm: dcgan, budget: 2}
  confidence_level: 0.95
  smallest_effect: 0.005
engine: {kind: serial, workers: 1}
"""
# The same with a generator that restores images, and one that no arm asks for.
ZOO = STUDY.replace(
    "generators:\n",
    "generators:\n  cvae: {inputs: data/splits/subsets}\n  acgan: {inputs: data/splits/subsets}\n",
).replace(
    "arms:\n",
    "arms:\n"
    "  cvae: {kind: synthetic, inputs: data/synthetic/cvae, per_class: 6, role: measure}\n"
    "  cvae_only:\n"
    "    kind: synthetic\n"
    "    inputs: data/synthetic/cvae\n"
    "    per_class: 6\n"
    "    real: false\n"
    "    role: measure\n",
)
# The same with a transform that is chosen in every replicate.
TUNED = STUDY.replace(
    "transforms: {",
    "transforms: {flip: {}, tuned: {choices: [none, affine, flip], folds: 2, per_class: 6}, ",
).replace(
    "report:\n",
    "  tuned: {kind: real, inputs: data/splits/subsets, per_class: 6, transform: tuned}\n"
    "  dcgan_tuned:\n"
    "    {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 6, transform: tuned}\n"
    "report:\n",
)
DISTANCES = (
    "label_fidelity",
    *audit.DISTANCES,
    "nearest_drawn",
    "exact_copies",
    "near_copies_frac",
    "copying_pixels",
    "copying_pixels_p",
    "copying_features",
    "copying_features_p",
)
FIDELITY = (
    *DISTANCES,
    *(f"{name}_floor" for name in DISTANCES),
    "wrong_label_frac",
    "wrong_label_frac_low",
    "wrong_label_frac_high",
)
PER_CLASS = ("coverage", "recall", "spread", "copying_pixels", "copying_features")
CLASS_AUDIT = (
    "num_images",
    "label_fidelity",
    "label_fidelity_low",
    "label_fidelity_high",
    "label_fidelity_floor",
    *PER_CLASS,
    *(f"{name}_floor" for name in PER_CLASS),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with the most slow tests first."""
    slow = Counter(item.path for item in items if "slow" in item.keywords)
    items.sort(key=lambda item: -slow[item.path])


@cache
def preset(name: str) -> Params:
    """A preset of the project."""
    text = (ROOT / "presets" / f"{name}.yaml").read_text("utf-8")
    return validate(Params, parse_yaml(text, name), name)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def bars() -> LabeledImages:
    """All images of the toy dataset: 180 of 8 x 8 pixels, three classes."""
    return Toy(BuiltIn(), ROOT).load().images


@pytest.fixture(scope="session")
def few_bars(bars: LabeledImages) -> LabeledImages:
    """Ten toy images of each class."""
    chosen = np.concatenate([np.flatnonzero(bars.labels == label)[:10] for label in range(3)])
    return bars.take(chosen)


@pytest.fixture(scope="session")
def whole_sections() -> dict[str, Member]:
    """The sections of all generators, from the preset `zoo`, and one with all switches turned."""
    members = preset("zoo").generators
    found = {}
    for name, member in members.items():
        config = GENERATORS[family(member, name)].Config
        found[name] = member_config(config, member.settings, name).model_dump()
    plain = found["plain_dcgan"]
    found["srgan"]["half"]["discriminator"] = plain["discriminator"]  # named, to be narrowed
    return found | {
        "plain_dcgan_switched": plain
        | {
            "generator": plain["generator"] | {"upsample": True, "dropout": 0.2},
            "discriminator": plain["discriminator"] | {"minibatch_kernels": 0},
            "optimizer": "rmsprop",
            "momentum": 0.0,
            "noise": "uniform",
            "generator_steps": 2,
            "realness": 1.0,
        }
    }


@pytest.fixture(scope="session")
def sections(whole_sections: dict[str, Member]) -> dict[str, Member]:
    """The same with few steps and narrow networks."""
    brief = {"steps": 20, "steps_per_image": 0, "batch_size": 15}
    return {name: {**narrow(section), **brief} for name, section in whole_sections.items()}


def narrow(settings: Member) -> Member:
    """`settings` with narrow layers, short noise and few sampling steps."""
    most = {"latent_dim": 8, "sampling_steps": 4, "code_dim": 4}
    widths = {"width", "features", "label_dim"}
    found: Member = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found[key] = narrow(value)
        elif isinstance(value, list):
            widest = 128 if key.endswith("widths") else 16  # dense layers need more to learn much
            found[key] = [min(widest, each) for each in value]
        elif key in most or key in widths or key.endswith("channels"):
            found[key] = min(most.get(key, 16), value)
        else:
            found[key] = value
    return found


@pytest.fixture(scope="session")
def smoke() -> Params:
    """The preset `smoke`: every kind of member, small."""
    return preset("smoke")


@pytest.fixture(scope="module")
def quick_judge() -> Iterator[None]:
    """A small judge of few steps, where it matters what it learns from and not how well."""
    brief = judge.JUDGE.model_copy(update={"steps": 60, "channels": 8, "features": 16})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "JUDGE", brief)
        # It is not good enough to judge anything, and is believed here all the same.
        patch.setattr(pool, "MIN_JUDGE_IMAGES", 1)
        patch.setattr(audit, "MIN_JUDGE_SKILL", -np.inf)
        yield


@pytest.fixture(scope="session")
def study() -> Params:
    """Two classifiers, eight arms, two budgets and one more for the curve, four seeds."""
    return validate(Params, parse_yaml(STUDY, "study"), "study")


@pytest.fixture(scope="session")
def tuned_study() -> Params:
    """The same with two arms whose transform is chosen in every replicate."""
    return validate(Params, parse_yaml(TUNED, "study"), "study")


@pytest.fixture
def project(tmp_path: Path, finished_study: Path) -> Path:
    """A copy of `finished_study` that a test may change."""
    return Path(shutil.copytree(finished_study, tmp_path / "project"))


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hand-made results, audits and seconds of `study`, as its stages leave them.

    Its draws are those of `prepare`; every artifact has the manifest of an honest trial.
    """
    return leave_study(tmp_path_factory.mktemp("study"), STUDY)


@pytest.fixture(scope="session")
def finished_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a study with three generators."""
    return leave_study(tmp_path_factory.mktemp("zoo_study"), ZOO)


@pytest.fixture
def zoo(tmp_path: Path, finished_zoo: Path) -> Path:
    """A copy of `finished_zoo` that a test may change."""
    return Path(shutil.copytree(finished_zoo, tmp_path / "zoo"))


def leave_study(folder: Path, text: str) -> Path:
    """Write everything that the stages of the study with this params.yaml leave."""
    study = validate(Params, parse_yaml(text, "study"), "study")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    prepare.run(study, folder)
    for artifact in artifacts(study):
        leave_outputs(folder, artifact, study)
        leave_manifest(folder, artifact, study)
    seconds = [
        {
            **read_manifest(folder / artifact.manifest)["tags"],
            "seconds": 1.0 + artifact.replicate.seed,
            "file": artifact.manifest.as_posix(),
            "sha256": file_digest(folder / artifact.manifest),
        }
        for artifact in artifacts(study)
        if artifact.stage == "train_generator"
    ]
    write_json(folder / TIMINGS / "train_generator@dcgan.json", seconds)
    return folder


def leave_outputs(folder: Path, artifact: Artifact, params: Params) -> None:
    """Write the files of one trial, with hand-made numbers."""
    paths = {suffix: folder / path for suffix, path in artifact.paths.items()}
    match artifact.stage:
        case "train_classifiers":
            trial = Trial(str(artifact.classifier), artifact.item, artifact.replicate)
            write_npz(paths[".npz"], **scored(trial, params))
        case "train_generator":
            leave_generator(paths, artifact)
        case "evaluate_teacher":
            numbers = dict.fromkeys(TEACHER_COLUMNS[3:], 0.75)
            rows = [dict.fromkeys(CLASS_COLUMNS[5:], 0.75) | {"label": label} for label in range(3)]
            words = {"strangeness_auroc": None, "flags": [], "choice": "", "classes": rows}
            write_json(paths[".json"], numbers | words)
        case "evaluate_generator":
            write_json(paths[".json"], audited(artifact))
        case "tune_transforms":
            write_json(paths[".json"], {"transform": "flip", "settings": 0})
        case "tune":
            write_json(paths[".json"], {"latent_std": 1.0, "min_probability": 0.5})
        case "synthesize":
            write_npz(
                paths[".npz"],
                images=np.zeros((3, 1, 8, 8), np.uint8),
                labels=np.arange(3),
                latent_std=np.array(1.0),
                min_probability=np.array(0.5),
            )
        case _:
            for path in paths.values():
                write_text(path, str(artifact))


def audited(artifact: Artifact) -> dict[str, Any]:
    """The audit of one replicate's images; seed 0 copies."""
    replicate = artifact.replicate
    rng = numpy_rng("audit", replicate.budget, replicate.seed)
    report = {
        "num_compared": 60,
        "min_compared": 60,
        **dict(zip(FIDELITY, rng.random(len(FIDELITY)), strict=True)),
    }
    report |= {"near_copies_limit": 0.1, "copying_pixels_limit": 0.6, "copying_features_limit": 0.6}
    report["flags"] = ["copies"] * (replicate.seed == 0)
    report["classes"] = [
        {
            "label": label,
            "collapsed": False,
            **dict(zip(CLASS_AUDIT, rng.random(len(CLASS_AUDIT)), strict=True)),
        }
        for label in range(3)
    ]
    return report


def leave_generator(paths: dict[str, Path], artifact: Artifact) -> None:
    """Write what training leaves: variational if named cvae."""
    shades = np.arange(48, dtype=np.uint8).repeat(64).reshape(48, 1, 8, 8)
    is_autoencoder = artifact.item == "cvae"
    networks = {"loss": 0.5} if is_autoencoder else {"generator": 0.7, "discriminator": 0.5}
    numbers = networks | ({"divergence": 0.1} if is_autoencoder else {"accuracy": 0.75})
    history = {"step": 5, **numbers, **{f"{name}_learning_rate": 0.1 for name in networks}}
    rows = [",".join(history), ",".join(map(str, history.values()))]
    showcase = {"interpolation": shades[:30], "something_new": shades[:10]}
    if is_autoencoder:
        showcase["reconstruction"] = shades[:20]
    write_text(paths[".safetensors"], str(artifact.replicate))
    write_text(paths[".discriminator.safetensors"], "")
    write_text(paths[".history.csv"], "".join(f"{row}\n" for row in rows))
    write_npz(paths[".snapshots.npz"], step_000002=shades[:24], step_000005=shades[24:48])
    write_npz(paths[".showcase.npz"], **showcase)


def leave_manifest(
    folder: Path, artifact: Artifact, params: Params, failure: TrialError | None = None
) -> None:
    """Write the manifest of an honest trial that learned from all of its labeled subset."""
    inputs, data = {}, None
    if artifact.replicate is not None:
        path = subset(artifact.replicate).path
        inputs, data = {path.as_posix(): file_digest(folder / path)}, read_images(folder / path)
    spec, tags = {}, artifact.tags
    if artifact.stage == "train_generator":
        generator = GENERATORS[params.family(artifact.item)]
        config = generator.Config(**params.generators[artifact.item].settings)
        spec = {"generator": {"config": config.model_dump()}}
        tags |= {"batch_size": 4, "kind": generator.kind, "loss": generator.loss}
    origin = Provenance("/".join(code_group(params, artifact)), inputs, spec, environment())
    files = [] if failure else [folder / path for path in artifact.paths.values()]
    record = describe(origin, consumed(None if failure else data), failure)
    digests = {path.name: file_digest(path) for path in files}
    manifest = complete(record, tags, layout.settings(params, artifact), digests)
    write_json(folder / artifact.manifest, manifest)


@cache
def environment() -> dict[str, str | int]:
    """What the manifest of a trial says of libraries and bits."""
    return {**library_versions(), "bits": "portable", "threads": 1}


def scored(trial: Trial, params: Params) -> dict[str, np.ndarray]:
    """What a trial leaves: probabilities of sixty test images, right more often than not."""
    replicate, arm = trial.replicate, params.arms[trial.arm]
    rng = np.random.default_rng(
        derive_seed("scored", trial.classifier, trial.arm, replicate.budget, replicate.seed)
    )
    labels = np.repeat(np.arange(3), 20)
    scores = rng.random((60, 3)) + 0.5 * np.eye(3)[labels]
    counts: dict[str, Any] = {
        "num_train": 3 * (replicate.budget * arm.real + arm.per_class),
        "num_made": 3 * arm.per_class if arm.generator else 0,
        "num_candidates": 18 if arm.generator or arm.teacher else 0,
        "num_rejected": replicate.seed if arm.filter != "none" else 0,
        "learned": derive_seed(trial.classifier, trial.arm, replicate.budget, replicate.seed),
    }
    return {
        "probabilities": (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32),
        "labels": labels,
        **{name: np.array(value) for name, value in counts.items()},
    }

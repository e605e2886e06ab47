"""Proofs that no test image and no label beyond the budget decides anything but a score.

Poison tests: the study is run again, every trial anew, with the forbidden data spoiled; what
depended on it would change. And every stage is watched while it opens files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from pipeline.config.schema import FRESH, SUBSETS, Params, load_params
from pipeline.config.validation import FILE, Member, validate
from pipeline.data.images import LabeledImages
from pipeline.runtime.errors import CollapsedError, DivergedError, IntegrityError
from pipeline.runtime.files import read_json, read_npz, write_npz
from pipeline.runtime.seeds import numpy_rng
from pipeline.stages import (
    evaluate_generator,
    prepare,
    report,
    synthesize,
    train_classifiers,
    train_generator,
)
from pipeline.trials.provenance import manifest_of

ROOT = Path(__file__).resolve().parents[2]
NUM_TEST = 400
BUDGET = "budget-0005"
TUNED = {"latent_std": [1.0, 1.5], "min_probability": [0.8]}
LEFT_OUT = ("oversample", "classical", "dcgan_classical")  # nothing of their own could leak
# What leaks does so at any size, and this study is computed over and over.
BRIEF: dict[str, dict[str, Member]] = {
    "classifiers": {"cnn": {"steps": 15, "channels": 4, "features": 16}, "lgbm": {"num_trees": 10}},
    "generators": {
        "dcgan": {
            "steps": 15,
            "generator_channels": [16, 8],
            "discriminator_channels": 8,
            "features": 32,
        }
    },
}
STAGES = (train_generator, synthesize, evaluate_generator)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_judge")]


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_source(folder: Path, noise: bool) -> None:
    """Digits as the four files of MNIST; with `noise`, test images and labels mean nothing."""
    digits = load_digits()
    images, labels = np.round(digits.images * 255 / 16), digits.target
    rng = np.random.default_rng(0)
    test_images, test_labels = images[:NUM_TEST], labels[:NUM_TEST]
    if noise:
        test_images = rng.integers(0, 256, test_images.shape)
        test_labels = rng.permutation(test_labels)
    folder.mkdir(parents=True)
    write_idx(folder / "train-images-idx3-ubyte", images[NUM_TEST:])
    write_idx(folder / "train-labels-idx1-ubyte", labels[NUM_TEST:])
    write_idx(folder / "t10k-images-idx3-ubyte", test_images)
    write_idx(folder / "t10k-labels-idx1-ubyte", test_labels)


@pytest.fixture(scope="session")
def params(smoke: Params) -> Params:
    """The smoke study on digits that come with a test set of their own; each replicate tunes."""
    document = smoke.model_dump()
    document["data"].update(name="mnist", path="source")
    document["tune"].update(TUNED)
    document["report"].update(reference=None)
    document["arms"] = {name: arm for name, arm in document["arms"].items() if name not in LEFT_OUT}
    for family, members in BRIEF.items():
        for name, settings in members.items():
            document[family][name].update(settings)
    return validate(Params, document, "study")


def run_trials(params: Params, root: Path) -> None:
    """Every stage between `prepare` and `report`."""
    for stage in STAGES:
        for name in params.generators:
            stage.run(params, root, name)
    for name in params.arms:
        train_classifiers.run(params, root, name)


def studied(folder: Path, params: Params, noise: bool = False) -> Path:
    """A finished study, but for its report."""
    write_source(folder / "source", noise)
    prepare.run(params, folder)
    run_trials(params, folder)
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, params: Params, quick_judge: None) -> Path:
    """The study with all its data as they are."""
    folder = tmp_path_factory.mktemp("honest") / "study"
    studied(folder, params)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def learned(folder: Path) -> dict[str, list[Any]]:
    """What every classifier trial had to do with its training: all but the scored images."""
    found = {}
    for path in sorted((folder / "results").rglob("*.npz")):
        arrays = read_npz(path)
        kept = [str(arrays[name]) for name in arrays if name not in ("probabilities", "labels")]
        record = read_json(manifest_of(path))
        inputs = {k: v for k, v in record["inputs"].items() if not k.endswith("test.npz")}
        rest = {k: v for k, v in record.items() if k not in ("inputs", "outputs")}
        found[path.relative_to(folder).as_posix()] = [kept, inputs, rest]
    return found


def test_noise_for_a_test_set_changes_nothing_but_scores(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    poisoned = studied(tmp_path / "poisoned", params, noise=True)
    for part in (
        "data/splits/subsets",
        "data/splits/fresh",
        "models",
        "data/synthetic",
        "data/audit",
    ):
        assert digests(honest / part)
        assert digests(poisoned / part) == digests(honest / part), part
    for file in ("pool.npz", "labels.npz"):
        ours, theirs = (read_npz(each / "data/splits" / file) for each in (honest, poisoned))
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert learned(poisoned) == learned(honest)
    assert len(learned(honest)) == 2 * 2 * 6  # five arms, and the curve of the first
    scores = [digests(each / "results") for each in (honest, poisoned)]
    arrays = [name for name in scores[0] if name.endswith(".npz")]
    assert all(scores[0][name] != scores[1][name] for name in arrays)


def permuted(labels: np.ndarray, outside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`labels` with those at `outside` dealt out anew."""
    changed = labels.copy()
    changed[outside] = rng.permutation(changed[outside])
    return changed


def test_permuting_every_label_beyond_the_budget_changes_only_what_may_know_them(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    poisoned = tmp_path / "poisoned"
    shutil.copytree(honest, poisoned, ignore=shutil.ignore_patterns(".trials", "results", "models"))
    splits, rng = poisoned / "data/splits", numpy_rng("poison")
    labels = read_npz(splits / "labels.npz")["labels"]
    inside = np.concatenate(
        [read_npz(path)["index"] for path in (poisoned / SUBSETS).rglob("*.npz")]
    )
    outside = np.setdiff1d(np.arange(len(labels)), inside)
    write_npz(splits / "labels.npz", labels=permuted(labels, outside, rng))
    for path in (poisoned / FRESH).rglob("*.npz"):
        fresh = read_npz(path)
        everything = np.arange(len(fresh["labels"]))
        write_npz(path, **fresh | {"labels": permuted(fresh["labels"], everything, rng)})
    run_trials(params, poisoned)
    for part in ("models", "data/synthetic"):
        assert digests(poisoned / part) == digests(honest / part), part
    ours, theirs = (digests(each / "results") for each in (honest, poisoned))
    changed = {name.split("/")[0] for name in ours if ours[name] != theirs[name]}
    assert changed == {"fresh_real"}
    assert digests(poisoned / "data/audit") != digests(honest / "data/audit")


def test_no_replicate_learns_from_the_subset_of_another(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    poisoned = tmp_path / "poisoned"
    shutil.copytree(honest, poisoned, ignore=shutil.ignore_patterns(".trials", "results", "models"))
    own = Path(BUDGET) / "seed-00.npz"
    for path in (poisoned / "data/splits").rglob("seed-*.npz"):
        if not path.as_posix().endswith(own.as_posix()):
            subset = read_npz(path)
            write_npz(
                path, **subset | {"labels": numpy_rng(path.name).permutation(subset["labels"])}
            )
    run_trials(params, poisoned)
    ours, theirs = learned(honest), learned(poisoned)
    kept = {name for name in ours if ours[name] == theirs[name]}
    assert kept == {name for name in ours if f"{BUDGET}/seed-00" in name}
    for part in ("models", "data/synthetic"):
        found = [digests(each / part / "dcgan" / BUDGET) for each in (honest, poisoned)]
        # `dcgan` has no discriminator to start from: that file is empty.
        names = {name for name in found[0] if "discriminator" not in name}
        same = {name for name in names if found[0][name] == found[1][name]}
        assert same == {name for name in names if name.startswith("seed-00")}


def test_a_generator_trained_by_hand_on_more_labels_is_refused(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    study = Path(shutil.copytree(honest, tmp_path / "study"))
    (study / "params.yaml").write_text("")
    own = study / SUBSETS / BUDGET / "seed-00.npz"
    larger = study / SUBSETS / "budget-0010/seed-00.npz"
    kept = own.read_bytes()
    shutil.copy(larger, own)
    train_generator.run(params, study, "dcgan")
    own.write_bytes(kept)
    with pytest.raises(IntegrityError, match=r"seed-00\.manifest\.json"):
        report.run(params, study)


def diverge(*_: object) -> LabeledImages:
    raise DivergedError("step 3 of 30", "expected a finite loss, found nan", "lower the rate")


def collapse(*_: object) -> None:
    raise CollapsedError("200 synthetic images", "expected variety", "train longer")


@pytest.mark.parametrize(
    "failing",
    [(train_generator, "train", diverge), (synthesize, "refuse_collapse", collapse)],
    ids=["diverged", "collapsed"],
)
def test_a_failed_generator_counts_as_what_its_user_would_get(
    failing: tuple[Any, str, Any],
    honest: Path,
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, function, replacement = failing
    study = Path(shutil.copytree(honest, tmp_path / "study"))
    (study / "params.yaml").write_text("")
    shutil.rmtree(study / ".trials" / module.__name__.rpartition(".")[2])
    kept = getattr(module, function)
    turns = iter([replacement, kept])  # the first seed fails, the second does not

    def take_turns(*args: object) -> object:
        return next(turns)(*args)

    monkeypatch.setattr(module, function, take_turns)
    run_trials(params, study)
    report.run(params, study)
    results = study / "results/dcgan" / BUDGET
    assert not (results / "seed-00.cnn.npz").exists()
    assert (results / "seed-01.cnn.npz").exists()
    text = (study / "reports/trials.csv").read_text().splitlines()
    rows = [dict(zip(text[0].split(","), line.split(","), strict=True)) for line in text[1:]]
    score = {
        (row["classifier"], row["arm"], row["seed"]): row["accuracy"]
        for row in rows
        if row["budget"] == "5"
    }
    failed = {(row["arm"], row["seed"]) for row in rows if row["failed"] == "True"}
    with_generator = {name for name, arm in params.arms.items() if arm.generator}
    assert failed == {(name, "0") for name in with_generator}
    for arm in with_generator:
        assert score["cnn", arm, "0"] == score["cnn", "real", "0"]
    page = (study / "reports/report.html").read_text()
    assert "1 of 2 seeds failed" in page
    assert len((study / "reports/failures.csv").read_text().splitlines()) == 1 + (
        (module is train_generator) + 2 + 2 * len(with_generator)
    )


WATCHES: list[list[object]] = []  # what was opened under each watch that is kept now


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Write down every file that is opened under a watch."""
    if event == "open":
        for opened in WATCHES:
            opened.append(arguments[0])


@functools.cache
def listen() -> None:
    """Have this process tell `note` of everything; that cannot be undone, and once is enough."""
    sys.addaudithook(note)


def opened_by(stage: str, item: str | None, study: Path) -> list[object]:
    """Run a stage as DVC does, in the folder `study`: what it opened."""
    listen()
    opened: list[object] = []
    WATCHES.append(opened)
    try:
        with (
            contextlib.chdir(study),
            mock.patch.object(sys, "argv", ["stage", stage, *([item] if item else [])]),
            warnings.catch_warnings(),
        ):
            # Tests have imported the stage before; what it opens then is watched below.
            warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
            runpy.run_module("pipeline.stages", run_name="__main__")
    finally:
        WATCHES.remove(opened)
    return opened


def files_of(study: Path, opened: Iterable[object]) -> set[str]:
    """Files of the data, models and results of `study` among what was opened there."""
    folder = study.resolve()
    paths = {(folder / name).resolve() for name in opened if isinstance(name, str)}
    found = {
        path.relative_to(folder) for path in paths if path.is_relative_to(folder) and path.is_file()
    }
    return {
        name.as_posix()
        for name in found
        if name.parts[0] in ("data", "models", "results")
        and not any(part.startswith(".") for part in name.parts)
    }


@pytest.mark.parametrize(
    ("stage", "item"),
    [
        ("prepare", None),
        ("train_generator", "dcgan"),
        ("synthesize", "dcgan"),
        ("evaluate_generator", "dcgan"),
        ("train_classifiers", "dcgan"),
        ("report", None),
    ],
)
def test_a_stage_opens_what_it_declares_and_nothing_else(
    stage: str, item: str | None, honest: Path, tmp_path: Path, params: Params
) -> None:
    study = Path(shutil.copytree(honest, tmp_path / "study"))
    refuse_undeclared(stage, item, study, params)
    assert (study / "reports/report.html").exists() == (stage == "report")


def refuse_undeclared(stage: str, item: str | None, study: Path, params: Params) -> None:
    """Run a stage of `study` anew, under watch; it opens what dvc.yaml declares, no test images
    unless it scores."""
    with (study / FILE).open("w", encoding="utf-8") as file:
        YAML().dump(params.model_dump(), file)
    assert load_params(study) == params
    shutil.rmtree(study / ".trials" / stage, ignore_errors=True)
    opened = opened_by(stage, item, study)
    assert str(study.resolve() / FILE) in opened
    read = files_of(study, opened)
    assert read or stage == "prepare"
    declared = declared_inputs(stage, item, params)
    assert all(each.startswith(("data/", "models", "results")) for each in declared)
    assert not {name for name in read if not name.startswith(declared)}
    test_files = {name for name in read if name.endswith("test.npz")}
    assert bool(test_files) == (stage == "train_classifiers")


IMPORTING = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(arguments[0]))
import importlib, pkgutil
import pipeline.stages
names = [f"pipeline.stages.{each.name}" for each in pkgutil.iter_modules(pipeline.stages.__path__)]
for name in names:
    importlib.import_module(name)
print(*names)
print(*opened, sep="\\n")
"""


def test_a_stage_opens_nothing_of_a_study_while_it_is_imported(honest: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        cwd=honest,
        env=environment,
        text=True,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    names, *opened = done.stdout.splitlines()
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    assert {f"pipeline.stages.{name}" for name in stages} <= set(names.split())
    assert any(name.endswith(".pyc") for name in opened)
    assert files_of(honest, ["data/splits/test.npz"])
    assert not files_of(honest, opened)


def declared_inputs(stage: str, item: str | None, params: Params) -> tuple[str, ...]:
    """What dvc.yaml lets the stage read, without code."""
    entry = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage]
    deps = entry.get("do", entry)["deps"]
    data = [dep for dep in deps if not dep.startswith("pipeline/")]
    if "${item.inputs}" in data:
        section = params.arms if stage == "train_classifiers" else params.generators
        data = [dep.replace("${item.inputs}", section[str(item)].inputs) for dep in data]
    return tuple(dep.replace("${key}", str(item)) for dep in data)

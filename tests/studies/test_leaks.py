"""Proofs that no test image and no label beyond the budget decides anything but a score.

One small study of both regimes: supervised and semi-supervised teachers, a generator that learns
from the labeled subset and one that learns from pseudo-labels. Poison tests run it again, every
trial anew, with the forbidden data replaced: what depends on them would change. And every stage is
watched while it opens files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import runpy
import shutil
import subprocess
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from conftest import preset
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from benchmarks import semi
from pipeline.config.schema import FRESH, MODELS, SUBSETS, Params, load_params
from pipeline.config.validation import FILE, validate
from pipeline.runtime.errors import CollapsedError, DivergedError, IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz, write_json, write_npz
from pipeline.runtime.seeds import numpy_rng
from pipeline.stages import prepare, report, synthesize, train_generator, tune
from pipeline.stages.__main__ import ITEMS
from pipeline.trials.layout import OUTPUTS
from pipeline.trials.provenance import manifest_of

ROOT = Path(__file__).resolve().parents[2]
NUM_TEST, NUM_IMAGES = 200, 800
BUDGET, CURVE = "budget-0005", "budget-0010"
# What leaks does so at any size, and this study is computed over and over.
ARMS = (
    "real",
    "fresh_real",
    "shuffled",
    "tuned",
    "dcgan",
    "dcgan_only",
    "pseudo_label",
    "ss_dcgan",
    "teacher",
    "kplus1",
)
BRIEF: dict[str, Any] = {
    "data": {"name": "mnist", "settings": {"path": "source"}},
    "study": {"budgets": [5], "curve_budgets": [10], "seeds": [0, 1]},
    "teachers": {
        "supervised": {"classifier": "cnn"},
        "graph": {
            "family": "label_propagation",
            "min_probability": 0.05,
            "components": 20,
            "neighbors": 5,
            "rounds": [{"steps": 60, "batch_size": 16}, {"steps": 60, "batch_size": 16}],
            "network": {"channels": 8, "features": 16, "num_tta": 1, "ema_decay": 0.9},
        },
        "kplus1": {
            "family": "ssgan",
            "min_probability": 0.1,
            "steps": 15,
            "batch_size": 16,
            "generator_channels": 8,
            "channels": 4,
            "features": 16,
        },
    },
    "generators": {
        name: {
            "family": "dcgan",
            "inputs": inputs,
            "steps": 15,
            "batch_size": 16,
            "generator_channels": [16, 8],
            "discriminator_channels": 8,
            "features": 32,
        }
        for name, inputs in (("dcgan", SUBSETS), ("ss_dcgan", f"{MODELS}graph"))
    },
    "synthesize": {"per_class": 20, "teacher": "supervised"},
    "tune": {"latent_std": [1.0], "min_probability": [0.0], "folds": 2},
    "classifiers": {
        "cnn": {"steps": 15, "channels": 4, "features": 16},
        "lgbm": {"num_trees": 10},
    },
    "engine": {"kind": "serial", "workers": 1},
}
# Several candidates, of which generators of pseudo-labels allow none.
TUNED = {"latent_std": [1.0, 1.5], "min_probability": [0.0], "folds": 2}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_judge")]


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_source(folder: Path, noise: bool) -> None:
    """Digits as the four files of MNIST; with `noise`, test images and labels mean nothing."""
    digits = load_digits()
    images = np.round(digits.images[:NUM_IMAGES] * 255 / 16)
    labels = digits.target[:NUM_IMAGES]
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


@pytest.fixture(scope="module")
def params() -> Params:
    """The preset `semi`, but small, on digits that come with a test set of their own."""
    document = preset("semi").model_dump()
    document |= BRIEF | {"data": {**document["data"], **BRIEF["data"]}}
    document["transforms"]["tuned"] = {
        "choices": ["none", "affine"],
        "folds": 2,
        "per_class": 5,
        "classifier_settings": {"lgbm": [{}, {"copies": 2}]},
    }
    document["arms"] = {name: document["arms"][name] for name in ARMS}
    for arm in document["arms"].values():
        if "per_class" in arm:
            arm["per_class"] = min(arm["per_class"], 15)
    primary = {"classifier": "cnn", "arm": "pseudo_label", "budget": 5}
    document["report"] |= {"reference": None, "primary": primary}
    return validate(Params, document, "study")


def run_trials(params: Params, root: Path) -> None:
    """Every stage between `prepare` and `report`."""
    for name, section in ITEMS.items():
        stage = import_module(f"pipeline.stages.{name}")
        if section is not None:
            for item in getattr(params, section):
                stage.run(params, root, item)
        elif name in OUTPUTS:
            stage.run(params, root)


def studied(folder: Path, params: Params, noise: bool = False) -> Path:
    """A finished study, but for its report."""
    write_source(folder / "source", noise)
    prepare.run(params, folder)
    run_trials(params, folder)
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, params: Params, quick_judge: None) -> Path:
    """The study with all its data as they are."""
    return studied(tmp_path_factory.mktemp("honest") / "study", params)


MADE = (
    "data/judge",
    "data/audit",
    "data/transforms",
    "data/tuning",
    "data/synthetic",
    "models",
    "results",
)


def prepared(honest: Path, folder: Path) -> Path:
    """A copy in which nothing has learned yet."""
    Path(shutil.copytree(honest / "data/splits", folder / "data/splits"))
    (folder / FILE).write_text("")
    return folder


def copied(honest: Path, folder: Path) -> Path:
    """A finished copy."""
    shutil.copytree(honest, folder)
    (folder / FILE).write_text("")
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
        inputs = {k: v for k, v in record["inputs"].items() if "splits/test/" not in k}
        rest = {k: v for k, v in record.items() if k not in ("inputs", "outputs")}
        found[path.relative_to(folder).as_posix()] = [kept, inputs, rest]
    return found


def choices(params: Params, study: Path, folder: Path) -> dict[str, str]:
    """What the replicates of a study choose by cross-validation, from its splits."""
    fixed = params.model_dump()
    generators = {"dcgan": params.generators["dcgan"]}
    tuned = params.model_copy(
        update={
            "tune": params.tune.model_validate(TUNED),
            "generators": generators,
        }
    )
    assert fixed["tune"] != TUNED
    root = prepared(study, folder)
    tune.run(tuned, root, "dcgan")
    return digests(root / "data/tuning")


def test_noise_for_a_test_set_changes_nothing_but_scores(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    poisoned = studied(tmp_path / "poisoned", params, noise=True)
    unchanged = ("data/splits/subsets", "data/splits/fresh", *MADE[:-1])
    for part in unchanged:
        assert digests(honest / part)
        assert digests(poisoned / part) == digests(honest / part), part
    for file in ("pool/all.npz", "labels/all.npz"):
        ours, theirs = (read_npz(study / "data/splits" / file) for study in (honest, poisoned))
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert learned(poisoned) == learned(honest)
    # Eight arms with two classifiers and two teachers, two seeds, and the curve of the first.
    assert len(learned(honest)) == 2 * (2 * 8 + 2) + 2 * 2
    scores = [digests(study / "results") for study in (honest, poisoned)]
    arrays = [name for name in scores[0] if name.endswith(".npz")]
    assert all(scores[0][name] != scores[1][name] for name in arrays)


def permuted(labels: np.ndarray, outside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`labels` with those at `outside` permuted."""
    changed = labels.copy()
    changed[outside] = rng.permutation(changed[outside])
    return changed


def test_permuting_every_label_beyond_the_budget_changes_only_what_may_know_them(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    poisoned = prepared(honest, tmp_path / "poisoned")
    splits, rng = poisoned / "data/splits", numpy_rng("poison")
    labels = read_npz(splits / "labels/all.npz")["labels"]
    inside = np.concatenate(
        [read_npz(path)["index"] for path in (poisoned / SUBSETS).rglob("*.npz")]
    )
    outside = np.setdiff1d(np.arange(len(labels)), inside)
    write_npz(splits / "labels/all.npz", labels=permuted(labels, outside, rng))
    for path in (poisoned / FRESH).rglob("*.npz"):
        fresh = read_npz(path)
        everything = np.arange(len(fresh["labels"]))
        write_npz(path, **fresh | {"labels": permuted(fresh["labels"], everything, rng)})
    run_trials(params, poisoned)
    for part in ("models", "data/transforms", "data/tuning", "data/synthetic"):
        assert digests(poisoned / part) == digests(honest / part), part
    ours, theirs = (digests(study / "results") for study in (honest, poisoned))
    changed = {name.split("/")[0] for name in ours if ours[name] != theirs[name]}
    assert changed == {"fresh_real"}
    for item in (
        "data/judge",
        *(f"data/audit/{n}" for n in (*params.teachers, *params.generators)),
    ):
        assert digests(poisoned / item) != digests(honest / item), item
    ours, theirs = (
        choices(params, study, tmp_path / name) for name, study in (("a", honest), ("b", poisoned))
    )
    assert ours == theirs


def test_no_replicate_learns_from_the_subset_of_another(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    poisoned = prepared(honest, tmp_path / "poisoned")
    own = f"{BUDGET}/seed-00"
    for path in (poisoned / "data/splits").rglob("seed-*.npz"):
        if not path.as_posix().endswith(f"{own}.npz"):
            subset = read_npz(path)
            labels = numpy_rng(path.name).permutation(subset["labels"])
            write_npz(path, **subset | {"labels": labels})
    run_trials(params, poisoned)
    ours, theirs = learned(honest), learned(poisoned)
    kept = {name for name in ours if ours[name] == theirs[name]}
    assert kept == {name for name in ours if own in name}
    for part, item in [
        *(("models", name) for name in (*params.teachers, *params.generators)),
        *(("data/synthetic", name) for name in params.generators),
    ]:
        found = [digests(study / part / item / BUDGET) for study in (honest, poisoned)]
        # `dcgan` has no discriminator to start from: that file is empty.
        names = {name for name in found[0] if "discriminator" not in name}
        same = {name for name in names if found[0][name] == found[1][name]}
        assert same == {name for name in names if name.startswith("seed-00")}, item
    ours, theirs = (
        choices(params, study, tmp_path / name) for name, study in (("a", honest), ("b", poisoned))
    )
    assert ours[f"dcgan/{own}.manifest.json"] == theirs[f"dcgan/{own}.manifest.json"]
    assert ours[f"dcgan/{own}.json"] == theirs[f"dcgan/{own}.json"]


def test_a_generator_trained_by_hand_on_more_labels_is_refused(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    study = copied(honest, tmp_path / "study")
    own = study / SUBSETS / BUDGET / "seed-00.npz"
    kept = own.read_bytes()
    shutil.copy(study / SUBSETS / CURVE / "seed-00.npz", own)
    train_generator.run(params, study, "dcgan")
    own.write_bytes(kept)
    with pytest.raises(IntegrityError, match=r"seed-00\.manifest\.json"):
        report.run(params, study)


def diverge(*_: object) -> None:
    raise DivergedError("step 3 of 30", "expected a finite loss, found nan", "lower the rate")


def collapse(*_: object) -> None:
    raise CollapsedError("200 synthetic images", "expected diverse images", "train longer")


@pytest.mark.parametrize(
    "failing",
    [(train_generator, "fit", diverge, 3), (synthesize, "refuse_collapse", collapse, 2)],
    ids=["diverged", "collapsed"],
)
def test_a_failed_generator_counts_as_what_its_user_would_get(
    failing: tuple[Any, str, Any, int],
    honest: Path,
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, function, failure, num_failed = failing
    study = copied(honest, tmp_path / "study")
    shutil.rmtree(study / ".trials" / module.__name__.rpartition(".")[2])
    kept = getattr(module, function)
    # The first seed of the first generator fails, the others do not.
    turns = itertools.chain([failure], itertools.repeat(kept))

    def take_turns(*args: object) -> object:
        return next(turns)(*args)

    monkeypatch.setattr(module, function, take_turns)
    run_trials(params, study)
    report.run(params, study)
    results = study / "results/dcgan" / BUDGET
    assert not (results / "seed-00.cnn.npz").exists()
    assert (results / "seed-01.cnn.npz").exists()
    trials = pd.read_csv(study / "reports/trials.csv").query("budget == 5")
    score = trials.set_index(["classifier", "arm", "seed"])["accuracy"]
    failed = trials[trials["failed"]]
    with_generator = {name for name, arm in params.arms.items() if arm.generator == "dcgan"}
    assert set(zip(failed["arm"], failed["seed"], strict=True)) == {(n, 0) for n in with_generator}
    for arm in with_generator:
        assert score["cnn", arm, 0] == score["cnn", "real", 0]
    # The generator or its images, what is made from them, and two classifiers per arm.
    failures = pd.read_csv(study / "reports/failures.csv")
    assert len(failures) == num_failed + 2 * len(with_generator)


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


def test_a_stage_opens_what_it_declares_and_nothing_else(
    honest: Path, tmp_path: Path, params: Params
) -> None:
    study = copied(honest, tmp_path / "study")
    with (study / FILE).open("w", encoding="utf-8") as file:
        YAML().dump(params.model_dump(), file)
    assert load_params(study) == params
    watched = {
        "teachers": ["supervised", "graph"],
        "generators": ["dcgan", "ss_dcgan"],
        "arms": ["real", "fresh_real", "dcgan", "pseudo_label", "teacher"],
        None: [None],
    }
    for stage, section in ITEMS.items():
        shutil.rmtree(study / ".trials" / stage, ignore_errors=True)
        for item in watched[section]:
            refuse_undeclared(stage, item, study, params)


def refuse_undeclared(stage: str, item: str | None, study: Path, params: Params) -> None:
    """Run a stage of `study` anew, under watch: it opens what dvc.yaml declares, and no test
    images unless it scores.
    """
    opened = opened_by(stage, item, study)
    assert str(study.resolve() / FILE) in opened
    read = files_of(study, opened)
    assert read or stage in ("list_images", "prepare")
    declared = declared_inputs(stage, item, params)
    assert all(dep.startswith(("data/", "models", "results")) for dep in declared)
    assert not {name for name in read if not name.startswith(declared)}, (stage, item)
    test_files = {name for name in read if "splits/test/" in name}
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
    assert files_of(honest, ["data/splits/test/all.npz"])
    assert not files_of(honest, opened)


def declared_inputs(stage: str, item: str | None, params: Params) -> tuple[str, ...]:
    """What dvc.yaml lets the stage read, without code."""
    entry = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage]
    deps = entry.get("do", entry)["deps"]
    section = params.arms if stage == "train_classifiers" else params.generators
    values = {
        "${key}": str(item),
        "${synthesize.teacher}": str(params.synthesize.teacher),
        "${item.inputs}": section[str(item)].inputs if item in section else "",
    }
    data = [dep for dep in deps if not dep.startswith("pipeline/")]
    for name, value in values.items():
        data = [dep.replace(name, value) for dep in data]
    return tuple(data)


def test_the_study_runs_to_its_report(honest: Path, params: Params, tmp_path: Path) -> None:
    folder = copied(honest, tmp_path / "study")
    report.run(params, folder)
    page = (folder / "reports/report.html").read_text("utf-8")
    assert "ss_dcgan was trained on unlabeled images of the pool as well" in page
    for name in params.arms:
        assert f">{name}</td>" in page


def test_a_teacher_labels_the_rest_of_the_pool_and_its_arms_use_that(
    honest: Path, params: Params
) -> None:
    splits, place = honest / "data/splits", f"{BUDGET}/seed-00.npz"
    subset = read_npz(splits / "subsets" / place)
    pool = read_npz(splits / "pool/all.npz")["images"]
    for name in params.teachers:
        found = read_npz(honest / MODELS / name / place)
        assert not set(found["index"]) & set(subset["index"])
        assert len(found["index"]) == len(pool) - len(subset["index"])
        np.testing.assert_array_equal(found["images"], pool[found["index"]])
        np.testing.assert_array_equal(found["labels"], found["probabilities"].argmax(axis=1))
    assert [path.name for path in (honest / "results/teacher" / BUDGET).glob("*.npz")] == [
        "seed-00.cnn.npz",
        "seed-01.cnn.npz",
    ]
    trial = read_npz(honest / f"results/pseudo_label/{BUDGET}/seed-00.cnn.npz")
    assert 0 < trial["num_made"] <= trial["num_candidates"] - trial["num_rejected"]
    assert trial["num_candidates"] == len(pool) - len(subset["index"])
    assert trial["num_train"] > 50


def test_images_are_filtered_by_the_teacher_of_their_regime(honest: Path, params: Params) -> None:
    for name, teacher in (("dcgan", "supervised"), ("ss_dcgan", "graph")):
        for path in (honest / "data/synthetic" / name).rglob("*.npz"):
            inputs = read_json(manifest_of(path))["inputs"]
            weights = [file for file in inputs if file.startswith(MODELS)]
            assert {file.split("/")[1] for file in weights} == {name, teacher}
            minimum = 0.0
            if teacher == "graph":
                pseudo = (
                    honest / MODELS / teacher / path.relative_to(honest / "data/synthetic" / name)
                )
                minimum = read_npz(pseudo)["min_probability"]
                assert minimum >= 0.05
            assert read_npz(path)["min_probability"] == minimum


def test_a_pool_of_noise_is_refused_by_every_teacher_and_costs_its_arms_their_gain(
    honest: Path, params: Params, tmp_path: Path
) -> None:
    study = prepared(honest, tmp_path / "study")
    pool = read_npz(study / "data/splits/pool/all.npz")
    noise = numpy_rng("noise").integers(0, 256, pool["images"].shape, dtype=np.uint8)
    write_npz(study / "data/splits/pool/all.npz", **{**pool, "images": noise})
    manifest = read_json(study / "data/splits/manifest.json")
    manifest["files"]["data/splits/pool/all.npz"] = file_digest(study / "data/splits/pool/all.npz")
    write_json(study / "data/splits/manifest.json", manifest)
    run_trials(params, study)
    report.run(params, study)
    failures = pd.read_csv(study / "reports/failures.csv")
    assert failures["reason"].str.contains("like the labeled ones").all()
    semi_supervised = {"graph", "kplus1"}
    refused = failures.loc[failures["stage"] == "train_teacher", "item"]
    assert set(refused) == semi_supervised
    trials = pd.read_csv(study / "reports/trials.csv").query("budget == 5")
    failed = set(trials.loc[trials["failed"], "arm"])
    assert failed == {name for name in params.arms if params.regime(name) != "labeled"}
    scores = trials.set_index(["classifier", "seed", "arm"])["accuracy"]
    for classifier, seed, arm in scores.index:
        if arm in failed:
            assert scores[classifier, seed, arm] == scores[classifier, seed, "real"]


def test_the_benchmark_reports_every_arm_and_part(
    honest: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished(root: Path, _: Namespace) -> Params:
        shutil.copytree(honest, root, dirs_exist_ok=True)
        (root / FILE).write_text("")
        return params

    monkeypatch.setattr(semi, "settings", finished)
    monkeypatch.setattr(semi.prepare, "run", lambda *_: None)
    options = Namespace(
        seed=0, threads=1, arms=None, alone=False, foreign=None, out=tmp_path / "out"
    )
    semi.benchmark(options)
    found = read_json(tmp_path / "out/result.json")
    assert set(found["test_error"]) == set(params.arms)
    assert found["labels"] == 50
    assert found["failures"] == []
    assert found["precision"] in ("float32", "bfloat16")
    for arm, errors in found["test_error"].items():
        assert list(errors) == params.arm_classifiers(arm)
        assert all(0 <= error <= 1 for error in errors.values())
    assert {
        "train_teacher@graph",
        "train_generator@ss_dcgan",
        "train_judge@judge",
        "train_classifiers@teacher",
    } < set(found["seconds"])
    assert (tmp_path / "out/synthetic.npz").is_file()

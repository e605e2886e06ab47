"""A study with unlabeled images: end to end on toy data, its poison tests, its report."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import STUDY, leave_study
from ruamel.yaml import YAML
from test_html import rendered
from test_leaks import digests, learned, refuse_undeclared
from test_teachers import SECTIONS

from benchmarks import semi
from pipeline.commands import presets
from pipeline.commands.check import check_params
from pipeline.config.schema import MODELS, SUBSETS, DataParams, Params, load_params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.data.datasets import DATASETS, toy
from pipeline.data.datasets.base import RawDataset
from pipeline.data.images import LabeledImages, read_images
from pipeline.report import terminal
from pipeline.report.results import build_tables, write_csv
from pipeline.report.verdicts import answer
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import file_digest, read_json, read_npz, write_json, write_npz
from pipeline.runtime.seeds import numpy_rng
from pipeline.stages import (
    evaluate_generator,
    evaluate_teacher,
    prepare,
    report,
    synthesize,
    train_classifiers,
    train_generator,
    train_teacher,
)
from pipeline.trials.grid import pairs

ROOT = Path(__file__).resolve().parents[2]
ADDED = """\
teachers: {graph: {}}
generators:
  taught: {family: dcgan, inputs: models/graph}
"""
ARMS = """\
arms:
  pseudo_label: {inputs: models/graph, per_class: 6, filter: agreement}
  taught: {inputs: data/synthetic/taught, per_class: 6, filter: agreement}
  teacher: {inputs: models/graph, per_class: 0, teacher_itself: true, role: measure}
"""
TEXT = STUDY.replace("generators:\n", ADDED).replace("arms:\n", ARMS)
pytestmark = pytest.mark.usefixtures("quick_judge")


def params_of(text: str) -> Params:
    return validate(Params, parse_yaml(text, FILE), FILE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hand-made results of a study with both regimes."""
    return leave_study(tmp_path_factory.mktemp("both"), TEXT)


def test_an_arm_is_compared_with_the_reference_of_its_own_regime() -> None:
    params = params_of(TEXT)
    references = [(arm, against) for arm, against in pairs(params) if against != "real"]
    assert references == [
        ("taught", "pseudo_label"),
        ("dcgan", "classical"),
        ("dcgan_classical", "classical"),
    ]
    fewer = changed(TEXT, "models/graph, per_class: 6", "models/graph, per_class: 5")
    assert params_of(fewer).reference("taught") is None  # it would add other numbers of images
    assert params.regime("taught") == params.regime("teacher") == "labeled+unlabeled"
    assert params.regime("dcgan") == params.regime("fresh_real") == "labeled"


def test_the_report_groups_arms_by_regime_and_says_what_it_compares(
    finished: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "project"))
    params = load_params(folder)
    page = rendered(params, folder)
    write_csv(folder / "reports/deltas.csv", build_tables(params, folder, "toy").deltas)
    assert "images better than the pseudo-labels that the generator was trained on" in page
    part = page.partition("<h2>Test accuracy of every arm</h2>")[2]
    first, second = part.split("<h3>")[1:3]
    assert "trained on unlabeled images as well</h3>" not in first
    assert '<td class="left">dcgan</td>' in first
    assert '<td class="left">taught*</td>' not in first
    assert "trained on unlabeled images as well</h3>" in second
    assert '<td class="left">taught*</td>' in second
    assert "real, which used no unlabeled images," in page
    assert "Pseudo-label accuracy" in page
    assert "farther from the unlabeled ones than 75 %" in page  # as hand-made as all the rest
    deltas = terminal.read_deltas(folder)
    rows = terminal.lines(deltas, params)
    assert [row[2] for row in rows if row[:2] == ("cnn", "2")][-6:] == [
        "pseudo_label*",
        "taught*",
        "teacher*",
        "dcgan over classical",
        "dcgan_classical over classical",
        "taught* over pseudo_label*",
    ]
    assert terminal.markdown(deltas, params).endswith(terminal.UNLABELED_NOTE)


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "inputs: models/graph, per_class: 6",
            "inputs: models/grph, per_class: 6",
            ["arms.pseudo_label.inputs", "graph", "grph"],
        ),
        (
            "family: dcgan, inputs: models/graph",
            "inputs: data/synthetic/dcgan",
            ["generators.taught.inputs", "models/<name>"],
        ),
        (
            "per_class: 0, teacher_itself: true, role: measure",
            "per_class: 0, teacher_itself: true",
            ["arms.teacher.teacher_itself", "measure"],
        ),
        (
            "inputs: data/splits/subsets, per_class: 6, transform: affine",
            "inputs: data/splits/subsets, per_class: 6, teacher_itself: true, role: measure",
            ["arms.classical.teacher_itself", "models/<teacher>"],
        ),
        ("teachers: {graph: {}}", "teachers: {graph: {}, dcgan: {}}", ["teachers", "dcgan"]),
        ("latent_std: [1.0]", "latent_std: [1.0, 1.5]", ["tune", "generators.taught"]),
        (
            "test_per_class: 20}",
            "test_per_class: 20, unknown_classes: {frac: 0.2}}",
            ["unknown_classes.classes"],
        ),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(old: str, new: str, words: list[str]) -> None:
    with pytest.raises(ParamsError) as error:
        params_of(changed(TEXT, old, new))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_reference_of_the_images_at_hand_saw_no_others(tmp_path: Path) -> None:
    shutil.copy(ROOT / FILE, tmp_path)
    presets.apply("semi", tmp_path)
    text = (tmp_path / FILE).read_text("utf-8")
    (tmp_path / FILE).write_text(changed(text, "reference: classical", "reference: pseudo_label"))
    with pytest.raises(ParamsError, match=r"report\.reference.*pseudo_label, which saw unlabeled"):
        check_params(tmp_path)


def test_a_comparison_across_regimes_says_which_side_saw_unlabeled_images() -> None:
    row = {"verdict": "harm", "classifier": "cnn", "budget": 10}
    regimes = {"regime": "labeled+unlabeled", "baseline_regime": "labeled"}
    across = answer({**row, "arm": "taught", "baseline": "real", **regimes})
    assert across.startswith("taught is worse than real, which used no unlabeled images, for")
    regimes = {"regime": "labeled", "baseline_regime": "labeled+unlabeled"}
    across = answer({**row, "arm": "dcgan", "baseline": "taught", **regimes})
    assert across.startswith("dcgan is worse than taught, which used the unlabeled images, for")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Params:
    """The preset `semi`, but small: toy data, one replicate, brief training."""
    folder = tmp_path_factory.mktemp("semi")
    shutil.copy(ROOT / FILE, folder)
    presets.apply("semi", folder)
    yaml = YAML()
    document = yaml.load((folder / FILE).read_text("utf-8"))
    document["data"].update(name="toy", test_per_class=15)
    document["study"].update(budgets=[5], curve_budgets=[], seeds=[0])
    document["report"]["primary"]["budget"] = 5
    document["engine"]["kind"] = "serial"
    document["teachers"] = SECTIONS
    for generator in document["generators"].values():
        generator.update(
            steps=20,
            max_steps=20,
            batch_size=8,
            generator_channels=[8, 4],
            discriminator_channels=4,
            features=16,
        )
    document["synthesize"]["per_class"] = 20
    document["classifiers"]["cnn"].update(steps=20, batch_size=16)
    document["classifiers"]["lgbm"].update(num_trees=10)
    for arm in document["arms"].values():
        arm["per_class"] = min(arm["per_class"], 15)
    with (folder / FILE).open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return check_params(folder)


def run_trials(params: Params, root: Path) -> None:
    """Every stage between `prepare` and `report`."""
    stages: tuple[tuple[Any, Any], ...] = (
        (train_teacher, params.teachers),
        (evaluate_teacher, params.teachers),
        (train_generator, params.generators),
        (synthesize, params.generators),
        (evaluate_generator, params.generators),
        (train_classifiers, params.arms),
    )
    for stage, items in stages:
        for name in items:
            stage.run(params, root, name)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, small: Params, quick_judge: None) -> Path:
    """A finished study of both regimes, but for its report."""
    folder = tmp_path_factory.mktemp("honest")
    prepare.run(small, folder)
    run_trials(small, folder)
    return folder


def prepared(honest: Path, folder: Path) -> Path:
    """A copy in which nothing has learned yet."""
    made = ("results", "models", "synthetic", "evaluate_generator", ".trials")
    return Path(shutil.copytree(honest, folder, ignore=shutil.ignore_patterns(*made)))


@pytest.mark.slow
def test_the_preset_runs_to_its_report(honest: Path, small: Params, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(honest, tmp_path / "study"))
    (folder / FILE).write_text("")
    report.run(small, folder)
    page = (folder / "reports/report.html").read_text("utf-8")
    assert "ss_dcgan was trained on unlabeled images of the pool as well" in page
    for name in small.arms:
        assert f">{name}</td>" in page


@pytest.mark.slow
def test_the_benchmark_reports_every_arm_and_part(
    honest: Path, small: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished(root: Path, _: Namespace) -> Params:
        shutil.copytree(honest, root, dirs_exist_ok=True)
        (root / FILE).write_text("")
        return small

    monkeypatch.setattr(semi, "settings", finished)
    monkeypatch.setattr(semi.prepare, "run", lambda *_: None)
    chosen = Namespace(
        seed=0, threads=1, arms=None, alone=False, unknown_classes=None, out=tmp_path / "out"
    )
    semi.benchmark(chosen)
    found = read_json(tmp_path / "out/result.json")
    assert set(found["test_error"]) == set(small.arms)
    assert found["labels"] == 50
    assert found["failures"] == []
    assert found["precision"] in ("float32", "bfloat16")
    for arm, errors in found["test_error"].items():
        assert list(errors) == small.arm_classifiers(arm)
        assert all(0 <= error <= 1 for error in errors.values())
    assert {"train_teacher@graph", "train_generator@ss_dcgan", "train_classifiers@teacher"} < set(
        found["seconds"]
    )
    assert (tmp_path / "out/synthetic.npz").is_file()


@pytest.mark.slow
def test_a_teacher_labels_the_rest_of_the_pool_and_its_arms_use_that(
    honest: Path, small: Params
) -> None:
    splits = honest / "data/splits"
    place = "budget-0005/seed-00.npz"
    subset = read_npz(splits / "subsets" / place)
    pool = read_npz(splits / "pool.npz")["images"]
    found = read_npz(honest / MODELS / "graph" / place)
    assert not set(found["index"]) & set(subset["index"])
    assert len(found["index"]) == len(pool) - len(subset["index"])
    np.testing.assert_array_equal(found["images"], pool[found["index"]])
    np.testing.assert_array_equal(found["labels"], found["teacher"].argmax(axis=1))
    right = read_json(honest / "data/audit/graph/budget-0005/seed-00.json")["label_accuracy"]
    assert right > 0.6
    assert [path.name for path in (honest / "results/teacher").glob("budget-0005/*.npz")] == [
        "seed-00.cnn.npz"
    ]
    trial = read_npz(honest / "results/pseudo_label/budget-0005/seed-00.cnn.npz")
    assert 0 < trial["num_made"] <= trial["num_candidates"] - trial["num_rejected"]
    assert trial["num_candidates"] == len(found["index"])
    assert trial["num_train"] > 15


@pytest.mark.slow
def test_no_test_image_and_no_label_outside_the_subset_reaches_a_teacher_or_what_it_teaches(
    honest: Path, small: Params, tmp_path: Path
) -> None:
    poisoned = prepared(honest, tmp_path / "poisoned")
    splits, rng = poisoned / "data/splits", numpy_rng("poison")
    labels = read_npz(splits / "labels.npz")["labels"]
    inside = read_npz(poisoned / SUBSETS / "budget-0005/seed-00.npz")["index"]
    outside = np.setdiff1d(np.arange(len(labels)), inside)
    labels[outside] = rng.permutation(labels[outside])
    write_npz(splits / "labels.npz", labels=labels)
    test = read_images(splits / "test.npz")
    noise = rng.integers(0, 256, test.images.shape, dtype=np.uint8)
    write_npz(splits / "test.npz", images=noise, labels=rng.permutation(test.labels))
    # Draws of other budgets and seeds are not this replicate's either.
    for other in ("budget-0009/seed-00.npz", "budget-0005/seed-01.npz"):
        (splits / "subsets" / other).parent.mkdir(exist_ok=True)
        (splits / "subsets" / other).write_text("no archive")
    run_trials(small, poisoned)
    for part in ("models", "data/synthetic"):
        found = digests(honest / part)
        assert found
        assert digests(poisoned / part) == found, part
    assert learned(poisoned) == learned(honest)
    for name in small.teachers:
        ours, theirs = (digests(each / "data/audit" / name) for each in (honest, poisoned))
        assert ours != theirs


@pytest.mark.slow
def test_a_pool_of_noise_is_refused_by_every_teacher_and_costs_its_arms_their_gain(
    honest: Path, small: Params, tmp_path: Path
) -> None:
    study = prepared(honest, tmp_path / "study")
    pool = read_npz(study / "data/splits/pool.npz")
    subset = read_npz(study / SUBSETS / "budget-0005/seed-00.npz")
    noise = numpy_rng("noise").integers(0, 256, pool["images"].shape, dtype=np.uint8)
    noise[subset["index"]] = subset["images"]
    write_npz(study / "data/splits/pool.npz", **{**pool, "images": noise})
    manifest = read_json(study / "data/splits/manifest.json")
    manifest["files"]["data/splits/pool.npz"] = file_digest(study / "data/splits/pool.npz")
    write_json(study / "data/splits/manifest.json", manifest)
    run_trials(small, study)
    (study / FILE).write_text("")
    report.run(small, study)
    failures = pd.read_csv(study / "reports/failures.csv")
    assert failures["reason"].str.contains("like the labeled ones").all()
    taught_nothing = set(failures.loc[failures["stage"] == "train_teacher", "item"])
    assert taught_nothing == set(small.teachers)
    trials = pd.read_csv(study / "reports/trials.csv").set_index(["classifier", "arm"])
    taught = {name for name in small.arms if small.regime(name) != "labeled"}
    assert set(trials.index[trials["failed"]].get_level_values("arm")) == taught
    for classifier, arm in trials.index[trials["failed"]]:
        assert trials["accuracy"][classifier, arm] == trials["accuracy"][classifier, "real"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "item"),
    [
        ("train_teacher", "graph"),
        ("evaluate_teacher", "graph"),
        ("train_generator", "ss_dcgan"),
        ("synthesize", "ss_dcgan"),
        ("evaluate_generator", "ss_dcgan"),
        ("train_classifiers", "pseudo_label"),
        ("train_classifiers", "teacher"),
    ],
)
def test_a_stage_of_a_teacher_opens_what_it_declares_and_nothing_else(
    stage: str, item: str, honest: Path, small: Params, tmp_path: Path
) -> None:
    refuse_undeclared(stage, item, Path(shutil.copytree(honest, tmp_path / "study")), small)


def test_unknown_images_come_into_the_pool_alone(small: Params, tmp_path: Path) -> None:
    foreign = small.data.unknown_classes.model_copy(update={"classes": [1], "frac": 0.25})
    data = small.data.model_copy(update={"unknown_classes": foreign})
    prepare.run(small.model_copy(update={"data": data}), tmp_path)
    splits = tmp_path / "data/splits"
    labels = read_npz(splits / "labels.npz")["labels"]
    assert (labels == -1).mean() == pytest.approx(0.25, abs=0.01)
    assert set(labels) == {-1, 0, 1}
    assert set(read_images(splits / "test.npz").labels) == {0, 1}
    assert set(read_images(splits / "subsets/budget-0005/seed-00.npz").labels) == {0, 1}
    manifest = read_json(splits / "manifest.json")
    assert manifest["class_names"] == ["horizontal", "diagonal"]
    assert manifest["pool"]["num_unlabeled"] == (labels == -1).sum()


def test_a_teacher_is_held_against_unknown_images_and_keeps_the_strangest_out(
    small: Params, tmp_path: Path
) -> None:
    foreign = small.data.unknown_classes.model_copy(update={"classes": [1], "frac": 0.25})
    data = small.data.model_copy(update={"unknown_classes": foreign})
    teachers = {"graph": {**small.teachers["graph"], "keep_frac": 0.75}}
    study = small.model_copy(update={"data": data, "teachers": teachers})
    prepare.run(study, tmp_path)
    train_teacher.run(study, tmp_path, "graph")
    evaluate_teacher.run(study, tmp_path, "graph")
    place = "budget-0005/seed-00"
    found = read_json(tmp_path / f"data/audit/graph/{place}.json")
    assert found["foreign_frac"] == pytest.approx(0.25, abs=0.03)
    assert found["strangeness_auroc"] > 0.6
    labels = read_npz(tmp_path / "data/splits/labels.npz")["labels"]
    made = read_npz(tmp_path / MODELS / "graph" / f"{place}.npz")
    assert len(made["index"]) == pytest.approx(0.75 * len(made["unlabeled"]), abs=1)
    labeled = (labels[made["index"]] == -1).mean()
    assert found["foreign_labeled_frac"] == pytest.approx(labeled)
    assert labeled < found["foreign_frac"]


@pytest.fixture
def partly_labeled(small: Params, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The small study of a source that has a label for every fourth image alone."""

    def load(params: DataParams, root: Path) -> RawDataset:
        whole = toy.load(params, root)
        labels = np.where(np.arange(len(whole.images)) % 4 == 0, whole.images.labels, -1)
        return RawDataset(
            LabeledImages(whole.images.images, labels, "a user's images"), None, whole.class_names
        )

    monkeypatch.setitem(DATASETS, "toy", load)
    return small.model_copy(update={"data": small.data.model_copy(update={"test_per_class": 3})})


def test_images_that_nobody_labeled_are_for_teachers_alone(
    partly_labeled: Params, tmp_path: Path
) -> None:
    prepare.run(partly_labeled, tmp_path)
    splits, place = tmp_path / "data/splits", "budget-0005/seed-00"
    labels = read_npz(splits / "labels.npz")["labels"]
    assert (labels == -1).sum() > (labels != -1).sum()
    assert read_json(splits / "manifest.json")["pool"]["num_unlabeled"] == (labels == -1).sum()
    for file in ("test", f"subsets/{place}", f"fresh/{place}"):
        assert set(read_images(splits / f"{file}.npz").labels) == {0, 1, 2}
    train_teacher.run(partly_labeled, tmp_path, "graph")
    evaluate_teacher.run(partly_labeled, tmp_path, "graph")
    found = read_json(tmp_path / f"data/audit/graph/{place}.json")
    assert found["num_unlabeled"] == len(labels) - 15
    assert found["label_accuracy"] > 0.6
    assert found["foreign_frac"] == found["foreign_sure_frac"] == 0
    assert found["strangeness_auroc"] is None


def test_unknown_classes_beside_images_that_nobody_labeled_are_refused(
    partly_labeled: Params, tmp_path: Path
) -> None:
    foreign = partly_labeled.data.unknown_classes.model_copy(update={"classes": [1], "frac": 0.1})
    data = partly_labeled.data.model_copy(update={"unknown_classes": foreign})
    with pytest.raises(ParamsError, match="a user's images has unlabeled images itself"):
        prepare.run(partly_labeled.model_copy(update={"data": data}), tmp_path)


@pytest.mark.parametrize(
    ("classes", "frac", "words"),
    [
        ([7], 0.1, "data.unknown_classes.classes"),
        ([0, 1], 0.1, "at least two others"),
        ([1], 0.9, "data.unknown_classes.frac"),
    ],
)
def test_unknown_classes_that_cannot_be_are_refused(
    classes: list[int], frac: float, words: str, small: Params, tmp_path: Path
) -> None:
    foreign = small.data.unknown_classes.model_copy(update={"classes": classes, "frac": frac})
    data = small.data.model_copy(update={"unknown_classes": foreign})
    with pytest.raises(ParamsError, match=words):
        prepare.run(small.model_copy(update={"data": data}), tmp_path)
    assert not (tmp_path / "data/splits").exists()


def test_a_subset_that_takes_the_whole_pool_leaves_nothing_to_a_teacher(
    small: Params, tmp_path: Path
) -> None:
    study = small.study.model_copy(update={"budgets": [45]})
    arms = {name: arm for name, arm in small.arms.items() if name != "fresh_real"}
    with pytest.raises(ParamsError, match="expected unlabeled images beside the draw"):
        prepare.run(small.model_copy(update={"study": study, "arms": arms}), tmp_path)

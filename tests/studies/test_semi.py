"""A study with unlabeled images: its comparisons, its report, unknown classes in its pool.

The proofs on its trials are in test_leaks.py.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import STUDY, leave_study
from test_html import rendered
from typing_extensions import override

from pipeline.config.schema import MODELS, Params, TeacherParams, load_params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.data.datasets import DATASETS
from pipeline.data.datasets.base import RawDataset
from pipeline.data.datasets.toy import Toy
from pipeline.data.images import read_images
from pipeline.report import terminal
from pipeline.report.results import build_tables, write_csv
from pipeline.report.verdicts import answer
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import read_json, read_npz
from pipeline.stages import evaluate_teacher, prepare, synthesize, train_teacher
from pipeline.trials.grid import pairs
from pipeline.trials.layout import Artifact

ROOT = Path(__file__).resolve().parents[2]
ADDED = """\
generators:
  taught: {family: dcgan, inputs: models/graph}
"""
ARMS = """\
arms:
  pseudo_label: {kind: pseudo, inputs: models/graph, per_class: 6, filter: agreement}
  taught: {kind: synthetic, inputs: data/synthetic/taught, per_class: 6, filter: agreement}
  teacher: {kind: teacher, inputs: models/graph}
"""
TEACHER = "teachers: {graph: {family: label_propagation}, supervised: "
TEXT = (
    STUDY.replace("generators:\n", ADDED)
    .replace("arms:\n", ARMS)
    .replace("teachers: {supervised: ", TEACHER)
)


def params_of(text: str) -> Params:
    return validate(Params, parse_yaml(text, FILE), FILE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hand-made results of a study with both regimes."""
    return leave_study(tmp_path_factory.mktemp("both"), TEXT)


def test_images_are_filtered_by_the_minimum_of_the_pseudo_labels_that_made_them() -> None:
    params = params_of(TEXT)
    for plan in synthesize.plans(params, "taught"):
        pseudo = Artifact("train_teacher", "graph", plan.artifact.replicate)
        assert plan.inputs["pseudo"] == pseudo.output(".npz")
    assert all("pseudo" not in plan.inputs for plan in synthesize.plans(params, "dcgan"))


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
    assert '<td dir="auto" class="left">dcgan</td>' in first
    assert '<td dir="auto" class="left">taught*</td>' not in first
    assert "trained on unlabeled images as well</h3>" in second
    assert '<td dir="auto" class="left">taught*</td>' in second
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
            ["generators.taught.inputs", "models/graph"],
        ),
        ("teachers: {graph: ", "teachers: {dcgan: {}, graph: ", ["teachers", "dcgan"]),
        ("teacher: supervised}", "teacher: graph}", ["synthesize.teacher", "supervised"]),
        ("latent_std: [1.0]", "latent_std: [1.0, 1.5]", ["tune", "generators.taught"]),
        (
            "unknown_classes: {classes: [], frac: 0.0}",
            "unknown_classes: {frac: 0.2}",
            ["unknown_classes"],
        ),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(old: str, new: str, words: list[str]) -> None:
    with pytest.raises(ParamsError) as error:
        params_of(changed(TEXT, old, new))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_reference_of_the_images_at_hand_saw_no_others() -> None:
    with pytest.raises(ParamsError, match=r"report\.reference.*pseudo_label.*unlabeled"):
        params_of(changed(TEXT, "reference: classical", "reference: pseudo_label"))


def test_a_comparison_across_regimes_says_which_side_saw_unlabeled_images() -> None:
    row = {"verdict": "harm", "classifier": "cnn", "budget": 10}
    regimes = {"regime": "labeled+unlabeled", "baseline_regime": "labeled"}
    across = answer({**row, "arm": "taught", "baseline": "real", **regimes})
    assert across.startswith("taught is worse than real, which used no unlabeled images, for")
    regimes = {"regime": "labeled", "baseline_regime": "labeled+unlabeled"}
    across = answer({**row, "arm": "dcgan", "baseline": "taught", **regimes})
    assert across.startswith("dcgan is worse than taught, which used the unlabeled images, for")


@pytest.fixture(scope="module")
def small() -> Params:
    """A study on toy data with one replicate and a brief teacher of the unlabeled images."""
    document = parse_yaml(TEXT, FILE)
    document["study"] |= {"budgets": [5], "curve_budgets": [], "seeds": [0]}
    document["report"]["primary"]["budget"] = 5
    document["teachers"]["graph"] = {
        "family": "label_propagation",
        "min_probability": 0.5,
        "components": 20,
        "neighbors": 5,
        "rounds": [{"steps": 40, "batch_size": 16}, {"steps": 40, "batch_size": 16}],
        "network": {"channels": 8, "features": 16, "num_tta": 2, "ema_decay": 0.9},
    }
    return validate(Params, document, FILE)


def test_unknown_images_come_into_the_pool_alone(small: Params, tmp_path: Path) -> None:
    foreign = small.data.unknown_classes.model_copy(update={"classes": [1], "frac": 0.25})
    data = small.data.model_copy(update={"unknown_classes": foreign})
    prepare.run(small.model_copy(update={"data": data}), tmp_path)
    splits = tmp_path / "data/splits"
    labels = read_npz(splits / "labels/all.npz")["labels"]
    assert (labels == -1).mean() == pytest.approx(0.25, abs=0.01)
    assert set(labels) == {-1, 0, 1}
    assert set(read_images(splits / "test/all.npz").labels) == {0, 1}
    assert set(read_images(splits / "subsets/budget-0005/seed-00.npz").labels) == {0, 1}
    manifest = read_json(splits / "manifest.json")
    assert manifest["class_names"] == ["horizontal", "diagonal"]
    assert manifest["pool"]["num_unlabeled"] == (labels == -1).sum()


def test_a_teacher_is_tested_on_unknown_images_and_labels_fewer_of_them(
    small: Params, tmp_path: Path
) -> None:
    foreign = small.data.unknown_classes.model_copy(update={"classes": [1], "frac": 0.25})
    data = small.data.model_copy(update={"unknown_classes": foreign})
    graph = TeacherParams(**{**small.teachers["graph"].model_dump(), "keep_frac": 0.75})
    study = small.model_copy(update={"data": data, "teachers": {"graph": graph}})
    prepare.run(study, tmp_path)
    train_teacher.run(study, tmp_path, "graph")
    evaluate_teacher.run(study, tmp_path, "graph")
    place = "budget-0005/seed-00"
    found = read_json(tmp_path / f"data/audit/graph/{place}.json")
    assert found["foreign_frac"] == pytest.approx(0.25, abs=0.03)
    assert found["strangeness_auroc"] > 0.6
    labels = read_npz(tmp_path / "data/splits/labels/all.npz")["labels"]
    made = read_npz(tmp_path / MODELS / "graph" / f"{place}.npz")
    # Images that no label reaches are left out as well.
    assert 0.65 < len(made["index"]) / len(made["unlabeled"]) < 0.76
    labeled = (labels[made["index"]] == -1).mean()
    assert found["foreign_labeled_frac"] == pytest.approx(labeled)
    assert labeled < found["foreign_frac"]


@pytest.fixture
def partly_labeled(small: Params, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The small study of a source that has a label for every fourth image alone."""

    class PartlyLabeled(Toy):
        """Toy images, a quarter of them labeled."""

        @override
        def load(self) -> RawDataset:
            whole = super().load()
            labels = np.where(np.arange(len(whole.images)) % 4 == 0, whole.images.labels, -1)
            return replace(whole, images=replace(whole.images, labels=labels))

    monkeypatch.setitem(DATASETS, "toy", PartlyLabeled)
    return small.model_copy(update={"data": small.data.model_copy(update={"test_per_class": 3})})


def test_images_that_nobody_labeled_are_for_teachers_alone(
    partly_labeled: Params, tmp_path: Path
) -> None:
    prepare.run(partly_labeled, tmp_path)
    splits, place = tmp_path / "data/splits", "budget-0005/seed-00"
    labels = read_npz(splits / "labels/all.npz")["labels"]
    assert (labels == -1).sum() > (labels != -1).sum()
    assert read_json(splits / "manifest.json")["pool"]["num_unlabeled"] == (labels == -1).sum()
    for file in ("test/all", f"subsets/{place}", f"fresh/{place}"):
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
    with pytest.raises(ParamsError, match="toy has unlabeled images itself"):
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
    study = small.study.model_copy(update={"budgets": [40]})
    arms = {name: arm for name, arm in small.arms.items() if name != "fresh_real"}
    with pytest.raises(ParamsError, match="expected more images than the labeled subset"):
        prepare.run(small.model_copy(update={"study": study, "arms": arms}), tmp_path)


def test_a_supervised_teacher_needs_no_unlabeled_images(small: Params, tmp_path: Path) -> None:
    grid = small.study.model_copy(update={"budgets": [40]})
    arms = {"real": small.arms["real"]}
    teachers = {"supervised": small.teachers["supervised"]}
    whole = small.model_copy(update={"study": grid, "arms": arms, "teachers": teachers})
    prepare.run(whole, tmp_path)
    train_teacher.run(whole, tmp_path, "supervised")
    evaluate_teacher.run(whole, tmp_path, "supervised")
    found = read_json(tmp_path / "data/audit/supervised/budget-0040/seed-00.json")
    assert (found["num_unlabeled"], found["label_accuracy"]) == (0, None)

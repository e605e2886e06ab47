"""The pipeline as a user runs it: real `dvc repro` in copies of the project."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from pipeline.classifiers import judge
from pipeline.config.schema import Params, load_params
from pipeline.stages.__main__ import ITEMS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pipeline", "presets", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")
TRIAL_COLUMNS = [
    "dataset",
    "classifier",
    "arm",
    "budget",
    "seed",
    "accuracy",
    "macro_f1",
    "log_loss",
    "ece",
    "num_train",
    "num_made",
    "failed",
]
DELTA_COLUMNS = [
    "classifier",
    "arm",
    "baseline",
    "budget",
    "metric",
    "regime",
    "baseline_regime",
    "n",
    "num_failed",
    "mean_arm",
    "mean_baseline",
    "delta",
    "ci_low",
    "ci_high",
    "smallest_detectable",
    "p_value",
    "p_holm",
    "verdict",
    "failed_controls",
    "num_without_images",
    "num_unusable",
]
pytestmark = pytest.mark.slow


def run(folder: Path, *command: str, ok: bool = True) -> str:
    """Run a command of the environment in `folder`; its output, stdout and stderr together."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode == 0) == ok, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copy_project(folder: Path) -> Path:
    """The project without git, with the smoke preset on toy data, in `folder`."""
    folder.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    shutil.copy(folder / "presets/smoke.yaml", folder / "params.yaml")
    edit(folder, r"name: digits", "name: toy", r"test_per_class: \d+", "test_per_class: 20")
    edit(folder, r"\n  (oversample|shuffled|fresh_real|dcgan_classical|dcgan_only): .*", "")
    edit(
        folder, r"\n  (tuned|dcgan_tuned): {kind.*", "", "reference: tuned", "reference: classical"
    )
    return folder


def edit(folder: Path, *pairs: str) -> None:
    """Replace patterns in params.yaml; each must occur."""
    path = folder / "params.yaml"
    text = path.read_text("utf-8")
    for pattern, replacement in zip(pairs[::2], pairs[1::2], strict=True):
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    path.write_text(text, "utf-8")


def narrow(folder: Path) -> None:
    """Give the study small networks."""
    edit(
        folder,
        r"batch_size: 16}",
        "batch_size: 16, generator_channels: [16, 8], discriminator_channels: 8}",
        r"cnn: {steps: 30}",
        "cnn: {steps: 30, channels: 4}",
    )


def run_stages(params: Params, folder: Path, *names: str) -> None:
    """Run all stages but the report in this process, or those named."""
    for name in names or [name for name in ITEMS if name != "report"]:
        stage, section = import_module(f"pipeline.stages.{name}"), ITEMS[name]
        for item in getattr(params, section) if section else [None]:
            stage.run(params, folder, item) if item else stage.run(params, folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished smoke study outside git, in a folder with spaces and umlauts; made once.

    Its trials are computed here, where torch is loaded already and the judge is a quick one. DVC
    then runs every stage, each in a process of its own, which finds all its trials finished.
    """
    folder = copy_project(tmp_path_factory.mktemp("finished") / "my dätä (1)")
    narrow(folder)
    brief = judge.JUDGE.model_copy(update={"steps": 60})
    with mock.patch.object(judge, "JUDGE", brief):
        run_stages(load_params(folder), folder)
    for made in ("data", "models", "results"):
        shutil.rmtree(folder / made)
    output = run(folder, "dvc", "repro")
    of_dcgan = ("train_generator", "tune", "synthesize", "evaluate_generator")
    assert computed(output) == {
        "train_teacher@supervised": (0, 2),
        "evaluate_teacher@supervised": (0, 2),
        "train_judge": (0, 1),
        **{f"{name}@dcgan": (0, 2) for name in of_dcgan},
        "train_classifiers@real": (0, 8),
        **{f"train_classifiers@{name}": (0, 4) for name in ("classical", "dcgan")},
    }
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may change."""
    folder = tmp_path / "a study"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def computed(output: str) -> dict[str, tuple[int, int]]:
    """Trials computed and reused, by stage, as the stages report them."""
    found = re.findall(r"^(\S+): (\d+) trials to compute, (\d+) reused", output, re.MULTILINE)
    return {stage: (int(new), int(old)) for stage, new, old in found}


def test_every_trial_and_every_comparison_is_in_the_tables(finished: Path) -> None:
    trials = pd.read_csv(finished / "reports/trials.csv")
    assert list(trials.columns) == TRIAL_COLUMNS
    assert len(trials) == len(trials.drop_duplicates(["classifier", "arm", "budget", "seed"])) == 16
    deltas = pd.read_csv(finished / "reports/deltas.csv")
    assert list(deltas.columns) == DELTA_COLUMNS
    numbers = deltas.select_dtypes("number").drop(columns=["p_holm", "failed_controls"])
    assert np.isfinite(numbers).all().all()
    assert set(deltas["n"]) == {2}
    accuracy = deltas[deltas["metric"] == "accuracy"]
    assert set(accuracy["verdict"]) == {"baseline", "exploratory"}
    assert set(deltas["verdict"]) == set(accuracy["verdict"])
    worth = pd.read_csv(finished / "reports/worth.csv")
    assert set(worth["arm"]) == {"classical", "dcgan"}
    assert (worth["worth"].between(5, 10) | np.isinf(worth["worth"])).all()
    assert len(pd.read_csv(finished / "reports/diagnostics.csv")) == 2 * (2 + 1)
    assert pd.read_csv(finished / "reports/failures.csv").empty
    fidelity = pd.read_csv(finished / "reports/fidelity.csv")
    assert len(fidelity) == 2
    ranking = pd.read_csv(finished / "reports/ranking.csv")
    assert ranking[["generator", "arm", "n", "num_failed"]].to_numpy().tolist() == [
        ["dcgan", "dcgan", 2, 0]
    ]
    assert len(pd.read_csv(finished / "reports/health.csv")) == 2


def test_synthetic_files_keep_their_promise(finished: Path) -> None:
    for seed in (0, 1):
        data = np.load(finished / f"data/synthetic/dcgan/budget-0005/seed-{seed:02d}.npz")
        assert data["images"].dtype == np.uint8
        assert data["images"].shape == (60, 1, 8, 8)
        assert data["labels"].dtype == np.int64
        assert np.bincount(data["labels"]).tolist() == [20, 20, 20]


def test_the_subsets_are_of_the_pool_and_the_test_set_is_not(finished: Path) -> None:
    splits = finished / "data/splits"
    pool = np.load(splits / "pool/all.npz")
    labels = np.load(splits / "labels/all.npz")["labels"]
    test = {image.tobytes() for image in np.load(splits / "test/all.npz")["images"]}
    assert "labels" not in pool.files
    assert not test & {image.tobytes() for image in pool["images"]}
    for path in (splits / "subsets").rglob("*.npz"):
        subset = np.load(path)
        assert np.array_equal(pool["images"][subset["index"]], subset["images"])
        assert np.array_equal(labels[subset["index"]], subset["labels"])


class Page(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_the_page_is_one_file_that_loads_and_runs_nothing(finished: Path) -> None:
    page = Page()
    page.feed((finished / "reports/report.html").read_text("utf-8"))
    assert not {"script", "iframe", "object", "link"} & set(page.tags)
    assert page.loads
    assert all(source.startswith("data:image/png;base64,") for source in page.loads)


def test_a_second_run_does_nothing(study: Path) -> None:
    before = digests(study / "reports")
    output = run(study, "dvc", "repro")
    assert re.findall(r"Running stage '(\S+)'", output) == ["list_images"]
    assert digests(study / "reports") == before


@pytest.mark.proof
def test_an_added_seed_computes_that_seed_alone(study: Path) -> None:
    before = {
        name: digest for name, digest in digests(study / "results").items() if "seed-02" not in name
    }
    edit(study, r"seeds: \[0, 1\]", "seeds: [0, 1, 2]")
    stages = ("evaluate_generator@dcgan", "train_classifiers@real", "train_classifiers@dcgan")
    counts = computed(run(study, "dvc", "repro", *stages))
    for stage, found in counts.items():
        expected = (2, 4) if stage.startswith("train_classifiers") else (1, 2)
        if stage == "train_classifiers@real":  # it has a second budget, for its learning curve
            expected = (4, 8)
        assert found == expected, stage
    assert len(counts) == 7  # without the judge, which depends on no replicate
    after = digests(study / "results")
    assert {name: after[name] for name in before} == before


def test_added_arms_compute_themselves_alone_and_a_report_setting_or_figure_nothing(
    study: Path,
) -> None:
    edit(
        study,
        r"\narms:\n",
        "\narms:\n"
        "  half: {kind: real, inputs: data/splits/subsets, per_class: 4}\n"
        "  dcgan_only: {kind: synthetic, inputs: data/synthetic/dcgan, per_class: 10, real: false, "
        "role: measure}\n",
        r"smallest_effect: 0.005",
        "smallest_effect: 0.01",
    )
    with (study / "pipeline/report/figures.py").open("a", encoding="utf-8") as file:
        file.write("\n# touched\n")
    output = run(study, "dvc", "repro")
    added = {f"train_classifiers@{name}" for name in ("half", "dcgan_only")}
    assert computed(output) == dict.fromkeys(added, (4, 0))
    *stages, last = re.findall(r"Running stage '(\S+)'", output)
    # Which choices of transforms are needed depends on the arms; here there are none.
    assert (set(stages), last) == (added | {"list_images", "tune_transforms"}, "report")
    deltas = pd.read_csv(study / "reports/deltas.csv")
    assert "half" in set(deltas.loc[deltas["p_holm"].notna(), "arm"])
    assert set(deltas.loc[deltas["p_holm"].isna(), "arm"]) == {"dcgan_only"}
    assert pd.read_csv(study / "reports/fidelity.csv")["cas"].notna().all()


@pytest.mark.proof
def test_a_study_that_dvc_computes_from_nothing_has_the_same_bytes(
    finished: Path, tmp_path: Path
) -> None:
    folder = copy_project(tmp_path / "cold")
    narrow(folder)
    output = run(folder, "dvc", "repro")
    assert computed(output)["train_classifiers@real"] == (8, 0)
    # Audits differ: the judge of `finished` is a brief one.
    for part in ("data/splits", "models", "data/synthetic", "results"):
        assert digests(folder / part)
        assert digests(folder / part) == digests(finished / part), part


@pytest.mark.proof
def test_the_number_of_workers_changes_no_byte(finished: Path, study: Path) -> None:
    for folder in (".trials", "models", "results"):
        shutil.rmtree(study / folder)
    edit(study, r"kind: serial", "kind: processes", r"workers: 0", "workers: 2")
    stages = {"train_teacher": "supervised", "train_generator": "dcgan"}
    for stage, item in {**stages, "train_classifiers": "dcgan"}.items():
        run(study, "python", "-m", "pipeline.stages", stage, item)
    assert digests(study / "models") == digests(finished / "models")
    assert digests(study / "results/dcgan") == digests(finished / "results/dcgan")
    assert digests(study / "results/dcgan")


def test_a_page_of_other_results_is_made_anew_when_shown(study: Path) -> None:
    page = study / "reports/report.html"
    expected = page.read_text("utf-8")
    page.write_text(expected.replace('name="results" content="', 'name="results" content="x'))
    assert str(page) in run(study, "python", "-m", "pipeline", "show")
    assert page.read_text("utf-8") == expected


def test_a_missing_trial_stops_the_report(study: Path) -> None:
    (study / "results/dcgan/budget-0005/seed-01.cnn.npz").unlink()
    before = digests(study / "reports")
    output = run(study, "python", "-m", "pipeline.stages", "report", ok=False)
    assert output.startswith("error: results: expected 16 trials, found 15; the first missing one")
    assert digests(study / "reports") == before


@pytest.mark.proof
def test_experiments_diffs_and_plots_work_in_a_repository(study: Path) -> None:
    (study / ".dvc/config.local").unlink()
    run(study, "git", "init", "-q")
    run(study, "git", "config", "user.email", "someone@example.org")
    run(study, "git", "config", "user.name", "Someone")
    run(study, "git", "add", "-A")
    run(study, "git", "commit", "-qm", "study")
    assert run(study, "git", "status", "--porcelain") == ""
    output = run(study, "dvc", "exp", "run", "-S", "arms.classical.per_class=12")
    assert computed(output) == {"train_classifiers@classical": (4, 0)}
    assert "lgbm" in run(study, "dvc", "metrics", "diff")
    assert "arms.classical.per_class" in run(study, "dvc", "params", "diff")
    assert "index.html" in run(study, "dvc", "plots", "show")
    assert "cdn.jsdelivr" not in (study / "dvc_plots/index.html").read_text("utf-8")
    assert "train_classifiers" in run(study, "dvc", "dag", "--collapse-foreach-matrix")
    # Of each classifier: classical, dcgan, and what dcgan adds over classical.
    rows = re.findall(r"│.*exploratory.*", run(study, "python", "-m", "pipeline", "show"))
    assert len(rows) == 2 * 3
    assert sum("dcgan over classical" in row for row in rows) == 2

"""What a stage computes again, what it keeps, and what it refuses: stages by themselves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_whole_study import computed, copy_project, digests, edit, narrow, run

from pipeline.config.schema import load_params
from pipeline.stages import prepare, train_generator

STAGES = "pipeline.stages"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose generators are trained; made once."""
    folder = copy_project(tmp_path_factory.mktemp("trained") / "project")
    narrow(folder)
    params = load_params(folder)
    prepare.run(params, folder)
    train_generator.run(params, folder, "dcgan")
    return folder


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "a study", symlinks=True))


def test_a_killed_run_keeps_finished_trials_and_ends_the_same(study: Path, trained: Path) -> None:
    for folder in (".trials", "models"):
        shutil.rmtree(study / folder)
    command = [sys.executable, "-m", STAGES, "train_generator", "dcgan"]
    process = subprocess.Popen(
        command, cwd=study, start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: len(list((study / ".trials").rglob("done.json"))) == 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (study / "models").exists()
    output = run(study, "python", "-m", STAGES, "train_generator", "dcgan")
    assert computed(output) == {"train_generator@dcgan": (1, 1)}
    assert digests(study / "models") == digests(trained / "models")


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_code_that_decides_a_trial_recomputes_it(study: Path) -> None:
    with (study / "pipeline/generators/base.py").open("a", encoding="utf-8") as file:
        file.write("\nADDED = 1\n")
    output = run(study, "python", "-m", STAGES, "train_generator", "dcgan")
    assert computed(output) == {"train_generator@dcgan": (2, 0)}


@pytest.mark.parametrize(
    ("command", "pairs", "words"),
    [
        (["pipeline", "check"], (r"    steps: 30 ", "    stps: 30 "), "unknown key"),
        (
            [STAGES, "prepare"],
            (r"budgets: \[5\]", "budgets: [500]", r"budget: 5", "budget: 500"),
            "expected at most 40 labeled images per class",
        ),
        (
            [STAGES, "prepare"],
            (r"name: toy", "name: mnist", r"path: null", "path: nowhere"),
            "found none at",
        ),
    ],
    ids=["typo", "budget", "idx"],
)
def test_wrong_params_end_in_one_sentence_and_leave_everything(
    study: Path, command: list[str], pairs: tuple[str, ...], words: str
) -> None:
    before = digests(study / "data") | digests(study / "models")
    edit(study, *pairs)
    message = run(study, "python", "-m", *command, ok=False)
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "to mend it" in message
    assert words in message
    assert digests(study / "data") | digests(study / "models") == before

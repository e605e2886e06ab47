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
from test_whole_study import computed, copy_project, digests, edit, narrow, run, run_stages

from pipeline.config.schema import load_params

STAGES = "pipeline.stages"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose generators are trained; made once."""
    folder = copy_project(tmp_path_factory.mktemp("trained") / "project")
    narrow(folder)
    run_stages(load_params(folder), folder, "prepare", "train_generator")
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


def test_wrong_params_end_in_one_sentence_and_leave_everything(study: Path) -> None:
    before = digests(study / "data") | digests(study / "models")
    edit(study, r"budgets: \[5\]", "budgets: [500]", r"budget: 5", "budget: 500")
    message = run(study, "python", "-m", STAGES, "prepare", ok=False)
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "expected at most 40 labeled images per class" in message
    assert digests(study / "data") | digests(study / "models") == before

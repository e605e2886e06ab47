"""Engines give the same bytes, finished trials are reused, and failures keep their place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.schema import EngineParams, Params
from pipeline.data.images import LabeledImages, content_ids
from pipeline.runtime.determinism import NUM_THREADS
from pipeline.runtime.errors import (
    CollapsedError,
    DataError,
    DivergedError,
    MachineError,
    TrialError,
)
from pipeline.runtime.files import file_digest, read_json, to_npz, write_text
from pipeline.runtime.seeds import numpy_rng
from pipeline.trials import layout
from pipeline.trials.engine import (
    ENGINES,
    Result,
    Task,
    TrialPlan,
    compute,
    create_task,
    lay_out,
)
from pipeline.trials.grid import Replicate
from pipeline.trials.layout import Artifact, File, Outputs
from pipeline.trials.provenance import ID_DIGITS, Provenance
from pipeline.trials.specs import Spec
from pipeline.trials.store import MARKER, RECORD, SCRATCH, TIMINGS, TrialStore, stored_name

ROOT = Path(__file__).resolve().parents[2]
SERIAL = EngineParams(kind="serial", workers=1)
PROCESSES = EngineParams(kind="processes", workers=2)
BOTH = pytest.mark.parametrize("engine", [SERIAL, PROCESSES], ids=lambda engine: engine.kind)
WORDS = ("step 3 of 5", "expected a finite loss, found nan", "lower the learning rates")
Work = Callable[["LogSpec", Mapping[str, Path], Path], Result]
ONE, TWO = (".npz",), (".npz", ".more.csv")


@pytest.fixture(autouse=True)
def test_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages of these tests: one with a file for each trial, one with two."""
    for name, suffixes in (("one", ONE), ("two", TWO)):
        monkeypatch.setitem(layout.OUTPUTS, name, Outputs(Path("out"), suffixes))


@dataclass(frozen=True)
class LogSpec(Spec):
    """Leave a trace of every call in the folder `log`."""

    log: Path


def count(spec: LogSpec) -> None:
    """Leave a trace of one call that survives the process."""
    (spec.log / f"{spec.seed}-{os.urandom(6).hex()}").touch()


def calls(log: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in log.iterdir())


def learned(number: int) -> LabeledImages:
    """Three images of two classes, one of them twice."""
    pixels = np.zeros((4, 1, 2, 2), dtype=np.uint8)
    pixels[:, 0, 0, 0] = [1, 2, 3, 3]
    pixels[:, 0, 1, 1] = number
    return LabeledImages(pixels, np.array([1, 0, 1, 1]))


def convolve(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Arithmetic whose last bits depend on the number of threads, the seed and the settings."""
    count(spec)
    assert torch.get_num_threads() == NUM_THREADS
    torch.manual_seed(spec.seed)
    layer = torch.nn.Conv2d(4, 16, 3)
    images = torch.from_numpy(numpy_rng("engine", spec.seed).random((8, 4, 20, 20), np.float32))
    layer(images).square().mean().backward()
    return Result({".npz": to_npz(gradient=layer.weight.grad.numpy())}, learned(spec.seed))


def write(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    count(spec)
    return Result({".npz": f"{spec.seed}\n".encode()}, learned(spec.seed))


def write_without_learning(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    return Result(write(spec, paths, scratch).files, None)


def write_two(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    made = write(spec, paths, scratch)
    return Result({**made.files, ".more.csv": b"a,b\n"}, made.learned_from)


def refuse(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    count(spec)
    raise DataError("pool.npz", "expected 1, found 2", "do it again")


def diverge(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Fail with half of the work done."""
    count(spec)
    write_text(scratch / "checkpoint", "half")
    raise DivergedError(*WORDS)


def collapse(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    raise CollapsedError(*WORDS)


def fail(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    raise TrialError(*WORDS)


def interrupt(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    count(spec)
    raise KeyboardInterrupt


def die(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def task(
    log: Path, work: Work, number: int, origin: Provenance | None = None, required: bool = False
) -> Task:
    """One trial; `work` is no part of its provenance."""
    artifact = Artifact("two" if work is write_two else "one", "x", Replicate(1, number))
    return Task(
        artifact=artifact,
        provenance=origin or Provenance("code", {}, {"lr": 0.1, "seed": number}, {"threads": 1}),
        work=work,
        spec=LogSpec(number, log),
        paths={},
        required=required,
        settings={"arms.x": {"per_class": 3}},
        tags={**artifact.tags, "more": "a tag"},
    )


def tasks(log: Path, work: Work, n: int = 4) -> list[Task]:
    return [task(log, work, number) for number in range(n)]


def mixed(log: Path) -> list[Task]:
    """Four trials, the third of which fails."""
    return [task(log, diverge if number == 2 else write, number) for number in range(4)]


def names(n: int) -> set[str]:
    """The files of `n` trials, each with its manifest."""
    return {
        f"x/budget-0001/seed-{k:02d}{end}" for k in range(n) for end in (".npz", ".manifest.json")
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "my dátä (1)"
    folder.mkdir()
    return folder


def laid_out(chosen: list[Task], engine: EngineParams, home: Path) -> dict[str, bytes]:
    """The files below `out/` after computing and laying out."""
    lay_out(home, chosen, compute(chosen, engine, home))
    return {
        path.relative_to(home / "out").as_posix(): path.read_bytes()
        for path in (home / "out").rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", [kind for kind in ENGINES if kind != "serial"])
def test_every_engine_gives_the_bytes_of_the_serial_one(kind: str, log: Path, home: Path) -> None:
    chosen = [*tasks(log, convolve), task(log, diverge, 4)]
    found = [
        laid_out(chosen, engine, home / engine.kind)
        for engine in (SERIAL, EngineParams(kind=kind, workers=2))
    ]
    assert found[0] == found[1]
    assert set(found[0]) == names(5) - {"x/budget-0001/seed-04.npz"}
    assert len(set(found[0].values())) == 9


@BOTH
def test_finished_trials_are_reused(engine: EngineParams, log: Path, home: Path) -> None:
    compute(tasks(log, write, 3), engine, home)
    assert calls(log) == [0, 1, 2]
    folders = compute(tasks(log, write, 5), engine, home)
    assert calls(log) == [0, 1, 2, 3, 4]
    stored = [(folder / stored_name(".npz")).read_text() for folder in folders]
    assert stored == [f"{k}\n" for k in range(5)]


@pytest.mark.parametrize("damage", [b"", b"7\n", None])
@pytest.mark.parametrize("file", [stored_name(".npz"), RECORD, MARKER])
def test_a_damaged_trial_is_computed_again_and_only_that(
    file: str, damage: bytes | None, log: Path, home: Path
) -> None:
    first = laid_out(tasks(log, write), SERIAL, home)
    path = home / ".trials/one" / tasks(log, write)[2].name / file
    path.unlink() if damage is None else path.write_bytes(damage)
    again = laid_out(tasks(log, write), SERIAL, home)
    assert again == first
    assert calls(log) == [0, 1, 2, 2, 3]


@BOTH
def test_an_error_in_a_trial_arrives_as_it_was_raised(
    engine: EngineParams, log: Path, home: Path
) -> None:
    with pytest.raises(DataError) as raised:
        compute(tasks(log, refuse, 2), engine, home)
    assert raised.value.args == ("pool.npz", "expected 1, found 2", "do it again")
    assert raised.value.exit_code == DataError.exit_code


@pytest.mark.parametrize(("work", "raised"), [(interrupt, KeyboardInterrupt), (refuse, DataError)])
def test_what_was_finished_before_an_interruption_is_kept(
    work: Work, raised: type[BaseException], log: Path, home: Path
) -> None:
    whole, broken = tasks(log, write), tasks(log, work)
    with pytest.raises(raised):
        compute([whole[0], whole[1], broken[2], whole[3]], SERIAL, home)
    assert calls(log) == [0, 1, 2]
    compute(whole, SERIAL, home)
    assert calls(log) == [0, 1, 2, 2, 3]


def test_a_trial_that_is_asked_for_twice_is_computed_once(log: Path, home: Path) -> None:
    compute(tasks(log, write, 1) * 3, PROCESSES, home)
    assert calls(log) == [0]


def test_processes_that_ask_for_the_same_trials_wait_for_each_other(log: Path, home: Path) -> None:
    store = TrialStore(home, "one")
    with ThreadPoolExecutor() as threads, store.lock("x"):
        waiting = [threads.submit(compute, tasks(log, write, 3), SERIAL, home) for _ in range(2)]
        time.sleep(0.2)
        assert not calls(log)
        other = threads.submit(
            compute, [replaced(each, "y") for each in tasks(log, write, 1)], SERIAL, home
        )
        other.result()
        assert calls(log) == [0]  # another item does not wait
    assert [folder.name for folder in waiting[0].result()] == [
        folder.name for folder in waiting[1].result()
    ]
    assert calls(log) == [0, 1, 2]


def test_a_stored_failure_ends_the_stage_where_the_trial_is_required(log: Path, home: Path) -> None:
    compute([task(log, diverge, 0)], SERIAL, home)
    with pytest.raises(TrialError, match="finite loss"):
        compute([task(log, diverge, 0, required=True)], SERIAL, home)


def replaced(task: Task, item: str) -> Task:
    return replace(task, artifact=replace(task.artifact, item=item))


def test_folders_come_in_the_order_of_the_tasks(log: Path, home: Path) -> None:
    chosen = tasks(log, write)
    backwards = compute(chosen[::-1], PROCESSES, home)
    assert [folder.name for folder in backwards] == [task.name for task in chosen[::-1]]


def test_a_new_layout_replaces_the_old_one_as_a_whole(log: Path, home: Path) -> None:
    laid_out(tasks(log, write, 4), SERIAL, home)
    found = laid_out(tasks(log, write, 2), SERIAL, home)
    assert set(found) == names(2)
    assert sorted(path.name for path in home.iterdir()) == [".trials", "out"]
    assert [path.name for path in (home / "out").iterdir()] == ["x"]


def test_seconds_are_recorded_for_every_trial_reused_ones_too(log: Path, home: Path) -> None:
    for _ in range(2):
        laid_out(tasks(log, write), SERIAL, home)
        rows = read_json(home / TIMINGS / "one@x.json")
        assert [row["seed"] for row in rows] == [0, 1, 2, 3]
        assert all(row["stage"] == "one" and row["seconds"] >= 0 for row in rows)
        assert all(file_digest(home / row["file"]) == row["sha256"] for row in rows)


def test_a_manifest_says_what_a_trial_was_made_of_learned_from_and_left(
    log: Path, home: Path
) -> None:
    files = laid_out([task(log, write_two, 3)], SERIAL, home)
    folder = home / "out/x/budget-0001"
    found = read_json(folder / "seed-03.manifest.json")
    ids = [content_id[:ID_DIGITS] for content_id in content_ids(learned(3).images)]
    assert found == {
        "code": "code",
        "inputs": {},
        "spec": {"lr": 0.1, "seed": 3},
        "environment": {"threads": 1},
        "tags": {"stage": "two", "item": "x", "budget": 1, "seed": 3, "more": "a tag"},
        "settings": {"arms.x": {"per_class": 3}},
        "consumed": {"0": [ids[1]], "1": sorted({ids[0], ids[2]})},
        "failure": None,
        "outputs": {
            name: file_digest(folder / name) for name in ("seed-03.npz", "seed-03.more.csv")
        },
    }
    assert {name.rpartition("/")[2] for name in files} == {
        *found["outputs"],
        "seed-03.manifest.json",
    }


def test_present_settings_and_names_are_written_where_the_trial_is_reused(
    log: Path, home: Path
) -> None:
    first = task(log, write, 3)
    laid_out([first], SERIAL, home)
    laid_out([replace(first, settings={"arms.y": {}}, tags={"item": "y"})], SERIAL, home)
    found = read_json(home / "out/x/budget-0001/seed-03.manifest.json")
    assert (found["settings"], found["tags"]) == ({"arms.y": {}}, {"item": "y"})
    assert calls(log) == [3]


def test_a_trial_that_learned_from_no_image_says_so(log: Path, home: Path) -> None:
    laid_out([task(log, write_without_learning, 0)], SERIAL, home)
    assert read_json(home / "out/x/budget-0001/seed-00.manifest.json")["consumed"] == {}


def test_the_bytes_of_manifests_do_not_depend_on_the_folder_of_the_project(
    tmp_path: Path, study: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.trials.provenance.trial_code", lambda *_: "code")
    monkeypatch.setitem(layout.SECTIONS, "one", lambda *_: ())
    found = []
    inputs = {"data": File(Path("data/subset.npz"), "prepare")}
    for name in ("here", "a much longer/place elsewhere"):
        home = tmp_path / name
        write_text(home / "data/subset.npz", "labels")
        plans = [
            TrialPlan(Artifact("one", "x", Replicate(1, number)), work, Spec(number), inputs)
            for number, work in enumerate((copy_input, fail))
        ]
        found.append(laid_out([create_task(study, home, plan) for plan in plans], SERIAL, home))
        manifest = read_json(home / "out/x/budget-0001/seed-00.manifest.json")
        assert manifest["inputs"] == {"data/subset.npz": file_digest(home / "data/subset.npz")}
    assert found[0] == found[1]
    for content in found[0].values():
        assert os.fsencode(tmp_path) not in content


def copy_input(spec: Spec, paths: Mapping[str, Path], scratch: Path) -> Result:
    return Result({".npz": paths["data"].read_bytes()}, None)


@BOTH
def test_a_failed_trial_leaves_its_manifest_alone(
    engine: EngineParams, log: Path, home: Path
) -> None:
    files = laid_out(mixed(log), engine, home)
    assert set(files) == names(4) - {"x/budget-0001/seed-02.npz"}
    found = read_json(home / "out/x/budget-0001/seed-02.manifest.json")
    assert found["failure"] == list(WORDS)
    assert (found["outputs"], found["consumed"]) == ({}, {})
    assert found["tags"]["seed"] == found["spec"]["seed"] == 2
    kept = home / ".trials/one" / mixed(log)[2].name
    assert {path.name for path in kept.iterdir()} == {MARKER, RECORD, SCRATCH}
    assert (kept / SCRATCH / "checkpoint").read_text() == "half"


@BOTH
def test_the_other_trials_are_the_same_with_and_without_a_failed_one(
    engine: EngineParams, log: Path, tmp_path: Path
) -> None:
    whole = laid_out(tasks(log, write), engine, tmp_path / "a")
    broken = laid_out(mixed(log), engine, tmp_path / "b")
    differing = {name for name in whole if broken.get(name) != whole[name]}
    assert differing == {f"x/budget-0001/seed-02{end}" for end in (".npz", ".manifest.json")}


def test_a_failed_trial_is_not_computed_again(log: Path, home: Path) -> None:
    first = laid_out(mixed(log), SERIAL, home)
    assert laid_out(mixed(log), SERIAL, home) == first
    assert calls(log) == [0, 1, 2, 3]


def test_a_failed_trial_takes_the_place_of_its_earlier_output(log: Path, home: Path) -> None:
    laid_out(tasks(log, write), SERIAL, home)
    other = Provenance("edoc", {}, {"seed": 2}, {})
    chosen = [*tasks(log, write, 2), task(log, diverge, 2, origin=other)]
    found = laid_out(chosen, SERIAL, home)
    assert set(found) == names(3) - {"x/budget-0001/seed-02.npz"}


@pytest.mark.parametrize("times", [1, 2])
def test_failures_are_reported_in_one_line_reused_or_not(
    times: int, log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(times):
        capsys.readouterr()
        compute(mixed(log), SERIAL, home)
    lines = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
    assert len(lines) == 1
    assert "one@x: 1 of 4 trials" in lines[0]
    assert str(TrialError(*WORDS)) in lines[0]


def test_nothing_is_said_when_no_trial_fails(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compute(tasks(log, write), SERIAL, home)
    assert "failed" not in capsys.readouterr().err


@pytest.mark.parametrize("work", [fail, diverge, collapse])
def test_every_kind_of_trial_error_is_recorded(work: Work, log: Path, home: Path) -> None:
    laid_out([task(log, work, 0)], SERIAL, home)
    manifest = read_json(home / "out/x/budget-0001/seed-00.manifest.json")
    assert manifest["failure"] == list(WORDS)


@BOTH
def test_a_trial_with_a_failed_input_fails_like_it_without_being_run(
    engine: EngineParams, log: Path, home: Path
) -> None:
    chosen = replace(task(log, write, 0), failure=CollapsedError(*WORDS))
    assert set(laid_out([chosen], engine, home)) == {"x/budget-0001/seed-00.manifest.json"}
    manifest = read_json(home / "out/x/budget-0001/seed-00.manifest.json")
    assert manifest["failure"] == list(WORDS)
    assert not calls(log)


def test_the_checkpoints_of_a_trial_that_was_interrupted_are_there_for_the_next_run(
    log: Path, home: Path
) -> None:
    chosen = task(log, write, 0)
    write_text(TrialStore(home, "one").scratch(chosen.name) / "checkpoint", "half")

    def resume(spec: LogSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
        return Result({".npz": (scratch / "checkpoint").read_bytes()}, None)

    files = laid_out([replace(chosen, work=resume)], SERIAL, home)
    assert files["x/budget-0001/seed-00.npz"] == b"half"
    stored = TrialStore(home, "one").folder / chosen.name
    assert {path.name for path in stored.iterdir()} == {MARKER, RECORD, stored_name(".npz")}


@BOTH
def test_a_required_trial_that_fails_raises_and_is_tried_again(
    engine: EngineParams, log: Path, home: Path
) -> None:
    for _ in range(2):
        with pytest.raises(DivergedError) as raised:
            compute([task(log, diverge, 0, required=True)], engine, home)
        assert raised.value.args == WORDS
    assert calls(log) == [0, 0]
    assert TrialStore(home, "one").finished(task(log, diverge, 0).name) is None


def test_a_required_trial_that_works_is_kept_like_any_other(log: Path, home: Path) -> None:
    for _ in range(2):
        compute([task(log, write, 0, required=True)], SERIAL, home)
    assert calls(log) == [0]


def test_seconds_of_failed_trials_are_recorded_too(log: Path, home: Path) -> None:
    laid_out(mixed(log), SERIAL, home)
    rows = read_json(home / TIMINGS / "one@x.json")
    assert [row["file"] for row in rows] == [
        f"out/x/budget-0001/seed-{k:02d}.manifest.json" for k in range(4)
    ]
    assert all(row["seconds"] >= 0 for row in rows)


def test_a_failure_leaves_the_callers_torch_as_it_was(log: Path, home: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    compute([task(log, diverge, 0)], SERIAL, home)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_killed_worker_is_explained(log: Path, home: Path) -> None:
    with pytest.raises(MachineError, match=r"engine\.workers"):
        compute(tasks(log, die, 2), PROCESSES, home)


HANDS_OUT = """
import functools, sys
from pipeline.trials.engine import processes
def live(path):
    import os, pathlib, time
    for _ in range(1200):
        pathlib.Path(path, str(os.getpid())).touch()
        time.sleep(0.1)
list(processes([functools.partial(live, sys.argv[1]) for _ in range(4)], 2))
"""


def test_workers_end_with_the_process_that_hands_out_trials(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANDS_OUT, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=ROOT)
    soon(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.kill()
    parent.wait()
    soon(lambda: time.time() - max(path.stat().st_mtime for path in tmp_path.iterdir()) > 4)
    assert len(list(tmp_path.iterdir())) == 2


def soon(holds: Callable[[], bool]) -> None:
    """Return once `holds`; fails after a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)

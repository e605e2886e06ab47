"""Engines give the same bytes, finished trials are reused, and failures keep their place."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
from pipeline.runtime.files import file_digest, read_json, write_npz, write_text
from pipeline.runtime.seeds import numpy_rng
from pipeline.trials.engine import ENGINES, STORED_MANIFEST, Task, compute, lay_out, perform
from pipeline.trials.provenance import ID_DIGITS, Provenance, provenance
from pipeline.trials.store import MARKER, TIMINGS, TrialStore

ROOT = Path(__file__).resolve().parents[2]
SERIAL = EngineParams(kind="serial", workers=1)
PROCESSES = EngineParams(kind="processes", workers=2)
BOTH = pytest.mark.parametrize("engine", [SERIAL, PROCESSES], ids=lambda engine: engine.kind)
WORDS = ("step 3 of 5", "expected a finite loss, found nan", "lower the learning rates")
Work = Callable[[Path, int, Path], LabeledImages | None]


def count(log: Path, number: int) -> None:
    """Leave a trace of one call that survives the process."""
    (log / f"{number}-{os.urandom(6).hex()}").touch()


def calls(log: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in log.iterdir())


def learned(number: int) -> LabeledImages:
    """Three images of two classes, one of them twice."""
    pixels = np.zeros((4, 1, 2, 2), dtype=np.uint8)
    pixels[:, 0, 0, 0] = [1, 2, 3, 3]
    pixels[:, 0, 1, 1] = number
    return LabeledImages(pixels, np.array([1, 0, 1, 1]))


def convolve(log: Path, number: int, folder: Path) -> LabeledImages:
    """Arithmetic whose last bits depend on the number of threads, the seed and the settings."""
    count(log, number)
    assert torch.get_num_threads() == NUM_THREADS
    torch.manual_seed(number)
    layer = torch.nn.Conv2d(4, 16, 3)
    images = torch.from_numpy(numpy_rng("engine", number).random((8, 4, 20, 20), np.float32))
    layer(images).square().mean().backward()
    write_npz(folder / "out.npz", gradient=layer.weight.grad.numpy())
    return learned(number)


def write(log: Path, number: int, folder: Path) -> LabeledImages:
    count(log, number)
    write_text(folder / "out.npz", f"{number}\n")
    return learned(number)


def write_without_learning(log: Path, number: int, folder: Path) -> None:
    write(log, number, folder)


def write_two(log: Path, number: int, folder: Path) -> LabeledImages:
    write_text(folder / "more.csv", "a,b\n")
    return write(log, number, folder)


def refuse(log: Path, number: int, folder: Path) -> None:
    count(log, number)
    raise DataError("pool.npz", "expected 1, found 2", "do it again")


def diverge(log: Path, number: int, folder: Path) -> None:
    """Come to nothing with half of the work done."""
    write(log, number, folder)
    write_text(folder / "checkpoint", "half")
    raise DivergedError(*WORDS)


def interrupt(log: Path, number: int, folder: Path) -> None:
    count(log, number)
    raise KeyboardInterrupt


def die(log: Path, number: int, folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def task(
    log: Path, work: Work, number: int, origin: Provenance | None = None, required: bool = False
) -> Task:
    """One trial; `work` has no part in its name."""
    place = Path(f"budget-1/seed-{number}.npz")
    outputs = {"out.npz": place}
    if work is write_two:
        outputs["more.csv"] = place.with_suffix(".more.csv")
    return Task(
        provenance=origin or Provenance("code", {}, {"lr": 0.1}, number, {"threads": 1}),
        work=functools.partial(work, log, number),
        outputs=outputs,
        tags={"stage": "test", "item": "x", "seed": number},
        required=required,
    )


def tasks(log: Path, work: Work, n: int = 4) -> list[Task]:
    return [task(log, work, number) for number in range(n)]


def mixed(log: Path) -> list[Task]:
    """Four trials, the third of which comes to nothing."""
    return [task(log, diverge if number == 2 else write, number) for number in range(4)]


def names(n: int) -> set[str]:
    """The files of `n` trials, each with its manifest."""
    return {f"budget-1/seed-{k}{end}" for k in range(n) for end in (".npz", ".manifest.json")}


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


def laid_out(
    output: Path, chosen: list[Task], engine: EngineParams, home: Path
) -> dict[str, bytes]:
    lay_out(home, output.relative_to(home), chosen, compute(chosen, engine, home))
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", [kind for kind in ENGINES if kind != "serial"])
def test_every_engine_gives_the_bytes_of_the_serial_one(kind: str, log: Path, home: Path) -> None:
    chosen = [*tasks(log, convolve), task(log, diverge, 4)]
    found = [
        laid_out(home / engine.kind / "out", chosen, engine, home / engine.kind)
        for engine in (SERIAL, EngineParams(kind=kind, workers=2))
    ]
    assert found[0] == found[1]
    assert set(found[0]) == names(5) - {"budget-1/seed-4.npz"}
    assert len(set(found[0].values())) == 9


@BOTH
def test_finished_trials_are_reused(engine: EngineParams, log: Path, home: Path) -> None:
    compute(tasks(log, write, 3), engine, home)
    assert calls(log) == [0, 1, 2]
    folders = compute(tasks(log, write, 5), engine, home)
    assert calls(log) == [0, 1, 2, 3, 4]
    assert [(folder / "out.npz").read_text() for folder in folders] == [f"{k}\n" for k in range(5)]


@pytest.mark.parametrize("damage", [b"", b"7\n", None])
@pytest.mark.parametrize("file", ["out.npz", STORED_MANIFEST, MARKER])
def test_a_damaged_trial_is_computed_again_and_only_that(
    file: str, damage: bytes | None, log: Path, home: Path
) -> None:
    first = laid_out(home / "out", tasks(log, write), SERIAL, home)
    path = home / ".trials/test" / tasks(log, write)[2].name / file
    path.unlink() if damage is None else path.write_bytes(damage)
    again = laid_out(home / "out", tasks(log, write), SERIAL, home)
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


def test_a_trial_asked_for_twice_at_once_is_computed_once(log: Path, home: Path) -> None:
    compute(tasks(log, write, 1) * 3, PROCESSES, home)
    assert calls(log) == [0]


def test_a_trial_that_another_process_finished_meanwhile_is_not_computed(
    log: Path, home: Path
) -> None:
    store = TrialStore(home, "test")
    for _ in range(2):
        perform(tasks(log, write, 1)[0], store)
    assert calls(log) == [0]


def test_folders_come_in_the_order_of_the_tasks(log: Path, home: Path) -> None:
    chosen = tasks(log, write)
    backwards = compute(chosen[::-1], PROCESSES, home)
    assert [folder.name for folder in backwards] == [task.name for task in chosen[::-1]]


def test_a_new_layout_replaces_the_old_one_as_a_whole(log: Path, home: Path) -> None:
    laid_out(home / "out", tasks(log, write, 4), SERIAL, home)
    found = laid_out(home / "out", tasks(log, write, 2), SERIAL, home)
    assert set(found) == names(2)
    assert sorted(path.name for path in home.iterdir()) == [".trials", "out"]


def test_seconds_are_recorded_for_every_trial_reused_ones_too(log: Path, home: Path) -> None:
    for _ in range(2):
        laid_out(home / "out", tasks(log, write), SERIAL, home)
        rows = read_json(home / TIMINGS / "test@x.json")
        assert [row["seed"] for row in rows] == [0, 1, 2, 3]
        assert all(row["stage"] == "test" and row["seconds"] >= 0 for row in rows)
        assert all(file_digest(home / row["file"]) == row["sha256"] for row in rows)


def test_a_manifest_says_what_a_trial_was_made_of_learned_from_and_left(
    log: Path, home: Path
) -> None:
    chosen = task(log, write_two, 3)
    files = laid_out(home / "out", [chosen], SERIAL, home)
    found = read_json(home / "out/budget-1/seed-3.manifest.json")
    ids = [each[:ID_DIGITS] for each in content_ids(learned(3).images)]
    assert found == {
        "code": "code",
        "inputs": {},
        "params": {"lr": 0.1},
        "seed": 3,
        "environment": {"threads": 1},
        "labels": {"stage": "test", "item": "x", "seed": 3},
        "consumed": {"0": [ids[1]], "1": sorted({ids[0], ids[2]})},
        "failure": None,
        "outputs": {
            name: file_digest(home / "out/budget-1" / name)
            for name in ("seed-3.npz", "seed-3.more.csv")
        },
    }
    assert set(files) == {
        f"budget-1/{each}" for each in [*found["outputs"], "seed-3.manifest.json"]
    }


def test_a_trial_that_learned_from_no_image_says_so(log: Path, home: Path) -> None:
    laid_out(home / "out", [task(log, write_without_learning, 0)], SERIAL, home)
    assert read_json(home / "out/budget-1/seed-0.manifest.json")["consumed"] == {}


def test_the_bytes_of_manifests_do_not_depend_on_the_folder_of_the_project(
    log: Path, tmp_path: Path, study: Params
) -> None:
    found = []
    for name in ("here", "a much longer/place elsewhere"):
        home = tmp_path / name
        write_text(home / "data/draw.npz", "labels")
        origin = provenance("code", [home / "data/draw.npz"], study, ["arms.real"], 7, home)
        chosen = [task(log, write_two, 0, origin=origin), task(log, diverge, 1)]
        found.append(laid_out(home / "out", chosen, SERIAL, home))
        manifest = read_json(home / "out/budget-1/seed-0.manifest.json")
        assert manifest["inputs"] == {"data/draw.npz": file_digest(home / "data/draw.npz")}
    assert found[0] == found[1]
    for content in found[0].values():
        assert os.fsencode(tmp_path) not in content


@BOTH
def test_a_trial_that_comes_to_nothing_leaves_its_manifest_alone(
    engine: EngineParams, log: Path, home: Path
) -> None:
    files = laid_out(home / "out", mixed(log), engine, home)
    assert set(files) == names(4) - {"budget-1/seed-2.npz"}
    found = read_json(home / "out/budget-1/seed-2.manifest.json")
    assert found["failure"] == list(WORDS)
    assert (found["outputs"], found["consumed"]) == ({}, {})
    assert found["labels"]["seed"] == found["seed"] == 2
    kept = home / ".trials/test" / mixed(log)[2].name
    assert {path.name for path in kept.iterdir()} >= {MARKER, STORED_MANIFEST, "checkpoint"}


@BOTH
def test_the_other_trials_are_the_same_with_and_without_one_that_came_to_nothing(
    engine: EngineParams, log: Path, tmp_path: Path
) -> None:
    whole = laid_out(tmp_path / "a/out", tasks(log, write), engine, tmp_path / "a")
    broken = laid_out(tmp_path / "b/out", mixed(log), engine, tmp_path / "b")
    differing = {name for name in whole if broken.get(name) != whole[name]}
    assert differing == {"budget-1/seed-2.npz", "budget-1/seed-2.manifest.json"}


def test_a_trial_that_came_to_nothing_is_not_computed_again(log: Path, home: Path) -> None:
    first = laid_out(home / "out", mixed(log), SERIAL, home)
    assert laid_out(home / "out", mixed(log), SERIAL, home) == first
    assert calls(log) == [0, 1, 2, 3]


def test_a_trial_that_came_to_nothing_takes_the_place_of_its_earlier_output(
    log: Path, home: Path
) -> None:
    laid_out(home / "out", tasks(log, write), SERIAL, home)
    other = Provenance("edoc", {}, {}, 2, {})
    chosen = [*tasks(log, write, 2), task(log, diverge, 2, origin=other)]
    found = laid_out(home / "out", chosen, SERIAL, home)
    assert set(found) == names(3) - {"budget-1/seed-2.npz"}


@pytest.mark.parametrize("times", [1, 2])
def test_what_came_to_nothing_is_told_in_one_line_reused_or_not(
    times: int, log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(times):
        capsys.readouterr()
        compute(mixed(log), SERIAL, home)
    lines = [line for line in capsys.readouterr().err.splitlines() if "nothing" in line]
    assert len(lines) == 1
    assert "test@x: 1 of 4 trials" in lines[0]
    assert str(TrialError(*WORDS)) in lines[0]


def test_nothing_is_said_when_all_trials_came_to_something(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compute(tasks(log, write), SERIAL, home)
    assert "nothing" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [TrialError, DivergedError, CollapsedError])
def test_every_kind_of_trial_error_is_recorded(
    kind: type[TrialError], log: Path, home: Path
) -> None:
    def work(log: Path, number: int, folder: Path) -> None:
        raise kind(*WORDS)

    laid_out(home / "out", [task(log, work, 0)], SERIAL, home)
    assert read_json(home / "out/budget-1/seed-0.manifest.json")["failure"] == list(WORDS)


@BOTH
def test_a_vital_trial_that_comes_to_nothing_raises_and_is_tried_again(
    engine: EngineParams, log: Path, home: Path
) -> None:
    for _ in range(2):
        with pytest.raises(DivergedError) as raised:
            compute([task(log, diverge, 0, required=True)], engine, home)
        assert raised.value.args == WORDS
    assert calls(log) == [0, 0]
    assert TrialStore(home, "test").finished(task(log, diverge, 0).name) is None


def test_a_vital_trial_that_works_is_kept_like_any_other(log: Path, home: Path) -> None:
    for _ in range(2):
        compute([task(log, write, 0, required=True)], SERIAL, home)
    assert calls(log) == [0]


def test_seconds_of_trials_that_came_to_nothing_are_recorded_too(log: Path, home: Path) -> None:
    laid_out(home / "out", mixed(log), SERIAL, home)
    rows = read_json(home / TIMINGS / "test@x.json")
    assert [row["file"] for row in rows] == [
        f"out/budget-1/seed-{k}.manifest.json" for k in range(4)
    ]
    assert all(row["seconds"] >= 0 for row in rows)


def test_a_failure_leaves_the_callers_torch_as_it_was(log: Path, home: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    compute([task(log, diverge, 0)], SERIAL, home)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_manifest_lies_beside_the_first_output() -> None:
    chosen = Task(
        Provenance("code", {}, {}, 0, {}),
        print,
        {"a": Path("budget-0010/seed-00.cnn.npz"), "b": Path("elsewhere.csv")},
        {},
    )
    assert chosen.manifest == Path("budget-0010/seed-00.cnn.manifest.json")
    assert chosen.name == chosen.provenance.name


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

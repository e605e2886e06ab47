"""Engines give the same bytes, finished trials are reused, and failures keep what was finished."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engine import ENGINES, Task, compute, lay_out, perform, trial_name
from pipeline.errors import DataError, MachineError
from pipeline.params import EngineParams
from pipeline.runtime import NUM_THREADS, numpy_rng
from pipeline.store import TIMINGS, TrialStore, file_digest, read_json, write_npz, write_text

SERIAL = EngineParams(kind="serial", workers=1)
PROCESSES = EngineParams(kind="processes", workers=2)


def count(log: Path, number: int) -> None:
    """Leave a trace of one call that survives the process."""
    (log / f"{number}-{os.urandom(6).hex()}").touch()


def calls(log: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in log.iterdir())


def convolve(log: Path, number: int, folder: Path) -> None:
    """Arithmetic whose last bits depend on the number of threads, the seed and the settings."""
    count(log, number)
    assert torch.get_num_threads() == NUM_THREADS
    torch.manual_seed(number)
    layer = torch.nn.Conv2d(4, 16, 3)
    images = torch.from_numpy(numpy_rng("engine", number).random((8, 4, 20, 20), np.float32))
    layer(images).square().mean().backward()
    write_npz(folder / "out.npz", gradient=layer.weight.grad.numpy())


def write(log: Path, number: int, folder: Path) -> None:
    count(log, number)
    write_text(folder / "out.npz", f"{number}\n")


def refuse(log: Path, number: int, folder: Path) -> None:
    count(log, number)
    raise DataError("pool.npz", "expected 1, found 2", "do it again")


def interrupt(log: Path, number: int, folder: Path) -> None:
    count(log, number)
    raise KeyboardInterrupt


def die(log: Path, number: int, folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tasks(log: Path, work: Callable[[Path, int, Path], None], n: int = 4) -> list[Task]:
    return [
        Task(
            name=f"trial{number}",
            work=functools.partial(work, log, number),
            outputs={"out.npz": Path(f"budget-1/seed-{number}.npz")},
            labels={"stage": "test", "item": "x", "seed": number},
        )
        for number in range(n)
    ]


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
    chosen = tasks(log, convolve)
    found = [
        laid_out(home / engine.kind / "out", chosen, engine, home / engine.kind)
        for engine in (SERIAL, EngineParams(kind=kind, workers=2))
    ]
    assert found[0] == found[1]
    assert set(found[0]) == {f"budget-1/seed-{number}.npz" for number in range(4)}
    assert len(set(found[0].values())) == 4


@pytest.mark.parametrize("engine", [SERIAL, PROCESSES], ids=lambda engine: engine.kind)
def test_finished_trials_are_reused(engine: EngineParams, log: Path, home: Path) -> None:
    compute(tasks(log, write, 3), engine, home)
    assert calls(log) == [0, 1, 2]
    folders = compute(tasks(log, write, 5), engine, home)
    assert calls(log) == [0, 1, 2, 3, 4]
    assert [(folder / "out.npz").read_text() for folder in folders] == [f"{k}\n" for k in range(5)]


@pytest.mark.parametrize("damage", [b"", b"7\n", None])
@pytest.mark.parametrize("file", ["out.npz", "done.json"])
def test_a_damaged_trial_is_computed_again_and_only_that(
    file: str, damage: bytes | None, log: Path, home: Path
) -> None:
    first = laid_out(home / "out", tasks(log, write), SERIAL, home)
    path = home / ".trials/test/trial2" / file
    path.unlink() if damage is None else path.write_bytes(damage)
    again = laid_out(home / "out", tasks(log, write), SERIAL, home)
    assert again == first
    assert calls(log) == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("engine", [SERIAL, PROCESSES], ids=lambda engine: engine.kind)
def test_an_error_in_a_trial_arrives_as_it_was_raised(
    engine: EngineParams, log: Path, home: Path
) -> None:
    with pytest.raises(DataError) as raised:
        compute(tasks(log, refuse, 2), engine, home)
    assert raised.value.args == ("pool.npz", "expected 1, found 2", "do it again")
    assert raised.value.exit_code == DataError.exit_code


@pytest.mark.parametrize(("work", "raised"), [(interrupt, KeyboardInterrupt), (refuse, DataError)])
def test_what_was_finished_before_an_interruption_is_kept(
    work: Callable[[Path, int, Path], None], raised: type[BaseException], log: Path, home: Path
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
    assert set(found) == {"budget-1/seed-0.npz", "budget-1/seed-1.npz"}
    assert sorted(path.name for path in home.iterdir()) == [".trials", "out"]


def test_seconds_are_recorded_for_every_trial_reused_ones_too(log: Path, home: Path) -> None:
    for _ in range(2):
        laid_out(home / "out", tasks(log, write), SERIAL, home)
        rows = read_json(home / TIMINGS / "test@x.json")
        assert [row["seed"] for row in rows] == [0, 1, 2, 3]
        assert all(row["stage"] == "test" and row["seconds"] >= 0 for row in rows)
        assert all(file_digest(home / row["file"]) == row["sha256"] for row in rows)


def test_a_trial_is_named_by_code_settings_and_the_bytes_of_its_inputs(tmp_path: Path) -> None:
    one, same, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    one.write_bytes(b"1")
    same.write_bytes(b"1")
    other.write_bytes(b"2")
    name = trial_name("code", [one], {"lr": 0.1})
    assert trial_name("code", [same], {"lr": 0.1}) == name
    others = {
        trial_name("code", [other], {"lr": 0.1}),
        trial_name("edoc", [one], {"lr": 0.1}),
        trial_name("code", [one], {"lr": 0.2}),
        trial_name("code", [one, same], {"lr": 0.1}),
        trial_name("code", [], {"lr": 0.1}),
    }
    assert len(others | {name}) == 6


def test_the_order_of_inputs_matters(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    assert trial_name("code", [one, other], {}) != trial_name("code", [other, one], {})


def test_a_killed_worker_is_explained(log: Path, home: Path) -> None:
    with pytest.raises(MachineError, match=r"engine\.workers"):
        compute(tasks(log, die, 2), PROCESSES, home)

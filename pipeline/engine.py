"""Running trials: what is finished is reused, the rest is spread over the machine.

Schedules nothing itself: joblib does. An engine changes how fast trials run, never what they give,
because each runs alone in `deterministic()` with one thread. A new engine is one function here.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.errors import MachineError
from pipeline.params import EngineParams
from pipeline.progress import Progress
from pipeline.runtime import NUM_THREADS, deterministic, library_versions
from pipeline.store import (
    MARKER,
    TIMINGS,
    TrialStore,
    code_digest,
    file_digest,
    fingerprint,
    read_json,
    replacing,
    write_json,
)

Call = Callable[[], None]


@dataclass(frozen=True)
class Task:
    """One trial: `work` fills the folder it is given with the files named in `outputs`.

    `work` must be picklable (a `functools.partial` of a module's function). `name` is the trial's
    fingerprint: equal names mean equal results. `outputs` maps each file to its place below the
    stage's output. `labels` are its row in the table of timings: `stage`, `item` and more.
    """

    name: str
    work: Callable[[Path], None]
    outputs: dict[str, Path]
    labels: dict[str, str | int]


def serial(calls: Sequence[Call], workers: int) -> Iterator[None]:
    """One after the other in this process, for debugging."""
    for call in calls:
        yield call()


def processes(calls: Sequence[Call], workers: int) -> Iterator[None]:
    """On `workers` fresh processes (0: one per core this process may use)."""
    count = min(len(calls), workers or joblib.cpu_count())
    with joblib.parallel_config("loky", n_jobs=count, inner_max_num_threads=NUM_THREADS):
        parallel = joblib.Parallel(batch_size=1, return_as="generator_unordered")
        yield from parallel(joblib.delayed(call)() for call in calls)


ENGINES: dict[str, Callable[[Sequence[Call], int], Iterable[None]]] = {
    "serial": serial,
    "processes": processes,
}


def trial_code(stage_file: str, *modules: str) -> str:
    """The digest of the code that decides what a trial gives: its stage, this engine, `modules`."""
    return code_digest((stage_file, __file__), *modules)


def trial_name(code: str, inputs: list[Path], settings: dict[str, object]) -> str:
    """The fingerprint of a trial: its code, the bytes of its inputs, settings and environment."""
    environment = {"versions": library_versions(), "threads": NUM_THREADS}
    digests = [file_digest(path) for path in inputs]
    return fingerprint({"code": code, "inputs": digests, **settings, **environment})


def compute(tasks: list[Task], engine: EngineParams, root: Path) -> list[Path]:
    """The folders of all `tasks`, in order, after computing those that `.trials/` lacks."""
    stage, item = tasks[0].labels["stage"], tasks[0].labels["item"]
    title = f"{stage}@{item}"
    store = TrialStore(root, str(stage))
    missing = [task for task in tasks if store.finished(task.name) is None]
    calls = [functools.partial(perform, task, store) for task in missing]
    with Progress(title, total=len(missing), reused=len(tasks) - len(missing)) as progress:
        try:
            for _ in ENGINES[engine.kind](calls, engine.workers) if calls else ():
                progress.advance()
        except TerminatedWorkerError:
            raise MachineError(
                title,
                "a worker process was killed, most likely for lack of memory",
                "lower engine.workers in params.yaml and run again: finished trials are kept",
            ) from None
    return [store.folder / task.name for task in tasks]


def lay_out(root: Path, output: Path, tasks: list[Task], folders: list[Path]) -> None:
    """Replace the folder `output` (relative to `root`), as a whole, by the files of all `tasks`.

    Seconds go to a table beside the store, each with a file of its trial and that file's digest:
    whoever reads them can tell whether they belong to the output that lies there.
    """
    rows = []
    with replacing(root / output) as folder:
        for task, source in zip(tasks, folders, strict=True):
            record = read_json(source / MARKER)
            for file, place in task.outputs.items():
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, folder / place)
            file, place = next(iter(task.outputs.items()))
            row = {"file": (output / place).as_posix(), "sha256": record["files"][file]}
            rows.append({**task.labels, **row, "seconds": record["seconds"]})
    labels = tasks[0].labels
    write_json(root / TIMINGS / f"{labels['stage']}@{labels['item']}.json", rows)


def perform(task: Task, store: TrialStore) -> None:
    """Compute one trial in this process, unless another one finished it meanwhile."""
    with store.working(task.name) as folder:
        if store.finished(task.name):
            return
        started = time.perf_counter()
        with deterministic():
            task.work(folder)
        store.finish(task.name, time.perf_counter() - started, list(task.outputs))

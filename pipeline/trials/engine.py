"""Running trials: what is finished is reused, the rest is spread over the machine.

Schedules nothing itself: joblib does. An engine changes how fast trials run, never what they give,
because each runs alone in `deterministic()` with one thread. A new engine is one function here.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.config.schema import EngineParams
from pipeline.data.images import LabeledImages
from pipeline.runtime.determinism import NUM_THREADS, deterministic, refuse_other_bits
from pipeline.runtime.errors import MachineError, TrialError
from pipeline.runtime.files import file_digest, read_json, replacing, write_json
from pipeline.runtime.progress import Progress
from pipeline.trials.provenance import MANIFEST, Provenance, describe, failure_of, manifest_of
from pipeline.trials.store import MARKER, TIMINGS, TrialStore

Call = Callable[[], None]
WATCH_S = 1.0  # between looks whether the process that hands out trials still lives
MANIFEST_STEM = "trial"  # the name of a trial's manifest, before its suffix, in the store
STORED_MANIFEST = f"{MANIFEST_STEM}{MANIFEST}"


@dataclass(frozen=True)
class Task:
    """One trial: `work` fills the folder it is given with the files named in `outputs`.

    `work` must be picklable (a `functools.partial` of a module's function) and gives back the
    images it learned from. `outputs` maps each file to its place below the stage's output;
    `tags` are the trial's names: `stage`, `item` and more. A trial that raises `TrialError` is
    recorded as failed and keeps its place, unless everything hangs on it (`required`).
    """

    provenance: Provenance
    work: Callable[[Path], LabeledImages | None]
    outputs: dict[str, Path]
    tags: dict[str, str | int]
    required: bool = False

    @property
    def name(self) -> str:
        """The trial's fingerprint."""
        return self.provenance.name

    @property
    def manifest(self) -> Path:
        """Where its manifest lies below the stage's output."""
        return manifest_of(next(iter(self.outputs.values())))


def serial(calls: Sequence[Call], workers: int) -> Iterator[None]:
    """One after the other in this process, for debugging."""
    for call in calls:
        yield call()


def processes(calls: Sequence[Call], workers: int) -> Iterator[None]:
    """On `workers` fresh processes (0: one per core this process may use)."""
    count = min(len(calls), workers or joblib.cpu_count())
    with joblib.parallel_config(
        "loky",
        n_jobs=count,
        inner_max_num_threads=NUM_THREADS,
        initializer=_end_with,
        initargs=(os.getpid(),),
    ):
        parallel = joblib.Parallel(batch_size=1, return_as="generator_unordered")
        yield from parallel(joblib.delayed(call)() for call in calls)


def _end_with(parent: int) -> None:
    """Let this worker end soon after `parent`: once killed, that can tell it nothing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


ENGINES: dict[str, Callable[[Sequence[Call], int], Iterable[None]]] = {
    "serial": serial,
    "processes": processes,
}


def compute(tasks: list[Task], engine: EngineParams, root: Path) -> list[Path]:
    """The folders of all `tasks`, in order, after computing those that `.trials/` lacks."""
    stage, item = tasks[0].tags["stage"], tasks[0].tags["item"]
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
    folders = [store.folder / task.name for task in tasks]
    failures = list(filter(None, (failure_of(folder / MANIFEST_STEM) for folder in folders)))
    if failures:
        count = f"{len(failures)} of {len(tasks)} trials came to nothing"
        print(f"{title}: {count} and count as the baseline. {failures[0]}", file=sys.stderr)
    return folders


def lay_out(root: Path, output: Path, tasks: list[Task], folders: list[Path]) -> None:
    """Replace the folder `output` (relative to `root`), as a whole, by the files of all `tasks`.

    A failed trial has its manifest alone. Seconds go to a table beside the store, each with the
    manifest of its trial: whoever reads them can tell whether they belong to what lies there.
    """
    rows = []
    with replacing(root / output) as folder:
        for task, source in zip(tasks, folders, strict=True):
            record = read_json(source / MARKER)
            places = {**task.outputs, STORED_MANIFEST: task.manifest}
            for file in record["files"]:
                (folder / places[file]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, folder / places[file])
            row = {"file": (output / task.manifest).as_posix()}
            row["sha256"] = record["files"][STORED_MANIFEST]
            rows.append({**task.tags, **row, "seconds": record["seconds"]})
    labels = tasks[0].tags
    write_json(root / TIMINGS / f"{labels['stage']}@{labels['item']}.json", rows)


def perform(task: Task, store: TrialStore) -> None:
    """Compute one trial in this process, unless another one finished it meanwhile."""
    with store.working(task.name) as folder:
        if store.finished(task.name):
            return
        started = time.perf_counter()
        data, failure = _attempt(task, folder)
        files = {} if failure else task.outputs
        digests = {place.name: file_digest(folder / file) for file, place in files.items()}
        record = describe(task.provenance, task.tags, data, failure, digests)
        write_json(folder / STORED_MANIFEST, record)
        # A trial that came to nothing keeps its last checkpoints, for a look at what went wrong.
        clean = failure is None
        store.finish(task.name, time.perf_counter() - started, [*files, STORED_MANIFEST], clean)


def _attempt(task: Task, folder: Path) -> tuple[LabeledImages | None, TrialError | None]:
    """The images that the trial learned from, or the reason why it came to nothing."""
    bits = task.provenance.environment.get("bits")
    if bits is not None:
        refuse_other_bits(str(bits))
    try:
        with deterministic():
            return task.work(folder), None
    except TrialError as error:
        if task.required:
            raise
        return None, error

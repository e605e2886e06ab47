"""Running trials: finished ones are reused, the rest is distributed over processes.

A worker receives a `Job`: a function, its frozen spec, the paths of its inputs and a folder for
checkpoints. It returns the contents of its files; this process alone writes the store and the
outputs. An engine changes how fast trials run, never their results, because each of them runs in
`deterministic()` with one thread. A new engine is one function and one line here.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.config.schema import EngineParams, Params
from pipeline.data.images import LabeledImages
from pipeline.runtime.bits import Bits
from pipeline.runtime.determinism import NUM_THREADS, deterministic, refuse_other_bits
from pipeline.runtime.errors import MachineError, TrialError
from pipeline.runtime.files import file_digest, read_json, replacing, write_json
from pipeline.runtime.progress import Progress
from pipeline.trials.layout import Artifact, File, settings
from pipeline.trials.provenance import (
    Provenance,
    complete,
    consumed,
    describe,
    input_failure,
    provenance,
)
from pipeline.trials.specs import Spec
from pipeline.trials.store import MARKER, RECORD, TIMINGS, TrialStore, stored_name

WATCH_S = 1.0  # seconds between checks whether the parent process is still alive


@dataclass(frozen=True)
class Result:
    """What a trial gives back: the contents of its files by suffix, as `layout.OUTPUTS` lists them,
    and the images with the labels that it learned from, or None.
    """

    files: Mapping[str, bytes]
    learned_from: LabeledImages | None


# (spec, paths of the inputs by name, folder for checkpoints) -> result; a function of a module,
# since it is pickled by name.
Work = Callable[[Any, Mapping[str, Path], Path], Result]


@dataclass(frozen=True)
class TrialPlan:
    """A trial as its stage describes it, before any file is read.

    `work` is a function of the stage's module that makes the files of `artifact` from `spec` and
    `inputs`. A failed trial is recorded, but the failure of a `required` one ends the stage. `tags`
    are more names for its manifest.
    """

    artifact: Artifact
    work: Work
    spec: Spec
    inputs: Mapping[str, File]
    required: bool = False
    tags: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """All that a worker receives. `failure`: that of a trial which should have made an input."""

    name: str
    work: Work
    spec: Spec
    paths: Mapping[str, Path]
    scratch: Path
    bits: Bits
    failure: TrialError | None
    required: bool


@dataclass(frozen=True)
class Outcome:
    """All that a worker gives back, of a finished or failed trial."""

    name: str
    files: Mapping[str, bytes]
    consumed: Mapping[str, list[str]]
    failure: TrialError | None
    seconds: float


Call = Callable[[], Outcome]


@dataclass(frozen=True)
class Task:
    """A trial with its provenance: what the process that distributes trials knows of it.

    `failure` is that of a trial which should have written an input; then `work` is not called.
    `settings` and `tags` go into its manifest and decide nothing.
    """

    artifact: Artifact
    provenance: Provenance
    work: Work
    spec: Spec
    paths: Mapping[str, Path]
    failure: TrialError | None = None
    required: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The fingerprint of the trial."""
        return self.provenance.name

    def job(self, store: TrialStore) -> Job:
        """What is sent to a worker."""
        return Job(
            name=self.name,
            work=self.work,
            spec=self.spec,
            paths=self.paths,
            scratch=store.scratch(self.name),
            bits="native" if self.provenance.environment.get("bits") == "native" else "portable",
            failure=self.failure,
            required=self.required,
        )


def create_task(params: Params, root: Path, plan: TrialPlan) -> Task:
    """The trial of a plan, with the digests of its code and inputs.

    Raises `IntegrityError` when the stage that writes an input has not run.
    """
    origin = provenance(inspect.getfile(plan.work), plan.spec, plan.inputs, params.bits, root)
    return Task(
        artifact=plan.artifact,
        provenance=origin,
        work=plan.work,
        spec=plan.spec,
        paths={name: root / file.path for name, file in plan.inputs.items()},
        failure=input_failure(root, plan.inputs),
        required=plan.required,
        settings=settings(params, plan.artifact),
        tags={**plan.artifact.tags, **plan.tags},
    )


def serial(calls: Sequence[Call], workers: int) -> Iterator[Outcome]:
    """One after the other in this process, for debugging."""
    for call in calls:
        yield call()


def processes(calls: Sequence[Call], workers: int) -> Iterator[Outcome]:
    """In `workers` new processes, in the order in which they end; 0: one per available core.

    Raises `MachineError` when the system kills a worker.
    """
    count = min(len(calls), workers or joblib.cpu_count())
    with joblib.parallel_config(
        "loky",
        n_jobs=count,
        inner_max_num_threads=NUM_THREADS,
        initializer=_end_with,
        initargs=(os.getpid(),),
    ):
        parallel = joblib.Parallel(batch_size=1, return_as="generator_unordered")
        try:
            yield from parallel(joblib.delayed(call)() for call in calls)
        except TerminatedWorkerError:
            raise MachineError(
                "engine: processes",
                "a worker process was killed, most likely for lack of memory",
                "lower engine.workers in params.yaml and run again: finished trials are kept",
            ) from None


def _end_with(parent: int) -> None:
    """End this worker soon after `parent` ends: a killed parent cannot end it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


ENGINES: dict[str, Callable[[Sequence[Call], int], Iterable[Outcome]]] = {
    "serial": serial,
    "processes": processes,
}


def run_trials(params: Params, root: Path, plans: Sequence[TrialPlan]) -> None:
    """Compute what is not finished, then replace the output folder of the stage's item."""
    tasks = [create_task(params, root, plan) for plan in plans]
    first = tasks[0].artifact
    # A second run of the same item waits, so that it does not replace outputs that are being read.
    with TrialStore(root, first.stage).lock(first.item):
        lay_out(root, tasks, compute(tasks, params.engine, root))


def compute(tasks: Sequence[Task], engine: EngineParams, root: Path) -> list[Path]:
    """The folders of all `tasks` in the store, in order, after computing the unfinished ones.

    Every result is stored as soon as it arrives, so that an interrupted run keeps it. Raises the
    error of a required trial, and `MachineError` when a worker was killed.
    """
    first = tasks[0].artifact
    store = TrialStore(root, first.stage)
    with store.lock(first.item):
        by_name = {task.name: task for task in tasks}
        missing = {name: task for name, task in by_name.items() if store.finished(name) is None}
        calls = [functools.partial(perform, task.job(store)) for task in missing.values()]
        reused = len(tasks) - len(missing)
        with Progress(first.title, total=len(missing), reused=reused) as progress:
            for outcome in ENGINES[engine.kind](calls, engine.workers) if calls else ():
                record = describe(
                    missing[outcome.name].provenance, outcome.consumed, outcome.failure
                )
                # A failed trial keeps its last checkpoints, to find out what went wrong.
                keep_scratch = outcome.failure is not None
                store.finish(outcome.name, record, outcome.files, outcome.seconds, keep_scratch)
                progress.advance()

    folders = [store.folder / task.name for task in tasks]
    failures = [read_json(folder / RECORD)["failure"] for folder in folders]
    for task, failure in zip(tasks, failures, strict=True):
        # A stored failure, too: it may be of an arm that was not required when it was computed.
        if task.required and failure:
            raise TrialError(*failure)
    reasons = [TrialError(*failure) for failure in failures if failure]
    if reasons:
        count = f"{len(reasons)} of {len(tasks)} trials failed"
        print(
            f"{first.title}: {count} and are scored as the baseline. {reasons[0]}", file=sys.stderr
        )
    return folders


def perform(job: Job) -> Outcome:
    """Compute one trial in this process."""
    refuse_other_bits(job.bits)
    started = time.perf_counter()
    try:
        if job.failure is not None:
            raise job.failure
        with deterministic():
            result = job.work(job.spec, job.paths, job.scratch)
    except TrialError as error:
        if job.required:
            raise
        return Outcome(job.name, {}, {}, error, time.perf_counter() - started)
    ids = consumed(result.learned_from)
    return Outcome(job.name, result.files, ids, None, time.perf_counter() - started)


def lay_out(root: Path, tasks: Sequence[Task], folders: Sequence[Path]) -> None:
    """Replace the output folder of `tasks`, as a whole, by their files and manifests.

    A failed trial has a manifest only. Seconds go to a table beside the store, with the digest of
    the manifest of their trial: a reader can check whether they belong to the present outputs.
    """
    first, rows = tasks[0].artifact, []
    with replacing(root / first.folder) as output:
        for task, source in zip(tasks, folders, strict=True):
            marker, record = read_json(source / MARKER), read_json(source / RECORD)
            digests = {}
            for suffix, path in task.artifact.paths.items() if not record["failure"] else ():
                target = output / path.relative_to(first.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / stored_name(suffix), target)
                digests[path.name] = marker["files"][stored_name(suffix)]

            manifest = output / task.artifact.manifest.relative_to(first.folder)
            write_json(manifest, complete(record, task.tags, task.settings, digests))
            row = {"file": task.artifact.manifest.as_posix(), "sha256": file_digest(manifest)}
            rows.append({**task.tags, **row, "seconds": marker["seconds"]})
    write_json(root / TIMINGS / f"{first.title}.json", rows)

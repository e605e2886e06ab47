"""The scratch store of finished trials.

DVC deletes the outputs of a stage before it runs the stage, so finished trials are also kept in
`.trials/<stage>/<fingerprint>/`, outside every output: a trial with an unchanged fingerprint is
reused, whatever else was added to the study. Only the process that schedules trials writes here.
The marker `done.json` is written last and has the digest of every file, so a folder without a
marker, or with a file that does not match it, is an unfinished trial. Knows no file's meaning.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.runtime.files import file_digest, read_json, write_bytes, write_json

MARKER = "done.json"
RECORD = "record.json"  # the manifest without names and settings
SCRATCH = "scratch"  # checkpoints of a trial that is running or was killed
# Seconds differ between runs, so they are kept out of every output: equal results have equal bytes.
TIMINGS = Path(".trials/timings")


def fingerprint(parts: Mapping[str, object]) -> str:
    """The name of a trial in the store: 32 hex digits of the SHA-256 of its sorted JSON."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def stored_name(suffix: str) -> str:
    """The name in the store of a trial's output with this suffix."""
    return f"output{suffix}"


class TrialStore:
    """Finished trials of one stage, each a folder named by its fingerprint."""

    def __init__(self, root: Path, stage: str) -> None:
        self.folder = root / ".trials" / stage

    def finished(self, name: str) -> Path | None:
        """The folder of a finished, undamaged trial, or None."""
        folder = self.folder / name
        try:
            marker = read_json(folder / MARKER)
            digests = marker["files"].items()
            intact = all(file_digest(folder / file) == digest for file, digest in digests)
            intact = intact and float(marker["seconds"]) >= 0 and RECORD in marker["files"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # a damaged marker: the trial is computed again
        return folder if intact else None

    @contextmanager
    def lock(self, item: str) -> Iterator[None]:
        """Wait until no other process works on the trials of `item`; reentrant in a thread.

        The system releases the lock of a process that was killed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"{item}.lock", is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{self.folder.name}@{item}: waiting for another run of it", file=sys.stderr)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def scratch(self, name: str) -> Path:
        """The folder for the checkpoints of a trial; after a kill it holds the last ones."""
        folder = self.folder / name / SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(
        self,
        name: str,
        record: Mapping[str, Any],
        files: Mapping[str, bytes],
        seconds: float,
        keep_scratch: bool = False,
    ) -> None:
        """Write the record and the outputs of a trial, by suffix, and mark it as finished.

        Removes everything else in its folder, `keep_scratch` decides about checkpoints. Arms with
        equal recipes share trials: one that another process finished meanwhile is left as it is.
        """
        with self.lock(name):
            if self.finished(name) is None:
                self._write(name, record, files, seconds, keep_scratch)

    def _write(
        self,
        name: str,
        record: Mapping[str, Any],
        files: Mapping[str, bytes],
        seconds: float,
        keep_scratch: bool,
    ) -> None:
        folder = self.folder / name
        (folder / MARKER).unlink(missing_ok=True)
        for suffix, content in files.items():
            write_bytes(folder / stored_name(suffix), content)
        write_json(folder / RECORD, record)
        written = [RECORD, *map(stored_name, files)]
        digests = {file: file_digest(folder / file) for file in written}
        write_json(folder / MARKER, {"files": digests, "seconds": seconds})

        for path in folder.iterdir():
            if path.name == SCRATCH:
                if not keep_scratch:
                    shutil.rmtree(path)
            elif path.name not in (*written, MARKER):
                path.unlink()

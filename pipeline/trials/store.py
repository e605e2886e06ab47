"""The scratch store of finished trials.

Knows nothing of what the files mean. DVC deletes a stage's outputs before it runs the stage, so
work in progress lives in `.trials/<stage>/<fingerprint>/`, outside every output: a trial whose
fingerprint is unchanged is taken from there, whatever else was added to the study. The marker
`done.json` is written last and carries the digest of every file, so a folder without it, or with a
file that does not match, is unfinished work.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from pipeline.runtime.files import (
    file_digest,
    read_json,
    write_json,
)

MARKER = "done.json"
# Seconds differ from run to run, so they stay out of every output: whoever asks for the same
# results gets the same bytes.
TIMINGS = Path(".trials/timings")


def fingerprint(parts: Mapping[str, object]) -> str:
    """The name of a trial in the store: 32 hex digits of the SHA-256 of its sorted JSON."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class TrialStore:
    """Finished trials of one stage, each a folder named by its fingerprint."""

    def __init__(self, root: Path, stage: str) -> None:
        self.folder = root / ".trials" / stage

    def finished(self, name: str) -> Path | None:
        """The folder of a finished, undamaged trial, or None."""
        folder = self.folder / name
        try:
            record = read_json(folder / MARKER)
            digests = record["files"].items()
            intact = all(file_digest(folder / file) == digest for file, digest in digests)
            intact = intact and float(record["seconds"]) >= 0 and len(digests) > 0
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # whatever is wrong with the marker, the trial is computed again
        return folder if intact else None

    @contextmanager
    def working(self, name: str) -> Iterator[Path]:
        """Yield the folder of an unfinished trial, what an interrupted run left included.

        A second process asking for the same trial waits; the system frees the lock of a dead one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{name}.lock"):
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            yield folder

    def finish(self, name: str, seconds: float, files: list[str], clean: bool = True) -> None:
        """Mark a trial as finished with these `files`; `clean` removes whatever else is there."""
        folder = self.folder / name
        digests = {file: file_digest(folder / file) for file in files}
        write_json(folder / MARKER, {"files": digests, "seconds": seconds})
        for path in folder.iterdir() if clean else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (*files, MARKER):
                path.unlink()

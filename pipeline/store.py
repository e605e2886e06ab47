"""Files that are whole or absent, digests, and the scratch store of finished trials.

Knows nothing of what the files mean. DVC deletes a stage's outputs before it runs the stage, so
work in progress lives in `.trials/<stage>/<fingerprint>/`, outside every output: a trial whose
fingerprint is unchanged is taken from there, whatever else was added to the study. The marker
`done.json` is written last and carries the digest of every file, so a folder without it, or with a
file that does not match, is unfinished work.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from pipeline.errors import IntegrityError

PACKAGE = Path(__file__).resolve().parent
MARKER = "done.json"
TEMPORARY = ".tmp"  # what a kill leaves behind; .dvcignore keeps it out of every hash
# Seconds differ from run to run, so they stay out of every output: whoever asks for the same
# results gets the same bytes.
TIMINGS = Path(".trials/timings")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; on success it is synced and takes that name at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes private files; outputs are for everyone to read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with `\\n` line ends, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def to_json(value: object) -> str:
    """Sorted, indented JSON: the same value gives the same text."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """Write sorted JSON atomically; NaN and infinity are refused, they are not JSON."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file this project wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write compressed arrays atomically; the bytes depend on the arrays alone."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz`; object arrays are refused, since they would run code."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise IntegrityError(
            str(path), f"expected whole arrays, found: {error}", "run `dvc checkout --force`"
        ) from None


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty sibling of `folder` that replaces it, whole, when the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=TEMPORARY)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def imported_modules(path: Path) -> set[Path]:
    """Files of this package that `path` imports directly, found without running it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = set()
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE.name:
            target = PACKAGE.joinpath(*parts[1:])
            files |= {target.with_suffix(".py"), target / "__init__.py"}
    return {file for file in files if file.is_file()}


@cache
def import_closure(path: Path) -> frozenset[Path]:
    """`path` and every file of this package that running it can reach by imports."""
    found: set[Path] = set()
    waiting = {path.resolve()}
    while waiting:
        current = waiting.pop()
        found.add(current)
        waiting |= imported_modules(current) - found
    return frozenset(found)


def code_digest(alone: tuple[str, ...], *modules: str) -> str:
    """SHA-256 over the files `alone` and the import closures of dotted `modules`.

    A package's registry is not part of it, unless imported by name, so that a new member does not
    invalidate the others; nor are the words of failures, which change no result.
    """
    files = {Path(file).resolve() for file in alone}
    for module in modules:
        files |= import_closure(PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py"))
    files.discard(PACKAGE / "errors.py")
    running = hashlib.sha256()
    for file in sorted(files):
        running.update(f"{file.relative_to(PACKAGE).as_posix()}\0{file_digest(file)}\n".encode())
    return running.hexdigest()


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
            intact = all(file_digest(folder / file) == found for file, found in digests)
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

    def finish(self, name: str, seconds: float, files: list[str], tidy: bool = True) -> None:
        """Mark a trial as finished with these `files`; `tidy` removes whatever else is there."""
        folder = self.folder / name
        digests = {file: file_digest(folder / file) for file in files}
        write_json(folder / MARKER, {"files": digests, "seconds": seconds})
        for path in folder.iterdir() if tidy else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (*files, MARKER):
                path.unlink()


def require(path: Path, stage: str) -> Path:
    """`path` itself; raises `IntegrityError` when the stage that makes it has not run."""
    if not path.exists():
        raise IntegrityError(
            str(path), f"expected this output of {stage}, found none", f"run `dvc repro {stage}`"
        )
    return path

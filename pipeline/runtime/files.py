"""Files that are whole or absent, and their digests. Knows nothing of what they mean."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.errors import IntegrityError

TEMPORARY = ".tmp"  # what a kill leaves behind; .dvcignore keeps it out of every hash


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


def require(path: Path, stage: str) -> Path:
    """`path` itself; raises `IntegrityError` when the stage that makes it has not run."""
    if not path.exists():
        raise IntegrityError(
            str(path), f"expected this output of {stage}, found none", f"run `dvc repro {stage}`"
        )
    return path

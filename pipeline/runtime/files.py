"""Atomic reading and writing of files, their formats and digests.

A file is either complete or missing, and equal values give equal bytes. Knows nothing of what the
files mean.
"""

from __future__ import annotations

import hashlib
import io
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

TEMPORARY = ".tmp"  # suffix of files that a killed process leaves; .dvcignore excludes them


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; on success, sync it and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp creates private files; outputs are readable by everyone
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, line ends unchanged, atomically."""
    write_bytes(path, text.encode())


def to_json(value: object) -> str:
    """Sorted, indented JSON; raises `ValueError` for NaN and infinity, which are not JSON."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """Write `to_json(value)` atomically."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def to_npz(**arrays: np.ndarray) -> bytes:
    """Compressed arrays; the bytes depend on the arrays alone, not on the time.

    Raises `ValueError` for object arrays, which only pickle could store.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write `to_npz(**arrays)` atomically."""
    write_bytes(path, to_npz(**arrays))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file.

    Raises `IntegrityError` for a damaged file and for object arrays, whose pickles could run code.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise IntegrityError(
            str(path), f"expected complete arrays, found: {error}", "run `dvc checkout --force`"
        ) from None


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` as a whole when the block succeeds."""
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
    """Return `path`; raises `IntegrityError` when it does not exist because `stage` has not run."""
    if not path.exists():
        raise IntegrityError(
            str(path), f"expected this output of {stage}, found none", f"run `dvc repro {stage}`"
        )
    return path

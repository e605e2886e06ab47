"""Atomic reading and writing of files, their formats and digests.

A file is either complete or missing, and equal values give equal bytes. Knows nothing of what the
files mean.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.errors import IntegrityError

TEMPORARY = ".tmp"  # suffix of files that a killed process leaves; .dvcignore excludes them
CHUNK_BYTES = 2**24  # of the rows that are in memory at a time
MAPPED_ROWS = 64  # read from a mapped file at a time: the system maps up to 2 MB around each
# Larger arrays are stored as they are: zlib packs about 30 MB/s, and photos hardly get smaller.
STORED_FROM_BYTES = 2**30


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


@dataclass(frozen=True)
class Rows:
    """`array[positions]`, read in chunks, so that neither it nor a mapped `array` fills the memory.

    `progress` is called with the number of rows of every chunk.
    """

    array: NDArray[Any]
    positions: NDArray[np.int64]
    progress: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `array[positions]`."""
        return (len(self.positions), *self.array.shape[1:])

    @property
    def nbytes(self) -> int:
        """The size of `array[positions]` in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.array.itemsize

    def load(self) -> NDArray[Any]:
        """All rows, in memory."""
        return _read(self.array, self.positions)

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The rows in order, `CHUNK_BYTES` at a time or a single row if that is larger."""
        row_bytes = max(1, self.nbytes // max(1, len(self)))
        size = max(1, CHUNK_BYTES // row_bytes)
        for start in range(0, len(self), size):
            chunk = _read(self.array, self.positions[start : start + size])
            yield chunk
            if self.progress is not None:
                self.progress(len(chunk))


def _read(array: NDArray[Any], positions: NDArray[np.int64]) -> NDArray[Any]:
    """`array[positions]`; pages of a mapped file are released as soon as they are read."""
    if mapped_file(array) is None:
        return array[positions]
    rows = np.empty((len(positions), *array.shape[1:]), dtype=array.dtype)
    for start in range(0, len(positions), MAPPED_ROWS):
        part = slice(start, start + MAPPED_ROWS)
        rows[part] = array[positions[part]]
        release(array)
    return rows


def mapped_file(array: NDArray[Any]) -> mmap.mmap | None:
    """The file that `array` is a view of, mapped for reading; None for arrays in memory."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        if isinstance(base, np.memmap) and base.mode != "r":
            return None
        base = getattr(base, "base", None)
    return base


def release(array: NDArray[Any]) -> None:
    """Drop the pages of a file mapped for reading from memory; nothing for other arrays."""
    file = mapped_file(array)
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


def _write_arrays(file: IO[bytes], arrays: dict[str, NDArray[Any] | Rows]) -> None:
    """The bytes of `np.savez_compressed`, but for members above `STORED_FROM_BYTES`."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            is_large = array.nbytes >= STORED_FROM_BYTES
            entry.compress_type = zipfile.ZIP_STORED if is_large else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                if not isinstance(array, Rows):
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
                    continue
                descr = np.lib.format.dtype_to_descr(array.array.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                for chunk in array.chunks():
                    member.write(np.ascontiguousarray(chunk).data)


def to_npz(**arrays: NDArray[Any]) -> bytes:
    """Compressed arrays; the bytes depend on the arrays alone, not on the time.

    Raises `ValueError` for object arrays, which only pickle could store.
    """
    buffer = io.BytesIO()
    _write_arrays(buffer, dict(arrays))
    return buffer.getvalue()


def write_npz(path: Path, **arrays: NDArray[Any] | Rows) -> None:
    """Write the bytes of `to_npz` atomically; `Rows` stand for the array of these rows."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        _write_arrays(file, arrays)


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

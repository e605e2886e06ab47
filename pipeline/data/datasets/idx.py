"""The IDX file format of the MNIST distribution, gzipped or not, read defensively.

Source: "THE IDX FILE FORMAT" on LeCun's MNIST page. Format: two zero bytes, a type code, the
number of dimensions, one big-endian uint32 per dimension, then the values. Only unsigned bytes
(type 8) are read, since no image or label file of the family uses another type.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from pipeline.runtime.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8
MAX_VALUES = 2**33  # far above any data set that fits in memory: a guard against forged headers


def find_idx(folder: Path, stem: str) -> Path:
    """The file for `stem`, e.g. `train-images-idx3-ubyte`, under any of its usual names."""
    dotted = stem.replace("-idx", ".idx")
    names = [f"{stem}.gz", stem, f"{dotted}.gz", dotted]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        str(folder),
        f"expected a file named {' or '.join(names)}, found none",
        "put the four MNIST files into that folder, or set data.path to the folder that has them",
    )


def read_idx(path: Path, num_dims: int) -> np.ndarray:
    """The uint8 array in `path`; `num_dims` is 3 for images (n, h, w), 1 for labels (n,).

    Raises `DataError` when the file is empty, truncated, damaged, of another kind (a web page, the
    labels in place of the images) or when its header and its length disagree.
    """
    payload = _payload(path)
    if payload[:1] == b"<":
        raise _damaged(path, "expected IDX data, found what looks like an HTML page")
    if len(payload) < 4 or payload[:2] != b"\0\0":
        raise _damaged(path, f"expected an IDX header, found the bytes {payload[:4].hex() or '-'}")
    if payload[2] != UNSIGNED_BYTE:
        raise _damaged(path, f"expected values of type 8 (bytes), found type {payload[2]}")
    if payload[3] != num_dims:
        raise DataError(
            str(path),
            f"expected {num_dims} dimensions, found {payload[3]}",
            "check that the images and the labels file are not swapped",
        )
    start = 4 + 4 * num_dims
    if len(payload) < start:
        raise _damaged(path, f"expected a header of {start} bytes, found {len(payload)}")
    shape = tuple(int(size) for size in np.frombuffer(payload[4:start], dtype=">u4"))
    count = math.prod(shape)
    if count > MAX_VALUES or len(payload) - start != count:
        raise _damaged(
            path, f"expected {count} values by its header {shape}, found {len(payload) - start}"
        )
    if count == 0:
        raise _damaged(path, f"expected at least one value, found the shape {shape}")
    return np.frombuffer(payload, dtype=np.uint8, offset=start).reshape(shape)


def _payload(path: Path) -> bytes:
    """The file's bytes, decompressed if it is gzipped, whatever its name says."""
    raw = path.read_bytes()
    if not raw:
        raise _damaged(path, "expected data, found an empty file")
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError:
        raise _damaged(
            path, f"expected a whole gzip file, found it cut off at byte {len(raw)}"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"expected intact gzip data, found: {error}") from None


def _damaged(path: Path, what: str) -> DataError:
    return DataError(str(path), what, "fetch that file again")

"""The IDX file format of the MNIST distribution, gzipped or not, read defensively.

Source: "THE IDX FILE FORMAT" on LeCun's MNIST page. Format: two zero bytes, a type code, the
number of dimensions, one big-endian uint32 per dimension, then the values. Only unsigned bytes
(type 8) are read, since no image or label file of the family uses another type.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from typing_extensions import override

from pipeline.data.datasets.arrays import ArraysConfig, Form, Part, dataset_of, user_path
from pipeline.data.datasets.base import Dataset, RawDataset
from pipeline.data.reading.listing import PARTS
from pipeline.data.reading.tree import natural
from pipeline.runtime.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8
LONGEST_HEADER = 4 + 4 * 255  # bytes
MARGIN = 2**20  # bytes read beyond what the header promises, to say how many there are
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


def _payload(path: Path, most: int | None = None) -> bytes:
    """The file's bytes, decompressed if it is gzipped, whatever its name says.

    At most `most` bytes, or a little more than the header says, so that a file which decompresses
    to an enormous size does no harm.
    """
    with path.open("rb") as file:
        magic = file.read(2)
    if not magic:
        raise _damaged(path, "expected data, found an empty file")
    is_packed = magic == GZIP_MAGIC
    try:
        with gzip.open(path) if is_packed else path.open("rb") as stream:
            start = stream.read(LONGEST_HEADER if most is None else most)
            return start if most is not None else start + stream.read(_promised(start) + MARGIN)
    except EOFError:
        length = path.stat().st_size
        raise _damaged(
            path, f"expected a whole gzip file, found it cut off at byte {length}"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"expected intact gzip data, found: {error}") from None


def _promised(start: bytes) -> int:
    """The number of values by the header, 0 if there is none or it promises too many."""
    if len(start) < 4 or start[:2] != b"\0\0":
        return 0
    shape = np.frombuffer(start[4 : 4 + 4 * start[3]][: (len(start) - 4) // 4 * 4], dtype=">u4")
    count = math.prod(int(size) for size in shape)
    return count if count <= MAX_VALUES else 0


def _damaged(path: Path, what: str) -> DataError:
    return DataError(str(path), what, "fetch that file again")


class Idx(Dataset):
    """Pairs of IDX files, images and labels, under any names: one pair, or train and test.

    Classes are called by their numbers unless `class_names` says otherwise.
    """

    Config = ArraysConfig

    @property
    def pairs(self) -> dict[str, tuple[Path, Path]]:
        """The files with the images and the labels of every part."""
        path = user_path(self.root, self.config.path)
        folder = path if path.is_dir() else path.parent
        return find_pairs(file for file in folder.iterdir() if file.is_file())

    @override
    def files(self) -> list[Path]:
        return [path for pair in self.pairs.values() for path in pair]

    @override
    def load(self) -> RawDataset:
        parts = {
            name: Part(read_idx(images, 3), read_idx(labels, 1))
            for name, (images, labels) in self.pairs.items()
        }
        where, names = f"data.path {self.config.path}", self.config.class_names
        form = Form(where, names, self.resize, self.background, val=self.config.val)
        return dataset_of(parts, form)


def find_pairs(files: Iterable[Path]) -> dict[str, tuple[Path, Path]]:
    """(images, labels) by part, from the headers of files and what their names share.

    Raises `DataError` when a file has no partner or a part has several pairs.
    """
    found: dict[int, dict[str, Path]] = {3: {}, 1: {}}
    files = sorted(files, key=lambda path: natural(path.name))
    for path in files:
        if (dims := _num_dims(path)) in found:
            found[dims].setdefault(_shared_name(path.name), path)
    images, labels = found[3], found[1]
    if len(images) == len(labels) == 1:
        return {"train": (min(images.values()), min(labels.values()))}
    where = str(files[0].parent) if files else "data.path"
    if not images or set(images) != set(labels):
        names = ", ".join(path.name for path in files[:8]) or "no file"
        raise DataError(
            where,
            f"expected pairs of IDX files, images and labels, with similar names, found {names}",
            "rename the files, for example train-images-idx3-ubyte and train-labels-idx1-ubyte",
        )
    pairs: dict[str, tuple[Path, Path]] = {}
    for shared, path in images.items():
        words = re.findall(r"[a-z]+|t10k", shared.replace("t10k", "test"))
        part = next((PARTS[word] for word in words if word in PARTS), "train")
        if part in pairs:
            raise DataError(
                where,
                f"expected one pair of files for {part}, found {pairs[part][0].name} and "
                f"{path.name}",
                "set data.path to a folder with one dataset",
            )
        pairs[part] = (path, labels[shared])
    return pairs


def _num_dims(path: Path) -> int | None:
    """The number of dimensions of an IDX file, None for another file."""
    try:
        start = _payload(path, 4)
    except (DataError, OSError):
        return None
    return start[3] if len(start) == 4 and start[:3] == bytes([0, 0, UNSIGNED_BYTE]) else None


def _shared_name(name: str) -> str:
    """A file name without what tells images from labels."""
    plain = name.casefold().removesuffix(".gz")
    plain = re.sub(r"images?|labels?|targets?|idx[13]|ubyte", "", plain)
    return re.sub(r"(^|[-_.])[xy](?=[-_.]|$)", r"\1", plain).strip("-_.")

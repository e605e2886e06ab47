"""Arrays of numpy in one `.npz` file, as MedMNIST, Keras and many others store them.

An array's name says its part and what it holds: `train_images`, `x_test`, `val_labels`, `X` and
`y`, `data` and `targets`, `arr_0` and `arr_1`. Pickled objects are never loaded.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pipeline.data.datasets.arrays import ArraysConfig, Form, Layout, Part, dataset_of, user_path
from pipeline.data.datasets.base import Dataset, RawDataset
from pipeline.data.reading.listing import PARTS
from pipeline.runtime.errors import DataError

IMAGE_WORDS = frozenset({"images", "image", "x", "data", "arr_0", "imgs", "features"})
LABEL_WORDS = frozenset({"labels", "label", "y", "targets", "target", "arr_1", "classes"})
MAX_BYTES = 2**36  # of all arrays, unpacked
RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}


class NpzConfig(ArraysConfig):
    """The file, and how to read its arrays if that is ambiguous.

    `layout`: the order of height, width and channels, if a side of 1 or 3 makes both possible.
    `scale`: the range of floating-point images.
    """

    layout: Layout = "auto"
    scale: Literal["0..1", "-1..1"] | None = None


class Npz(Dataset):
    """One `.npz` file."""

    Config = NpzConfig

    @override
    def files(self) -> list[Path]:
        return [user_path(self.root, self.config.path)]

    @override
    def load(self) -> RawDataset:
        where = f"data.path {self.config.path}"
        parts = parts_of(read_arrays(self.files()[0]), where)
        if scale := self.config.scale:
            parts = {
                name: Part(to_bytes(part.images, scale, where), part.labels)
                for name, part in parts.items()
            }
        names, layout, val = self.config.class_names, self.config.layout, self.config.val
        return dataset_of(parts, Form(where, names, self.resize, self.background, layout, val))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file; raises `DataError` for damaged files and for pickled objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > MAX_BYTES:
            raise DataError(
                str(path),
                f"expected at most {MAX_BYTES:,} bytes unpacked, found {total:,}",
                "use a smaller file",
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise DataError(
                str(path),
                "expected arrays of numbers or text, found an array of Python objects",
                "save it with another dtype: loading objects could run code",
            ) from None
        raise DataError(
            str(path), f"expected an intact .npz file, found: {error}", "fetch that file again"
        ) from None


def parts_of(arrays: Mapping[str, NDArray[Any]], where: str) -> dict[str, Part]:
    """The parts train, val, test and unlabeled, by the names of the arrays."""
    images: dict[str, NDArray[Any]] = {}
    labels: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        part, word = _meaning(name)
        target = images if word in IMAGE_WORDS else labels if word in LABEL_WORDS else None
        if target is None:
            continue
        if part in target:
            raise DataError(
                where,
                f"expected one array of images and one of labels per part, found {name} as well",
                "remove one of them from the file",
            )
        target[part] = array
    unlabeled = {"unlabeled"} & set(images)
    if not images or set(images) - unlabeled != set(labels):
        raise DataError(
            where,
            "expected arrays such as images and labels, X and y, or train_images and train_labels, "
            f"found {', '.join(arrays) or 'none'}",
            "rename the arrays",
        )
    return {part: Part(array, labels.get(part)) for part, array in images.items()}


def _meaning(name: str) -> tuple[str, str]:
    """(part, word) of an array's name, for example (test, images) of `x_test`."""
    pieces = [piece for piece in re.split(r"[_\-./ ]+", name.casefold()) if piece]
    parts = [PARTS.get(piece, piece) for piece in pieces if piece in {*PARTS, "unlabeled"}]
    words = [piece for piece in pieces if piece not in {*PARTS, "unlabeled"}]
    return (parts[0] if parts else "train"), "_".join(words)


def to_bytes(images: NDArray[Any], scale: str, where: str) -> NDArray[np.uint8]:
    """Floating-point images in the range `scale` as 0..255."""
    low, high = RANGES[scale]
    if images.dtype.kind != "f" or not (images.min() >= low and images.max() <= high):
        raise DataError(
            where,
            f"expected floating-point numbers from {low:g} to {high:g} by data.scale, found "
            f"{images.dtype} from {images.min()} to {images.max()}",
            "correct data.scale, or remove it for images of type uint8",
        )
    return np.round((images - low) * (255 / (high - low))).astype(np.uint8)

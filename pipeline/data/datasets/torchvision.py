"""Datasets of torchvision, by the name of their class, from local files.

The files lie where torchvision puts them (`<path>/<Class>/raw/` for IDX files, `<path>/` or its own
folder for the others) or directly in `path`. Nothing is downloaded, torch is not needed, and the
pickles of CIFAR are read without running code, after their checksums are verified.
Source of names, checksums and conversions: torchvision 0.29, `torchvision.datasets`.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import pickle
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import field_validator
from typing_extensions import override

from pipeline.config.validation import Section, unknown_name
from pipeline.data.datasets.arrays import Form, Part, dataset_of, user_path
from pipeline.data.datasets.base import Dataset, RawDataset
from pipeline.data.datasets.idx import find_idx, read_idx
from pipeline.runtime.errors import DataError

DIGITS = tuple(string.digits)
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
MERGED = set("cijklmopsuvwxyz")  # lower-case letters that EMNIST joins with upper-case ones
LETTERS = sorted(set(string.digits + string.ascii_letters))
EMNIST_CLASSES = {
    "byclass": tuple(LETTERS),
    "bymerge": tuple(letter for letter in LETTERS if letter not in MERGED),
    "balanced": tuple(letter for letter in LETTERS if letter not in MERGED),
    "letters": tuple(string.ascii_lowercase),
    "digits": DIGITS,
    "mnist": DIGITS,
}
CIFAR_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
STL10_SHAPE = (3, 96, 96)
RECONSTRUCT = np.empty(0).__reduce__()[0]  # the function by which numpy unpickles an array
MAX_USPS_BYTES = 2**27  # unpacked; the real file has 36 MB

Parts = dict[str, Part]


@dataclass(frozen=True)
class Known:
    """How one dataset is found and read.

    `folders` are tried below the path, then the path itself. `names` finds its files in a folder;
    `read` turns them, in that order, into the parts and the class names.
    """

    folders: tuple[str, ...]
    names: Callable[[Path], list[Path]]
    read: Callable[[list[Path]], tuple[Parts, tuple[str, ...]]]


class TorchvisionConfig(Section):
    """The folder, the dataset's class in torchvision, and the part of EMNIST."""

    path: str
    dataset: str
    split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] = "balanced"

    @field_validator("dataset")
    @classmethod
    def _is_known(cls, value: str) -> str:
        for problem in unknown_name("dataset", value, NAMES):
            raise ValueError(problem.removeprefix("dataset: "))
        return value


class Torchvision(Dataset):
    """One dataset of torchvision with the test set of its own."""

    Config = TorchvisionConfig

    @property
    def known(self) -> Known:
        """How the dataset is read."""
        return known(self.config.dataset, self.config.split)

    @override
    def files(self) -> list[Path]:
        base = user_path(self.root, self.config.path)
        tried = [base / folder for folder in (*self.known.folders, "")]
        failures = []
        for folder in tried:
            try:
                paths = self.known.names(folder)
            except DataError as error:
                failures.append(error.args[1])
                continue
            absent = [path.name for path in paths if not path.is_file()]
            if not absent:
                return paths
            failures.append(f"without {absent[0]}")
        places = ", ".join(map(str, tried))
        raise DataError(
            f"data.path {self.config.path}",
            f"expected the files of {self.config.dataset} in one of {places}, found these folders "
            f"{failures[0]}",
            "put the files there, or correct data.path",
        )

    @override
    def load(self) -> RawDataset:
        parts, names = self.known.read(self.files())
        where = f"torchvision's {self.config.dataset}"
        raw = dataset_of(parts, Form(where, names, self.resize, self.background))
        if self.config.dataset != "EMNIST":
            return raw
        note = "EMNIST's files have their images transposed; they are shown upright here"
        reading = {**raw.reading, "notes": [*raw.reading.get("notes", []), note]}
        return replace(raw, reading=reading)


def known(name: str, split: str) -> Known:
    """The entry for a dataset; `split` is that of EMNIST."""
    if name in IDX_CLASSES:
        return _idx((f"{name}/raw", "raw"), ("train", "t10k"), IDX_CLASSES[name])
    if name == "EMNIST":
        stems = tuple(f"emnist-{split}-{part}" for part in ("train", "test"))
        folders = ("EMNIST/raw", "EMNIST/raw/gzip", "raw", "gzip")
        return _idx(folders, stems, EMNIST_CLASSES[split], transposed=True)
    return OTHERS[name]


def _idx(
    folders: tuple[str, ...],
    stems: tuple[str, ...],
    classes: tuple[str, ...],
    transposed: bool = False,
) -> Known:
    """Four IDX files; `transposed`: with height and width exchanged."""

    def names(folder: Path) -> list[Path]:
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        return [find_idx(folder, f"{stem}-{kind}") for stem in stems for kind in kinds]

    def read(paths: list[Path]) -> tuple[Parts, tuple[str, ...]]:
        parts = {}
        for part, (images, labels) in (("train", paths[:2]), ("test", paths[2:])):
            pixels, numbers = read_idx(images, 3), read_idx(labels, 1).astype(np.int64)
            if len(classes) == len(string.ascii_lowercase):
                numbers = numbers - 1  # EMNIST's letters start at 1
            parts[part] = Part(pixels.swapaxes(1, 2) if transposed else pixels, numbers)
        return parts, classes

    return Known(folders, names, read)


def _listed(*names: str) -> Callable[[Path], list[Path]]:
    return lambda folder: [folder / name for name in names]


def _read_usps(paths: list[Path]) -> tuple[Parts, tuple[str, ...]]:
    """Lines `label index:value ...`, 256 values from -1 to 1; labels 1..10 are the digits 0..9."""
    parts = {}
    for part, path in zip(("train", "test"), paths, strict=True):
        try:
            with bz2.open(path) as stream:
                lines = stream.read(MAX_USPS_BYTES).decode("ascii").splitlines()
            rows = [line.split() for line in lines]
            values = [[float(cell.partition(":")[2]) for cell in row[1:]] for row in rows]
            pixels = np.array(values, dtype=np.float32).reshape(-1, 16, 16)
            labels = np.array([int(row[0]) - 1 for row in rows])
        except (OSError, EOFError, ValueError, IndexError) as error:
            raise _damaged(path, error) from None
        parts[part] = Part(((pixels + 1) / 2 * 255).astype(np.uint8), labels)
    return parts, DIGITS


def _read_svhn(paths: list[Path]) -> tuple[Parts, tuple[str, ...]]:
    """Images (32, 32, 3, n) of MATLAB; the digit 0 has the label 10."""
    from scipy.io import loadmat  # slow to load

    parts = {}
    for part, path in zip(("train", "test"), paths, strict=True):
        try:
            arrays = loadmat(path, variable_names=["X", "y"])
            pixels, labels = arrays["X"], arrays["y"].reshape(-1).astype(np.int64) % 10
        except (OSError, EOFError, ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise _damaged(path, error) from None
        parts[part] = Part(np.transpose(pixels, (3, 2, 0, 1)), labels)
    return parts, DIGITS


def _read_stl10(paths: list[Path]) -> tuple[Parts, tuple[str, ...]]:
    """Raw bytes: images (n, 3, 96, 96) with height and width exchanged, labels from 1."""
    arrays = [np.fromfile(path, dtype=np.uint8) for path in paths[:5]]
    for path, array in zip(paths[0:5:2], arrays[0::2], strict=True):
        if array.size == 0 or array.size % np.prod(STL10_SHAPE):
            raise _damaged(path, f"{array.size} bytes are no whole images")
    images = [array.reshape(-1, *STL10_SHAPE).swapaxes(2, 3) for array in arrays[0::2]]
    labels = [array.astype(np.int64) - 1 for array in arrays[1::2]]
    names = tuple(paths[5].read_text(encoding="utf-8").split())
    parts = {"train": Part(images[0], labels[0]), "test": Part(images[1], labels[1])}
    return {**parts, "unlabeled": Part(images[2], None)}, names


def _read_cifar(paths: list[Path], key: str, names_key: str) -> tuple[Parts, tuple[str, ...]]:
    """Pickled dicts: `data` (n, 3 * 32 * 32) and labels; the last file has the class names."""
    *batches, meta = [read_pickle(path, CIFAR_MD5[path.name]) for path in paths]
    parts = {}
    for part, group in (("train", batches[:-1]), ("test", batches[-1:])):
        images = np.concatenate([batch["data"] for batch in group]).reshape(-1, 3, 32, 32)
        parts[part] = Part(images, np.concatenate([batch[key] for batch in group]))
    return parts, tuple(meta[names_key])


class ArraysOnly(pickle.Unpickler):
    """Reads dicts, lists, text, numbers and arrays of numpy; refuses everything else by name."""

    @override
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return RECONSTRUCT
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return latin1
        raise pickle.UnpicklingError(f"{module}.{name}")


def latin1(text: str, encoding: str) -> bytes:
    """The bytes of an array that Python 3 pickled as text; no other encoding is looked up."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding}")
    return text.encode("latin1")


def read_pickle(path: Path, md5: str) -> dict[str, Any]:
    """The dict of arrays in a pickle whose MD5 is `md5`; raises `DataError` for any other file."""
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            str(path),
            f"expected the file with MD5 {md5}, as torchvision has it, found {found}",
            "fetch that file again",
        )
    return unpickled(content, str(path))


def unpickled(content: bytes, where: str) -> dict[str, Any]:
    """The dict of arrays in `content`; raises `DataError` where it has anything else."""
    try:
        loaded = ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            where, f"expected arrays, text and numbers only, found {error}", "do not use this file"
        ) from None
    if not isinstance(loaded, dict):
        raise DataError(where, f"expected a dict, found {type(loaded).__name__}", "do not use it")
    return loaded


def _damaged(path: Path, error: object) -> DataError:
    return DataError(str(path), f"expected an intact file, found: {error}", "fetch that file again")


IDX_CLASSES: dict[str, tuple[str, ...]] = {
    "FashionMNIST": FASHION,
    "KMNIST": KUZUSHIJI,
    "MNIST": DIGITS,
}
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
OTHERS: dict[str, Known] = {
    "CIFAR10": Known(
        ("cifar-10-batches-py",),
        _listed(*BATCHES, "test_batch", "batches.meta"),
        lambda paths: _read_cifar(paths, "labels", "label_names"),
    ),
    "CIFAR100": Known(
        ("cifar-100-python",),
        _listed("train", "test", "meta"),
        lambda paths: _read_cifar(paths, "fine_labels", "fine_label_names"),
    ),
    "STL10": Known(
        ("stl10_binary",),
        _listed(
            "train_X.bin",
            "train_y.bin",
            "test_X.bin",
            "test_y.bin",
            "unlabeled_X.bin",
            "class_names.txt",
        ),
        _read_stl10,
    ),
    "SVHN": Known((), _listed("train_32x32.mat", "test_32x32.mat"), _read_svhn),
    "USPS": Known((), _listed("usps.bz2", "usps.t.bz2"), _read_usps),
}
NAMES: Sequence[str] = sorted([*IDX_CLASSES, "EMNIST", *OTHERS])

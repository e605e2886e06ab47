"""The full MNIST: 60,000 training and 10,000 test images, from a folder or the network.

Source: LeCun, Cortes and Burges, the MNIST database of handwritten digits. A download goes over
https only, into a temporary file, and takes its final name after its SHA-256 matched.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pooch
from typing_extensions import override

from pipeline.config.validation import Section
from pipeline.data.datasets.base import DIGIT_NAMES, Dataset, RawDataset
from pipeline.data.datasets.idx import find_idx, read_idx
from pipeline.data.images import LabeledImages
from pipeline.runtime.errors import DataError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


class MnistConfig(Section):
    """The folder with the four IDX files; None downloads them."""

    path: str | None = None


class Mnist(Dataset):
    """Both parts, from a folder or downloaded."""

    Config = MnistConfig

    @property
    def folder(self) -> Path | None:
        """The folder of the user; raises `DataError` if it is not there."""
        if self.config.path is None:
            return None
        folder = self.root / Path(self.config.path).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"data.path {self.config.path}",
                f"expected a folder with the four MNIST files, found none at {folder}",
                "correct data.path, or set it to null to download the files",
            )
        return folder

    @override
    def files(self) -> list[Path]:
        folder = self.folder
        return [] if folder is None else [find_idx(folder, stem) for stem in SHA256]

    @override
    def load(self) -> RawDataset:
        cache = pooch.os_cache("gan-augmentation-pipeline") / "mnist"
        folder = self.folder or download(cache, MIRRORS)
        return RawDataset(_part(folder, "train"), _part(folder, "t10k"), DIGIT_NAMES)


def _part(folder: Path, prefix: str) -> LabeledImages:
    image_path = find_idx(folder, f"{prefix}-images-idx3-ubyte")
    label_path = find_idx(folder, f"{prefix}-labels-idx1-ubyte")
    pixels, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if len(pixels) != len(labels):
        raise DataError(
            str(label_path),
            f"expected {len(pixels)} labels, one per image of {image_path.name}, "
            f"found {len(labels)}",
            "use two files of the same set",
        )
    return LabeledImages(pixels[:, None], labels.astype(np.int64), str(image_path))


def download(folder: Path, mirrors: tuple[str, ...]) -> Path:
    """Fetch what `folder` lacks from the first mirror that answers with the right bytes."""
    for stem, digest in SHA256.items():
        _fetch(f"{stem}.gz", digest, folder, mirrors)
    return folder


def _fetch(name: str, expected_digest: str, folder: Path, mirrors: tuple[str, ...]) -> None:
    failures = []
    for mirror in mirrors:
        try:
            pooch.retrieve(
                f"{mirror}{name}", f"sha256:{expected_digest}", name, folder, progressbar=True
            )
            return
        except (OSError, ValueError) as error:  # no answer; an answer with another hash
            failures.append(f"{mirror}: {type(error).__name__}")
    raise DataError(
        name,
        f"expected a file with SHA-256 {expected_digest[:12]}..., found {'; '.join(failures)}",
        "check the network, or put the four files into a folder and set data.path to it",
    )

"""What a path is, as the section `data` of params.yaml: by content first, then by names."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.commands.init.options import Options
from pipeline.commands.init.write import written_path
from pipeline.runtime.errors import DataError, ParamsError

TABLES = {".csv", ".tsv", ".jsonl", ".parquet"}
TABLE_NAMES = ("metadata", "labels", "train", "_classes")
IDX_IMAGES = b"\x00\x00\x08\x03"  # bytes, three dimensions
PICKLED = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100"}
EXPECTED = (
    "a folder or zip with a folder of images per class (or train/ and test/ with these), a table "
    "(.csv, .tsv, .jsonl, .parquet) beside its images, an .npz, IDX files, or a folder of "
    "torchvision"
)


def section_of(path: Path, options: Options, root: Path) -> tuple[dict[str, Any], str]:
    """The keys `name`, `path` and others that flags give, and the layout in words.

    Raises `ParamsError` or `DataError` saying what was seen instead.
    """
    refuse_no_data(path, root)
    name, layout, found = detect(path)
    section = {"name": name, "path": written_path(found, root)}
    if name == "torchvision":
        section = {"name": name, "class": layout, "path": section["path"]}
        layout = f"files of torchvision's {layout}"
    section |= given(name, options)
    return section, layout


def refuse_no_data(path: Path, root: Path) -> None:
    """Raise `ParamsError` if there is nothing at `path`, or it is this project."""
    if not path.exists():
        raise ParamsError("init", f"expected {EXPECTED} at {path}, found nothing", "correct PATH")
    if root.resolve().is_relative_to(path.resolve()):
        raise ParamsError(
            "init",
            f"expected a folder of images, found the folder of this project ({path})",
            "name the folder that has the images",
        )


def detect(path: Path) -> tuple[str, str, Path]:
    """The name of the dataset's reader, the layout in words, and the path that it reads."""
    if path.is_dir():
        return _detect_folder(path)
    if zipfile.is_zipfile(path) and path.suffix.lower() == ".npz":
        return "npz", "arrays in an .npz", path
    if zipfile.is_zipfile(path):
        return "image_folder", "a zip with a folder per class", path
    if path.suffix.lower() in TABLES:
        return "table", "a table beside its images", path
    if starts_like_idx(path):
        return "idx", "IDX files", path.parent
    raise DataError(
        str(path),
        f"expected {EXPECTED}, found a file {path.suffix or 'without extension'}",
        "correct PATH",
    )


def _detect_folder(folder: Path) -> tuple[str, str, Path]:
    for name, family in PICKLED.items():
        if (folder / name).is_dir():
            return "torchvision", family, folder
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name[0] != ".")
    inside = [file for file in folder.iterdir() if (file / "raw").is_dir()]
    if len(inside) == 1 and any(map(starts_like_idx, (inside[0] / "raw").iterdir())):
        return "torchvision", inside[0].name, folder
    if any(map(starts_like_idx, files)):
        return "idx", "IDX files", folder
    if table := _table_of(files):
        return "table", f"the table {table.name} beside its images", table
    archives = [file for file in files if file.suffix.lower() == ".npz"]
    if len(archives) == 1 and not any(each.is_dir() for each in folder.iterdir()):
        return "npz", "arrays in an .npz", archives[0]
    return "image_folder", "a folder per class", folder


def _table_of(files: list[Path]) -> Path | None:
    """The table that says which image has which label: by its usual name, or the only one."""
    tables = [file for file in files if file.suffix.lower() in TABLES]
    for stem in TABLE_NAMES:
        for table in tables:
            if table.stem.lower() == stem:
                return table
    has_folders = any(file.parent.is_dir() for file in tables) and any(
        each.is_dir() and each.name[0] not in "._" for each in tables[0].parent.iterdir()
    )
    return tables[0] if len(tables) == 1 and not has_folders else None


def starts_like_idx(path: Path) -> bool:
    """Whether a file, gzipped or not, begins like images in the format of MNIST."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else path.open("rb") as stream:
            return stream.read(4) == IDX_IMAGES
    except (OSError, EOFError):
        return False


def given(name: str, options: Options) -> dict[str, Any]:
    """The keys of `data` that flags give; raises `ParamsError` for those that it has not."""
    values = {
        "file_column": options.file_column,
        "label_column": options.label_column,
        "classes": list(options.classes),
        "class_names": list(options.class_names),
        "alpha_onto": options.alpha_onto,
    }
    section = {key: value for key, value in values.items() if value}
    known = settings_of(name)
    for key in section:
        if key not in known:
            flag = f"--{key.replace('_', '-')}"
            raise ParamsError(
                f"init: {flag}", f"expected none with data of the kind {name}", "drop that flag"
            )
    return section


def settings_of(name: str) -> set[str]:
    """The keys that a reader has."""
    from pipeline.data.datasets import DATASETS

    return set(DATASETS[name].Config.model_fields)


def seen(folder: Path) -> str:
    """What a folder has, by extension, for messages."""
    counts = Counter(
        Path(name).suffix.lower() or "no extension"
        for _, _, names in os.walk(folder)
        for name in names
    )
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5)) or "no file"

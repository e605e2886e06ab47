"""Detects the kind of dataset at a path, by content first, then by names."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.commands.init.options import Options, flag_of
from pipeline.commands.init.write import written_path
from pipeline.config.validation import refuse_unknown, validate
from pipeline.data.datasets import DATASETS
from pipeline.data.datasets.idx import find_pairs
from pipeline.data.datasets.image_folder import top
from pipeline.data.datasets.table import find_tables
from pipeline.data.datasets.torchvision import NAMES, known
from pipeline.data.reading.cells import EXTENSIONS as TABLES
from pipeline.data.reading.cells import read_cells
from pipeline.data.reading.decoding import EXTENSIONS as IMAGES
from pipeline.data.reading.listing import PARTS
from pipeline.data.reading.tree import File, Tree, open_tree
from pipeline.runtime.errors import DataError, ParamsError

USUAL_TABLES = ("metadata", "_classes", "label", "labels", "train", "train_list")
LIST_FILES = {".txt", ".lst"}
EXPECTED = (
    "a folder or zip with a folder of images per class (or train/ and test/ with these), a table "
    "(.csv, .tsv, .jsonl, .parquet) beside its images, an .npz, IDX files, or a folder of "
    "torchvision"
)


def section_of(path: Path, options: Options, root: Path) -> tuple[dict[str, Any], str]:
    """The section `data` from the path and the flags, and the layout in words.

    Raises `ParamsError` or `DataError` for a path that is no dataset.
    """
    refuse_no_data(path, root)
    name, layout, more = detect(path)
    if name == "image_folder" and (options.file_column or options.label_column):
        name, layout = "table", "a table beside its images, as the flags say"
    if "name" in options.settings:
        name, layout, more = str(options.settings["name"]), "as --set name says", {}
        refuse_unknown("init: --set name", name, DATASETS)
    section = {"path": written_path(more.pop("path", path), root), **more, **given(name, options)}
    refuse_values(name, section, options)
    return {"name": name, **section}, layout


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


def detect(path: Path) -> tuple[str, str, dict[str, Any]]:
    """The name of the dataset's reader, the layout in words, and further keys of `data`."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return _detect_folder(path)
    if suffix == ".npz":
        return "npz", "arrays in an .npz", {}
    if zipfile.is_zipfile(path):
        return _detect_images(open_tree(path), "a zip with ")
    if suffix in TABLES:
        return "table", "a table beside its images", {}
    if suffix not in IMAGES and _idx_pairs(path.parent, having=path):
        return "idx", "IDX files", {"path": path.parent}
    kind = "an image" if suffix in IMAGES else f"a file {suffix or 'without extension'}"
    raise DataError(str(path), f"expected {EXPECTED}, found {kind}", "correct PATH")


def _detect_folder(folder: Path) -> tuple[str, str, dict[str, Any]]:
    if found := torchvision_name(folder):
        name, base = found
        return "torchvision", f"files of torchvision's {name}", {"path": base, "dataset": name}
    if _idx_pairs(folder):
        return "idx", "IDX files", {}

    tree = open_tree(folder)
    archives = [file for file in tree.files if file.suffix == ".npz" and "/" not in file.name]
    images = [file for file in tree.files if file.suffix in IMAGES]
    if len(archives) == 1 and not images:
        return "npz", "arrays in an .npz", {"path": Path(archives[0].path)}
    return _detect_images(tree, "")


def torchvision_name(folder: Path) -> tuple[str, Path] | None:
    """The dataset of torchvision whose files are where torchvision puts them, and its root."""
    for name in NAMES:
        folders = [each for each in known(name, "balanced").folders if each != "raw"]
        own = [folder / each for each in folders if each.partition("/")[0] not in ("raw", "gzip")]
        if any(each.is_dir() for each in own):
            return name, folder
        if not folders and all(file.is_file() for file in known(name, "balanced").names(folder)):
            return name, folder
    if folder.name in NAMES and (folder / "raw").is_dir():
        return folder.name, folder.parent
    return None


def _idx_pairs(folder: Path, having: Path | None = None) -> bool:
    """Whether a folder has IDX files of images with their labels, `having` among them."""
    try:
        pairs = find_pairs(file for file in folder.iterdir() if file.is_file())
    except DataError:
        return False
    return having is None or any(having in pair for pair in pairs.values())


def _detect_images(tree: Tree, words: str) -> tuple[str, str, dict[str, Any]]:
    """A table where there is one that names the images, else a folder per class."""
    if has_table(tree):
        if about_classes := tables_about_classes(tree):
            return (
                "image_folder",
                f"{words}a folder per class ({about_classes} names no images)",
                {},
            )
        tables = ", ".join(file.name for file in find_tables(str(tree.root), tree))
        return "table", f"{words}the table {tables} beside its images", {}
    return "image_folder", f"{words}a folder per class", {}


def has_table(tree: Tree) -> bool:
    """Whether a table at the top or in the folder of the train part says the label of every image.

    One by its usual name counts, one of another name only where folders cannot be classes.
    """
    at_top = [file for file in tree.files if "/" not in file.name]
    parts = [file for file in tree.files if file.name.count("/") == 1]
    of_train = [file for file in parts if PARTS.get(top(file.name).casefold()) == "train"]
    if any(_is_usual(file) for file in (*at_top, *of_train)):
        return True
    tables = [file for file in at_top if file.suffix in TABLES]
    folders = {top(file.name) for file in tree.files if file.suffix in IMAGES}
    return len(tables) == 1 and len(folders) == 1


def tables_about_classes(tree: Tree) -> str:
    """The names of the tables, if they describe classes that are folders; else empty.

    Such a table has no name of an image.
    """
    files = [PurePosixPath(file.name) for file in tree.files if file.suffix in IMAGES]
    folders = {file.parent.name.casefold() for file in files} - {"", *PARTS}
    tables = find_tables(str(tree.root), tree)
    if len(folders) < 2 or any(file.suffix not in TABLES for file in tables):
        return ""
    names = {name for file in files for name in (file.name, file.stem)}
    for table in tables:
        cells = read_cells(tree.read(table), table.name)
        words = {PurePosixPath(cell).name for column in cells.columns.values() for cell in column}
        # A class may be called like an image, such as 1; but there are more images than classes.
        if len(cells) > len(folders) and words & names:
            return ""
    return ", ".join(file.name for file in tables)


def _is_usual(file: File) -> bool:
    stem = PurePosixPath(file.name).stem.casefold()
    is_list = file.suffix in LIST_FILES and stem == "train_list"
    return stem in USUAL_TABLES and (file.suffix in TABLES or is_list)


def given(name: str, options: Options) -> dict[str, Any]:
    """The keys of `data` set by flags; raises `ParamsError` for keys unknown to the dataset."""
    for key in options.of_files:
        if key not in DATASETS[name].Config.model_fields:
            raise ParamsError(
                f"init: {flag_of(key)}",
                f"expected none with data of the kind {name}",
                "drop that flag",
            )
    settings = {key: value for key, value in options.settings.items() if key != "name"}
    return {**options.of_files, **settings}


def refuse_values(name: str, section: Mapping[str, Any], options: Options) -> None:
    """Raise `ParamsError` naming the flag whose value the dataset refuses."""
    try:
        validate(DATASETS[name].Config, dict(section), "init")
    except ParamsError as error:
        problem = error.args[1]
        flags = [flag_of(key) for key in options.of_files if problem.startswith(key)]
        raise ParamsError(
            f"init: {flags[0] if flags else '--set'}", problem, "correct or add that key"
        ) from None

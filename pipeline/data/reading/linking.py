"""Rows of a table and the images that they name, matched by path, folder and extension."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.reading.listing import PARTS, Example
from pipeline.data.reading.tree import File
from pipeline.runtime.errors import DataError


@dataclass(frozen=True)
class Row:
    """A row that names an image: the cell with the file, its class or "", part and all cells.

    `known_part`: the table says the part, in a column or by its own name.
    """

    name: str
    label: str
    part: str
    cells: tuple[str, ...]
    folder: str  # of its table
    known_part: bool = False


class Images:
    """Finds the image that a cell names: with its folder and extension, or without."""

    def __init__(self, images: Sequence[File]) -> None:
        self.by_path = {file.name: file for file in images}
        self.others: list[dict[str, list[File]]] = []
        for key in (_without_suffix, _base, lambda name: _without_suffix(_base(name))):
            found: dict[str, list[File]] = defaultdict(list)
            for file in images:
                found[key(file.name)].append(file)
            self.others.append(found)
        self.parts = {_part_folder(file.name) for file in images}

    def find(
        self, where: str, name: str, folders: Sequence[str], part: str | None = None
    ) -> File | None:
        """The image called `name` in one of `folders`, or the only one of that name anywhere.

        If there are folders of `part`, images in folders of other parts are others of equal name.
        """
        plain = unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")
        paths = [f"{folder}/{plain}".lstrip("/") for folder in folders]
        exact = [self.by_path[path] for path in paths if path in self.by_path]
        if exact:
            return exact[0]
        stems, bases, base_stems = self.others
        for found, keys in ((stems, paths), (bases, [_base(plain)]), (base_stems, [_base(plain)])):
            matches = next((found[key] for key in keys if key in found), [])
            if found is not stems and part in self.parts:
                own = [file for file in matches if _part_folder(file.name) == part]
                matches = own or [file for file in matches if _part_folder(file.name) is None]
            if len(matches) > 1:
                raise DataError(
                    where,
                    f"expected one image called {name}, found {matches[0].name} and "
                    f"{matches[1].name}",
                    "set data.folder or data.suffix",
                )
            if matches:
                return matches[0]
        return None


def _part_folder(name: str) -> str | None:
    """The part by which a folder of a path is called, or None."""
    folders = name.casefold().split("/")[:-1]
    return next((PARTS[folder] for folder in folders if folder in PARTS), None)


def _without_suffix(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.rpartition('.')[0] or base}"


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def linked(
    where: str, rows: Sequence[Row], files: Sequence[File], folder: str | None, suffix: str | None
) -> tuple[list[Example], dict[str, tuple[str, ...]]]:
    """The images of `rows`, and the names of rows without an image and images without a row.

    Raises `DataError` if no row has an image, or one image has two labels.
    """
    images = Images(files)
    inner = f"/{folder.strip('/')}" if folder else ""
    examples: dict[str, Example] = {}
    alone, repeated = [], []
    for row in rows:
        folders = dict.fromkeys((f"{row.folder}{inner}", row.folder, ""))
        name, part = f"{row.name}{suffix or ''}", row.part if row.known_part else None
        file = images.find(where, name, [*folders], part) if row.name else None
        if file is None:
            alone.append(row.name)
            continue
        example = Example(file, row.label or None, row.part, row.cells)
        earlier = examples.setdefault(file.path, example)
        if (earlier.class_name, earlier.part) != (example.class_name, example.part):
            raise DataError(
                where,
                f"expected one label and part per image, found {earlier.class_name!r} "
                f"({earlier.part}) and {example.class_name!r} ({example.part}) for {file.name}",
                "remove one of the rows",
            )
        if earlier is not example:
            repeated.append(file.name)
    if not examples:
        wanted = f"{rows[0].name!r}" if rows else "no row at all"
        raise DataError(
            where,
            f"expected images of these names beside the table, found none: it has {wanted}, the "
            f"folder has {files[0].name if files else 'no image'}",
            "set data.folder or data.suffix",
        )
    without_row = [file.name for file in files if file.path not in examples]
    skipped = {
        "rows without image": tuple(alone),
        "repeated rows": tuple(repeated),
        "images without row": tuple(without_row),
    }
    return list(examples.values()), {reason: names for reason, names in skipped.items() if names}

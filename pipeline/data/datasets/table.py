"""Images named in a table, with their classes.

Hugging Face's `metadata.*`, Kaggle's `train.csv`, fastai's `labels.csv`, Roboflow's `_classes.csv`
with a column per class, and list files with `path index` on every line. Columns are found by their
usual names unless the settings name them. Every cell is text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import overload

from typing_extensions import override

from pipeline.data.datasets.image_files import ImageFiles, ImageFilesConfig
from pipeline.data.datasets.image_folder import image_files
from pipeline.data.reading.cells import EXTENSIONS, Cells, decoded, read_cells
from pipeline.data.reading.columns import (
    FILE_COLUMNS,
    LABEL_COLUMNS,
    find_column,
    find_split,
    from_one_hot,
    is_one_hot,
    parts_of,
)
from pipeline.data.reading.linking import Row, linked
from pipeline.data.reading.listing import PARTS, Listing, arrange
from pipeline.data.reading.tree import File, Tree, open_tree
from pipeline.runtime.errors import DataError

# Names of tables in a folder, most specific first; a group is read together, one per part.
STEMS = (r"metadata", r"_classes", r"labels?", r"(train|val|valid|test)([_-]?(list|labels?))?")
LISTS = (".txt", ".lst")
NAMES_OF_CLASSES = ("labels.txt", "classes.txt", "label_list.txt", "class_names.txt")


class TableConfig(ImageFilesConfig):
    """The table and its columns; None: found by name.

    `path`: the table, or a folder or zip with one. `folder`: where file names start, relative to
    the table's folder. `suffix`: what is appended to file names, for example `.jpg`. `separator`:
    between cells. `encoding`: of the text, for example `cp1252`.
    """

    file_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    folder: str | None = None
    suffix: str | None = None
    separator: str | None = None
    encoding: str | None = None


class Table(ImageFiles):
    """Images and a table of their labels."""

    Config = TableConfig

    @cached_property
    @override
    def tree(self) -> Tree:
        """The files of the folder, of the zip, or of the folder that has the table."""
        is_table = self.path.is_file() and self.path.suffix.lower() in {*EXTENSIONS, *LISTS}
        return open_tree(self.path.parent if is_table else self.path)

    @cached_property
    def tables(self) -> tuple[File, ...]:
        """The tables that are read, and the list of class names that belongs to them."""
        if self.path.is_file() and self.tree.root != self.path:
            name = unicodedata.normalize("NFC", self.path.name)
            return tuple(file for file in self.tree.files if file.name == name)
        return find_tables(f"data.path {self.config.path}", self.tree)

    @property
    def class_lists(self) -> tuple[File, ...]:
        """The files with the names of numbered classes, for list files."""
        if not any(file.suffix in LISTS for file in self.tables):
            return ()
        named = [file for file in self.tree.files if file.name in NAMES_OF_CLASSES]
        return tuple(file for file in named if file not in self.tables)[:1]

    @override
    def files(self) -> list[Path]:
        tables = self.tree.sources([*self.tables, *self.class_lists])
        return list(dict.fromkeys([*tables, *super().files()]))

    @override
    def list_images(self) -> Listing:
        where = f"data.path {self.config.path}"
        rows, columns, notes = self._rows()
        images, _ = image_files(self.tree)
        examples, skipped = linked(where, rows, images, self.config.folder, self.config.suffix)
        listing = arrange(where, self.tree, examples, self.config.classes, self.config.val)
        return replace(
            listing,
            columns=columns,
            skipped={**skipped, **listing.skipped},
            notes=(*notes, *listing.notes),
        )

    def _rows(self) -> tuple[list[Row], tuple[str, ...], list[str]]:
        """(rows, names of columns, notes) of all tables together."""
        notes: list[str] = []
        tables = []
        for file in self.tables:
            content = self.tree.read(file)
            if file.suffix in LISTS:
                cells = self._list_file(content, file.name)
            else:
                cells = read_cells(content, file.name, self.config.separator, self.config.encoding)
            notes += cells.notes
            tables.append((file, cells))

        columns = tuple(dict.fromkeys(name for _, cells in tables for name in cells.columns))
        rows = [row for file, cells in tables for row in self._rows_of(file, cells, columns)]
        return rows, columns, notes

    def _rows_of(self, file: File, cells: Cells, columns: Sequence[str]) -> Iterator[Row]:
        """The rows of one table; a table of the test part may lack labels."""
        part = part_of(file)
        names = find_column(file.name, cells, FILE_COLUMNS, "file_column", self.config.file_column)
        split = find_split(file.name, cells, self.config.split_column)
        labels = self._labels(file, cells, names, split, part)
        parts = parts_of(file.name, cells.columns[split]) if split else (part,) * len(cells)
        folder = file.name.rpartition("/")[0]
        known = split is not None or part_of(file, None) is not None
        empty = ("",) * len(cells)
        lines = zip(*(cells.columns.get(column, empty) for column in columns), strict=True)
        for name, label, where, line in zip(
            cells.columns[names], labels, parts, lines, strict=True
        ):
            yield Row(name, unicodedata.normalize("NFC", label), where, line, folder, known)

    def _labels(
        self, file: File, cells: Cells, names: str, split: str | None, part: str
    ) -> Sequence[str]:
        """The class of every row, "" for unlabeled ones."""
        others = {key: cells.columns[key] for key in cells.columns if key not in (names, split)}
        chosen = self.config.label_column
        usual = {column.casefold() for column in others} & {*LABEL_COLUMNS}
        if chosen is None and not usual and is_one_hot(others):
            return from_one_hot(file.name, cells.columns[names], others)
        if chosen is None and part != "train" and not usual and len(self.tables) > 1:
            return ("",) * len(cells)
        rest = Cells(others)
        return others[find_column(file.name, rest, LABEL_COLUMNS, "label_column", chosen)]

    def _list_file(self, content: bytes, name: str) -> Cells:
        """Lines `path index`; the index becomes a class name if there is a list of them."""
        text, notes = decoded(content, name, self.config.encoding)
        split = [line.strip().rsplit(self.config.separator, 1) for line in text.splitlines()]
        pairs = [(*pair, "")[:2] for pair in split if pair and pair != [""]]
        class_names: list[str] = []
        for file in self.class_lists:
            listed, _ = decoded(self.tree.read(file), file.name, self.config.encoding)
            class_names = [line.strip() for line in listed.splitlines() if line.strip()]
        labels = tuple(_class_name(name, label.strip(), class_names) for _, label in pairs)
        paths = tuple(path.strip() for path, _ in pairs)
        return Cells({"path": paths, "label": labels}, notes)


def _class_name(where: str, label: str, class_names: Sequence[str]) -> str:
    """The name of the class with the number `label`, or `label` where there are no names."""
    if not class_names or not label:
        return label
    if not label.isdecimal() or int(label) >= len(class_names):
        raise DataError(
            where,
            f"expected a number from 0 to {len(class_names) - 1} after every path, found {label!r}",
            "correct that line, or the list of class names",
        )
    return class_names[int(label)]


def find_tables(where: str, tree: Tree) -> tuple[File, ...]:
    """The tables of a folder: of one kind, at the top or in the folders of the parts.

    Raises `DataError` if there is none, or two for the same part.
    """
    near = [
        file
        for file in tree.files
        if file.name.count("/") == 0
        or (file.name.count("/") == 1 and file.name.partition("/")[0].casefold() in PARTS)
    ]
    for at, stem in enumerate(STEMS):
        suffixes = {*EXTENSIONS, *LISTS} if at == len(STEMS) - 1 else EXTENSIONS
        found = [
            file
            for file in near
            if file.suffix in suffixes
            and re.fullmatch(stem, PurePosixPath(file.name).stem.casefold())
        ]
        places: dict[tuple[str, str], File] = {}
        for file in found:
            key = (file.name.rpartition("/")[0], part_of(file))
            if key in places:
                raise _unclear(where, [places[key].name, file.name])
            places[key] = file
        if found:
            return tuple(found)

    tables = [file for file in near if file.suffix in EXTENSIONS]
    tables = [file for file in tables if "sample_submission" not in file.name.casefold()]
    if len(tables) == 1:
        return tuple(tables)
    raise _unclear(where, [file.name for file in tables])


def _unclear(where: str, names: Sequence[str]) -> DataError:
    return DataError(
        where,
        "expected one table such as metadata.csv, labels.csv or train.csv, found "
        f"{', '.join(names[:5]) or 'none'}",
        "set data.path to the table itself",
    )


@overload
def part_of(file: File) -> str: ...
@overload
def part_of(file: File, default: None) -> str | None: ...
def part_of(file: File, default: str | None = "train") -> str | None:
    """The part that a table is for, from its folder or its name; `default` if neither says."""
    folder, _, name = file.name.rpartition("/")
    words = [folder.casefold(), *re.split(r"[^a-z]+", PurePosixPath(name).stem.casefold())]
    return next((PARTS[word] for word in words if word in PARTS), default)

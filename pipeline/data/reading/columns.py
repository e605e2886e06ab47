"""The meaning of the columns of a table: file, class, part of the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.data.reading.cells import Cells
from pipeline.data.reading.listing import PARTS
from pipeline.runtime.errors import DataError

FILE_COLUMNS = (
    *("file_name", "filename", "file", "path", "image", "image_path", "filepath"),
    *("image_id", "image_name", "img", "name", "id"),
)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y", "species")
SPLIT_COLUMNS = ("split", "subset", "partition", "set")


def find_column(
    where: str, cells: Cells, usual: Sequence[str], key: str, chosen: str | None
) -> str:
    """The column `chosen`, or the first of the `usual` names, or the only one that is left."""
    columns = list(cells.columns)
    if chosen is not None and chosen in columns:
        return chosen
    folded = {column.casefold(): column for column in columns}
    found = [folded[name] for name in usual if name in folded]
    if chosen is None and found:
        return found[0]
    if chosen is None and key == "label_column" and len(columns) == 1:
        return columns[0]
    raise DataError(
        where,
        f"expected {repr(chosen) if chosen else 'a column such as ' + ', '.join(usual[:3])} "
        f"for data.{key}, found the columns {', '.join(map(repr, columns)) or 'none'}",
        f"set data.{key} to one of them",
    )


def find_split(where: str, cells: Cells, chosen: str | None) -> str | None:
    """The column with the part of every row, or None."""
    if chosen is not None:
        return find_column(where, cells, (), "split_column", chosen)
    for column in cells.columns:
        values = {value.casefold() for value in cells.columns[column]}
        if column.casefold() in SPLIT_COLUMNS and values <= {*PARTS, "unlabeled"}:
            return column
    return None


def parts_of(where: str, values: Sequence[str]) -> list[str]:
    """The parts named in a column; raises `DataError` for other words."""
    known = {**PARTS, "unlabeled": "train", "": "train"}
    others = sorted({value for value in values if value.casefold() not in known})
    if others:
        raise DataError(
            where,
            f"expected train, val or test as the part of every row, found {others[0]!r}",
            "correct the column, or set data.split_column",
        )
    return [known[value.casefold()] for value in values]


def is_one_hot(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether there is a column of 0 and 1 for each of two or more classes."""
    return len(columns) > 1 and all({*cells} <= {"0", "1"} for cells in columns.values())


def from_one_hot(
    where: str, names: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> list[str]:
    """The class of every row, "" without any; raises `DataError` for a row with several."""
    labels = []
    for name, row in zip(names, zip(*columns.values(), strict=True), strict=True):
        chosen = [column for column, cell in zip(columns, row, strict=True) if cell == "1"]
        if len(chosen) > 1:
            raise DataError(
                where,
                f"expected one class per image, found {', '.join(chosen)} for {name} (multi-label)",
                "keep one class per image",
            )
        labels.append("".join(chosen))
    return labels

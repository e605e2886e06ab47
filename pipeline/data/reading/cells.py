"""Tables of text: csv, tsv, jsonl and parquet, every cell as text.

No cell is converted: `001`, `NA`, `null` and `$5` stay what they are. Empty cells are empty text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipeline.runtime.errors import DataError

SEPARATORS = (",", "\t", ";", "|")
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
FALLBACK = "cp1252"  # of Windows in western Europe; decodes almost any bytes
EXTENSIONS = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})


@dataclass(frozen=True)
class Cells:
    """The columns of a table, all of one length, by name; `notes` say what was guessed."""

    columns: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_cells(
    content: bytes, name: str, separator: str | None = None, encoding: str | None = None
) -> Cells:
    """The table in `content`; `name` tells its format and is named in errors.

    None: the separator is the most frequent one in the first line, the encoding UTF-8 or else
    Windows-1252. Raises `DataError` for what is no table and for rows of another length.
    """
    if PurePosixPath(name).suffix.lower() == ".parquet":
        return _from_parquet(content, name)
    text, notes = decoded(content, name, encoding)
    if PurePosixPath(name).suffix.lower() == ".jsonl":
        return Cells(_from_jsonl(text, name), notes)
    return Cells(_from_delimited(text, name, separator), notes)


def decoded(content: bytes, name: str, encoding: str | None) -> tuple[str, tuple[str, ...]]:
    """The text of a file and a note if its encoding was a guess."""
    marks = [known for mark, known in BYTE_ORDER_MARKS.items() if content.startswith(mark)]
    guesses = [encoding] if encoding else [*marks, "utf-8", FALLBACK]
    for guess in guesses:
        try:
            text = content.decode(guess)
        except (UnicodeDecodeError, LookupError):
            continue
        notes = (f"{name} is no UTF-8, it was read as {guess}",) if guess == FALLBACK else ()
        return text.removeprefix("\ufeff"), () if encoding else notes
    raise DataError(
        name,
        f"expected text in {' or '.join(guesses)}, found other bytes",
        "set data.encoding to the encoding of the file",
    )


def _from_delimited(text: str, name: str, separator: str | None) -> dict[str, tuple[str, ...]]:
    first = text.lstrip("\r\n").partition("\n")[0]
    chosen = separator or max(SEPARATORS, key=first.count)
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=chosen, skipinitialspace=True, strict=True
        )
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (csv.Error, TypeError) as error:
        raise DataError(
            name, f"expected rows of cells, found: {error}", "correct it, or set data.separator"
        ) from None
    if not rows:
        raise DataError(name, "expected a row of column names, found an empty file", "fill it")

    header = [cell.strip() for cell in rows[0][1]]
    repeated = {column for column in header if header.count(column) > 1}
    if repeated:
        raise DataError(
            name, f"expected different column names, found {min(repeated)!r} twice", "rename one"
        )
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(
                name,
                f"expected {len(header)} cells in every row, found {len(row)} in line {line}",
                "correct that line, or set data.separator",
            )
    columns = zip(*(row for _, row in rows[1:]), strict=True) if rows[1:] else ((),) * len(header)
    return {
        column: tuple(cell.strip() for cell in cells)
        for column, cells in zip(header, columns, strict=True)
    }


def _from_jsonl(text: str, name: str) -> dict[str, tuple[str, ...]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(
                name,
                f"expected a JSON object per line, found {line[:40]!r} in line {number}",
                "correct that line",
            )
        rows.append(row)
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: tuple(_as_text(row.get(key)) for row in rows) for key in names}


def _from_parquet(content: bytes, name: str) -> Cells:
    import pyarrow  # slow to load
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            name, f"expected a parquet file, found: {error}", "fetch it again"
        ) from None
    columns = {key: table.column(key).to_pylist() for key in table.column_names}
    return Cells({key: tuple(map(_as_text, values)) for key, values in columns.items()})


def _as_text(value: Any) -> str:
    """A value of JSON or parquet as a cell; None is empty, nested values are JSON."""
    if value is None:
        return ""
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False, default=repr)
    return str(value)

"""Tables of the page: what a column shows and how; the template only writes cells.

A `Column` reads one key of a row and formats it; what is missing or NaN becomes `-`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from pipeline.evaluation.statistics import SEEDS_FOR_A_TEST
from pipeline.report import formatting
from pipeline.report.formatting import Row
from pipeline.report.verdicts import css_class

Format = Callable[[Row, str], str]  # of a row and a key
MISSING = "-"


def text(row: Row, key: str) -> str:
    """The value as it is."""
    value = row.get(key)
    return MISSING if pd.isna(value) else str(value)


def number(form: str, scale: float = 1.0) -> Format:
    """A number in the style of `%`, after multiplication by `scale`."""

    def cell(row: Row, key: str) -> str:
        value = row.get(key)
        is_known = isinstance(value, int | float) and math.isfinite(value)
        return form % (scale * value) if is_known and value is not None else MISSING

    return cell


def with_floor(form: str, scale: float = 1.0) -> Format:
    """A number, and in brackets what real images score, from the column `<key>_floor`."""
    cell = number(form, scale)
    return lambda row, key: f"{cell(row, key)} ({cell(row, f'{key}_floor')})"


def points(row: Row, key: str) -> str:
    """A difference of shares in signed percentage points."""
    return number("%+.2f", 100)(row, key)


def interval(low: str, high: str) -> Format:
    """An interval of a difference, in points; the key is not used."""
    return lambda row, key: formatting.interval(row, low, high)


def share_interval(low: str, high: str) -> Format:
    """An interval of a share, in percent; the key is not used."""
    return lambda row, key: formatting.share_interval(row, low, high)


def p_value(row: Row, key: str) -> str:
    """A p-value, where there are seeds enough for one."""
    is_tested = row["n"] >= SEEDS_FOR_A_TEST and row["arm"] != row["baseline"]
    return number("%.3f")(row, key) if is_tested else MISSING


def needed(row: Row, key: str) -> str:
    """A number of seeds that may be infinite."""
    return "no number" if row[key] == math.inf else number("%.0f")(row, key)


def counted(words: Callable[[str], str] = str, none: str = "none") -> Format:
    """A mapping from words to in how many of `n` seeds they apply."""

    def cell(row: Row, key: str) -> str:
        parts = [f"{words(word)} ({count} of {row['n']} seeds)" for word, count in row[key].items()]
        return "; ".join(parts) or none

    return cell


PERCENT = number("%.1f %%", 100)
SHARE = number("%.2f")


@dataclass(frozen=True)
class Column:
    """One column: its title, the key that it reads, how it is formatted and aligned, and a hint.

    `hint` is shown where the pointer rests on the title. A column that `is_verdict` gets the color
    of its word.
    """

    title: str
    key: str
    format: Format = text
    align: Literal["left", "right"] = "right"
    hint: str = ""
    is_verdict: bool = False

    def cell(self, row: Row) -> str:
        """The text of one cell."""
        return self.format(row, self.key)

    def css(self, row: Row) -> str:
        """The CSS classes of one cell."""
        verdict = f" {css_class(str(row[self.key]))}" if self.is_verdict else ""
        return self.align + verdict


@dataclass(frozen=True)
class Table:
    """Rows and how they are shown; an empty one is left out of the page."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.rows)


def table(title: str, columns: Sequence[Column | None], rows: pd.DataFrame) -> Table:
    """A table of a data frame's rows; columns that are None are left out."""
    records: list[dict[Any, Any]] = rows.to_dict("records")
    return Table(title, [column for column in columns if column is not None], records)


def means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over seeds by `keys`, in the order of their first rows."""
    return rows.drop(columns="seed").groupby(keys, sort=False).mean().reset_index()


def left(title: str, key: str, format: Format = text, hint: str = "") -> Column:
    """A column of words."""
    return Column(title, key, format, "left", hint)


BUDGET = Column("labels per class", "budget")

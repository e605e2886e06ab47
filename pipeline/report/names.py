"""Class names for display: in any script, of any length, with any character.

Names come from folders and tables, so they may contain anything. `readable` is for the page, the
terminal and CSV files, `FigureNames` for figures, where a font must have the glyphs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import pandas as pd
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from rich.cells import cell_len

FIGURE_WIDTH = 16  # of a name in figures, in widths of a Latin letter
ELLIPSIS = "…"
BASE_FONT = "DejaVu Sans"  # comes with matplotlib, so that figures are the same on every machine
BUNDLED = ("DejaVu Sans", "STIXGeneral")  # in this order before fonts of the system
PLACEHOLDERS = ("Last Resort", "LastResort")  # fonts with boxes instead of glyphs

# What changes the order or the place of the text around it: line and paragraph separators,
# controls, lone surrogates of undecodable file names, private and unassigned characters.
UNPRINTABLE = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
BIDI_CONTROLS = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
# Joiners, selectors of a glyph's variant and skin tones belong to the character before them.
WITHOUT_GLYPH = {0x200C, 0x200D, *range(0xFE00, 0xFE10)}
EXTENDERS = WITHOUT_GLYPH | {*range(0x1F3FB, 0x1F400)}
ZERO_WIDTH_JOINER = "\u200d"
FORMULA_STARTS = ("=", "+", "-", "@")  # a spreadsheet computes a cell that starts like this


def readable(name: object) -> str:
    """The name with unprintable characters escaped: `\\n` for a line break, or `\\u202e`."""
    return "".join(map(_readable_character, str(name)))


def _readable_character(character: str) -> str:
    is_hidden = unicodedata.category(character) in UNPRINTABLE or character in BIDI_CONTROLS
    if not is_hidden:
        return character
    code = ord(character)
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    form = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return short.get(character, form if code < 0x10000 else f"\\U{code:08x}")


def in_sentence(name: object) -> str:
    """The name for a sentence, isolated if it is right-to-left: the rest keeps its order."""
    text = readable(name)
    is_reordering = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return f"{ISOLATE}{text}{POP_ISOLATE}" if is_reordering else text


def for_csv(text: str) -> str:
    """A cell of text that no spreadsheet takes for a formula: `=`, `+`, `-`, `@` get an apostrophe.

    Line breaks and other controls are written out.
    """
    shown = readable(text)
    return f"'{shown}" if shown.startswith(FORMULA_STARTS) else shown


def from_csv(cell: str) -> str:
    """The text of a cell that `for_csv` wrote; escaped characters stay escaped."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA_STARTS) else cell


def with_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The table with `change` applied to every cell of text; numbers keep their types."""
    columns = {
        name: column.map(lambda cell: change(cell) if isinstance(cell, str) else cell).astype(
            column.dtype
        )
        for name, column in table.items()
        if isinstance(column.dtype, pd.StringDtype) or column.dtype == object
    }
    return table.assign(**{str(name): column for name, column in columns.items()})


def shortened(name: object, width: int = FIGURE_WIDTH) -> str:
    """The readable name, at most `width` columns of a terminal wide, cut in its middle.

    Letters keep their marks: a cut is never within what a reader sees as one character.
    """
    text = readable(name)
    if cell_len(text) <= width:
        return text
    parts = clusters(text)
    tail_width = (width - 1) // 3
    head = _fitting(parts, width - 1 - tail_width)
    tail = _fitting(reversed(parts), tail_width)[::-1]
    return "".join([*head, ELLIPSIS, *tail])


def _fitting(parts: Iterable[str], width: int) -> list[str]:
    """The first of `parts` that fit into `width` columns."""
    chosen: list[str] = []
    for part in parts:
        width -= cell_len(part)
        if width < 0:
            break
        chosen.append(part)
    return chosen


def clusters(text: str) -> list[str]:
    """What a reader sees as single characters: each with its marks, and joined emoji as one."""
    parts: list[str] = []
    for character in text:
        is_mark = unicodedata.category(character) in ("Mn", "Mc", "Me")
        continues = bool(parts) and (
            is_mark or ord(character) in EXTENDERS or parts[-1].endswith(ZERO_WIDTH_JOINER)
        )
        if continues:
            parts[-1] += character
        else:
            parts.append(character)
    return parts


@dataclass(frozen=True)
class FigureNames:
    """Names of classes for figures, in the order of their labels.

    `labels` are unique and short; a class whose name no font can draw has `#` and its number, and
    `numbered` says which name that is. `fonts` are the families that draw the labels; more than
    DejaVu Sans only where it lacks a glyph.
    """

    labels: tuple[str, ...]
    fonts: tuple[str, ...] = (BASE_FONT,)
    numbered: Mapping[str, str] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """The width of the longest label in widths of a Latin letter."""
        return max((cell_len(label) for label in self.labels), default=0)


def figure_names(class_names: Sequence[str], width: int = FIGURE_WIDTH) -> FigureNames:
    """The class names in figures, with the fonts installed here."""
    return _figure_names(tuple(class_names), width)


@cache
def _figure_names(class_names: tuple[str, ...], width: int) -> FigureNames:
    short = [shortened(name, width) for name in class_names]
    fonts = [BASE_FONT]
    labels: list[str] = []
    for number, label in enumerate(short):
        more = fonts_for(label, tuple(fonts))
        is_number = label.startswith("#") and label[1:].isdigit()  # of another class
        is_clear = bool(label.strip()) and short.count(label) == 1 and not is_number
        if more is None or not is_clear:
            labels.append(f"#{number}")
        else:
            labels.append(label)
            fonts += more
    numbered = {
        label: readable(name)
        for number, (label, name) in enumerate(zip(labels, class_names, strict=True))
        if label == f"#{number}"
    }
    return FigureNames(tuple(labels), tuple(fonts), numbered)


def fonts_for(text: str, families: tuple[str, ...]) -> list[str] | None:
    """Families to add to `families` so that every glyph of `text` is there; None if impossible.

    Prefers one family with all missing glyphs, the first by name. Bundled families come first, so
    that figures differ between computers only if they must.
    """
    missing = {ord(character) for character in text if _needs_glyph(character)}
    for family in families:
        missing -= glyphs(family)
    chosen: list[str] = []
    while missing:
        found = [(family, missing & glyphs(family)) for family in _families()]
        family, covered = max(found, key=lambda pair: len(pair[1]))  # of equal ones the first
        if not covered:
            return None
        chosen.append(family)
        missing -= covered
    return chosen


def _needs_glyph(character: str) -> bool:
    return not character.isspace() and ord(character) not in WITHOUT_GLYPH


@cache
def _fonts() -> dict[str, tuple[str, int]]:
    """File and index of the regular font of every family that can be used, by family."""
    files: dict[str, tuple[str, int]] = {}
    entries = font_manager.fontManager.ttflist
    for entry in sorted(entries, key=lambda entry: (entry.fname, entry.index)):
        is_regular = entry.style == "normal" and entry.weight in (400, "normal", "regular")
        if is_regular and not entry.name.startswith(PLACEHOLDERS):
            files.setdefault(entry.name, (entry.fname, entry.index))
    return files


@cache
def _families() -> list[str]:
    """All families in the order in which they are tried."""
    return sorted(_fonts(), key=lambda family: (family not in BUNDLED, family))


@cache
def glyphs(family: str) -> frozenset[int]:
    """The code points that a family has a glyph for; none where its file cannot be read."""
    if family not in _fonts():
        return frozenset()
    file, index = _fonts()[family]
    try:
        return frozenset(FT2Font(file, face_index=index).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()

"""Names of classes in any script, of any length and with any character, wherever they are shown."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.cells import cell_len

from pipeline.report import figures, names, sheets
from pipeline.report.results import write_csv
from pipeline.report.terminal import read_table

NAMES = (
    "مرحبا بالعالم",
    "ไทย",
    "猫",
    "देवनागरी",
    "😀",
    "<b>bold",
    "$5",
    "_x^2",
    "a" * 200,
    "a" * 199 + "b",
    "two\nlines",
    "\x1b[31mred",
    "\u202eevil",
    "שלום",
    "[red]markup",
    "\udc80",  # an undecodable byte of a file name
    "   ",
    "#3",
    "=1+1",
    "NA",
)


def test_what_cannot_be_read_is_written_out() -> None:
    assert names.readable("two\nlines\x1b[31m") == "two\\nlines\\x1b[31m"
    assert names.readable("\u202eevil") == "\\u202eevil"
    assert names.readable("\udc80") == "\\udc80"
    assert names.readable("مرحبا $5 <b> 😀") == "مرحبا $5 <b> 😀"


def test_a_name_from_right_to_left_is_isolated_in_a_sentence() -> None:
    assert names.in_sentence(NAMES[0]) == f"\u2068{NAMES[0]}\u2069"
    assert names.in_sentence("cat") == "cat"


@given(text=st.text(max_size=60), width=st.integers(6, 20))
def test_a_short_name_fits_and_is_printable(text: str, width: int) -> None:
    short = names.shortened(text, width)
    assert cell_len(short) <= width
    short.encode()
    assert not set(short) & {"\n", "\r", "\x1b", "\u202e"}
    assert names.shortened(short, width) == short


def test_a_letter_keeps_its_marks() -> None:
    assert names.clusters("e\u0301👩\u200d💻x") == ["e\u0301", "👩\u200d💻", "x"]
    assert names.shortened("e\u0301" * 40, 9) == "e\u0301" * 6 + "…" + "e\u0301" * 2


def test_figures_have_short_and_different_names_or_numbers() -> None:
    found = names.figure_names(NAMES)
    assert len(set(found.labels)) == len(NAMES)
    assert found.width <= names.FIGURE_WIDTH
    assert found.labels[0] == NAMES[0]  # DejaVu Sans has Arabic
    assert found.labels[NAMES.index("$5")] == "$5"
    assert found.labels[NAMES.index("#3")] == f"#{NAMES.index('#3')}"
    for label, name in found.numbered.items():
        assert name == names.readable(NAMES[int(label[1:])])


def test_a_name_without_glyphs_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_families", lambda: ["DejaVu Sans"])
    names._figure_names.cache_clear()
    found = names.figure_names(("cat", "猫"))
    names._figure_names.cache_clear()
    assert found.labels == ("cat", "#1")
    assert found.fonts == ("DejaVu Sans",)
    assert found.numbered == {"#1": "猫"}


def test_other_fonts_are_used_only_for_what_dejavu_lacks() -> None:
    assert names.fonts_for("plain", ("DejaVu Sans",)) == []
    assert names.figure_names(["cat", "dog"]).fonts == ("DejaVu Sans",)
    lacking = next(iter(sorted(names.glyphs("STIXGeneral") - names.glyphs("DejaVu Sans"))))
    assert names.fonts_for(chr(lacking), ("DejaVu Sans",)) == ["STIXGeneral"]


def drawn(figure: Figure, path: Path) -> None:
    """Save the figure; a missing glyph or formula is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.save(figure, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_every_figure_with_names_is_drawn(tmp_path: Path) -> None:
    count = len(NAMES)
    matrix = np.eye(count, dtype=np.int64)
    images = np.full((2 * count, 3, 6, 9), 250, dtype=np.uint8)
    shares = pd.DataFrame({"real": np.linspace(0, 1, count)}, index=[*map(names.readable, NAMES)])
    drawn(figures.confusion_matrices({"real": matrix}, [*NAMES]), tmp_path / "a.png")
    drawn(figures.recalls(shares), tmp_path / "b.png")
    drawn(sheets.sheets({"real": images}, 2, [*NAMES], (250, 250, 250)), tmp_path / "c.png")


def overlaps(figure: Figure) -> int:
    """How many pairs of neighboring tick labels of the first axes overlap."""
    figure.draw_without_rendering()
    axis = figure.axes[0]
    found = 0
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        found += sum(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    return found


@pytest.mark.parametrize("count", [2, 10, 47, 100])
def test_many_long_names_do_not_overlap(count: int) -> None:
    long = [f"{number} of a class with a long name {number}" for number in range(count)]
    matrix = np.eye(count, dtype=np.int64)
    assert overlaps(figures.confusion_matrices({"real": matrix}, long)) == 0
    assert overlaps(figures.recalls(pd.DataFrame({"real": [1.0] * count}, index=long))) == 0
    images = np.zeros((2 * count, 1, 8, 20), dtype=np.uint8)
    assert overlaps(sheets.sheets({"real": images}, 2, long)) == 0


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    table = pd.DataFrame({"arm": ["=1+1", "-x", "@a", "plain", "a,b"], "delta": [-1.5, 0, 1, 2, 3]})
    write_csv(tmp_path / "table.csv", table)
    lines = (tmp_path / "table.csv").read_text("utf-8").splitlines()
    assert lines[1:4] == ["'=1+1,-1.500000", "'-x,0.000000", "'@a,1.000000"]
    back = read_table(tmp_path / "table.csv")
    assert back["arm"].tolist() == table["arm"].tolist()
    assert back["delta"].tolist() == table["delta"].tolist()

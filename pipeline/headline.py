"""The headline table on the terminal, or as Markdown for a README, from the last report's files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline import wording
from pipeline.comparisons import main_rows
from pipeline.page import PAGE
from pipeline.params import Params
from pipeline.store import require

COLUMNS = (
    "classifier",
    "labels per class",
    "arm",
    "accuracy",
    "delta, points",
    "interval",
    "verdict",
)


UNLABELED = "* learned from unlabeled images as well; the baseline did not"


def read_deltas(root: Path) -> pd.DataFrame:
    """The table of deltas that the report wrote."""
    return pd.read_csv(require(root / "reports/deltas.csv", "report"))


def lines(deltas: pd.DataFrame, params: Params) -> list[tuple[str, ...]]:
    """The cells of the headline table, one tuple per classifier, budget and arm.

    Arms that saw unlabeled images come after the others, marked with an asterisk.
    """
    main = main_rows(deltas, params)
    unlabeled = main["regime"] != "labeled"
    rows = main.assign(unlabeled=unlabeled).sort_values(
        ["classifier", "budget", "unlabeled"], key=lambda column: order(column, params),
        kind="stable",
    )  # fmt: skip
    return [
        (
            str(row["classifier"]),
            str(row["budget"]),
            str(row["arm"]) + ("*" if row["unlabeled"] else ""),
            wording.percent(row["mean_arm"]),
            wording.points(row["delta"]),
            wording.interval(row),
            str(row["verdict"]),
        )
        for _, row in rows.iterrows()
    ]


def order(column: pd.Series, params: Params) -> pd.Series:
    """Classifiers in the order of params.yaml, numbers by size."""
    return column.map(list(params.classifiers).index) if column.name == "classifier" else column


def markdown(deltas: pd.DataFrame, params: Params) -> str:
    """The headline table in Markdown."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *lines(deltas, params)]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return text + (f"\n\n{UNLABELED}" if any(row[2].endswith("*") for row in rows) else "")


def show(root: Path, params: Params) -> None:
    """Print the table, what it says about the rival, and where the page is."""
    deltas = read_deltas(root)
    console = Console()
    seeds = len(params.study.seeds)
    table = Table(
        title=f"Test accuracy, {seeds} seeds, {100 * params.report.confidence:g} % intervals"
    )
    for name in COLUMNS:
        side: Literal["left", "right"] = (
            "left" if name in ("classifier", "arm", "verdict") else "right"
        )
        table.add_column(name, justify=side, no_wrap=True)
    cells = lines(deltas, params)
    for row, following in zip(cells, [*cells[1:], cells[0]], strict=True):
        table.add_row(*row, end_section=row[:2] != following[:2])
    # Outside a terminal the library would cut the table to 80 columns.
    console.width = max(console.width, 120)
    console.print(table)
    if any(row[2].endswith("*") for row in cells):
        print(f"{UNLABELED}\n")
    accuracy = deltas[deltas["metric"] == "accuracy"]
    for _, row in accuracy[accuracy["baseline"] != params.report.baseline].iterrows():
        print(wording.sentence(row, params.report.confidence))
    for _, row in pd.read_csv(require(root / "reports/worth.csv", "report")).iterrows():
        print(wording.worth_sentence(row))
    made = (root / PAGE).exists()
    print(f"\nreport: {root / PAGE if made else 'none yet, `make run` makes it'}")

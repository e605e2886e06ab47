"""The recommendation and the headline table, on the terminal or as Markdown for a README.

From the files of the last report. With two or more generators their ranking follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.config.schema import Params
from pipeline.report import class_words, formatting, resolution, verdicts
from pipeline.report.captions import PER_SEED, UNLABELED_NOTE, UNTUNED
from pipeline.report.comparisons import table_rows
from pipeline.report.html import PAGE
from pipeline.report.names import from_csv, with_text
from pipeline.report.ranking import learners, with_places
from pipeline.report.recommendation import Recommendation, Tables, recommend
from pipeline.runtime.files import read_json, require

COLUMNS = (
    "classifier",
    "labels per class",
    "arm",
    "{metric}",
    "delta, points",
    "interval",
    "verdict",
)
RANKING_COLUMNS = ("rank", "generator", "labels", "CAS", "interval", "label fidelity")
# Columns of the report's tables that hold names or words.
TEXT = (
    "dataset",
    "classifier",
    "arm",
    "baseline",
    "metric",
    "regime",
    "baseline_regime",
    "verdict",
    "failed_controls",
    "generator",
    "stage",
    "item",
    "class_name",
    "teacher",
    "flags",
    "choice",
)
TEXT_COLUMNS = ("classifier", "arm", "verdict", "generator")
TABLES_OF_LIMITS = ("deltas", "diagnostics")
WIDTH = 130  # characters; outside a terminal the library would cut tables to 80
RANKING_WIDTH = 200


def read_table(path: Path) -> pd.DataFrame:
    """A table that the report wrote; names and words are text, whatever they look like.

    Only an empty cell is missing: an arm may be called `nan` or `null`.
    """
    types = dict.fromkeys(TEXT, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    return with_text(table, from_csv)


def read_deltas(root: Path) -> pd.DataFrame:
    """The table of deltas that the report wrote."""
    return read_table(require(root / "reports/deltas.csv", "report"))


def read_timings(root: Path) -> pd.DataFrame:
    """The seconds that the report wrote; empty where there are none."""
    path = root / "reports/timings.csv"
    columns = ["stage", "item", "budget", "seconds"]
    return read_table(path) if path.exists() else pd.DataFrame(columns=columns)


def read_optional(root: Path, name: str) -> pd.DataFrame:
    """The table `reports/<name>.csv`; empty where a report of an earlier version has none."""
    path = root / f"reports/{name}.csv"
    return read_table(path) if path.exists() else pd.DataFrame()


def recommendations(root: Path, params: Params) -> list[Recommendation]:
    """What to do, from the last report's files: the same sentences as on its page."""
    deltas, diagnostics, equivalents, trials = (
        read_table(require(root / f"reports/{name}.csv", "report"))
        for name in ("deltas", "diagnostics", "worth", "trials")
    )
    more = [read_optional(root, name) for name in ("classes", "teachers", "teachers_classes")]
    tables = Tables(deltas, diagnostics, equivalents, trials, read_timings(root), *more)
    return recommend(tables, params)


def limits(root: Path, params: Params) -> str:
    """What the study cannot detect, and the note on test sets per seed; empty if neither."""
    path = root / "data/splits/manifest.json"
    if not path.exists():  # results of others, without the images
        return ""
    deltas, diagnostics = (read_table(root / f"reports/{name}.csv") for name in TABLES_OF_LIMITS)
    sentences = resolution.sentences(deltas, diagnostics, read_json(path), params)
    return " ".join([*sentences, *([PER_SEED] if params.data.per_seed else [])])


def lines(deltas: pd.DataFrame, params: Params) -> list[tuple[str, ...]]:
    """The cells of the headline table, one tuple per classifier, budget and comparison.

    First arms against the baseline, those that saw unlabeled images after the others and marked
    with an asterisk; then `arm over reference`, against the reference of their own regime.
    """
    return [
        (
            str(row["classifier"]),
            str(row["budget"]),
            str(row["name"]),
            formatting.percent(row["mean_arm"]),
            formatting.points(row["delta"]),
            formatting.interval(row),
            str(row["verdict"]),
        )
        for _, row in table_rows(deltas, params).iterrows()
    ]


def columns(params: Params) -> tuple[str, ...]:
    """The titles of the headline table."""
    metric = formatting.metric_name(params.report.metric)
    return tuple(title.format(metric=metric) for title in COLUMNS)


def markdown(deltas: pd.DataFrame, params: Params) -> str:
    """The headline table in Markdown."""
    rows = lines(deltas, params)
    text = markdown_table(columns(params), rows)
    return text + (f"\n\n{UNLABELED_NOTE}" if any(row[2].endswith("*") for row in rows) else "")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as a table in Markdown."""
    every = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)


def report_markdown(root: Path, params: Params) -> str:
    """The recommendation, the headline table and, with several generators, their ranking."""
    parts = ["\n".join(f"* {found}" for found in recommendations(root, params))]
    parts.append(markdown(read_deltas(root), params))
    if len(params.generators) > 1:
        parts.append(markdown_table(ranking_columns(params), ranking_lines(root, params)))
        parts.append(UNTUNED)
    return "\n\n".join(parts)


def ranking_columns(params: Params) -> tuple[str, ...]:
    """The titles of the ranking; deltas are against the declared baseline, in points."""
    deltas = [
        name for classifier in learners(params) for name in (f"delta {classifier}", "interval")
    ]
    return (*RANKING_COLUMNS, *deltas, "failed", "seconds")


def ranking_lines(root: Path, params: Params) -> list[tuple[str, ...]]:
    """The cells of the ranking, one tuple per generator and budget; `-` is what is not known.

    Seconds are of training one generator, where they were measured on this machine.
    """
    ranking = read_table(require(root / "reports/ranking.csv", "report"))
    seconds = read_timings(root)
    return [
        (
            _number(row["cas_place"], "{:.0f}"),
            str(row["generator"]) + ("*" if row["regime"] != "labeled" else ""),
            str(row["budget"]),
            _number(100 * row["cas"], "{:.1f} %"),
            formatting.share_interval(row, "cas_low", "cas_high"),
            _number(100 * row["label_fidelity"], "{:.1f} %"),
            *(
                cell
                for classifier in learners(params)
                for cell in (
                    _number(100 * row[f"delta_{classifier}"], "{:+.2f}"),
                    formatting.interval(row, f"ci_low_{classifier}", f"ci_high_{classifier}"),
                )
            ),
            f"{row['num_failed']} of {row['n']}",
            _number(row["seconds"], "{:.1f}"),
        )
        for _, row in with_places(ranking, seconds, params).iterrows()
    ]


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else form.format(value)


def show(root: Path, params: Params) -> None:
    """Print what to do, the table, the ranking, comparisons with references, the page's path."""
    deltas = read_deltas(root)
    for recommendation in recommendations(root, params):
        print(f"{recommendation}\n")
    if found := limits(root, params):
        print(f"{found}\n")
    console = Console()
    about = f"{len(params.study.seeds)} seeds, {100 * params.report.confidence_level:g} % intervals"
    metric = formatting.metric_name(params.report.metric)
    table = empty_table(f"Test {metric}, {about}", columns(params))
    cells = lines(deltas, params)
    for row, following in zip(cells, [*cells[1:], cells[0]], strict=True):
        table.add_row(*map(Text, row), end_section=row[:2] != following[:2])
    console.width = max(console.width, WIDTH)
    console.print(table)
    if any(row[2].endswith("*") for row in cells):
        print(f"{UNLABELED_NOTE}\n")
    if len(params.generators) > 1:
        show_ranking(root, params, about)
    declared = deltas[deltas["metric"] == params.report.metric]
    references = declared[declared["baseline"] != params.report.baseline]
    for _, row in references[references["verdict"] != "measure"].iterrows():
        print(verdicts.sentence(row, params.report.confidence_level))
    for _, row in read_table(require(root / "reports/worth.csv", "report")).iterrows():
        print(verdicts.label_equivalent_sentence(row))
    if line := class_words.summary(read_optional(root, "classes"), params):
        print(line)
    has_page = (root / PAGE).exists()
    print(f"\nreport: {root / PAGE if has_page else 'none yet, `make run` makes it'}")


def show_ranking(root: Path, params: Params, about: str) -> None:
    """Print the generators, the best CAS first."""
    table = empty_table(f"Generators by CAS, {about}", ranking_columns(params))
    for row in ranking_lines(root, params):
        table.add_row(*map(Text, row))
    console = Console()
    console.width = max(console.width, RANKING_WIDTH)
    console.print(table)
    print(f"{UNTUNED}\n")


def empty_table(title: str, columns: Iterable[str]) -> Table:
    """A table without rows: words are aligned left, numbers right."""
    table = Table(title=title)
    for name in columns:
        side: Literal["left", "right"] = "left" if name in TEXT_COLUMNS else "right"
        table.add_column(name, justify=side, no_wrap=True)
    return table

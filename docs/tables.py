"""Tables in README.md and docs/ that repeat committed results; `python -m docs.tables` writes them.

Each stands between `<!-- name -->` and `<!-- /name -->`. A number in a sentence is marked with what
it is: `<!-- delta cnn dcgan real gain -->` names classifier, arm, baseline and the verdict that the
sentence states, `<!-- cell ranking | dcgan | CAS -->` table, row and column. After a new run of the
shipped study this command rewrites all of them and names the verdicts that changed, so that their
sentences can be rewritten by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.report import terminal

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)
CELL = re.compile(r"<!-- cell (\w+) \| ([^|]+?) \| ([^|]+?) -->(.*?)<!-- /cell -->", re.DOTALL)
DELTA = re.compile(r"<!-- delta (\w+) (\w+) (\w+) ([a-z ]+?) -->(.*?)<!-- /delta -->", re.DOTALL)
# The rows of the table in README.md; docs/results.md has all.
HEADLINE_ARMS = ("real", "tuned", "dcgan", "dcgan_tuned")
GENERATOR_COLUMNS = (
    "recipe",
    "seconds",
    "n",
    "CAS %",
    "CAS as drawn %",
    "label fidelity of these %",
    "label fidelity as drawn %",
    "coverage",
    "images/s",
    "peak MB",
)
RANKING_COLUMNS = (
    "place",
    "generator",
    "CAS",
    "interval",
    "label fidelity",
    "delta cnn",
    "delta lgbm",
    "failed",
    "seconds",
)


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def committed_tables(deltas: pd.DataFrame, params: Params) -> dict[str, str]:
    """The tables by name, as the committed files have them."""
    full = terminal.markdown(deltas, params)
    head, rule, *rows = full.splitlines()
    headline = [row for row in rows if cells(row)[2] in HEADLINE_ARMS]

    benchmarks = ROOT / "benchmarks"
    calibration = (benchmarks / "calibration.md").read_text("utf-8")
    generator = (benchmarks / "generator.md").read_text("utf-8")
    ranking = (benchmarks / "ranking.md").read_text("utf-8")
    semi = (benchmarks / "semi.md").read_text("utf-8")
    return {
        "headline": "\n".join([head, rule, *headline]),
        "table": full,
        "calibration": calibration.strip().split("\n\n")[-1],
        "generator": columns(first_table(generator, "| recipe |"), GENERATOR_COLUMNS),
        "ranking": columns(first_table(ranking, "| place |"), RANKING_COLUMNS),
        "semi": semi.strip().split("\n\n", 2)[2],
    }


def cells(row: str) -> list[str]:
    """The cells of one row of a Markdown table."""
    return [cell.strip() for cell in row.strip("|").split("|")]


def first_table(text: str, start: str) -> list[str]:
    """The rows of the first table of `text` that begins with `start`."""
    return text[text.index(start) :].partition("\n\n")[0].strip().splitlines()


def columns(rows: list[str], names: tuple[str, ...]) -> str:
    """The table `rows` with the columns `names` alone."""
    places = [cells(rows[0]).index(name) for name in names]
    picked = [[cells(row)[place] for place in places] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in picked)


def delta_text(
    deltas: pd.DataFrame, classifier: str, arm: str, baseline: str, metric: str = "accuracy"
) -> tuple[str, str]:
    """`+3.33 [+2.77, +3.89]` in points of `metric`, and the verdict."""
    rows = deltas[
        (deltas["metric"] == metric)
        & (deltas["classifier"] == classifier)
        & (deltas["arm"] == arm)
        & (deltas["baseline"] == baseline)
    ]
    row = rows.iloc[0]
    mean, low, high = (f"{100 * row[key]:+.2f}" for key in ("delta", "ci_low", "ci_high"))
    return f"{mean} [{low}, {high}]", str(row["verdict"])


def cell(table: str, row: str, column: str) -> str:
    """The cell of a Markdown table in the first row that has `row` as one of its cells."""
    rows = [cells(line) for line in table.splitlines() if line.startswith("|")]
    first = next(place for place in rows if row in place)
    return first[rows[0].index(column)]


def other_verdicts(text: str, deltas: pd.DataFrame, metric: str = "accuracy") -> Iterator[str]:
    """Sentences of `text` whose stated verdict is not that of `deltas`."""
    for classifier, arm, baseline, stated, _ in DELTA.findall(text):
        verdict = delta_text(deltas, classifier, arm, baseline, metric)[1]
        if verdict != stated:
            yield f"{classifier}, {arm} over {baseline}: written {stated}, now {verdict}"


def updated(text: str, deltas: pd.DataFrame, params: Params) -> str:
    """`text` with every table and every marked number as `deltas` and the committed files say."""
    tables = committed_tables(deltas, params)
    text = BLOCK.sub(
        lambda match: f"<!-- {match[1]} -->\n{tables[match[1]]}\n<!-- /{match[1]} -->", text
    )

    def rewrite_cell(match: re.Match[str]) -> str:
        name, row, column, _ = match.groups()
        number = cell(tables[name], row, column)
        return f"<!-- cell {name} | {row} | {column} -->{number}<!-- /cell -->"

    def rewrite_delta(match: re.Match[str]) -> str:
        classifier, arm, baseline, verdict, _ = match.groups()
        number, _ = delta_text(deltas, classifier, arm, baseline, params.report.metric)
        marker = f"<!-- delta {classifier} {arm} {baseline} {verdict} -->"
        return f"{marker}{number}<!-- /delta -->"

    return DELTA.sub(rewrite_delta, CELL.sub(rewrite_cell, text))


def main() -> None:
    """Rewrite all pages from reports/deltas.csv and params.yaml as they are now."""
    deltas = terminal.read_deltas(ROOT)
    params = validate(Params, parse_yaml((ROOT / FILE).read_text("utf-8"), FILE), FILE)
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(updated(text, deltas, params), "utf-8")
        for problem in other_verdicts(text, deltas, params.report.metric):
            print(f"{page.relative_to(ROOT)}: {problem}. Fix: rewrite the sentence.")


if __name__ == "__main__":
    main()

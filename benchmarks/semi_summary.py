"""Mean test errors over the replicates that `benchmarks.semi` left, as Markdown.

`python -m benchmarks.semi_summary FOLDER` reads every `result.json` below FOLDER. Intervals are
Student's t over draws, 95 %. Fewer than ten draws are exploratory. Draws whose trial came to
nothing are counted beside the mean of the others.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.generator import folder
from pipeline.errors import DataError, exit_on_error
from pipeline.stats import t_interval
from pipeline.store import read_json

# A generator's arm, and the arm of the labels that it learned from, changed alike.
RIVALS = {"ss_dcgan": "pseudo_label", "ss_dcgan_classical": "pseudo_label_classical"}
CONFIDENCE = 0.95


def read_errors(root: Path) -> pd.DataFrame:
    """One row per draw, arm and classifier: labels, seed, arm, classifier, error in percent.

    The error is NaN where a trial came to nothing. Replicates with a foreign digit are left out.
    """
    rows = [
        {"labels": found["labels"], "seed": found["seed"], "arm": arm, "classifier": classifier,
         "error": math.nan if error is None else 100 * error}
        for found in map(read_json, sorted(root.rglob("result.json")))
        if found.get("foreign") is None
        for arm, errors in found["test_error"].items()
        for classifier, error in errors.items()
    ]  # fmt: skip
    if not rows:
        raise DataError(str(root), "expected result.json of benchmarks.semi below it, found none",
                        "run `python -m benchmarks.semi` with --out below that folder")  # fmt: skip
    table = pd.DataFrame(rows)
    twice = table[table.duplicated(["labels", "seed", "arm", "classifier"])]
    if len(twice):
        raise DataError(str(root), "expected one result of every draw, found several of "
                        f"{twice.iloc[0][['labels', 'seed', 'arm']].tolist()}",
                        "take out all but one")  # fmt: skip
    return table.sort_values("labels", kind="stable")


def cell(values: Sequence[float]) -> str:
    """Mean and interval of numbers in percent, how many they are, and how many came to nothing."""
    numbers = np.array(values)
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        return f"none of {len(numbers)}"
    found = t_interval(known, CONFIDENCE)
    ends = f" [{found.low:.2f}, {found.high:.2f}]" if len(known) > 1 else ""
    failed = f", {len(numbers) - len(known)} failed" if len(known) < len(numbers) else ""
    return f"{found.mean:.2f}{ends}, n = {len(known)}{failed}"


def summary(errors: pd.DataFrame) -> str:
    """Two Markdown tables: errors of every arm, and what generators add to their labels."""
    classifiers = list(errors["classifier"].unique())
    head = [["labels", "arm", *(f"{each}: test error, %" for each in classifiers)]]
    lines = [*head, ["---"] * len(head[0])]
    for (labels, arm), rows in errors.groupby(["labels", "arm"], sort=False):
        found = [rows.loc[rows["classifier"] == each, "error"].tolist() for each in classifiers]
        lines.append([str(labels), f"`{arm}`", *(cell(each) if each else "" for each in found)])
    wide = errors.pivot(index=["labels", "classifier", "seed"], columns="arm", values="error")
    second = [["labels", "classifier", "generator's images", "error less, points"], ["---"] * 4]
    for arm, rival in RIVALS.items():
        if {arm, rival} <= set(wide.columns):
            gains = (wide[rival] - wide[arm]).dropna()
            for (labels, classifier), values in gains.groupby(level=[0, 1], sort=False):
                words = f"`{arm}` against `{rival}`"
                second.append([str(labels), classifier, words, cell(values.tolist())])
    return "\n\n".join(markdown(table) for table in (lines, second) if len(table) > 2)


def markdown(rows: list[list[str]]) -> str:
    """Rows of cells as a table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0, or it leaves with an error told in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semi_summary", description=__doc__)
    parser.add_argument("folder", type=folder, help="with the OUT folders of benchmarks.semi")
    with exit_on_error():
        print(summary(read_errors(parser.parse_args(arguments).folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

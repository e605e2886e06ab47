"""Mean test errors over the replicates that `benchmarks.semi` left, as Markdown.

`python -m benchmarks.semi_summary FOLDER` reads every `result.json` below FOLDER. Intervals are
Student's t over draws, 95 %. Fewer than ten draws are exploratory. Draws whose trial came to
nothing are counted beside the mean of the others.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.generator import folder
from benchmarks.semi import preset
from benchmarks.wording import Row, markdown, told
from pipeline.errors import DataError, exit_on_error
from pipeline.params import Params
from pipeline.store import read_json


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
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return f"none of {len(values)}" if len(values) else ""
    failed = f", {len(values) - len(known)} failed" if len(known) < len(values) else ""
    return f"{told(known)}, n = {len(known)}{failed}"


def summary(errors: pd.DataFrame, params: Params) -> str:
    """Two Markdown tables: errors of every arm, and what generators add to their labels."""
    classifiers = errors["classifier"].unique()
    arms: list[Row] = [
        {"labels": str(labels), "arm": f"`{arm}`",
         **{f"{each}: test error, %": cell(rows.loc[rows["classifier"] == each, "error"].tolist())
            for each in classifiers}}
        for (labels, arm), rows in errors.groupby(["labels", "arm"], sort=False)
    ]  # fmt: skip
    wide = errors.pivot(index=["labels", "classifier", "seed"], columns="arm", values="error")
    added: list[Row] = []
    for arm, rival in ((name, params.rival(name)) for name in params.arms):
        if {arm, rival} <= set(wide.columns):
            gains = (wide[rival] - wide[arm]).dropna()
            for (labels, classifier), values in gains.groupby(level=[0, 1], sort=False):
                added.append({
                    "labels": str(labels), "classifier": classifier,
                    "generator's images": f"`{arm}` against `{rival}`",
                    "error less, points": cell(values.tolist()),
                })  # fmt: skip
    return "\n\n".join(markdown(table) for table in (arms, added) if table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0, or it leaves with an error told in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semi_summary", description=__doc__)
    parser.add_argument("folder", type=folder, help="with the OUT folders of benchmarks.semi")
    with exit_on_error():
        errors = read_errors(parser.parse_args(arguments).folder)
        with tempfile.TemporaryDirectory() as name:
            print(summary(errors, preset(Path(name))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

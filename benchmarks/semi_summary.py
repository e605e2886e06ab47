"""Means over the replicates of `benchmarks.semi`, as Markdown.

`python -m benchmarks.semi_summary FOLDER` reads every `result.json` below FOLDER: test errors, what
generators add to the labels they learned from, how well teachers detect an unknown digit, minutes.
Intervals are Student's t, 95 %, over labeled subsets; for unknown digits, over digits and subsets.
Failed trials are counted next to the mean of the others.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.command_line import folder
from benchmarks.semi import preset
from benchmarks.wording import Row, markdown, mean_text
from pipeline.config.schema import Params
from pipeline.evaluation.statistics import SEEDS_FOR_A_CLAIM
from pipeline.runtime.errors import DataError, exit_on_error
from pipeline.runtime.files import read_json

Result = dict[str, Any]
# Measures of an audit about images of unknown classes, and their column titles.
FOREIGN = {
    "strangeness_auroc": "AUROC of its strangeness",
    "foreign_frac": "foreign among all, %",
    "foreign_labeled_frac": "among the labeled, %",
    "foreign_sure_frac": "among the sure, %",
}


def replicates(root: Path) -> list[Result]:
    """The results of `benchmarks.semi` below `root`; other files of that name are ignored.

    Raises `DataError` if there is none, or if settings, precision or the recipe of an arm differ.
    """
    every = [read_json(path) for path in sorted(root.rglob("result.json"))]
    finished = [record for record in every if "test_error" in record]
    if not finished:
        raise DataError(
            str(root),
            "expected result.json of benchmarks.semi below it, found none",
            "run `python -m benchmarks.semi` with --out below that folder",
        )
    parts = {part: [record.get(part) for record in finished] for part in ("settings", "precision")}
    recipes = [record.get("recipes", {}) for record in finished]  # older results have none
    for arm in {arm for record in recipes for arm in record}:
        parts[f"arms.{arm}"] = [record[arm] for record in recipes if arm in record]
    for part, values in parts.items():
        several = sorted({str(value) for value in values})
        if len(several) > 1:
            raise DataError(
                str(root),
                f"expected replicates of the same {part}, found {' and '.join(several)}",
                "put each into its own folder",
            )
    return finished


def read_errors(records: Sequence[Result], root: Path) -> pd.DataFrame:
    """One row per labeled subset, arm and classifier, with the error in percent.

    The error of a failed trial is NaN. Replicates with an unknown digit are left out.
    """
    rows = [
        {
            "labels": record["labels"],
            "seed": record["seed"],
            "arm": arm,
            "classifier": classifier,
            "error": math.nan if error is None else 100 * error,
        }
        for record in records
        if record.get("foreign") is None
        for arm, errors in record["test_error"].items()
        for classifier, error in errors.items()
    ]
    table = pd.DataFrame(rows, columns=["labels", "seed", "arm", "classifier", "error"])
    refuse_twice(table, ["labels", "seed", "arm", "classifier"], root)
    return table.sort_values("labels", kind="stable")


def refuse_twice(table: pd.DataFrame, place: list[str], root: Path) -> None:
    """Raise `DataError` if two rows are of the same labeled subset."""
    twice = table[table.duplicated(place)]
    if len(twice):
        first = twice.iloc[0][place].tolist()
        raise DataError(
            str(root),
            f"expected one result per labeled subset, found several of {first}",
            "remove all but one",
        )


def cell(values: Sequence[float]) -> str:
    """Mean and interval of numbers, how many there are, and how many trials failed."""
    finite = [value for value in values if not math.isnan(value)]
    if not finite:
        return f"none of {len(values)}" if len(values) else ""
    failed = f", {len(values) - len(finite)} failed" if len(finite) < len(values) else ""
    return f"{mean_text(finite)}, n = {len(finite)}{failed}"


def arms(errors: pd.DataFrame) -> list[Row]:
    """The error of every arm."""
    classifiers = errors["classifier"].unique()
    return [
        {
            "labels": str(labels),
            "arm": f"`{arm}`",
            **{
                f"{each}: test error, %": cell(
                    rows.loc[rows["classifier"] == each, "error"].tolist()
                )
                for each in classifiers
            },
        }
        for (labels, arm), rows in errors.groupby(["labels", "arm"], sort=False)
    ]


def added(errors: pd.DataFrame, params: Params) -> list[Row]:
    """What generators add to the labels that they learned from, paired by labeled subset."""
    place = ["labels", "classifier", "seed"]
    by_arm = {arm: rows.set_index(place)["error"] for arm, rows in errors.groupby("arm")}
    table: list[Row] = []
    for arm, reference in ((name, params.reference(name)) for name in params.arms):
        if arm in by_arm and reference in by_arm:
            both = by_arm[arm].index.intersection(by_arm[reference].index)
            gains = by_arm[reference][both] - by_arm[arm][both]  # NaN if one failed
            for (labels, classifier), values in gains.groupby(level=[0, 1], sort=False):
                table.append(
                    {
                        "labels": str(labels),
                        "classifier": classifier,
                        "generator's images": f"`{arm}` against `{reference}`",
                        "error less, points": cell(values.tolist()),
                    }
                )
    return table


def strange(records: Sequence[Result], root: Path) -> list[Row]:
    """How well teachers detect an unknown digit."""
    rows = [
        {
            "labels": record["labels"],
            "teacher": teacher,
            "digit": record["foreign"],
            "seed": record["seed"],
            **{key: audit.get(key) for key in FOREIGN},
        }
        for record in records
        if record.get("foreign") is not None
        for teacher, audit in record["audits"].items()
        if "strangeness_auroc" in audit
    ]
    place = ["labels", "teacher", "digit", "seed"]
    table = pd.DataFrame(rows, columns=[*place, *FOREIGN])
    refuse_twice(table, place, root)
    table[list(FOREIGN)] = table[list(FOREIGN)].astype(float)  # NaN if there is none
    table[[key for key in FOREIGN if key.endswith("_frac")]] *= 100
    return [
        {
            "labels": str(labels),
            "teacher": f"`{teacher}`",
            "foreign digits": ", ".join(map(str, sorted(values["digit"]))),
            **{title: cell(values[key].tolist()) for key, title in FOREIGN.items()},
        }
        for (labels, teacher), values in table.groupby(["labels", "teacher"])
    ]


def minutes(records: Sequence[Result]) -> list[Row]:
    """Minutes of replicates by labels, arms and threads."""
    rows = [
        {
            "labels": record["labels"],
            "threads": record["threads"],
            "arms": len(record["test_error"]),
            "minutes": record["wall_s"] / 60,
        }
        for record in records
        if "wall_s" in record
    ]
    table = pd.DataFrame(rows, columns=["labels", "threads", "arms", "minutes"])
    return [
        {
            "labels": str(labels),
            "arms": str(number),
            "threads": str(threads),
            "minutes of a replicate": cell(values.tolist()),
        }
        for (labels, number, threads), values in table.groupby(["labels", "arms", "threads"])[
            "minutes"
        ]
    ]


def summary(root: Path, params: Params) -> str:
    """All tables about the replicates below `root`."""
    records = replicates(root)
    errors = read_errors(records, root)
    tables = (arms(errors), added(errors, params), strange(records, root), minutes(records))
    parts = [markdown(table) for table in tables if table]
    commits = sorted({record["commit"] for record in records if "commit" in record})
    parts.append(
        f"Fewer than {SEEDS_FOR_A_CLAIM} labeled subsets are exploratory."
        + (f" Commits: {', '.join(commits)}." if commits else "")
    )
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or exits with an error in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semi_summary", description=__doc__)
    parser.add_argument("folder", type=folder, help="contains the OUT folders of benchmarks.semi")
    with exit_on_error():
        root = parser.parse_args(arguments).folder
        with tempfile.TemporaryDirectory() as name:
            print(summary(root, preset(Path(name))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The tables of teachers, from their evaluations: all labels, and the labels of every class.

Reads exactly the replicates that params.yaml asks for; a failed one has no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report.tables import as_table, by_replicate, with_aliases
from pipeline.runtime.files import read_json

# What the evaluation of a teacher writes, by replicate; `flags` is a text.
TEACHER_COLUMNS = [
    "teacher",
    "budget",
    "seed",
    "num_unlabeled",
    "label_accuracy",
    "sure_frac",
    "sure_accuracy",
    "foreign_frac",
    "foreign_labeled_frac",
    "foreign_sure_frac",
    "strangeness_auroc",
    "remoteness",
    "num_confident",
    "confident_low",
    "confident_high",
    "num_held_out",
    "held_out_accuracy",
]
CLASS_COLUMNS = [
    "teacher",
    "budget",
    "seed",
    "label",
    "class_name",
    "num_images",
    "true_share",
    "pool_share",
    "labeled_frac",
    "num_pseudo",
    "num_confident",
    "precision",
    "recall",
    "confident_precision",
]


def evaluations(params: Params, root: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The names of every teacher and replicate that did not fail, and its evaluation."""
    for names, path in by_replicate(
        params.teachers, "data/audit", ".json", "teacher", params, root
    ):
        if path is not None:
            yield names, read_json(path)


def teachers_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per teacher and replicate: how accurate its labels are, `flags` joined by `; `.

    A flag is a reason why the labels must not be trusted. `choice`: what the teacher chose by
    held-out labels of its subset, empty for one that chooses nothing.
    """
    found = list(evaluations(params, root))
    table = with_aliases(pd.DataFrame([{**names, **report} for names, report in found]))
    rows = as_table(table.to_dict("records"), TEACHER_COLUMNS, ["teacher"])
    return rows.assign(
        flags=["; ".join(report.get("flags", ())) for _, report in found],
        choice=[report.get("choice", "") for _, report in found],
    )


def teachers_classes_table(params: Params, root: Path, class_names: Sequence[str]) -> pd.DataFrame:
    """One row per teacher, replicate and class: its pseudo-labels, and how many are right."""
    rows = [
        {**names, **row, "class_name": class_names[row["label"]]}
        for names, report in evaluations(params, root)
        for row in report.get("classes", ())
    ]
    return as_table(rows, CLASS_COLUMNS, ["teacher", "class_name"])

"""The tables of the page about teachers: how accurate their labels are, in all and by class.

Pure functions over `ReportTables`; means are over seeds.
"""

from __future__ import annotations

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import formatting
from pipeline.report.columns import (
    BUDGET,
    MISSING,
    PERCENT,
    SHARE,
    Column,
    Table,
    counted,
    left,
    number,
    table,
)
from pipeline.report.formatting import Row
from pipeline.report.names import readable
from pipeline.report.results import ReportTables
from pipeline.report.teacher_words import labeling_teachers, trust


def teachers(results: ReportTables, params: Params) -> Table:
    """How accurate the pseudo-labels are; with the columns of unknown classes if there are such."""
    rows = teacher_means(results)
    rows = rows.assign(is_learned=rows["teacher"].isin(labeling_teachers(params)))
    columns = [
        left("teacher", "teacher"),
        BUDGET,
        Column("unlabeled images", "num_unlabeled", number("%.0f")),
        Column("label accuracy", "label_accuracy", number("%.2f %%", 100)),
        Column("confident", "confident_frac", PERCENT),
        Column("accuracy of confident", "confident_accuracy", number("%.2f %%", 100)),
        Column("interval of one seed, %", "confident_low", _ends),
        left("trusted", "num_flagged", lambda row, key: trust(row)),
        Column("distance rank", "distance_rank", SHARE),
    ]
    if rows["held_out_accuracy"].notna().any():
        columns.append(Column("accuracy of held-out labels", "held_out_accuracy", PERCENT))
    if any(rows["choice"]):
        columns.append(left("chosen", "choice", counted(none=MISSING)))
    if (rows["unknown_frac"] > 0).any():
        columns += [
            Column("unknown classes", "unknown_frac", PERCENT),
            Column("unknown among labeled", "unknown_labeled_frac", PERCENT),
            Column("unknown among confident", "unknown_confident_frac", number("%.2f %%", 100)),
            Column("OOD AUROC", "ood_auroc", number("%.3f")),
        ]
    return table("Pseudo-label accuracy", columns, rows)


def _ends(row: Row, key: str) -> str:
    """The interval of the accuracy of confident labels."""
    if pd.isna(row["confident_low"]):
        return MISSING
    return formatting.share_interval(row, "confident_low", "confident_high")


def teacher_means(results: ReportTables) -> pd.DataFrame:
    """The teachers' table, averaged over seeds, with `n` of them and `num_flagged` not trusted."""
    rows = results.teachers
    rows = rows.assign(n=1, num_flagged=(rows["flags"].fillna("") != "").astype(int))
    keys = ["teacher", "budget"]
    groups = rows.drop(columns=["seed", "flags", "choice"]).groupby(keys, sort=False)
    table = groups.mean().assign(**groups[["n", "num_flagged"]].sum()).reset_index()
    choices = [
        group["choice"][group["choice"].fillna("") != ""].value_counts().to_dict()
        for _, group in rows.groupby(keys, sort=False)
    ]
    return table.assign(choice=choices)


def teacher_classes(results: ReportTables) -> Table:
    """The pseudo-labels of every class, and how many of them are right."""
    columns = [
        left("teacher", "teacher"),
        BUDGET,
        left("class", "class_name", lambda row, key: readable(row[key])),
        Column("unlabeled images", "num_images", number("%.0f"), hint="by their true labels"),
        Column("pseudo-labels", "num_pseudo", number("%.0f")),
        Column("confident", "num_confident", number("%.0f")),
        Column("precision", "precision", PERCENT),
        Column("precision of confident", "confident_precision", PERCENT),
        Column("recall", "recall", PERCENT),
        Column("labeled", "labeled_frac", PERCENT, hint="of the images of the class"),
    ]
    if results.teachers_classes["pool_share"].notna().any():
        columns += [
            Column("share of the pool", "true_share", PERCENT),
            Column("share, estimated", "pool_share", PERCENT),
        ]
    keys = ["teacher", "budget", "label", "class_name"]
    rows = results.teachers_classes.drop(columns="seed")
    rows = rows.groupby(keys, sort=False).mean().reset_index()
    return table("Pseudo-labels by class", columns, rows)

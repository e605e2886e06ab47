"""All tables of the report, computed once and written as CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import classes, comparisons, families, ranking, tables, teachers
from pipeline.report.choices import choice_sentences
from pipeline.report.diagnostics import diagnostics_table
from pipeline.report.label_equivalents import label_equivalent_table
from pipeline.report.names import for_csv, with_text
from pipeline.runtime.files import write_text
from pipeline.trials.integrity import verify

DECIMALS = 6  # of the numbers in CSV files


@dataclass(frozen=True)
class ReportTables:
    """All tables of the report, and what `families.Family` says of every generator.

    `augmentations` has the generators whose training images were augmented.
    """

    trials: pd.DataFrame
    deltas: pd.DataFrame
    diagnostics: pd.DataFrame
    worth: pd.DataFrame  # label equivalents
    fidelity: pd.DataFrame
    fidelity_classes: pd.DataFrame
    tuning: pd.DataFrame
    teachers: pd.DataFrame
    teachers_classes: pd.DataFrame
    filters: pd.DataFrame
    failures: pd.DataFrame
    ranking: pd.DataFrame
    health: pd.DataFrame
    classes: pd.DataFrame  # recall per class
    confusions: dict[tuple[str, str], np.ndarray]
    kinds: dict[str, str]
    augmentations: dict[str, Mapping[str, float]]
    choices: list[str]  # what was chosen from tuned transforms, in words


def build_tables(params: Params, root: Path, dataset: str) -> ReportTables:
    """All tables, after the proof that all results belong to this study.

    Raises `IntegrityError` where a result is missing or does not fit.
    """
    scored = list(tables.read_trials(params, root))
    verify(params, root)
    trials = tables.trials_table(dataset, scored, params.report.metric)
    overlaps = tables.subset_overlaps(params, root)
    correct = tables.correct_mask(scored)
    weights = tables.image_weights(scored, params.report.metric)
    deltas = comparisons.deltas_table(trials, params, overlaps)
    fidelity = tables.fidelity_table(params, root, trials)
    by_name = families.families(params, root)
    known = classes.about(params, root)
    results = ReportTables(
        trials=trials,
        deltas=deltas,
        diagnostics=diagnostics_table(trials, correct, params, overlaps, weights),
        worth=label_equivalent_table(trials, deltas, params, overlaps),
        fidelity=fidelity,
        fidelity_classes=tables.classes_table(params, root),
        tuning=tables.tuning_table(params, root),
        teachers=teachers.teachers_table(params, root),
        teachers_classes=teachers.teachers_classes_table(params, root, known.names),
        filters=tables.filters_table(scored),
        failures=tables.failures_table(params, root),
        ranking=ranking.ranking_table(trials, deltas, fidelity, params, overlaps),
        health=families.health_table(params, root),
        classes=classes.recall_table(scored, deltas, params, overlaps, known),
        confusions=tables.confusions(scored, params.report.primary.budget),
        kinds={name: family.kind for name, family in by_name.items() if family.kind},
        augmentations={
            name: family.augmentation
            for name, family in by_name.items()
            if any(family.augmentation.values())
        },
        choices=choice_sentences(params, root),
    )
    # The page shows the numbers of the CSV files, from which the terminal reads.
    written = {
        part.name: table.round(DECIMALS)
        for part in fields(results)
        if isinstance(table := getattr(results, part.name), pd.DataFrame)
    }
    return replace(results, **written)


def write_tables(reports: Path, results: ReportTables) -> None:
    """Write every table as `<name>.csv`."""
    for name in (field.name for field in fields(ReportTables)):
        if isinstance(table := getattr(results, name), pd.DataFrame):
            write_csv(reports / f"{name}.csv", table)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with six decimals and `\\n`, so that equal numbers give equal bytes.

    Text is escaped so that no spreadsheet takes it for a formula (`names.for_csv`).
    """
    cells = with_text(table, for_csv)
    write_text(path, cells.to_csv(index=False, lineterminator="\n", float_format=f"%.{DECIMALS}f"))

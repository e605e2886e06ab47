"""Recall of every class under every claim, with corrected verdicts: which classes gain and lose.

Comparisons are with the declared baseline only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.schema import SUBSETS, Params
from pipeline.evaluation import decisions, statistics
from pipeline.evaluation.max_t import family_p
from pipeline.evaluation.metrics import recall_per_class
from pipeline.report.comparisons import Overlaps, main_rows, rows_of
from pipeline.report.tables import ScoredTrials
from pipeline.runtime.files import read_json, read_npz
from pipeline.trials.grid import replicates
from pipeline.trials.layout import SUMMARY

COLUMNS = [
    "classifier",
    "arm",
    "baseline",
    "budget",
    "class",
    "class_name",
    "n",  # seeds whose test set has the class
    "num_test",
    "num_labeled",
    "recall_arm",
    "recall_baseline",
    "delta",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "verdict",
]


@dataclass(frozen=True)
class Classes:
    """The names of the classes, and by budget the mean number of labeled images of each."""

    names: list[str]
    num_labeled: Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True)
class Recalls:
    """Recalls of one comparison, (num_seeds, classes): NaN where a test set lacks the class."""

    row: Mapping[Any, Any]  # the comparison in the table of deltas
    arm: NDArray[np.float64]
    baseline: NDArray[np.float64]
    num_test: NDArray[np.float64]  # test images by class, mean over seeds

    @property
    def deltas(self) -> NDArray[np.float64]:
        """Arm minus baseline, (num_seeds, classes)."""
        return self.arm - self.baseline


def about(params: Params, root: Path) -> Classes:
    """The classes of the study at `root`."""
    names = read_json(root / SUMMARY.path)["class_names"]
    counts: dict[int, list[NDArray[np.int64]]] = {}
    for replicate in replicates(params.study):
        labels = read_npz(root / SUBSETS / replicate.file(".npz"))["labels"]
        counts.setdefault(replicate.budget, []).append(np.bincount(labels, minlength=len(names)))
    return Classes(names, {budget: np.mean(each, axis=0) for budget, each in counts.items()})


def recall_table(
    scored: ScoredTrials, deltas: pd.DataFrame, params: Params, overlaps: Overlaps, classes: Classes
) -> pd.DataFrame:
    """One row per claim against the declared baseline and class.

    The classes of a comparison are sorted: those with the verdict harm first, then by increasing
    delta, then by the number of labeled images. `p_adjusted` is corrected
    over all classes of all comparisons with the same regime (`family_p`). Verdicts follow
    `decisions.DECISIONS`; if an arm is not judged, none of its classes is.
    """
    compared = list(_comparisons(scored, deltas, params, len(classes.names)))
    adjusted = _adjusted(compared, overlaps)
    rows = [
        row
        for recalls, p_values in zip(compared, adjusted, strict=True)
        for row in _rows(recalls, p_values, params, overlaps, classes)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _comparisons(
    scored: ScoredTrials, deltas: pd.DataFrame, params: Params, num_classes: int
) -> list[Recalls]:
    """The recalls of every claim, in the order of classifiers, budgets and arms."""
    found: dict[tuple[str, str, int], list[tuple[int, Any, Any]]] = {}
    for trial, arrays in scored:
        recall = recall_per_class(arrays["labels"], arrays["probabilities"])
        sizes = np.bincount(arrays["labels"], minlength=num_classes)
        key = (trial.classifier, trial.arm, trial.replicate.budget)
        found.setdefault(key, []).append((trial.replicate.seed, recall, sizes))

    by_cell = {key: sorted(cell, key=lambda entry: entry[0]) for key, cell in found.items()}
    compared = []
    for row in rows_of(main_rows(deltas, params)):
        if params.arms[row["arm"]].role != "claim" or row["arm"] == row["baseline"]:
            continue
        own, other = (
            by_cell[row["classifier"], arm, row["budget"]] for arm in (row["arm"], row["baseline"])
        )
        arm, baseline = (np.stack([entry[1] for entry in cell]) for cell in (own, other))
        compared.append(Recalls(row, arm, baseline, np.mean([entry[2] for entry in own], axis=0)))
    return compared


def _adjusted(compared: list[Recalls], overlaps: Overlaps) -> list[NDArray[np.float64]]:
    """Corrected p-values, (classes,) of every comparison; a family is all of one regime."""
    adjusted: list[NDArray[np.float64]] = [np.empty(0)] * len(compared)
    for regime in dict.fromkeys(recalls.row["regime"] for recalls in compared):
        members = [at for at, each in enumerate(compared) if each.row["regime"] == regime]
        columns = np.concatenate([compared[at].deltas for at in members], axis=1)
        shared = [overlaps[compared[at].row["budget"]] for at in members]
        num_classes = columns.shape[1] // len(members)
        p_values = family_p(columns, np.repeat(shared, num_classes))
        for at, values in zip(members, np.split(p_values, len(members)), strict=True):
            adjusted[at] = values
    return adjusted


def _rows(
    recalls: Recalls,
    p_values: NDArray[np.float64],
    params: Params,
    overlaps: Overlaps,
    classes: Classes,
) -> list[dict[str, Any]]:
    """The rows of one comparison, the worst class first."""
    row, rows = recalls.row, []
    overlap = overlaps[row["budget"]]
    for label, name in enumerate(classes.names):
        deltas = recalls.deltas[:, label]
        is_known = np.isfinite(deltas)
        deltas = deltas[is_known]
        interval = statistics.Interval(np.nan, np.nan, np.nan)
        if len(deltas):
            level = params.report.confidence_level
            interval = statistics.t_interval(deltas, level, overlap)
        arm, baseline = (
            side[is_known, label].mean() if len(deltas) else np.nan
            for side in (recalls.arm, recalls.baseline)
        )
        values = (
            *(row[key] for key in ("classifier", "arm", "baseline", "budget")),
            label,
            name,
            len(deltas),
            recalls.num_test[label],
            classes.num_labeled[row["budget"]][label],
            arm,
            baseline,
            interval.mean,
            interval.low,
            interval.high,
            statistics.paired_p(deltas, overlap),
            p_values[label],
            _judge(row, deltas, interval, p_values[label], params),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return sorted(rows, key=_worst_first)


def _worst_first(row: Mapping[str, Any]) -> tuple[bool, bool, float, float]:
    """A key that sorts the worst class first, and those without test images last."""
    is_unknown = row["n"] == 0
    delta = 0.0 if is_unknown else row["delta"]
    return row["verdict"] != "harm", is_unknown, delta, row["num_labeled"]


def _judge(
    row: Mapping[Any, Any],
    deltas: NDArray[np.float64],
    interval: statistics.Interval,
    p_adjusted: float,
    params: Params,
) -> str:
    """The verdict on one class of the comparison `row`."""
    usable = row["n"] - row["num_unusable"]
    if not len(deltas) or usable < statistics.SEEDS_FOR_A_TEST <= row["n"]:
        return "not judged"
    rules = decisions.Rules(params.report.confidence_level, params.report.smallest_effect)
    controls_hold = not row["failed_controls"]
    return decisions.decide(decisions.evidence(deltas, interval, p_adjusted, controls_hold), rules)

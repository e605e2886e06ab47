"""From results on disk to tables: every trial, every paired comparison, fidelity, seconds.

Reads exactly the trials that params.yaml asks for: a missing one stops the report, a stray one is
ignored. Draws nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import IntegrityError
from pipeline.metrics import METRICS, confusion
from pipeline.params import Params
from pipeline.stats import Interval, Rules, holm, sign_flip_p, t_interval, verdict
from pipeline.store import TIMINGS, file_digest, read_json, read_npz
from pipeline.trials import Trial, expected_trials, replicates

PRIMARY_METRIC = "accuracy"
TRIAL_KEYS = ["classifier", "arm", "budget", "seed"]
COMPARISON = ["classifier", "arm", "baseline", "budget", "metric"]
TIMING_COLUMNS = ["stage", "item", "classifier", "budget", "seed", "seconds", "images_per_s"]


def read_trials(params: Params, root: Path) -> Iterator[tuple[Trial, dict[str, np.ndarray]]]:
    """Every expected trial with its arrays; raises `IntegrityError` when one is missing."""
    expected = expected_trials(params)
    missing = [trial for trial in expected if not (root / "results" / trial.file()).is_file()]
    if missing:
        raise IntegrityError(
            "results",
            f"expected {len(expected)} trials, found {len(expected) - len(missing)}; the first "
            f"missing one is results/{missing[0].file().as_posix()}",
            "run `dvc repro`, or `dvc pull` first if others computed them",
        )
    for trial in expected:
        yield trial, read_npz(root / "results" / trial.file())


def trials_table(dataset: str, found: list[tuple[Trial, dict[str, np.ndarray]]]) -> pd.DataFrame:
    """One row per trial: its names, every metric, and the size of its training set."""
    rows = [
        {
            "dataset": dataset,
            "classifier": trial.classifier,
            "arm": trial.arm,
            **trial.replicate.labels(),
            **{
                name: metric.compute(arrays["labels"], arrays["probabilities"])
                for name, metric in METRICS.items()
            },
            "num_train": int(arrays["num_train"]),
            "num_synthetic": int(arrays["num_synthetic"]),
        }
        for trial, arrays in found
    ]
    return pd.DataFrame(rows)


def filters_table(found: list[tuple[Trial, dict[str, np.ndarray]]]) -> pd.DataFrame:
    """One row per arm and replicate with synthetic images: how many its filter turned away."""
    rows = [
        {
            "arm": trial.arm,
            **trial.replicate.labels(),
            "num_candidates": int(arrays["num_candidates"]),
            "num_rejected": int(arrays["num_rejected"]),
            "num_used": int(arrays["num_synthetic"]),
        }
        for trial, arrays in found
        if arrays["num_candidates"] > 0
    ]
    columns = ["arm", "budget", "seed", "num_candidates", "num_rejected", "num_used"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def deltas_table(trials: pd.DataFrame, params: Params) -> pd.DataFrame:
    """One row per classifier, arm, baseline, budget and metric, paired over seeds.

    Besides the declared baseline, arms with synthetic images are compared with the rival. Holm's
    correction runs over all comparisons that answer the same question (same baseline and metric)
    but the primary one, which was chosen beforehand. Control arms claim nothing: they have an
    interval and a p-value, but neither a corrected one nor a verdict.
    """
    keys = [
        dict(zip(COMPARISON, (classifier, arm, baseline, budget, metric), strict=True))
        for metric in METRICS
        for classifier in params.classifiers
        for budget in sorted(params.study.budgets)
        for arm, baseline in _pairs(params)
    ]
    deltas = [
        _paired(trials, key, key["arm"]) - _paired(trials, key, key["baseline"]) for key in keys
    ]
    table = pd.DataFrame(
        [_compare(trials, key, each, params) for key, each in zip(keys, deltas, strict=True)]
    )
    control = table["arm"].map(lambda arm: params.arms[arm].control)
    itself = table["arm"] == table["baseline"]
    table["p_holm"] = table["p_value"].mask(control)
    corrected = table[~control & ~itself & ~_is_primary(table, params)]
    for _, family in corrected.groupby(["baseline", "metric"], sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p_value"].tolist())
    table["verdict"] = [
        _judge(row, each, params)
        for row, each in zip(table.to_dict("records"), deltas, strict=True)
    ]
    return table


def _pairs(params: Params) -> list[tuple[str, str]]:
    """(arm, baseline): all arms with the baseline, itself included, then those with the rival."""
    baseline, rival = params.report.baseline, params.report.rival
    pairs = [(arm, baseline) for arm in params.arms]
    if rival is None or rival == baseline:
        return pairs
    synthetic = [name for name, arm in params.arms.items() if arm.generator and not arm.control]
    return pairs + [(arm, rival) for arm in synthetic if arm not in (rival, baseline)]


def least_adjusted_p(params: Params) -> float:
    """The smallest p that Holm's correction can leave of the study's largest family.

    Above 1 - confidence, no comparison but the primary one could be called a gain, whatever it is.
    """
    baseline = params.report.baseline
    arms = [
        arm
        for arm, against in _pairs(params)
        if against == baseline != arm and not params.arms[arm].control
    ]
    size = len(arms) * len(params.classifiers) * len(params.study.budgets)
    size -= params.report.primary.arm in arms
    return float(size * 2.0 ** (1 - len(params.study.seeds)))


def _paired(trials: pd.DataFrame, row: dict[str, object], arm: object) -> NDArray[np.float64]:
    """The metric of one arm in the order of seeds, (num_seeds,)."""
    chosen = trials[
        (trials["classifier"] == row["classifier"])
        & (trials["arm"] == arm)
        & (trials["budget"] == row["budget"])
    ].sort_values("seed")
    return chosen[str(row["metric"])].to_numpy(dtype=np.float64)


def _compare(
    trials: pd.DataFrame, key: dict[str, object], deltas: NDArray[np.float64], params: Params
) -> dict[str, object]:
    interval = t_interval(deltas, params.report.confidence)
    return {
        **key,
        "n": len(deltas),
        "mean_arm": _paired(trials, key, key["arm"]).mean(),
        "mean_baseline": _paired(trials, key, key["baseline"]).mean(),
        "delta": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_value": sign_flip_p(deltas),
    }


def _judge(row: Mapping[Any, Any], deltas: NDArray[np.float64], params: Params) -> str:
    if row["arm"] == row["baseline"]:
        return "baseline"
    if params.arms[row["arm"]].control:
        return "control"
    metric = METRICS[row["metric"]]
    rules = Rules(
        confidence=params.report.confidence,
        smallest_effect=params.report.smallest_effect if metric.is_share else 0.0,
        higher_is_better=metric.higher_is_better,
    )
    interval = Interval(row["delta"], row["ci_low"], row["ci_high"])
    return verdict(deltas, interval, row["p_holm"], rules)


def _is_primary(table: pd.DataFrame, params: Params) -> pd.Series:
    primary = params.report.primary
    return (
        (table["classifier"] == primary.classifier)
        & (table["arm"] == primary.arm)
        & (table["budget"] == primary.budget)
        & (table["baseline"] == params.report.baseline)
        & (table["metric"] == PRIMARY_METRIC)
    )


def fidelity_table(params: Params, root: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """One row per generator and replicate: the audit's numbers, and CAS from the arm that has it.

    CAS (classification accuracy score; Ravuri and Vinyals 2019) is the first classifier's accuracy
    in an arm of unfiltered synthetic images alone; empty when no arm is of that kind.
    """
    rows = []
    for name in params.generators:
        cas = _cas(params, name, trials)
        for each in replicates(params.study):
            report = read_json(root / "data/audit" / name / each.file(".json"))
            row = {"generator": name, **each.labels(), **report}
            rows.append(row | {"cas": cas.get((each.budget, each.seed))})
    table = pd.DataFrame(rows)
    numbers = table.columns.drop("generator")
    table[numbers] = table[numbers].apply(pd.to_numeric)  # what could not be told becomes NaN
    return table


def _cas(params: Params, generator: str, trials: pd.DataFrame) -> dict[object, float]:
    for name, arm in params.arms.items():
        if arm.generator == generator and not arm.real and arm.filter == arm.transform == "none":
            first = next(iter(params.classifiers))
            chosen = trials[(trials["arm"] == name) & (trials["classifier"] == first)]
            return dict(chosen.set_index(["budget", "seed"])[PRIMARY_METRIC])
    return {}


def headline(deltas: pd.DataFrame, params: Params) -> dict[str, object]:
    """The few numbers for `dvc metrics diff`: {classifier: {budget_<b>: {arm: {...}}}}."""
    numbers: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for _, row in main_rows(deltas, params).iterrows():
        below = numbers.setdefault(row["classifier"], {}).setdefault(f"budget_{row['budget']}", {})
        values = {"accuracy": row["mean_arm"], **row[["delta", "ci_low", "ci_high"]].to_dict()}
        below[row["arm"]] = {
            name: round(float(value), 6) for name, value in values.items() if np.isfinite(value)
        }
    return dict(numbers)


def main_rows(deltas: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The headline table: accuracy of every arm against the declared baseline."""
    return deltas[
        (deltas["metric"] == PRIMARY_METRIC) & (deltas["baseline"] == params.report.baseline)
    ]


def confusions(
    found: list[tuple[Trial, dict[str, np.ndarray]]], budget: int
) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Confusion counts at one budget, summed over seeds, by (classifier, arm)."""
    sums: dict[tuple[str, str], NDArray[np.int64]] = {}
    for trial, arrays in found:
        if trial.replicate.budget == budget:
            counts = confusion(arrays["labels"], arrays["probabilities"])
            key = (trial.classifier, trial.arm)
            sums[key] = sums.get(key, np.zeros_like(counts)) + counts
    return sums


def timings_table(params: Params, root: Path) -> pd.DataFrame:
    """Seconds of every trial whose output lies here; empty where outputs came from a cache.

    A generator trial has its images per second as well: real images seen in training.
    """
    rows = [row for file in sorted((root / TIMINGS).glob("*.json")) for row in read_json(file)]
    items = {*params.arms, *params.generators}
    present = [
        {**row, "images_per_s": row["num_images"] / row["seconds"] if "num_images" in row else None}
        for row in rows
        if row["item"] in items and _is_present(root / row["file"], row["sha256"])
    ]
    return pd.DataFrame(present, columns=TIMING_COLUMNS).astype({"images_per_s": float})


def _is_present(file: Path, digest: str) -> bool:
    return file.is_file() and file_digest(file) == digest

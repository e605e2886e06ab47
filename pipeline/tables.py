"""From results on disk to tables: every trial, every paired comparison, fidelity, seconds.

Reads exactly the trials that params.yaml asks for: a missing one stops the report, a stray one is
ignored. Draws nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import IntegrityError
from pipeline.metrics import METRICS, confusion
from pipeline.params import Params
from pipeline.stats import Rules, holm, sign_flip_p, t_interval, verdict
from pipeline.store import TIMINGS, read_json, read_npz
from pipeline.trials import Trial, expected_trials, replicates

PRIMARY_METRIC = "accuracy"
TRIAL_KEYS = ["classifier", "arm", "budget", "seed"]
COMPARISON = ["classifier", "arm", "baseline", "budget", "metric"]
TIMING_COLUMNS = ["stage", "item", "classifier", "budget", "seed", "seconds"]


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
    correction runs over all comparisons that answer the same question (same baseline and metric),
    without the primary one, which was chosen beforehand, and without controls, which claim nothing.
    """
    rows = [
        _compare(trials, key, params)
        for metric in METRICS
        for classifier in params.classifiers
        for budget in sorted(params.study.budgets)
        for arm, baseline in _pairs(params)
        for key in [dict(zip(COMPARISON, (classifier, arm, baseline, budget, metric), strict=True))]
    ]
    table = pd.DataFrame(rows)
    table["p_holm"] = table["p_value"]
    claims = ~table["arm"].map(lambda arm: params.arms[arm].control) & ~_is_primary(table, params)
    claims &= table["arm"] != table["baseline"]
    for _, family in table[claims].groupby(["baseline", "metric"], sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p_value"].tolist())
    table["verdict"] = [_judge(trials, row, params) for _, row in table.iterrows()]
    return table


def _pairs(params: Params) -> list[tuple[str, str]]:
    """(arm, baseline): all arms with the baseline, itself included, then those with the rival."""
    baseline, rival = params.report.baseline, params.report.rival
    pairs = [(arm, baseline) for arm in params.arms]
    if rival not in (None, baseline):
        pairs += [(arm, str(rival)) for arm in params.arms
                  if params.arms[arm].generator and not params.arms[arm].control]  # fmt: skip
    return pairs


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


def _compare(trials: pd.DataFrame, row: dict[str, object], params: Params) -> dict[str, object]:
    arm, base = _paired(trials, row, row["arm"]), _paired(trials, row, row["baseline"])
    interval = t_interval(arm - base, params.report.confidence)
    return {
        **row,
        "n": len(arm),
        "mean_arm": arm.mean(),
        "mean_baseline": base.mean(),
        "delta": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_value": sign_flip_p(arm - base),
    }


def _judge(trials: pd.DataFrame, row: pd.Series, params: Params) -> str:
    if row["arm"] == row["baseline"]:
        return "baseline"
    metric = METRICS[row["metric"]]
    keys = row.to_dict()
    deltas = _paired(trials, keys, row["arm"]) - _paired(trials, keys, row["baseline"])
    rules = Rules(
        confidence=params.report.confidence,
        smallest_effect=params.report.smallest_effect if metric.is_share else 0.0,
        higher_is_better=metric.higher_is_better,
    )
    return verdict(deltas, t_interval(deltas, rules.confidence), row["p_holm"], rules)


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
    return pd.DataFrame(rows)


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
    """Seconds of every trial computed on this machine; empty where results came from a cache."""
    rows = [row for file in sorted((root / TIMINGS).glob("*.json")) for row in read_json(file)]
    table = pd.DataFrame(rows, columns=TIMING_COLUMNS)
    items = {"judge", *params.arms, *params.generators}
    table = table[table["item"].isin(items)]
    steps = table["item"].map(
        {name: each["steps"] * each["batch_size"] for name, each in params.generators.items()}
    )
    trained = table["stage"] == "train_generator"
    table["images_per_s"] = (steps / table["seconds"]).where(trained)
    return table

"""From the table of trials to paired deltas, controls, verdicts and label equivalents.

Reads no file. A failed trial is in the table with its baseline's score (intention to treat);
`diagnostics_table` shows the same comparison without it. Where an arm is compared with its
reference, such a seed never counts in the arm's favor (`differences`). A comparison in which too
few seeds finished, with the images that they should add, is not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.schema import FRESH, SUBSETS, Params
from pipeline.evaluation import decisions, statistics
from pipeline.evaluation.metrics import METRICS
from pipeline.report.pairing import (
    Cells,
    by_cell,
    differences,
    failures,
    metrics_of,
    paired,
    unusable,
    without_images,
)
from pipeline.report.verdicts import ROLES
from pipeline.trials.grid import pairs

COMPARISON = ["classifier", "arm", "baseline", "budget", "metric"]
KEYS = ["classifier", "arm", "baseline", "budget"]
# Which verdicts make a control fail, by its role: repeated images and wrong labels must have no
# effect, and a study that does not detect twice as many labels is too small.
CONTROL_FAILS_IF: dict[str, Callable[[str], bool]] = {
    "must_not_differ": lambda verdict: verdict in ("gain", "harm"),
    "must_not_help": lambda verdict: verdict == "gain",
    "must_help": lambda verdict: verdict != "gain",
}
NULL_ROLES = ("must_not_differ", "must_not_help")

Overlaps = Mapping[int, float]  # share of images that two seeds' subsets have in common, by budget


def deltas_table(trials: pd.DataFrame, params: Params, overlaps: Overlaps) -> pd.DataFrame:
    """One row per classifier, arm, baseline, budget and metric, paired over seeds.

    Besides the declared baseline, arms with a generator are compared with their reference. Holm's
    correction runs over all claims that answer the same question (same baseline, metric and regime)
    except the primary one, which is declared before the run, and over the controls without an
    effect. An arm with role `measure` has an interval and an uncorrected p-value, but no verdict.
    Intervals and p-values account for `overlaps` (`t_interval`, `paired_p`).
    `num_without_images`: seeds in which the arm or its baseline should have added made images and
    had none. `num_unusable`: seeds of that kind and seeds in which one of both failed. Where
    fewer than six are left, the verdict is `not judged`. A gain over a reference whose mean
    `report.metric` is below the declared baseline's is a `weak reference`.
    """
    keys: list[dict[str, Any]] = [
        dict(zip(COMPARISON, (classifier, arm, baseline, budget, metric), strict=True))
        for metric in metrics_of(trials)
        for classifier in params.classifiers
        for budget in sorted(params.study.budgets)
        for arm, baseline in pairs(params)
        if classifier in params.arm_classifiers(arm)
    ]
    scores = by_cell(trials)
    deltas = [differences(scores, key, params) for key in keys]
    rows = [
        _compare(scores, key, delta, params, overlaps)
        for key, delta in zip(keys, deltas, strict=True)
    ]
    table = pd.DataFrame(rows)
    table["p_holm"] = _adjusted(table, params)
    compared = list(zip(rows_of(table), deltas, strict=True))
    failed = {
        (row["classifier"], row["budget"], row["arm"])
        for row, delta in compared
        if _outcome(row, delta, params) == "failed"
    }
    failed_controls = [_failed_controls_of(row, failed, params) for row, _ in compared]
    table["verdict"] = [
        _outcome(row, delta, params)
        or _judge(row, delta, params, not names, _reference_holds(scores, row, params))
        for (row, delta), names in zip(compared, failed_controls, strict=True)
    ]
    table["failed_controls"] = [
        "; ".join(f"{name} {ROLES[params.arms[name].role]}" for name in names)
        for names in failed_controls
    ]
    last = {name: table.pop(name) for name in ("num_without_images", "num_unusable")}
    return table.assign(**last)


def compared_alone(
    trials: pd.DataFrame, key: Mapping[str, Any], params: Params, overlap: float
) -> dict[str, Any]:
    """One comparison that is not in the table of deltas, with its verdict.

    `key` has the `COMPARISON` columns, and `overlap` is the share of images that two seeds have in
    common. The p-value is not corrected, so this is for conditions that an arm has to meet besides
    its corrected comparisons, which makes them stricter.
    """
    scores, key = by_cell(trials), dict(key)
    deltas = differences(scores, key, params)
    row = _compare(scores, key, deltas, params, {key["budget"]: overlap})
    row |= {"p_holm": row["p_value"], "failed_controls": ""}
    return row | {"verdict": _judge(row, deltas, params)}


def least_adjusted_p(params: Params) -> float:
    """The smallest p that Holm's correction can leave of the study's largest family.

    If it is above 1 - confidence_level, only the primary comparison can become a gain.
    """
    baseline = params.report.baseline
    sizes: Counter[str] = Counter()
    for arm, against in pairs(params):
        if against == baseline != arm and params.arms[arm].role == "claim":
            tests = len(params.arm_classifiers(arm)) * len(params.study.budgets)
            sizes[params.regime(arm)] += tests - (arm == params.report.primary.arm)
    return float(max(sizes.values(), default=0) * 2.0 ** (1 - len(params.study.seeds)))


def rows_of(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """The rows of a table as mappings."""
    return table.to_dict("records")


def _compare(
    scores: Cells,
    key: dict[str, Any],
    deltas: NDArray[np.float64],
    params: Params,
    overlaps: Overlaps,
) -> dict[str, object]:
    confidence_level = params.report.confidence_level
    overlap = overlaps[key["budget"]]
    interval = statistics.t_interval(deltas, confidence_level, overlap)
    return {
        **key,
        "regime": params.regime(key["arm"]),
        "baseline_regime": params.regime(key["baseline"]),
        "n": len(deltas),
        "num_failed": int(failures(scores, key).sum()),
        "num_without_images": int(without_images(scores, key, params).sum()),
        "num_unusable": int(unusable(scores, key, params).sum()),
        "mean_arm": paired(scores, key, key["arm"]).mean(),
        "mean_baseline": paired(scores, key, key["baseline"]).mean(),
        "delta": interval.mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "smallest_detectable": statistics.smallest_detectable(
            deltas, 1 - confidence_level, correlation=overlap
        ),
        "p_value": statistics.paired_p(deltas, overlap),
    }


def _adjusted(table: pd.DataFrame, params: Params) -> pd.Series:
    """Corrected p-values; the primary comparison and `must_help` controls keep their own."""
    role = table["arm"].map(lambda arm: params.arms[arm].role)
    adjusted = table["p_value"].mask(role == "measure")
    for members in holm_families(table, params):
        adjusted.loc[members] = statistics.holm(table.loc[members, "p_value"].tolist())
    return adjusted


def holm_families(table: pd.DataFrame, params: Params) -> list[pd.Index]:
    """The rows that Holm's correction takes together: claims, and controls without an effect."""
    role = table["arm"].map(lambda arm: params.arms[arm].role)
    itself = table["arm"] == table["baseline"]
    claims = table[(role == "claim") & ~itself & ~_is_primary(table, params)]
    nulls = table[role.isin(NULL_ROLES)]
    return [
        members.index
        for family in (claims, nulls)
        for _, members in family.groupby(["baseline", "regime", "metric"], sort=False)
    ]


def _reference_holds(scores: Cells, row: Mapping[Any, Any], params: Params) -> bool:
    """Whether the arm's reference is at least as good as the declared baseline."""
    row = {**row, "metric": params.report.metric}
    least = paired(scores, row, params.report.baseline).mean()
    return bool(paired(scores, row, row["baseline"]).mean() >= least)


def _judge(
    row: Mapping[Any, Any],
    deltas: NDArray[np.float64],
    params: Params,
    controls_hold: bool = True,
    reference_holds: bool = True,
) -> str:
    """The verdict of the decision table, or of what it cannot judge."""
    if row["arm"] == row["baseline"]:
        return "baseline"
    if params.arms[row["arm"]].role == "measure":
        return "measure"
    if row["n"] - row["num_unusable"] < statistics.SEEDS_FOR_A_TEST <= row["n"]:
        return "not judged"
    metric = METRICS[row["metric"]]
    rules = decisions.Rules(
        confidence_level=params.report.confidence_level,
        smallest_effect=params.report.smallest_effect if metric.is_share else 0.0,
        higher_is_better=metric.higher_is_better,
    )
    interval = statistics.Interval(row["delta"], row["ci_low"], row["ci_high"])
    evidence = decisions.evidence(deltas, interval, row["p_holm"], controls_hold, reference_holds)
    return decisions.decide(evidence, rules)


def _outcome(row: Mapping[Any, Any], deltas: NDArray[np.float64], params: Params) -> str | None:
    """`passed`, `failed` or `not judged` for a control, by `report.metric`; None for other arms.

    Ten seeds are needed, as for any claim. Six of them must have finished, with synthetic images
    where the control adds them. A control that must help is not judged where the baseline is almost
    perfect.
    """
    role = params.arms[row["arm"]].role
    if role not in CONTROL_FAILS_IF:
        return None
    if row["metric"] != params.report.metric:
        return "control"
    completed = row["n"] - row["num_unusable"]
    if row["n"] < statistics.SEEDS_FOR_A_CLAIM or completed < statistics.SEEDS_FOR_A_TEST:
        return "not judged"
    if role == "must_help" and _leaves_nothing_to_gain(row, params):
        return "not judged"
    return "failed" if CONTROL_FAILS_IF[role](_judge(row, deltas, params)) else "passed"


def _leaves_nothing_to_gain(row: Mapping[Any, Any], params: Params) -> bool:
    """Whether even a perfect arm would be better than the baseline by less than what matters."""
    is_share = METRICS[row["metric"]].is_share
    return bool(is_share and row["mean_baseline"] > 1 - params.report.smallest_effect)


def _failed_controls_of(
    row: Mapping[Any, Any], failed: set[tuple[str, int, str]], params: Params
) -> list[str]:
    """The failed controls that make this row invalid.

    A control of real images covers all arms of its classifier and budget, one of synthetic images
    the arms that add the same images.
    """
    arm = params.arms[row["arm"]]
    if arm.role != "claim" or row["arm"] == row["baseline"]:
        return []
    return [
        name
        for name, control in params.arms.items()
        if (row["classifier"], row["budget"], name) in failed
        and control.inputs in (SUBSETS, FRESH, arm.inputs)
    ]


def _is_primary(table: pd.DataFrame, params: Params) -> pd.Series:
    primary = params.report.primary
    return (
        (table["classifier"] == primary.classifier)
        & (table["arm"] == primary.arm)
        & (table["budget"] == primary.budget)
        & (table["baseline"] == params.report.baseline)
        & (table["metric"] == params.report.metric)
    )


def main_rows(deltas: pd.DataFrame, params: Params) -> pd.DataFrame:
    """`report.metric` of every arm against the declared baseline."""
    rows = table_rows(deltas, params)
    return rows[~rows["over"]]


def table_rows(deltas: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The headline table: `report.metric` of every arm against the baseline, then of some `over`
    a reference.

    `name` is what the row is about. Arms that saw unlabeled images come last, with an asterisk.
    """
    rows = deltas[deltas["metric"] == params.report.metric]
    over = rows["baseline"] != params.report.baseline
    ours, others = (rows[key].map(params.marked) for key in ("arm", "baseline"))
    rows = rows.assign(name=ours + (" over " + others).where(over, ""), over=over)
    order = [*params.classifiers].index
    return rows.sort_values(
        ["classifier", "budget", "over", "regime"],
        kind="stable",
        key=lambda column: column.map(order) if column.name == "classifier" else column,
    )


def headline(deltas: pd.DataFrame, params: Params) -> dict[str, object]:
    """The few numbers for `dvc metrics diff`: {classifier: {budget_<b>: {arm: {...}}}}."""
    numbers: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for _, row in main_rows(deltas, params).iterrows():
        below = numbers.setdefault(row["classifier"], {}).setdefault(f"budget_{row['budget']}", {})
        mean, ends = row["mean_arm"], row[["delta", "ci_low", "ci_high"]].to_dict()
        values = {params.report.metric: mean, **ends}
        below[row["arm"]] = {
            name: round(float(value), 6) for name, value in values.items() if np.isfinite(value)
        }
    return dict(numbers)

"""Which generator is best: by its images alone (CAS), and by what they add to real ones (delta).

Pure functions over the report's tables. The rows of one budget are compared with each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.config.schema import Params
from pipeline.evaluation import statistics
from pipeline.report.comparisons import main_rows

COLUMNS = [
    "generator",
    "budget",
    "regime",
    "n",
    "num_failed",
    "cas",
    "cas_low",
    "cas_high",
    "label_fidelity",
    "arm",
]
# Of a delta; in the ranking each stands once per classifier, as `delta_cnn`.
DELTAS = ("delta", "ci_low", "ci_high")


def only_arm(params: Params, generator: str) -> str | None:
    """The arm that the CAS is taken from: unfiltered images alone, for the first classifier."""
    for name, arm in params.arms.items():
        plain = arm.filter == arm.transform == "none" and not arm.permute_labels
        if arm.generator == generator and not arm.real and plain and _is_for_first(params, name):
            return name
    return None


def adding_arm(params: Params, generator: str) -> str | None:
    """The arm that adds images of `generator` to the real ones, or None.

    Where several do, one for the first classifier, one without a transform, the first in
    params.yaml, in this order.
    """
    arms = [
        name
        for name, arm in params.arms.items()
        if arm.generator == generator and arm.real and not arm.permute_labels
    ]
    return min(
        arms,
        key=lambda name: (not _is_for_first(params, name), params.arms[name].transform != "none"),
        default=None,
    )


def _is_for_first(params: Params, arm: str) -> bool:
    return next(iter(params.classifiers)) in params.arm_classifiers(arm)


def learners(params: Params) -> list[str]:
    """The classifiers that generators are ranked for, in the order of params.yaml.

    Images of at least two generators were added for each, or of the only one that has such an arm.
    """
    arms = [arm for name in params.generators if (arm := adding_arm(params, name)) is not None]
    used = Counter(classifier for arm in arms for classifier in params.arm_classifiers(arm))
    return [
        classifier
        for classifier in params.classifiers
        if used[classifier] >= max(1, min(2, len(arms)))
    ]


def ranking_table(
    trials: pd.DataFrame,
    deltas: pd.DataFrame,
    fidelity: pd.DataFrame,
    params: Params,
    overlaps: Mapping[int, float],
) -> pd.DataFrame:
    """One row per generator and budget; within a budget by mean CAS, the best first.

    A generator with a failed seed is below those without: its mean is that of the other seeds.
    `cas_low`, `cas_high`: Student's t interval over the seeds whose images gave a score. `delta_*`
    and its interval are those of `arm` against the declared baseline, by classifier; blank where
    there is no such arm, or it is for others. `num_failed` of `n` seeds: those in which generator,
    evaluation or either arm failed. `overlaps` as in `comparisons.deltas_table`.
    """
    against = main_rows(deltas, params).set_index(["classifier", "arm", "budget"])[list(DELTAS)]
    by_arm = against.to_dict("index")
    # Without a single audit there is no such column.
    by_replicate = fidelity.assign(
        label_fidelity=fidelity.get("label_fidelity", np.nan), unknown=fidelity.get("unknown", "")
    )
    rows = []
    for (name, budget), group in by_replicate.groupby(["generator", "budget"], sort=False):
        arms = only_arm(params, name), adding_arm(params, name)
        lost = trials["failed"] & trials["arm"].isin(arms) & (trials["budget"] == budget)
        # Where no judge could be trained, nothing has a label fidelity.
        not_evaluated = group["label_fidelity"].isna() & (group["unknown"] == "")
        failed = {*trials[lost]["seed"], *group[not_evaluated]["seed"]}
        scores = group["cas"].dropna().to_numpy(dtype=np.float64)
        cas = statistics.Interval(np.nan, np.nan, np.nan)
        if len(scores):
            cas = statistics.t_interval(scores, params.report.confidence_level, overlaps[budget])
        regime = "labeled" if params.generators[name].teacher is None else "labeled+unlabeled"
        values = (
            name,
            budget,
            regime,
            len(group),
            len(failed),
            cas.mean,
            cas.low,
            cas.high,
            group["label_fidelity"].mean(),
            arms[1],
        )
        cells = {
            f"{column}_{classifier}": by_arm.get((classifier, arms[1], budget), {}).get(
                column, np.nan
            )
            for classifier in learners(params)
            for column in DELTAS
        }
        rows.append(dict(zip(COLUMNS, values, strict=True)) | cells)
    table = pd.DataFrame(rows)
    order = table.assign(is_partial=table["num_failed"] > 0).sort_values(
        ["budget", "is_partial", "cas"], ascending=[True, True, False], kind="stable"
    )
    return table.loc[order.index].reset_index(drop=True)


def with_places(ranking: pd.DataFrame, timings: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The ranking with places within a budget, and the median `seconds` of training one generator.

    `cas_place` is by CAS, `delta_place` by the delta of the first of `learners`, both among those
    of which no seed failed; ties share a place. What is unknown is NaN.
    """
    trained = timings[timings["stage"] == "train_generator"]
    medians = (
        trained["seconds"].astype(float).groupby([trained["item"], trained["budget"]]).median()
    )
    keys = zip(ranking["generator"], ranking["budget"], strict=True)
    complete = ranking[ranking["num_failed"] == 0].groupby("budget")
    deltas = [f"delta_{name}" for name in learners(params)]
    return ranking.assign(
        cas_place=complete["cas"].rank(ascending=False, method="min"),
        delta_place=complete[deltas[0]].rank(ascending=False, method="min") if deltas else np.nan,
        seconds=[medians.get(key, np.nan) for key in keys],
    )


def champions(ranking: pd.DataFrame, kinds: Mapping[str, str], budget: int) -> dict[str, str]:
    """The generator of the best CAS at `budget` of every kind, the better one first.

    Empty where fewer than two kinds have a generator whose CAS is known: nothing to compare.
    """
    best: dict[str, str] = {}
    for name in ranking[(ranking["budget"] == budget) & ranking["cas"].notna()]["generator"]:
        if name in kinds:
            best.setdefault(kinds[name], name)
    return best if len(best) > 1 else {}

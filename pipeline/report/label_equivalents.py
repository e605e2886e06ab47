"""Label equivalents: how many real labels per class are as good as an arm.

Reads no file.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.config.schema import Params
from pipeline.evaluation import statistics
from pipeline.report.comparisons import Overlaps, main_rows
from pipeline.report.pairing import by_cell, paired
from pipeline.trials.grid import arm_replicates

LABEL_EQUIVALENT_COLUMNS = [
    "classifier",
    "arm",
    "budget",
    "worth",  # the same as `label_equivalent`, under its former name
    "label_equivalent",
    "low",
    "high",
    "least",
    "most",
    "verdict",
    "regime",
]


def label_equivalent_table(
    trials: pd.DataFrame, deltas: pd.DataFrame, params: Params, overlaps: Overlaps
) -> pd.DataFrame:
    """How many real labels per class would give an arm's `report.metric`, one row per claim.

    From the baseline's learning curve between its `least` and `most` budgets, never beyond: minus
    or plus infinity says that the number lies outside. `verdict` is that of the arm against the
    baseline. Empty with a single budget.
    """
    verdicts = main_rows(deltas, params).set_index(["classifier", "arm", "budget"])["verdict"]
    baseline = params.report.baseline
    budgets = sorted({replicate.budget for replicate in arm_replicates(params, baseline)})
    claims = [name for name, arm in params.arms.items() if arm.role == "claim" and name != baseline]
    scores = by_cell(trials)
    rows = []
    for classifier in params.classifiers if len(budgets) > 1 else ():
        arms = [arm for arm in claims if classifier in params.arm_classifiers(arm)]
        keys = [
            {"classifier": classifier, "budget": budget, "metric": params.report.metric}
            for budget in budgets
        ]
        curve = np.stack([paired(scores, key, baseline) for key in keys], axis=1)
        shared = np.array([overlaps[budget] for budget in budgets])
        for budget in sorted(params.study.budgets):
            for arm in arms:
                own_scores = paired(scores, {**keys[0], "budget": budget}, arm)
                interval = statistics.label_equivalent(
                    own_scores, curve, np.array(budgets), params.report.confidence_level, shared
                )
                names = (classifier, arm, budget)
                mean = interval.mean
                values = (mean, mean, interval.low, interval.high, budgets[0], budgets[-1])
                rows.append((*names, *values, verdicts[names], params.regime(arm)))
    return pd.DataFrame(rows, columns=LABEL_EQUIVALENT_COLUMNS)

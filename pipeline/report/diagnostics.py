"""What else a careful reader asks of every comparison, and how many seeds it would need.

Reads no file. `comparisons` decides; nothing here changes a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.schema import Params
from pipeline.evaluation import statistics
from pipeline.report.comparisons import KEYS, Overlaps, holm_families
from pipeline.report.pairing import Cells, by_cell, differences, failures
from pipeline.trials.grid import Trial, arm_replicates, pairs


def diagnostics_table(
    trials: pd.DataFrame,
    correct: Mapping[Trial, NDArray[np.bool_]],
    params: Params,
    overlaps: Overlaps,
    weights: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """One row per comparison: diagnostics beyond its interval and verdict.

    `new_images_*`: the two-level interval, over seeds and test images; blank for macro F1, which is
    no mean over images, and where every seed has its own test set and so there is no table of seeds
    by images. `mcnemar_*`: in how many seeds McNemar's test finds the arm better or worse on its
    test set, all images counting the same. `overlap`: share of images that two seeds' subsets, or
    their test sets, share. `completed_*`: the comparison without failed seeds. `seeds_to_decide`:
    the smallest number of seeds at which the corrected sign-flip test can reach the level;
    `seeds_for_power`: how many a paired t test needs to detect the observed mean delta with 80 %
    power, blank where that mean is zero.
    `correct` maps trials to whether each test image was classified correctly, (num_test,); with
    `weights`, (num_test,), its mean is `report.metric`, without them it is the plain mean.
    """
    keys: list[dict[str, Any]] = [
        dict(zip(KEYS, (classifier, arm, baseline, budget), strict=True))
        for classifier in params.classifiers
        for budget in sorted(params.study.budgets)
        for arm, baseline in pairs(params)
        if arm != baseline and classifier in params.arm_classifiers(arm)
    ]
    scores = by_cell(trials)
    table = pd.DataFrame(
        [_diagnose(scores, correct, key, params, overlaps[key["budget"]], weights) for key in keys]
    )

    # How many tests are corrected together decides how many seeds a comparison needs.
    regimes = table["arm"].map(params.regime)
    compared = table.assign(metric=params.report.metric, regime=regimes)
    num_tests = pd.Series(1, index=table.index)
    for members in holm_families(compared, params):
        num_tests.loc[members] = len(members)
    level = 1 - params.report.confidence_level
    needed = [statistics.seeds_for_sign_test(level, int(size)) for size in num_tests]
    power = table.pop("seeds_for_power")
    return table.assign(seeds_to_decide=needed, seeds_for_power=power)


def _diagnose(
    scores: Cells,
    correct: Mapping[Trial, NDArray[np.bool_]],
    key: dict[str, Any],
    params: Params,
    overlap: float,
    weights: NDArray[np.float64] | None,
) -> dict[str, object]:
    confidence_level = params.report.confidence_level
    arm, baseline = (
        [
            correct[Trial(key["classifier"], key[side], replicate)]
            for replicate in arm_replicates(params, key[side])
            if replicate.budget == key["budget"]
        ]
        for side in ("arm", "baseline")
    )
    both = list(zip(arm, baseline, strict=True))  # by seed
    gains = [one.astype(np.int8) - other for one, other in both]
    new_images = statistics.Interval(np.nan, np.nan, np.nan)
    if not params.data.per_seed and params.report.metric != "macro_f1":
        table = np.stack(gains) * (1 if weights is None else weights)  # (num_seeds, num_test)
        new_images = statistics.two_level_interval(table, confidence_level, overlap)
    significant = np.array([statistics.mcnemar_p(*pair) <= 1 - confidence_level for pair in both])
    better = np.array([gain.mean() for gain in gains])
    key = {**key, "metric": params.report.metric}
    deltas = differences(scores, key, params)
    completed = deltas[~failures(scores, key)]
    rest = statistics.t_interval(completed, confidence_level, overlap) if len(completed) else None
    del key["metric"]
    return {
        **key,
        "new_images_low": new_images.low,
        "new_images_high": new_images.high,
        "mcnemar_better": int((significant & (better > 0)).sum()),
        "mcnemar_worse": int((significant & (better < 0)).sum()),
        "overlap": overlap,
        "completed_n": len(completed),
        "completed_delta": rest.mean if rest else np.nan,
        "completed_low": rest.low if rest else np.nan,
        "completed_high": rest.high if rest else np.nan,
        "seeds_for_power": statistics.seeds_for_power(
            deltas, 1 - confidence_level, correlation=overlap
        ),
    }

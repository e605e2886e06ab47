"""Two arms paired by seed: their differences, and the seeds in which one failed or had no images.

A row here is any mapping with `classifier`, `arm`, `baseline`, `budget` and `metric`: a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.schema import Params
from pipeline.evaluation.metrics import METRICS

Cells = Mapping[tuple[str, str, int], pd.DataFrame]  # by classifier, arm and budget


def metrics_of(trials: pd.DataFrame) -> list[str]:
    """The metrics that the trials have, in the order of `METRICS`."""
    return [name for name in METRICS if name in trials]


def by_cell(trials: pd.DataFrame) -> Cells:
    """The trials of every classifier, arm and budget, in the order of seeds."""
    return dict(iter(trials.sort_values("seed").groupby(["classifier", "arm", "budget"])))


def paired(scores: Cells, row: Mapping[Any, Any], arm: str) -> NDArray[np.float64]:
    """The metric of one arm in the order of seeds, (num_seeds,)."""
    cell = scores[row["classifier"], arm, row["budget"]]
    return cell[str(row["metric"])].to_numpy(dtype=np.float64)


def differences(scores: Cells, row: Mapping[Any, Any], params: Params) -> NDArray[np.float64]:
    """Arm minus baseline in the order of seeds, (num_seeds,), in the unit of the row's metric.

    Against the declared baseline a failed trial counts as the baseline: no difference. Against a
    reference that is worse than the baseline, this score would be a gain for an arm that added
    nothing. So a seed in which the arm failed or had no added image counts as min(0, baseline minus
    reference), and where lower is better as max(0, baseline minus reference).
    """
    reference = paired(scores, row, row["baseline"])
    delta = paired(scores, row, row["arm"]) - reference
    if row["baseline"] == params.report.baseline:
        return delta

    baseline_delta = paired(scores, row, params.report.baseline) - reference
    is_higher_better = METRICS[row["metric"]].higher_is_better
    no_gain = np.minimum(baseline_delta, 0) if is_higher_better else np.maximum(baseline_delta, 0)
    added_nothing = _failed(scores, row, "arm") | _no_images(scores, row, "arm", params)
    return np.where(added_nothing, no_gain, delta)


def failures(scores: Cells, row: Mapping[Any, Any]) -> NDArray[np.bool_]:
    """In which seeds of a comparison a trial failed, (num_seeds,)."""
    return _failed(scores, row, "arm") | _failed(scores, row, "baseline")


def without_images(scores: Cells, row: Mapping[Any, Any], params: Params) -> NDArray[np.bool_]:
    """Seeds in which one of the two arms has none of the images that it adds, (num_seeds,).

    Only images of a generator or with labels of a teacher count; a failed trial has none.
    """
    return _no_images(scores, row, "arm", params) | _no_images(scores, row, "baseline", params)


def unusable(scores: Cells, row: Mapping[Any, Any], params: Params) -> NDArray[np.bool_]:
    """Seeds in which one of the two failed or had no made image to add, (num_seeds,)."""
    return failures(scores, row) | without_images(scores, row, params)


def _no_images(
    scores: Cells, row: Mapping[Any, Any], side: str, params: Params
) -> NDArray[np.bool_]:
    cell = scores[row["classifier"], row[side], row["budget"]]
    has_none = _failed(scores, row, side) | (cell["num_made"] == 0).to_numpy(dtype=bool)
    return np.asarray(has_none & params.arms[row[side]].adds_made_images)


def _failed(scores: Cells, row: Mapping[Any, Any], side: str) -> NDArray[np.bool_]:
    cell = scores[row["classifier"], row[side], row["budget"]]
    return np.asarray(cell["failed"].to_numpy(dtype=bool))

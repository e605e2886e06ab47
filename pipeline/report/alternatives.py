"""The best arm of labeled images alone, which arms with other images have to beat as well.

`report.reference` is declared before the run and may turn out to be a poor choice. So an arm whose
images come from a generator, or have a teacher's labels, is also compared with the best arm that
needs neither. Pure functions over the report's tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.config.schema import FRESH, Params
from pipeline.report.comparisons import compared_alone
from pipeline.report.formatting import Row, as_written

PASSING = ("gain", "weak reference")
Required = dict[str, list[Row]]  # by arm: the comparisons that it has to win


def is_plain(arm: str, params: Params) -> bool:
    """Whether an arm needs the labeled images alone: no generator, no teacher, no other label."""
    recipe = params.arms[arm]
    made_by = (recipe.generator, recipe.discriminator_of, recipe.teacher)
    return recipe.role == "claim" and recipe.inputs != FRESH and not any(made_by)


def best_alternative(cell: Sequence[Row], params: Params) -> Row | None:
    """The row of the best arm of labeled images alone in one cell of classifier and budget.

    By the mean of `report.metric`; None if none is better than the baseline, or valid.
    """
    baseline = params.report.baseline
    rows = [
        row
        for row in cell
        if row["baseline"] == baseline != row["arm"]
        and is_plain(row["arm"], params)
        and row["verdict"] not in ("invalid", "not judged")
        and row["mean_arm"] > row["mean_baseline"]
    ]
    return max(rows, key=lambda row: row["mean_arm"], default=None)


def comparisons_to_win(
    cell: Sequence[Row],
    claims: Sequence[Row],
    trials: pd.DataFrame,
    diagnostics: pd.DataFrame,
    params: Params,
) -> Required:
    """The comparisons that every claim of a cell has to win, besides that with the baseline.

    With its reference, and for an arm that needs a generator or a teacher, with the best arm of
    labeled images alone.
    """
    references = {row["arm"]: row for row in cell if row["baseline"] != params.report.baseline}
    alternative = best_alternative(cell, params)
    required: Required = {}
    for row in claims:
        arm = row["arm"]
        required[arm] = [references[arm]] if arm in references else []
        if alternative is None or is_plain(arm, params):
            continue
        if alternative["arm"] not in [found["baseline"] for found in required[arm]]:
            found = against(arm, alternative, trials, diagnostics, params)
            required[arm] += [found] if found else []
    return required


def over_the_reference(
    cell: Sequence[Row], trials: pd.DataFrame, diagnostics: pd.DataFrame, params: Params
) -> Row | None:
    """The comparison of the best alternative with `report.reference`, if it is shown to be better.

    None also where the reference is the best, or the study has none.
    """
    alternative, name = best_alternative(cell, params), params.report.reference
    references = [
        row for row in cell if row["arm"] == name and row["baseline"] == params.report.baseline
    ]
    if alternative is None or not references or alternative["arm"] == name:
        return None
    found = against(alternative["arm"], references[0], trials, diagnostics, params)
    return found if found and found["verdict"] == "gain" else None


def against(
    arm: str, other: Row, trials: pd.DataFrame, diagnostics: pd.DataFrame, params: Params
) -> Row:
    """The comparison of `arm` with the arm of the row `other`, in the same cell.

    Numbers are rounded as in the CSV files. Empty where the trials of one of the two are not in the
    table.
    """
    key = {name: other[name] for name in ("classifier", "budget", "metric")}
    here = (trials["classifier"] == key["classifier"]) & (trials["budget"] == key["budget"])
    if not {arm, other["arm"], params.report.baseline} <= {*trials["arm"][here]}:
        return {}
    key |= {"arm": arm, "baseline": other["arm"]}
    # The overlap is that of the labeled subsets and test sets, the same for all arms of a budget.
    shared = diagnostics["overlap"][diagnostics["budget"] == key["budget"]].iloc[0]
    row = compared_alone(trials[here], key, params, float(shared))
    return {name: as_written(value) for name, value in row.items()}

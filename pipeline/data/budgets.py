"""Whether the pool is large enough for the budgets of a study, before anything is trained."""

from __future__ import annotations

from pipeline.config.design import is_supervised
from pipeline.config.schema import FRESH, Params
from pipeline.data.images import LabeledImages
from pipeline.data.splits import refuse_large_budget
from pipeline.runtime.errors import ParamsError


def refuse_budgets(params: Params, pool: LabeledImages) -> None:
    """Raise `ParamsError` when the pool has too few images for a budget.

    It needs as many again where an arm adds fresh labels, and one more where a teacher learns from
    unlabeled images. These are checks, not inputs: the stages that train would refuse the same, but
    hours later.
    """
    study = params.study
    refuse_large_budget(pool.labels, study.budgets, "study.budgets")
    refuse_large_budget(pool.labels, study.curve_budgets, "study.curve_budgets")
    needs_unlabeled = any(not is_supervised(params, name) for name in params.teachers)
    if needs_unlabeled and max(study.budgets) * pool.num_classes >= len(pool):
        raise ParamsError(
            "params.yaml: study.budgets",
            "expected more images than the labeled subset, since teachers learn from the rest, "
            f"found that {max(study.budgets)} labels per class take all {len(pool)} images of the "
            "pool",
            "lower that budget or remove the teachers",
        )
    if any(arm.inputs == FRESH for arm in params.arms.values()):
        twice = [2 * budget for budget in study.budgets]
        refuse_large_budget(pool.labels, twice, f"study.budgets, twice, for arms with {FRESH}")

"""How many labels a class has in a subset, and whether the pool is large enough for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config.design import is_supervised
from pipeline.config.schema import FRESH, Params
from pipeline.data.images import UNLABELED, Labels
from pipeline.runtime.errors import ParamsError

Counts = NDArray[np.int64]  # (num_classes,)


def class_counts(labels: Labels, num_classes: int) -> Counts:
    """How many images of every class there are."""
    return np.bincount(labels[labels != UNLABELED], minlength=num_classes).astype(np.int64)


def class_budgets(imbalance: Literal["natural"] | float, budget: int, natural: Counts) -> Counts:
    """The labels per class of a subset, at least one of each; the largest class has `budget`.

    `imbalance` is the ratio of labels of the first class to those of the last: class k of K gets
    budget * imbalance ** (-k / (K - 1)), in the order of the classes. `natural`: in proportion to
    the counts `natural`, those of the dataset. A larger budget never has fewer labels of a class.

    Source: Cui et al. (2019), "Class-balanced loss based on effective number of samples", the
    long-tailed version of a dataset.
    """
    if imbalance == "natural":
        shares = natural / natural.max()
    else:
        steps = np.arange(len(natural)) / max(1, len(natural) - 1)
        shares = np.float64(imbalance) ** -steps
    return np.maximum(1, np.round(budget * shares)).astype(np.int64)


def needed_counts(params: Params, natural: Counts) -> Counts:
    """How many images of every class the pool must have for all budgets, fresh labels included."""
    study, imbalance = params.study, params.data.imbalance
    wanted = [*study.budgets, *study.curve_budgets]
    needed = class_budgets(imbalance, max(wanted), natural)
    if uses_fresh(params):
        needed = np.maximum(needed, 2 * class_budgets(imbalance, max(study.budgets), natural))
    return needed


def uses_fresh(params: Params) -> bool:
    """Whether an arm uses fresh labels, as many as the budget."""
    return any(arm.inputs == FRESH for arm in params.arms.values())


def refuse_budgets(
    params: Params, labels: Labels, natural: Counts, class_names: Sequence[str]
) -> None:
    """Raise `ParamsError` when a pool with these labels has too few images for a budget.

    It needs as many again where an arm adds fresh labels, and one more where a teacher learns from
    unlabeled images. These are checks, not inputs: the stages that train would refuse the same, but
    hours later.
    """
    study, imbalance = params.study, params.data.imbalance
    counts = class_counts(labels, len(class_names))
    largest = max(study.budgets)
    own = class_budgets(imbalance, largest, natural)
    refuse_large_budget(counts, own, "study.budgets", class_names)
    if study.curve_budgets:
        curve = class_budgets(imbalance, max(study.curve_budgets), natural)
        refuse_large_budget(counts, curve, "study.curve_budgets", class_names)
    needs_unlabeled = any(not is_supervised(params, name) for name in params.teachers)
    if needs_unlabeled and own.sum() >= len(labels):
        raise ParamsError(
            "params.yaml: study.budgets",
            "expected more images than the labeled subset, since teachers learn from the rest, "
            f"found that {largest} labels per class take all {len(labels)} images of the pool",
            "lower that budget or remove the teachers",
        )
    if uses_fresh(params):
        key = f"study.budgets, twice, for arms with {FRESH}"
        refuse_large_budget(counts, 2 * own, key, class_names)
    refuse_folds(params, natural, class_names)


def refuse_folds(params: Params, natural: Counts, class_names: Sequence[str]) -> None:
    """Raise `ParamsError` when a class has fewer labels in the smallest subset than tune.folds."""
    tune, budget = params.tune, min(params.study.budgets)
    if len(tune.latent_std) == len(tune.min_probability) == 1:
        return
    counts = class_budgets(params.data.imbalance, budget, natural)
    scarce = int(counts.argmin())
    if counts[scarce] < tune.folds:
        raise ParamsError(
            "params.yaml: tune.folds",
            f"expected at most the {counts[scarce]} labeled images of class {class_names[scarce]} "
            f"in subsets of budget {budget}, found {tune.folds}",
            "lower it, raise study.budgets, or give a single candidate for each tuned setting",
        )


def refuse_large_budget(
    counts: Counts, wanted: Counts, key: str, class_names: Sequence[str]
) -> None:
    """Raise `ParamsError` naming `key` when `wanted` labels of a class exceed those of the pool."""
    scarce = int((counts - wanted).argmin())
    if wanted[scarce] > counts[scarce]:
        raise ParamsError(
            f"params.yaml: {key}",
            f"expected at most {counts[scarce]} labeled images per class (the pool has no more of "
            f"class {class_names[scarce]}), found {wanted[scarce]}",
            "lower that budget or use a larger dataset",
        )

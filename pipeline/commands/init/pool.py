"""The size of the test set and the budgets, as the smallest class allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.commands.init.describe import Counts, Description
from pipeline.commands.init.options import Options
from pipeline.runtime.errors import ParamsError

BUDGETS = (10, 5, 3, 2, 1)  # labels per class, the first for which the pool is large enough
SHARED_TEST = 100  # test images per class, where there are enough images
TEST_FRAC = 0.3


def held_out_test(
    description: Description, options: Options, reasons: dict[str, str]
) -> dict[str, Any]:
    """The keys of the hold-out; none where the dataset has a test set of its own."""
    if description.test_counts is not None:
        for flag, value in (
            ("--test-frac", options.test_frac),
            ("--test-per-class", options.test_per_class),
            ("--per-seed" if options.per_seed else "--shared-test", options.per_seed),
        ):
            if value is not None:
                raise ParamsError(
                    f"init: {flag}", "expected none, since there is a test set", "drop it"
                )
        return {}
    smallest = int(description.counts.min())
    is_large = smallest - SHARED_TEST >= 5 * BUDGETS[0]
    per_class = options.test_per_class
    if per_class is None and is_large and options.test_frac is None and not options.per_seed:
        per_class = SHARED_TEST
    if per_class is not None:
        reasons["data.test"] = "one test set for all seeds; --test-frac 0.3 for one per seed"
        return {"test_per_class": per_class}

    per_seed = options.per_seed if options.per_seed is not None else not is_large
    reasons["data.test"] = f"the smallest class has {smallest} images" + (
        "; every seed has a different test set" if per_seed else ""
    )
    frac = TEST_FRAC if options.test_frac is None else options.test_frac
    return {"test": {"frac": frac, "per_seed": per_seed}}


def budgets_of(
    description: Description,
    options: Options,
    choices: tuple[int, ...],
    test: dict[str, Any],
    natural: bool,
    reasons: dict[str, str],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Budgets, and budgets of the learning curve, as large as the pool allows."""
    counts = description.counts
    pool = counts - held_out(counts, test)
    # With the proportions of the dataset, a budget is the number of labels of the largest class.
    label = int(pool.argmax() if natural else pool.argmin())
    left, name = int(pool[label]), description.raw.class_names[label]
    budgets = options.budgets or (
        next((budget for budget in choices if left >= 4 * budget), choices[-1]),
    )
    largest = max(budgets)
    if left < 2 * largest:
        _refuse_test_of(options, name, int(counts[label]), left)
        raise ParamsError(
            "init: --budget",
            f"expected at most {left // 2}, half of the {left} images of class {name} that are not "
            f"in the test set, found {largest}",
            "lower it",
        )
    # Subsets of more than half of the pool would be nearly the same for every seed.
    wanted = (2 * largest, 5 * largest if left >= 10 * largest else 4 * largest)
    curve = tuple(budget for budget in wanted if left >= 2 * budget)
    reasons["study.budgets"] = f"at most {left // 2}, half of what class {name} has for training"
    return tuple(budgets), curve


def _refuse_test_of(options: Options, name: str, count: int, left: int) -> None:
    """Raise `ParamsError` if it is the test set that leaves less than two images of a class."""
    flag, found = "--test-frac", options.test_frac
    if options.test_per_class is not None:
        flag, found = "--test-per-class", options.test_per_class
    if found is not None and left < 2:
        raise ParamsError(
            f"init: {flag}",
            f"expected a test set that leaves at least 2 of the {count} images of class {name} for "
            f"training, found {found}",
            "lower it",
        )


def held_out(counts: Counts, test: dict[str, Any]) -> Counts:
    """Images of every class that become test images."""
    if "test_per_class" in test:
        return np.full_like(counts, test["test_per_class"])
    if "test" in test:
        return np.maximum(1, np.round(test["test"]["frac"] * counts)).astype(np.int64)
    return np.zeros_like(counts)

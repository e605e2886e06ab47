"""The settings that suit a dataset, each with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.commands.init.describe import TWIN, Counts, Description
from pipeline.commands.init.options import Options
from pipeline.runtime.errors import DataError, ParamsError

BUDGETS = (10, 5, 3, 2, 1)  # labels per class, the first for which the pool is large enough
SEEDS = 10  # fewer do not give the verdict "gain"
SHARED_TEST = 100  # test images per class, where there are enough images
TEST_FRAC = 0.3
LEAST = 5  # different images of a class
MANY_TWINS = 0.05  # share of images with a near twin from which they are grouped
UNEVEN_TEST = 1.5  # largest class of the test set over its smallest
UNBALANCED = 3.0  # the same ratio, of the whole dataset
MANY_CLASSES = 20  # with more, each gets fewer synthetic images, since time grows with the square
LARGE = 40 * 40  # pixels; generators of larger images get fewer steps

# Core seconds on images of 32 x 32 pixels, with ten classes: measured on one core of an AMD EPYC.
DCGAN_STEP, CNN_STEP, LGBM_ROW, LGBM_FIT = 0.08, 0.013, 0.0022, 0.5
STAGES = 120.0  # seconds: starting the stages, judge and report


@dataclass(frozen=True)
class Proposal:
    """What goes into params.yaml. `reasons` has a comment for a key, such as `study.budgets`."""

    test: dict[str, Any]  # data.test, data.test_per_class, or nothing
    group: dict[str, Any]
    natural: bool  # data.imbalance
    budgets: tuple[int, ...]
    curve_budgets: tuple[int, ...]
    seeds: int
    steps: int
    cnn_steps: int
    num_trees: int
    per_class: int
    metric: str
    smallest_effect: float
    reasons: dict[str, str]

    def minutes(self, description: Description, cores: int) -> float:
        """About how long the whole study takes."""
        _, height, width = description.shape
        classes = len(description.counts)
        pixels = max(0.2, height * width / 32**2)  # small images save less time
        budgets = self.seeds * len(self.budgets)
        curve = self.seeds * len(self.curve_budgets)
        real = self.steps + 2 * classes * max(self.budgets)
        arms = 13 if self.natural else 8

        generators = budgets * real * DCGAN_STEP * pixels
        fits = budgets * (arms + 1) + curve
        networks = fits * self.cnn_steps * CNN_STEP * pixels
        rows = classes * (self.per_class + max(self.budgets))
        share = self.num_trees / 100 * classes / 10 * description.shape[0] / 3
        trees = budgets * (arms - 2) * (LGBM_FIT + rows * LGBM_ROW * share * pixels)
        return (generators + networks + trees) / cores / 60 + STAGES / 60


def propose(
    description: Description, options: Options, choices: tuple[int, ...] = BUDGETS
) -> Proposal:
    """The settings for a dataset; flags override guesses. `choices` are the candidate budgets.

    Raises `DataError` naming classes that are too small.
    """
    counts, names = description.counts, description.raw.class_names
    refuse_small_classes(counts, names)
    reasons: dict[str, str] = {}
    natural = description.imbalance > UNBALANCED
    if natural:
        reasons["data.imbalance"] = (
            f"the largest class has {description.imbalance:.1f} times the images of the smallest"
        )

    test = _test(description, options, reasons)
    group = _group(description, options, reasons)
    budgets, curve = _budgets(description, options, choices, test, natural, reasons)
    seeds = options.seeds or SEEDS
    reasons["study.seeds"] = "at least 10 for the verdict gain"

    # Small budgets need fewer steps; large images get fewer, since each step is slower.
    largest, classes = max(budgets), len(counts)
    effort = 1.0 if largest >= BUDGETS[0] else 0.5
    _, height, width = description.shape
    steps = round(700 * effort * min(1.0, LARGE / (height * width)), -1)
    share = min(1.0, MANY_CLASSES / classes)
    per_class = max(round(200 * share, -1) // (1 if effort == 1 else 2), 2 * largest)
    test_images = _test_images(counts, description.test_counts, test)
    uneven = test_images.max() > UNEVEN_TEST * max(1, test_images.min())
    if uneven:
        reasons["report.metric"] = (
            f"{int(test_images.min())} to {int(test_images.max())} test images per class"
        )
    return Proposal(
        test,
        group,
        natural,
        budgets,
        curve,
        seeds,
        steps=max(250, int(steps)),
        cnn_steps=int(500 * effort),
        num_trees=max(40, round(100 * share)),
        per_class=int(per_class),
        metric="balanced_accuracy" if uneven else "accuracy",
        smallest_effect=_smallest_effect(int(test_images.sum()), reasons),
        reasons=reasons,
    )


def refuse_small_classes(counts: Counts, names: tuple[str, ...]) -> None:
    """Raise `DataError` naming classes with fewer than `LEAST` different images."""
    small = [f"{names[label]!r} ({counts[label]})" for label in np.flatnonzero(counts < LEAST)]
    if small:
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        raise DataError(
            "init",
            f"expected at least {LEAST} different images of every class, found too few of "
            f"{', '.join(small[:5])}{more}",
            "add images, or leave these classes out by naming the others: --classes A,B,C",
        )


def _test(description: Description, options: Options, reasons: dict[str, str]) -> dict[str, Any]:
    """The keys of the hold-out; none where the dataset has a test set of its own."""
    if description.test_counts is not None:
        for flag, value in (
            ("--test-frac", options.test_frac),
            ("--test-per-class", options.test_per_class),
            ("--per-seed", options.per_seed),
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


def _group(description: Description, options: Options, reasons: dict[str, str]) -> dict[str, Any]:
    """The rule of `data.group`; near twins are grouped if there are many."""
    if options.group or options.no_groups:
        return options.group
    twins = description.twins
    if description.twin_share < MANY_TWINS and not twins.num_across:
        return {}
    reasons["data.group"] = (
        f"{twins.num_images} images have a near twin, which must not be on both sides of a split"
    )
    if twins.num_across:
        reasons["data.group"] += (
            f"; {twins.num_across} training images of the test set's are dropped"
        )
    return {"twins": TWIN}


def _budgets(
    description: Description,
    options: Options,
    choices: tuple[int, ...],
    test: dict[str, Any],
    natural: bool,
    reasons: dict[str, str],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Budgets, and budgets of the learning curve, as large as the pool allows."""
    counts = description.counts
    pool = counts - _held_out(counts, test)
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


def _held_out(counts: Counts, test: dict[str, Any]) -> Counts:
    """Images of every class that become test images."""
    if "test_per_class" in test:
        return np.full_like(counts, test["test_per_class"])
    if "test" in test:
        return np.maximum(1, np.round(test["test"]["frac"] * counts)).astype(np.int64)
    return np.zeros_like(counts)


def _test_images(counts: Counts, own: Counts | None, test: dict[str, Any]) -> Counts:
    return _held_out(counts, test) if own is None else own


def _smallest_effect(num_test: int, reasons: dict[str, str]) -> float:
    """The smallest effect of interest, by the size of the test set."""
    reasons["report.smallest_effect"] = f"for {num_test} test images"
    if num_test >= 1000:
        return 0.005
    return 0.01 if num_test >= 200 else 0.02

"""The settings that suit a dataset, each with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.classifiers.cnn import MIN_SIDE_THREE
from pipeline.commands.init.describe import TWIN, Counts, Description
from pipeline.commands.init.options import Options
from pipeline.commands.init.pool import BUDGETS, budgets_of, held_out, held_out_test
from pipeline.runtime.errors import DataError

SEEDS = 10  # fewer do not give the verdict "gain"
LEAST = 5  # different images of a class
MANY_TWINS = 0.05  # share of images with a near twin from which they are grouped
UNEVEN_TEST = 1.5  # largest class of the test set over its smallest
UNBALANCED = 3.0  # the same ratio, of the whole dataset
MANY_CLASSES = 20  # with more, each gets fewer synthetic images, since time grows with the square
SMALL_EFFORT = 0.3  # share of the steps of a study with fewer labels than ten
LARGE = 40 * 40  # pixels; generators of larger images get fewer steps

# Cross-validation of transforms: candidates, and how long its classifiers are trained; folds and
# steps of the CNN where it has two convolutions, and where it has three and a step takes twice as
# long.
NUM_TRANSFORMS, FOLD_TREES = 6, 40
FOLDS, FOLD_STEPS = {2: 5, 3: 3}, {2: 200, 3: 120}

# Core seconds on images of 32 x 32 pixels, with ten classes, on an AMD EPYC: rough, since they were
# measured beside other work. Slower processors take up to twice as long.
DCGAN_STEP, LGBM_ROW, LGBM_FIT = 0.1, 0.0022, 0.5
CNN_STEP = {2: 0.013, 3: 0.029}  # by the number of convolutions
TEACHER = 150.0  # of one replicate, with its cross-validation
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
    num_convolutions: int  # of the CNN
    num_trees: int
    features: tuple[str, ...]  # of LightGBM
    per_class: int
    per_class_pseudo: int  # unlabeled images per class; 0 if there are none
    metric: str
    smallest_effect: float
    reasons: dict[str, str]

    @property
    def fold_steps(self) -> int:
        """Steps of the CNN in the cross-validation of transforms."""
        return min(FOLD_STEPS[self.num_convolutions], self.cnn_steps)

    @property
    def num_folds(self) -> int:
        """Folds of the cross-validation of transforms."""
        return FOLDS[self.num_convolutions]

    @property
    def fold_trees(self) -> int:
        """Boosting rounds of LightGBM in the cross-validation of transforms."""
        return min(FOLD_TREES, self.num_trees)

    def minutes(self, description: Description, cores: int) -> float:
        """About how long the whole study takes."""
        _, height, width = description.shape
        classes = len(description.counts)
        pixels = max(0.2, height * width / 32**2)  # small images save less time
        budgets = self.seeds * len(self.budgets)
        curve = self.seeds * len(self.curve_budgets)
        real = self.steps + 2 * classes * max(self.budgets)
        arms = 14 if self.natural else 9
        folds = budgets * self.num_folds

        generators = budgets * real * DCGAN_STEP * pixels
        trained = budgets * (arms + 1) + curve
        steps = trained * self.cnn_steps + folds * NUM_TRANSFORMS * self.fold_steps
        networks = steps * CNN_STEP[self.num_convolutions] * pixels
        rows = classes * (self.per_class + max(self.budgets))
        share = classes / 10 * description.shape[0] / 3
        hundred_trees = LGBM_FIT + rows * LGBM_ROW * share * pixels
        # The two tuned arms: up to three times the rows, twice the trees. Folds: half the rows.
        fits: float = budgets * (arms - 2 + 2 * 6) * self.num_trees
        fits += folds * (NUM_TRANSFORMS + 4) * self.fold_trees / 2
        trees = fits / 100 * hundred_trees
        teachers = budgets * TEACHER * pixels if self.per_class_pseudo else 0.0
        return (generators + networks + trees + teachers) / cores / 60 + STAGES / 60


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

    test = held_out_test(description, options, reasons)
    group = _group(description, options, reasons)
    budgets, curve = budgets_of(description, options, choices, test, natural, reasons)
    seeds = options.seeds or SEEDS
    reasons["study.seeds"] = "at least 10 for the verdict gain"

    # Small budgets need fewer steps; large images get fewer, since each step is slower.
    largest, classes = max(budgets), len(counts)
    effort = 1.0 if largest >= BUDGETS[0] else SMALL_EFFORT
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
        steps=max(200, int(steps)),
        cnn_steps=int(500 * effort),
        num_convolutions=3 if min(height, width) >= MIN_SIDE_THREE else 2,
        num_trees=max(40, round(100 * share)),
        features=("hog",) if description.shape[0] == 1 else ("hog", "color"),
        per_class=int(per_class),
        per_class_pseudo=-(-description.num_unlabeled // classes),
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
        reasons["data.group"] += f"; {twins.num_across} training images have one in the test set"
    return {"twins": TWIN}


def _test_images(counts: Counts, own: Counts | None, test: dict[str, Any]) -> Counts:
    return held_out(counts, test) if own is None else own


def _smallest_effect(num_test: int, reasons: dict[str, str]) -> float:
    """The smallest effect of interest, by the size of the test set."""
    reasons["report.smallest_effect"] = f"for {num_test} test images"
    if num_test >= 1000:
        return 0.005
    return 0.01 if num_test >= 200 else 0.02

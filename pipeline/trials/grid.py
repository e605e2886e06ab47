"""The grid of replicates and the classifier trials that a study expects.

Names only: no file is read. The report compares what is there with what is expected here, so that
a missing trial is noticed and one that does not belong is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.design import arm_budgets, is_tuned
from pipeline.config.design import pairs as pairs  # noqa: PLC0414  # for its callers
from pipeline.config.schema import Params, StudyParams


@dataclass(frozen=True, order=True)
class Replicate:
    """One labeled subset: `budget` labeled images per class under replicate number `seed`."""

    budget: int
    seed: int

    def __str__(self) -> str:
        return f"budget {self.budget}, seed {self.seed}"

    def file(self, suffix: str) -> Path:
        """`budget-0010/seed-00<suffix>`, relative to the output folder of a stage's item."""
        return Path(f"budget-{self.budget:04d}") / f"seed-{self.seed:02d}{suffix}"

    def columns(self) -> dict[str, str | int]:
        """Its columns in tables."""
        return {"budget": self.budget, "seed": self.seed}


@dataclass(frozen=True)
class Trial:
    """One classifier trained on one arm's training set in one replicate."""

    classifier: str
    arm: str
    replicate: Replicate

    def file(self) -> Path:
        """The file of its probabilities, relative to `results/`."""
        return Path(self.arm) / self.replicate.file(f".{self.classifier}.npz")


def replicates(study: StudyParams) -> list[Replicate]:
    """The grid, by budget, then by seed in the order of params.yaml."""
    return [Replicate(budget, seed) for budget in sorted(study.budgets) for seed in study.seeds]


def curve_replicates(study: StudyParams) -> list[Replicate]:
    """The grid with the budgets of the baseline's learning curve as well."""
    budgets = study.budgets + study.curve_budgets
    return replicates(study.model_copy(update={"budgets": budgets}))


def arm_replicates(params: Params, arm: str) -> list[Replicate]:
    """The grid of one arm; the baseline's has the budgets of its learning curve as well."""
    budgets = arm_budgets(params, arm)
    return replicates(params.study.model_copy(update={"budgets": budgets}))


def expected_trials(params: Params) -> list[Trial]:
    """Every classifier trial of the study, in the order of params.yaml."""
    return [
        Trial(classifier, arm, replicate)
        for classifier in params.classifiers
        for arm in params.arms
        if classifier in params.arm_classifiers(arm)
        for replicate in arm_replicates(params, arm)
    ]


def choices(params: Params) -> list[tuple[str, Replicate, str]]:
    """Every (tuned transform, replicate, classifier) that an arm needs a choice for, once."""
    needed = {
        (arm.transform, replicate, classifier)
        for name, arm in params.arms.items()
        if is_tuned(params, arm.transform)
        for replicate in arm_replicates(params, name)
        for classifier in params.arm_classifiers(name)
    }
    orders = list(params.transforms), list(params.classifiers)
    return sorted(
        needed, key=lambda key: (orders[0].index(key[0]), key[1], orders[1].index(key[2]))
    )

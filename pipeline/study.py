"""What is studied: the images, and the grid of replicates; two sections of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipeline.sections import Count, Section


class ForeignParams(Section):
    """Classes that are no task of the study, and their share of the unlabeled images."""

    classes: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    frac: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_classes(self) -> ForeignParams:
        if self.frac > 0 and not self.classes:
            raise ValueError(
                f"foreign.classes: expected classes to take a share of {self.frac} from, found none"
            )
        return self


class DataParams(Section):
    """Which images, and how many of them are set aside for scoring."""

    name: str
    path: str | None = None
    test_per_class: Count
    foreign: ForeignParams = ForeignParams()


class StudyParams(Section):
    """The replicate grid: every budget with every seed, and more budgets for the baseline."""

    budgets: list[Annotated[int, Field(gt=0)]] = Field(min_length=1)
    curve_budgets: list[Annotated[int, Field(gt=0)]] = Field(default_factory=list)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_repeats(self) -> StudyParams:
        budgets = self.budgets + self.curve_budgets
        key = "budgets and study.curve_budgets" if self.curve_budgets else "budgets"
        for name, values in ((key, budgets), ("seeds", self.seeds)):
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(
                    f"study.{name}: expected different values, found {repeated} more than once"
                )
        return self

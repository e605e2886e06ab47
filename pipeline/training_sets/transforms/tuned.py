"""A transform that every replicate and classifier chooses by cross-validation.

The stage `tune_transforms` chooses; `training_sets.choosing` has the rule.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from pydantic import Field, model_validator

from pipeline.config.validation import Count, Section, refuse_repeats
from pipeline.nn.background import Background
from pipeline.nn.mixing import AnyTransform

NONE = "none"


class TunedConfig(Section):
    """The candidates, and how they are compared inside the labeled subset.

    `classifier_settings` maps names of classifiers to candidate settings, each a change of the
    classifier's section; the first one is used while the transform is chosen. `fold_settings` are
    for the cross-validation alone, such as fewer steps. `per_class`: images added per class, as in
    an arm.
    """

    choices: list[str] = Field(min_length=2)
    folds: int = Field(default=5, ge=2, le=10)  # fewer where a class has fewer labeled images
    repeats: int = Field(default=1, ge=1, le=20)  # of the cross-validation, with other folds
    per_class: Count = 200
    classifier_settings: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    fold_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)

    level: ClassVar[int] = 2

    @model_validator(mode="after")
    def _check_choices(self) -> TunedConfig:
        refuse_repeats("choices", self.choices)
        if NONE not in self.choices:
            raise ValueError(
                f"choices: expected `{NONE}` as one of the choices, found "
                f"{', '.join(self.choices)} (add it)"
            )
        for name, candidates in self.classifier_settings.items():
            if not candidates:
                raise ValueError(
                    f"classifier_settings.{name}: expected at least one candidate such as {{}}, "
                    "found none"
                )
        return self

    @property
    def names(self) -> list[str]:
        """The transforms that this one chooses from."""
        return [name for name in self.choices if name != NONE]


def tuned(config: TunedConfig, background: Background, *parts: AnyTransform) -> NoReturn:
    """Raises `RuntimeError`: a tuned transform must be resolved first, to one of its choices."""
    raise RuntimeError("a tuned transform must be resolved before it is built")

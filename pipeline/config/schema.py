"""The schema of params.yaml.

A generator's, teacher's or classifier's own settings are kept raw here. `commands.check` and the
stages check them against the `Config` of its family, so this module does not import any family.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from pipeline.config import design
from pipeline.config.arms import FRESH, MODELS, SUBSETS, SYNTHETIC, AnyArm, ArmParams, Role
from pipeline.config.design import Regime
from pipeline.config.validation import (
    FILE,
    Count,
    Member,
    Name,
    Section,
    parse_yaml,
    read_text,
    refuse_repeats,
    renamed_key,
    validate,
)
from pipeline.runtime.bits import Bits

# Re-exported from `arms` for those who read params.
__all__ = ["FRESH", "MODELS", "SUBSETS", "SYNTHETIC", "ArmParams", "Params", "Role", "load_params"]


class UnknownClassesParams(Section):
    """Classes outside the task, and their share of the unlabeled images."""

    classes: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    frac: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_classes(self) -> UnknownClassesParams:
        if self.frac > 0 and not self.classes:
            raise ValueError(f"classes: expected at least one with frac {self.frac}, found none")
        refuse_repeats("classes", self.classes)
        return self


MIN_SIDE, MAX_SIDE = 4, 128  # pixels of an image
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]
Level = Annotated[int, Field(ge=0, le=255)]
# Similarity from which a key of `data` is taken for a misspelled one: `classes`, a setting of
# datasets, has 0.64 with `unknown_classes`.
MISSPELLED = 0.8


class ResizeParams(Section):
    """The size of all images in pixels, one side or (height, width), and how they are resized.

    `crop` cuts the longer side at both ends, `pad` fills both ends of the shorter one with the
    levels of `background`, or the color of the image's border, `stretch` changes the aspect ratio.
    """

    size: Side | Annotated[tuple[Side, Side], Field(strict=False)]  # YAML has lists only
    policy: Literal["crop", "pad", "stretch"] = "crop"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = [self.size] * 2 if isinstance(self.size, int) else self.size
        return height, width


class HoldOutParams(Section):
    """A held-out test set, as a share of the images of every class.

    `per_seed`: a different test set for every seed, for datasets too small for a single large one.
    """

    frac: float = Field(gt=0, lt=1)
    per_seed: bool = False


class GroupParams(Section):
    """Which images belong together and stay on one side of every split; one of four rules.

    `column`: equal values in a column of the table. `name`: equal matches of a regular expression
    in the file name (its first group, if it has one). `folder`: equal sub-folders of the class
    folder. `twins`: images whose pixels have at least this correlation, and chains of such images.
    """

    column: str | None = None
    name: str | None = None
    folder: bool = False
    twins: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_rule(self) -> GroupParams:
        rules = [key for key in type(self).model_fields if getattr(self, key)]
        if len(rules) != 1:
            raise ValueError(
                f"expected exactly one of column, name, folder and twins, found "
                f"{', '.join(rules) or 'none'}"
            )
        return self


class DataParams(Section):
    """The dataset, how its images are read, and how they are split.

    Keys that are not here become `settings` of the dataset, which its `Config` checks, unless they
    look like a misspelled or renamed key.
    """

    name: str
    settings: Member = Field(default_factory=dict)
    resize: ResizeParams | None = None  # None: as they are, all of one size
    # Color of the background, a value per channel; auto: measured; none: photos without one.
    background: Literal["auto", "none"] | list[Level] = "auto"

    # The test set of a dataset without its own: one of the two.
    test_per_class: Count | None = None
    test: HoldOutParams | None = None
    group: GroupParams | None = None
    unknown_classes: UnknownClassesParams = Field(examples=["{classes: [], frac: 0.0}"])
    # Ratio of the labeled images of the largest class to the smallest; natural: as in the dataset.
    imbalance: Literal["natural"] | Annotated[float, Field(ge=1, le=1000)] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _separate_settings(cls, section: Any) -> Any:
        if not isinstance(section, dict) or "settings" in section:
            return section
        settings = {
            key: value
            for key, value in section.items()
            if key not in cls.model_fields
            and renamed_key(f"data.{key}") is None
            and not difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=MISSPELLED)
        }
        own = {key: value for key, value in section.items() if key not in settings}
        return {**own, "settings": settings}

    @model_validator(mode="after")
    def _known_channels(self) -> DataParams:
        levels = self.background
        if isinstance(levels, list) and len(levels) not in (1, 3):
            raise ValueError(
                f"background: expected one value, or 3 (one per channel), found {levels}"
            )
        return self

    @model_validator(mode="after")
    def _one_test(self) -> DataParams:
        if self.test is not None and self.test_per_class is not None:
            raise ValueError("test: expected none beside test_per_class, found both")
        return self

    @property
    def per_seed(self) -> bool:
        """Whether every seed has a test set, and so a pool, of its own."""
        return self.test is not None and self.test.per_seed


class StudyParams(Section):
    """The replicates: every budget with every seed, and more budgets for the baseline."""

    budgets: list[Annotated[int, Field(gt=0)]] = Field(min_length=1)
    curve_budgets: list[Annotated[int, Field(gt=0)]] = Field(default_factory=list)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_repeats(self) -> StudyParams:
        for key, values in (("budgets", self.budgets + self.curve_budgets), ("seeds", self.seeds)):
            refuse_repeats(key, values, " (curve_budgets included)" if key == "budgets" else "")
        return self


class MemberParams(Section):
    """A member of an open family: its family, and the settings of that family, unchecked."""

    model_config = ConfigDict(extra="allow")

    family: str | None = None  # None: the member's own name

    example: ClassVar[str]  # a section, for errors

    @model_validator(mode="before")
    @classmethod
    def _refuse_empty(cls, section: Any) -> Any:
        if section is None:
            raise ValueError(f"expected a section such as {cls.example}, found nothing")
        return section

    @property
    def settings(self) -> Member:
        """The settings that the family's `Config` checks."""
        return dict(self.model_extra or {})


class GeneratorParams(MemberParams):
    """A generator, and the labeled images that it learns from."""

    inputs: str

    example = "{inputs: data/splits/subsets}"

    @property
    def teacher(self) -> str | None:
        """The teacher whose labels of unlabeled images it learns from, or None."""
        return self.inputs.removeprefix(MODELS) if self.inputs.startswith(MODELS) else None


class TeacherParams(MemberParams):
    """A teacher: it gives labels or class probabilities to images."""

    example = "{family: automatic}"


class ClassifierParams(MemberParams):
    """A classifier that is trained on every arm."""

    example = "{family: cnn, steps: 500}"


class TransformParams(MemberParams):
    """A transform of images, which arms and teachers name."""

    example = "{family: color, brightness: 0.3}"


def family(section: MemberParams, name: str) -> str:
    """The family of the member `name`: its own name unless the section says otherwise."""
    return section.family or name


class SynthesizeParams(Section):
    """How many images every generator samples, and the teacher that filters them.

    The teacher is for generators that learn from the labeled subset alone. The images of a
    generator that learns from a teacher's labels are filtered by that teacher.
    """

    per_class: Count
    teacher: str = Field(examples=["supervised"])

    @field_validator("teacher", mode="before")
    @classmethod
    def _is_a_name(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ValueError(
                "expected the name of a teacher, found a section (move it to teachers.supervised "
                "and write teacher: supervised)"
            )
        if value is None:
            raise ValueError("expected the name of a teacher of family supervised, found none")
        return value


class TuneParams(Section):
    """Candidates that every replicate chooses from by cross-validation; a single one is fixed."""

    latent_std: list[Annotated[float, Field(gt=0, le=2)]] = Field(min_length=1)
    min_probability: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=1)
    folds: int = Field(ge=2, le=10)

    @model_validator(mode="after")
    def _no_repeats(self) -> TuneParams:
        refuse_repeats("latent_std", self.latent_std)
        refuse_repeats("min_probability", self.min_probability)
        return self


class Comparison(Section):
    """One comparison of an arm with the baseline."""

    classifier: str
    arm: str
    budget: int


class ReportParams(Section):
    """What counts as a result; declared before the run."""

    baseline: str
    reference: str | None = None
    primary: Comparison
    # Used by verdicts, recommendation and figures.
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1"] = "accuracy"
    confidence_level: float = Field(gt=0.5, lt=1)
    smallest_effect: float = Field(ge=0, lt=1)


class EngineParams(Section):
    """How trials are spread over the machine; changes speed, never results."""

    kind: str
    workers: int = Field(ge=0, le=1024)


class Params(Section):
    """All of params.yaml. A key that dvc.yaml names has no default, since DVC knows none."""

    bits: Bits = Field(examples=["portable"])
    data: DataParams
    study: StudyParams
    teachers: dict[Name, TeacherParams] = Field(examples=["{supervised: {classifier: cnn}}"])
    generators: dict[Name, GeneratorParams]
    synthesize: SynthesizeParams
    tune: TuneParams
    classifiers: dict[Name, ClassifierParams] = Field(min_length=1)
    transforms: dict[Name, TransformParams]
    arms: dict[Name, AnyArm] = Field(min_length=1)
    report: ReportParams
    engine: EngineParams

    @model_validator(mode="after")
    def _fits_together(self) -> Params:
        if problems := list(design.problems(self)):
            raise ValueError("; ".join(problems))
        return self

    def regime(self, arm: str) -> Regime:
        """See `design.regime`."""
        return design.regime(self, arm)

    def reference(self, arm: str) -> str | None:
        """See `design.reference`."""
        return design.reference(self, arm)

    def marked(self, arm: str) -> str:
        """See `design.marked`."""
        return design.marked(self, arm)

    def arm_classifiers(self, arm: str) -> list[str]:
        """See `design.arm_classifiers`."""
        return design.arm_classifiers(self, arm)

    def family(self, generator: str) -> str:
        """The family of a generator."""
        return family(self.generators[generator], generator)

    def section(self, key: str) -> Any:
        """The plain values of `synthesize`, `classifiers.cnn` or `data.unknown_classes`.

        An arm's role and classifiers are left out: they decide which trials there are and how the
        report reads them, not what a trial computes.
        """
        value: Any = self
        for name in key.split("."):
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        left_out = {"role", "classifiers"}
        return value.model_dump(exclude=left_out) if isinstance(value, Section) else value


def load_params(root: Path) -> Params:
    """The validated params.yaml of the project at `root`; raises `ParamsError` in one sentence."""
    return validate(Params, parse_yaml(read_text(root), FILE), FILE)

"""The kinds of arm: recipes for a training set, each with its own settings only.

What a kind has no setting for is a constant of its class, so that every arm can be asked the same
questions. How arms relate to each other is in `design`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, PlainValidator, model_validator
from typing_extensions import override

from pipeline.config.validation import Section

SUBSETS = "data/splits/subsets"
FRESH = "data/splits/fresh"
SYNTHETIC = "data/synthetic/"
MODELS = "models/"

# What an arm is for. The last three are controls: their outcome is known, so they test the study.
Role = Literal["claim", "measure", "must_not_differ", "must_not_help", "must_help"]
Kind = Literal["real", "synthetic", "pseudo", "smote", "teacher", "warm_start"]
# `balanced`: every class has the same total weight, as in scikit-learn.
ClassWeights = Literal["none", "balanced"]

BALANCE = "balance"
MAX_PER_CLASS = 1_000_000


def _number_or_balance(value: Any) -> Any:
    """`value` itself; raises `ValueError` for what is neither a number of images nor `balance`."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value != BALANCE and not (is_number and 0 <= value <= MAX_PER_CLASS):
        raise ValueError(
            f"expected a number of images from 0 to {MAX_PER_CLASS} or {BALANCE}, found {value!r}"
        )
    return value


PerClass = Annotated[int, Field(ge=0, le=MAX_PER_CLASS)]
PerClassOrBalance = Annotated[int | Literal["balance"], PlainValidator(_number_or_balance)]
RealShare = Annotated[float, Field(gt=0, lt=1)]


class Arm(Section):
    """What every kind has."""

    inputs: str
    classifiers: list[str] | None = Field(default=None, min_length=1)  # None: all

    teacher_itself: ClassVar[bool] = False

    @property
    def generator(self) -> str | None:
        """The generator whose images are added, or None."""
        return None

    @property
    def teacher(self) -> str | None:
        """The teacher that labels the added images or is scored itself, or None."""
        return None

    @property
    def discriminator_of(self) -> str | None:
        """The generator whose discriminator the classifiers start from, or None."""
        return None


class TrainingArm(Arm):
    """An arm that trains classifiers on the labeled subset and added images.

    `per_class` images are added to the largest class of the labeled subset, and to the others in
    proportion to their size, so that the shares of the classes stay as they are. `balance`: every
    class is filled up to the size of the largest one, and all images count equally.
    """

    per_class: PerClassOrBalance
    class_weights: ClassWeights = "none"
    real: bool = True  # whether the labeled subset stays in
    real_share: RealShare = 0.5  # share of the training weight of the labeled subset
    transform: str = "none"
    permute_labels: bool = False  # assign the labels of the added images at random
    role: Role = "claim"

    @model_validator(mode="after")
    def _has_images(self) -> TrainingArm:
        if not self.real and self.per_class == 0:
            raise ValueError("per_class: expected more than 0 with real: false, found 0")
        return self

    @model_validator(mode="after")
    def _can_balance(self) -> TrainingArm:
        if not self.balances:
            return self
        if not self.real:
            raise ValueError(
                "real: expected true with per_class: balance, since the added images complete the "
                "labeled subset, found false"
            )
        if "real_share" in self.model_fields_set:
            raise ValueError(
                "real_share: expected none with per_class: balance, since all images count "
                f"equally, found {self.real_share}"
            )
        return self

    @property
    def balances(self) -> bool:
        """Whether every class is filled up to the size of the largest one."""
        return self.per_class == BALANCE

    @property
    def adds_images(self) -> bool:
        """Whether the training set has more than the labeled subset."""
        return self.per_class != 0

    @property
    def is_control(self) -> bool:
        """Whether the arm tests the study itself."""
        return self.role.startswith("must")

    @property
    def adds_made_images(self) -> bool:
        """Whether images are added that a generator made or a teacher labeled."""
        return self.adds_images and (self.generator is not None or self.teacher is not None)


class RealArm(TrainingArm):
    """Adds the labeled subset again (`data/splits/subsets`) or fresh images (`.../fresh`)."""

    kind: Literal["real"] = "real"

    filter: ClassVar[str] = "none"


class SyntheticArm(TrainingArm):
    """Adds a generator's images: `inputs: data/synthetic/<generator>`."""

    kind: Literal["synthetic"] = "synthetic"
    filter: str = "none"

    @property
    @override
    def generator(self) -> str:
        return self.inputs.removeprefix(SYNTHETIC)


class PseudoArm(TrainingArm):
    """Adds unlabeled images with a teacher's labels: `inputs: models/<teacher>`."""

    kind: Literal["pseudo"] = "pseudo"
    filter: str = "none"

    @property
    @override
    def teacher(self) -> str:
        return self.inputs.removeprefix(MODELS)


class SmoteArm(TrainingArm):
    """Adds images interpolated between labeled ones of a class: `inputs: data/splits/subsets`.

    `k_neighbors`: how many nearest neighbors of an image to interpolate with, at most the other
    images of its class. A class with a single image gets copies of it.
    """

    kind: Literal["smote"] = "smote"
    k_neighbors: int = Field(default=5, gt=0, le=1000)

    filter: ClassVar[str] = "none"


class TeacherArm(Arm):
    """Scores a teacher in place of a classifier: `inputs: models/<teacher>`."""

    kind: Literal["teacher"] = "teacher"

    per_class: ClassVar[int] = 0
    class_weights: ClassVar[ClassWeights] = "none"
    real: ClassVar[bool] = True
    real_share: ClassVar[float] = 0.5
    transform: ClassVar[str] = "none"
    filter: ClassVar[str] = "none"
    permute_labels: ClassVar[bool] = False
    role: ClassVar[Role] = "measure"
    is_control: ClassVar[bool] = False
    balances: ClassVar[bool] = False
    adds_images: ClassVar[bool] = False
    adds_made_images: ClassVar[bool] = False
    teacher_itself: ClassVar[bool] = True

    @property
    @override
    def teacher(self) -> str:
        return self.inputs.removeprefix(MODELS)


class WarmStartArm(Arm):
    """Classifiers start from the discriminator of `inputs: models/<generator>`.

    They train on the labeled subset, repeated up to `per_class` more images of its largest class.
    """

    kind: Literal["warm_start"] = "warm_start"
    per_class: PerClass
    class_weights: ClassWeights = "none"
    real_share: RealShare = 0.5
    transform: str = "none"
    role: Literal["claim", "measure"] = "claim"

    real: ClassVar[bool] = True
    filter: ClassVar[str] = "none"
    permute_labels: ClassVar[bool] = False
    is_control: ClassVar[bool] = False
    balances: ClassVar[bool] = False
    adds_made_images: ClassVar[bool] = False

    @property
    def adds_images(self) -> bool:
        """Whether the labeled subset is repeated."""
        return self.per_class != 0

    @property
    @override
    def discriminator_of(self) -> str:
        return self.inputs.removeprefix(MODELS)


def suggested_kind(section: dict[str, Any]) -> Kind:
    """The kind that an arm without a `kind` most likely means."""
    inputs = str(section.get("inputs", ""))
    if section.get("teacher_itself"):
        return "teacher"
    if section.get("start_from_discriminator") or section.get("start_from_critic"):
        return "warm_start"
    if inputs.startswith(MODELS):
        return "pseudo"
    return "synthetic" if inputs.startswith(SYNTHETIC) else "real"


def _require_kind(section: Any) -> Any:
    """`section` itself; raises `ValueError` with a proposal if it lacks a valid `kind`."""
    if isinstance(section, dict) and section.get("kind") not in get_args(Kind):
        found = repr(section["kind"]) if "kind" in section else "none"
        raise ValueError(
            f"kind: expected one of {', '.join(get_args(Kind))}, found {found} "
            f"(did you mean {suggested_kind(section)}?)"
        )
    return section


ArmParams = RealArm | SyntheticArm | PseudoArm | SmoteArm | TeacherArm | WarmStartArm
AnyArm = Annotated[ArmParams, Field(discriminator="kind"), BeforeValidator(_require_kind)]

"""How images are made and put together: generators and arms; two sections of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from pipeline.sections import Member, Section

DRAWS = "data/splits/draws"
FRESH = "data/splits/fresh"
SYNTHETIC = "data/synthetic/"
MODELS = "models/"

# What an arm is there for; the last three are controls, which test the study itself.
Role = Literal["claim", "measure", "must_not_differ", "must_not_help", "must_help"]
# What an arm's images, their makers and their judges may have learned from beside the draw.
Regime = Literal["labeled", "labeled+unlabeled"]


class GeneratorParams(Section):
    """A generator: the labeled images it learns from, and its family's own settings, kept raw."""

    model_config = ConfigDict(extra="allow")

    inputs: str
    family: str | None = None  # None: the one of the section's own name

    @property
    def settings(self) -> Member:
        """What the family's `Config` is to check."""
        return dict(self.model_extra or {})

    @property
    def teacher(self) -> str | None:
        """The teacher whose labels of unlabeled images it learns from, or None."""
        return self.inputs.removeprefix(MODELS) if self.inputs.startswith(MODELS) else None


class ArmParams(Section):
    """A recipe for a training set: the draw's real images, extra images, filter and transform."""

    inputs: str
    per_class: int = Field(ge=0, le=1_000_000)
    real: bool = True
    real_share: float = Field(default=0.5, gt=0, lt=1)
    filter: str = "none"
    transform: str = "none"
    permute_labels: bool = False
    teacher_itself: bool = False
    start_from_critic: bool = False
    classifiers: list[str] | None = Field(default=None, min_length=1)  # None: all
    role: Role = "claim"

    @property
    def generator(self) -> str | None:
        """The generator whose images are added, or None for real images only."""
        return self.inputs.removeprefix(SYNTHETIC) if self.inputs.startswith(SYNTHETIC) else None

    @property
    def teacher(self) -> str | None:
        """The teacher whose labels of unlabeled images are added, or None."""
        return None if self.start_from_critic else self._model

    @property
    def critic_of(self) -> str | None:
        """The generator whose discriminator classifiers start from, or None."""
        return self._model if self.start_from_critic else None

    @property
    def _model(self) -> str | None:
        return self.inputs.removeprefix(MODELS) if self.inputs.startswith(MODELS) else None

    @property
    def adds_made_images(self) -> bool:
        """Whether images are added that a generator made or a teacher labeled."""
        is_source = self.generator is not None or self.teacher is not None
        return is_source and self.per_class > 0 and not self.teacher_itself

    @property
    def is_control(self) -> bool:
        """Whether the arm tests the study itself."""
        return self.role.startswith("must")

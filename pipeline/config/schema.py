"""The schema of params.yaml, validated as a whole.

The schema of everything but the members of open families lives here. A generator's, teacher's,
classifier's or transform's own section is kept raw and checked against the `Config` beside that
member by `member_config`, so that this module needs to know none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.config.validation import (
    FILE,
    Count,
    Member,
    Name,
    Section,
    parse_yaml,
    read_text,
    validate,
)
from pipeline.runtime.bits import Bits


class UnknownClassesParams(Section):
    """Classes that are no task of the study, and their share of the unlabeled images."""

    classes: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    frac: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_classes(self) -> UnknownClassesParams:
        if self.frac > 0 and not self.classes:
            raise ValueError(
                f"unknown_classes.classes: expected classes to take a share of {self.frac} from, found none"
            )
        return self


class DataParams(Section):
    """Which images, and how many of them are set aside for scoring."""

    name: str
    path: str | None = None
    test_per_class: Count
    unknown_classes: UnknownClassesParams = UnknownClassesParams()


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


SUBSETS = "data/splits/subsets"
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
    start_from_discriminator: bool = False
    classifiers: list[str] | None = Field(default=None, min_length=1)  # None: all
    role: Role = "claim"

    @property
    def generator(self) -> str | None:
        """The generator whose images are added, or None for real images only."""
        return self.inputs.removeprefix(SYNTHETIC) if self.inputs.startswith(SYNTHETIC) else None

    @property
    def teacher(self) -> str | None:
        """The teacher whose labels of unlabeled images are added, or None."""
        return None if self.start_from_discriminator else self._model

    @property
    def discriminator_of(self) -> str | None:
        """The generator whose discriminator classifiers start from, or None."""
        return self._model if self.start_from_discriminator else None

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


class TeacherParams(Section):
    """The classifier whose opinion filters go by; it is trained on the draw's labels alone."""

    classifier: str
    transform: str = "none"


class SynthesizeParams(Section):
    """How many labeled images each generator draws, and who judges them."""

    per_class: Count
    teacher: TeacherParams


class TuneParams(Section):
    """Candidates for what a replicate may choose on its own draw; a single one is fixed."""

    latent_std: list[Annotated[float, Field(gt=0, le=2)]] = Field(min_length=1)
    min_probability: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=1)
    folds: int = Field(ge=2, le=10)


class Comparison(Section):
    """One comparison of an arm with the baseline."""

    classifier: str
    arm: str
    budget: int


class ReportParams(Section):
    """What counts as a result; declared before the run, not after a look at it."""

    baseline: str
    reference: str | None = None
    primary: Comparison
    confidence_level: float = Field(gt=0.5, lt=1)
    smallest_effect: float = Field(ge=0, lt=1)


class EngineParams(Section):
    """How trials are spread over the machine; changes speed, never results."""

    kind: str
    workers: int = Field(ge=0, le=1024)


class Params(Section):
    """All of params.yaml."""

    bits: Bits = "portable"
    data: DataParams
    study: StudyParams
    teachers: dict[Name, Member] = Field(default_factory=dict)
    generators: dict[Name, GeneratorParams]
    synthesize: SynthesizeParams
    tune: TuneParams
    classifiers: dict[Name, Member] = Field(min_length=1)
    transforms: dict[Name, Member]
    arms: dict[Name, ArmParams] = Field(min_length=1)
    report: ReportParams
    engine: EngineParams

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        for name, generator in self.generators.items():
            makers = {MODELS: list(self.teachers)}
            _source(f"generators.{name}.inputs", generator.inputs, [SUBSETS], makers)
        for name, arm in self.arms.items():
            self._check_arm(f"arms.{name}", arm)
        both = sorted({*self.teachers} & {*self.generators})
        if both:
            raise ValueError(f"teachers: expected names that no generator has, found {both[0]}")
        teacher = self.synthesize.teacher
        _known("synthesize.teacher.classifier", teacher.classifier, self.classifiers)
        _known("synthesize.teacher.transform", teacher.transform, ["none", *self.transforms])
        self._check_tune()
        self._check_report()
        return self

    def _check_arm(self, where: str, arm: ArmParams) -> None:
        models = self.generators if arm.start_from_discriminator else self.teachers
        makers = {SYNTHETIC: list(self.generators), MODELS: list(models)}
        _source(f"{where}.inputs", arm.inputs, [SUBSETS, FRESH], makers)
        most = self.synthesize.per_class
        if arm.generator is not None and arm.per_class > most:
            raise ValueError(
                f"{where}.per_class: expected at most synthesize.per_class ({most}), "
                f"found {arm.per_class}"
            )
        if not arm.real and arm.per_class == 0:
            raise ValueError(f"{where}: expected images, found real: false and per_class: 0")
        plain = (arm.per_class, arm.real, arm.filter, arm.transform) == (0, True, "none", "none")
        if arm.teacher_itself and not (arm.teacher and arm.role == "measure" and plain):
            raise ValueError(
                f"{where}.teacher_itself: expected inputs: {MODELS}<teacher>, per_class: 0, role: "
                "measure and nothing else, since no training set is made, found other values"
            )
        if arm.start_from_discriminator and not (
            arm.discriminator_of and arm.real and arm.filter == "none"
        ):
            raise ValueError(
                f"{where}.start_from_discriminator: expected inputs: {MODELS}<generator>, real: true and "
                f"filter: none, found {arm.inputs}, {_yaml(arm.real)} and {arm.filter}"
            )
        for classifier in arm.classifiers or ():
            _known(f"{where}.classifiers", classifier, self.classifiers)
        self._check_role(where, arm)
        _known(f"{where}.transform", arm.transform, ["none", *self.transforms])
        if arm.filter != "none" and arm.inputs in (SUBSETS, FRESH):
            raise ValueError(f"{where}.filter: expected none, since the arm adds real images")

    def _check_role(self, where: str, arm: ArmParams) -> None:
        """A control must be what its outcome is known for; only it may be that."""
        baseline = self.arms.get(self.report.baseline)
        transform = baseline.transform if baseline else "none"
        expected: dict[str, dict[str, object]] = {
            "must_not_differ": {"inputs": SUBSETS, "permute_labels": False, "transform": transform},
            "must_help": {"inputs": FRESH, "permute_labels": False, "transform": transform},
            "must_not_help": {"permute_labels": True},
            "measure": {},
            "claim": {"permute_labels": False},
        }
        for key, value in expected[arm.role].items():
            if getattr(arm, key) != value:
                raise ValueError(
                    f"{where}: expected {key}: {_yaml(value)} for an arm with role {arm.role}, "
                    f"found {_yaml(getattr(arm, key))}"
                )
        if arm.inputs == FRESH and arm.role != "must_help":
            raise ValueError(
                f"{where}.role: expected must_help, since {FRESH} holds labels beyond the budget, "
                f"found {arm.role}"
            )
        if arm.role in ("must_not_differ", "must_help"):
            least = max(self.study.budgets)
            if not arm.real or arm.per_class < least:
                raise ValueError(
                    f"{where}: expected real: true and per_class of at least the largest budget "
                    f"({least}) for an arm with role {arm.role}, found real: {_yaml(arm.real)} and "
                    f"per_class: {arm.per_class}"
                )

    def _check_report(self) -> None:
        report = self.report
        claims = [name for name, arm in self.arms.items() if arm.role == "claim"]
        inside = [name for name in claims if self.arms[name].inputs == SUBSETS]
        _known("report.baseline", report.baseline, inside)
        if report.reference is not None:
            _known("report.reference", report.reference, claims)
        others = [name for name in claims if name != report.baseline]
        _known("report.primary.arm", report.primary.arm, others)
        _known("report.primary.classifier", report.primary.classifier, self.classifiers)
        self._check_classifiers()
        if report.primary.budget not in self.study.budgets:
            raise ValueError(
                f"report.primary.budget: expected one of study.budgets {self.study.budgets}, "
                f"found {report.primary.budget}"
            )

    def _check_classifiers(self) -> None:
        """What an arm is held against must have its classifiers."""
        for name in self.arms:
            for other in {self.report.baseline, self.reference(name) or self.report.baseline}:
                needed, available = (
                    set(self.arm_classifiers(name)),
                    set(self.arm_classifiers(other)),
                )
                if not needed <= available:
                    raise ValueError(
                        f"arms.{other}.classifiers: expected those of arm {name}, which is held "
                        f"against it, found none of {', '.join(sorted(needed - available))}"
                    )
        primary = self.report.primary
        for name in (primary.arm, self.report.reference or primary.arm, self.report.baseline):
            classifiers = self.arms[name].classifiers
            if classifiers is not None and primary.classifier not in classifiers:
                raise ValueError(
                    f"arms.{name}.classifiers: expected {primary.classifier}, that of "
                    f"report.primary, among them, found {', '.join(classifiers)}"
                )

    def _check_tune(self) -> None:
        least, folds = min(self.study.budgets), self.tune.folds
        is_fixed = len(self.tune.latent_std) == len(self.tune.min_probability) == 1
        if not is_fixed and folds > least:
            raise ValueError(
                f"tune.folds: expected at most the smallest of study.budgets ({least}), or a "
                f"single value each in tune.latent_std and tune.min_probability, found {folds}"
            )
        with_teacher = [name for name, generator in self.generators.items() if generator.teacher]
        if not is_fixed and with_teacher:
            raise ValueError(
                "tune: expected a single value each in tune.latent_std and tune.min_probability, since "
                f"generators.{with_teacher[0]} learns from images that its teacher labeled by the whole "
                "draw, found several"
            )

    def regime(self, arm: str) -> Regime:
        """What the images of an arm, their maker and their judge learned from."""
        recipe = self.arms[arm]
        generator = recipe.generator or recipe.discriminator_of
        teacher = self.generators[generator].teacher if generator else recipe.teacher
        return "labeled" if teacher is None else "labeled+unlabeled"

    def marked(self, arm: str) -> str:
        """The name of an arm, with an asterisk where unlabeled images took part."""
        return arm if self.regime(arm) == "labeled" else f"{arm}*"

    def reference(self, name: str) -> str | None:
        """The arm of the same regime that an arm has to beat beside the baseline, or None.

        Where a generator saw unlabeled images: one that adds the labels which it learned from, as
        many, filtered alike. Where classifiers start from a discriminator: the claim without that
        start. Changed alike.
        """
        arm = self.arms[name]
        maker = arm.generator or arm.discriminator_of
        teacher = self.generators[maker].teacher if maker else None
        alike: dict[str, object] = {"transform": arm.transform, "real": arm.real}
        if arm.generator and teacher:
            alike |= {"teacher": teacher, "teacher_itself": False, "permute_labels": False}
            alike |= {key: getattr(arm, key) for key in ("per_class", "filter", "real_share")}
        elif arm.discriminator_of and not teacher:
            alike |= {"inputs": SUBSETS, "role": "claim", "per_class": arm.per_class}
        else:
            return self.report.reference if arm.generator else None
        for other, candidate in self.arms.items():
            if all(getattr(candidate, key) == value for key, value in alike.items()):
                return other
        return None

    def arm_classifiers(self, arm: str) -> list[str]:
        """The classifiers that an arm is for, in the order of params.yaml."""
        listed = self.arms[arm].classifiers
        return [
            classifier for classifier in self.classifiers if listed is None or classifier in listed
        ]

    def family(self, generator: str) -> str:
        """The family of a generator: by its own name unless it says otherwise."""
        return self.generators[generator].family or generator

    def section(self, key: str) -> Any:
        """The plain values of `synthesize` or `classifiers.cnn`, as they decide a trial.

        An arm's role and classifiers are left out: they decide what the report makes of a trial and
        which trials there are, not a trial.
        """
        name, _, member = key.partition(".")
        value = getattr(self, name)
        value = value[member] if member else value
        left_out = {"role", "classifiers"}
        return value.model_dump(exclude=left_out) if isinstance(value, Section) else value


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _source(where: str, inputs: str, real: list[str], makers: dict[str, list[str]]) -> None:
    """Refuse a source of images that is none, or that nobody makes."""
    folder, _, maker = inputs.rpartition("/")
    if f"{folder}/" in makers and not makers[f"{folder}/"]:
        raise ValueError(
            f"{where}: expected teachers to make {inputs!r}, found none (the preset semi has some)"
        )
    if f"{folder}/" in makers:
        _known(f"{where}: the last part", maker, makers[f"{folder}/"])
    else:
        _known(where, inputs, [*real, *(f"{folder_made}<name>" for folder_made in makers)])


def _known(where: str, name: str, choices: Iterable[str]) -> None:
    names = list(choices)
    if name not in names:
        raise ValueError(f"{where}: expected one of {', '.join(names)}, found {name!r}")


def load_params(root: Path) -> Params:
    """The validated params.yaml of the project at `root`; raises `ParamsError` in one sentence."""
    return validate(Params, parse_yaml(read_text(root), FILE), FILE)

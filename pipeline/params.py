"""params.yaml to frozen, validated objects; the only reader of that file.

The schema of everything but the members of open families lives here. A generator's, classifier's or
transform's own section is kept raw and checked against the `Config` beside that member by
`member_config`, so that this module needs to know none of them.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParamsError

FILE = "params.yaml"
DRAWS = "data/splits/draws"
FRESH = "data/splits/fresh"
SYNTHETIC = "data/synthetic/"
MAX_BYTES = 1_000_000

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
# Far above any sensible size: a slip of the finger must not ask for all the memory there is.
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Member = dict[str, Any]
# What an arm is there for; the last three are controls, which test the study itself.
Role = Literal["claim", "measure", "must_not_differ", "must_not_help", "must_help"]
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxother, SHORT.maxstring = 2, 80, 80
ConfigType = TypeVar("ConfigType", bound="Section")


class Section(BaseModel):
    """A part of params.yaml: unknown keys are errors, values are never converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataParams(Section):
    """Which images, and how many of them are set aside for scoring."""

    name: str
    path: str | None = None
    test_per_class: Count


class StudyParams(Section):
    """The replicate grid: every budget with every seed, and more budgets for the baseline."""

    budgets: list[Annotated[int, Field(gt=0)]] = Field(min_length=1)
    curve_budgets: list[Annotated[int, Field(gt=0)]] = []
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
    confidence: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=1)
    folds: int = Field(ge=2, le=10)


class ArmParams(Section):
    """A recipe for a training set: the draw's real images, extra images, filter and transform."""

    inputs: str
    per_class: int = Field(ge=0, le=1_000_000)
    real: bool = True
    real_share: float = Field(default=0.5, gt=0, lt=1)
    filter: str = "none"
    transform: str = "none"
    permute_labels: bool = False
    role: Role = "claim"

    @property
    def generator(self) -> str | None:
        """The generator whose images are added, or None for real images only."""
        is_real = self.inputs in (DRAWS, FRESH)
        return None if is_real else self.inputs.removeprefix(SYNTHETIC)

    @property
    def is_control(self) -> bool:
        """Whether the arm tests the study itself."""
        return self.role.startswith("must")


class Comparison(Section):
    """One comparison of an arm with the baseline."""

    classifier: str
    arm: str
    budget: int


class ReportParams(Section):
    """What counts as a result; declared before the run, not after a look at it."""

    baseline: str
    rival: str | None = None
    primary: Comparison
    confidence: float = Field(gt=0.5, lt=1)
    smallest_effect: float = Field(ge=0, lt=1)


class EngineParams(Section):
    """How trials are spread over the machine; changes speed, never results."""

    kind: str
    workers: int = Field(ge=0, le=1024)


class Params(Section):
    """All of params.yaml."""

    data: DataParams
    study: StudyParams
    generators: dict[Name, Member] = Field(min_length=1)
    synthesize: SynthesizeParams
    tune: TuneParams
    classifiers: dict[Name, Member] = Field(min_length=1)
    transforms: dict[Name, Member]
    arms: dict[Name, ArmParams] = Field(min_length=1)
    report: ReportParams
    engine: EngineParams

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        for name, arm in self.arms.items():
            self._check_arm(f"arms.{name}", arm)
        teacher = self.synthesize.teacher
        _known("synthesize.teacher.classifier", teacher.classifier, self.classifiers)
        _known("synthesize.teacher.transform", teacher.transform, ["none", *self.transforms])
        self._check_tune()
        self._check_report()
        return self

    def _check_arm(self, where: str, arm: ArmParams) -> None:
        if arm.inputs not in (DRAWS, FRESH) and not arm.inputs.startswith(SYNTHETIC):
            raise ValueError(
                f"{where}.inputs: expected {DRAWS}, {FRESH} or {SYNTHETIC}<generator>, "
                f"found {arm.inputs!r}"
            )
        if arm.generator is not None:
            _known(f"{where}.inputs: generator", arm.generator, self.generators)
            if arm.per_class > self.synthesize.per_class:
                raise ValueError(
                    f"{where}.per_class: expected at most synthesize.per_class "
                    f"({self.synthesize.per_class}), found {arm.per_class}"
                )
        if not arm.real and arm.per_class == 0:
            raise ValueError(f"{where}: expected images, found real: false and per_class: 0")
        self._check_role(where, arm)
        _known(f"{where}.transform", arm.transform, ["none", *self.transforms])
        if arm.filter != "none" and arm.generator is None:
            raise ValueError(f"{where}.filter: expected none, since the arm adds real images")

    def _check_role(self, where: str, arm: ArmParams) -> None:
        """A control must be what its outcome is known for; only it may be that."""
        baseline = self.arms.get(self.report.baseline)
        transform = baseline.transform if baseline else "none"
        expected: dict[str, dict[str, object]] = {
            "must_not_differ": {"inputs": DRAWS, "permute_labels": False, "transform": transform},
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
        inside = [name for name in claims if self.arms[name].inputs == DRAWS]
        _known("report.baseline", report.baseline, inside)
        if report.rival is not None:
            _known("report.rival", report.rival, claims)
        others = [name for name in claims if name != report.baseline]
        _known("report.primary.arm", report.primary.arm, others)
        _known("report.primary.classifier", report.primary.classifier, self.classifiers)
        if report.primary.budget not in self.study.budgets:
            raise ValueError(
                f"report.primary.budget: expected one of study.budgets {self.study.budgets}, "
                f"found {report.primary.budget}"
            )

    def _check_tune(self) -> None:
        least, folds = min(self.study.budgets), self.tune.folds
        is_fixed = len(self.tune.latent_std) == len(self.tune.confidence) == 1
        if not is_fixed and folds > least:
            raise ValueError(
                f"tune.folds: expected at most the smallest of study.budgets ({least}), or a "
                f"single value each in tune.latent_std and tune.confidence, found {folds}"
            )

    def section(self, key: str) -> Any:
        """The plain values of `synthesize` or `classifiers.cnn`, as they decide a trial.

        An arm's role is left out: it decides what the report makes of a trial, not the trial.
        """
        name, _, member = key.partition(".")
        value = getattr(self, name)
        value = value[member] if member else value
        return value.model_dump(exclude={"role"}) if isinstance(value, Section) else value


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(where: str, name: str, choices: Iterable[str]) -> None:
    names = list(choices)
    if name not in names:
        raise ValueError(f"{where}: expected one of {', '.join(names)}, found {name!r}")


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Read YAML 1.2 the way DVC does; raises `ParamsError` for anything but a mapping of keys."""
    if len(text) > MAX_BYTES:
        raise ParamsError(where, f"expected at most {MAX_BYTES} characters", "shorten the file")
    try:
        loaded = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        key = re.findall(r'duplicate key "(.*?)"', str(error.problem))[0]
        lines = [str(number) for number, line in enumerate(text.splitlines(), 1)
                 if re.match(rf"\s*{re.escape(key)}\s*:", line)]  # fmt: skip
        found = f"expected every key once, found {key!r} again, see line {' and line '.join(lines)}"
        raise ParamsError(where, found, "keep one of the two") from None
    except RecursionError:
        found = "expected a few levels, found too many"
        raise ParamsError(where, found, "mend the nesting") from None
    except (YAMLError, ValueError) as error:
        raise ParamsError(where, f"not valid YAML: {_one_line(error)}", "mend that line") from None
    if not isinstance(loaded, dict):
        raise ParamsError(where, f"expected keys and values, found {type(loaded).__name__}",
                          "restore it with `git checkout params.yaml`")  # fmt: skip
    return loaded


def load_params(root: Path) -> Params:
    """The validated params.yaml of the project at `root`; raises `ParamsError` in one sentence."""
    return validate(Params, parse_yaml(read_text(root), FILE), FILE)


def read_text(root: Path) -> str:
    """The text of the params.yaml at `root`; raises `ParamsError` when there is none to be read."""
    try:
        return (root / FILE).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ParamsError(FILE, "expected UTF-8 text", "save the file as UTF-8") from None
    except FileNotFoundError:
        raise ParamsError(
            FILE, f"expected this file in {root}, found none", "run from the project's folder"
        ) from None


def member_config(config: type[ConfigType], section: Member, where: str) -> ConfigType:
    """Check one member's raw section (`where`, e.g. `generators.dcgan`) against its `Config`."""
    return validate(config, section, f"{FILE}: {where}")


def validate(config: type[ConfigType], values: dict[str, Any], where: str) -> ConfigType:
    """`config` built from `values`; raises `ParamsError` naming every problem at once."""
    try:
        return config.model_validate(values)
    except ValidationError as error:
        problems = [_explain(config, problem) for problem in error.errors(include_url=False)]
    raise ParamsError(where, "; ".join(problems), f"edit {FILE}, its comments name the choices")


def _explain(config: type[Section], problem: Any) -> str:
    keys = [str(key) for key in problem["loc"]]
    place = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(config, keys[:-1])
        close = difflib.get_close_matches(keys[-1], known, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        return f"unknown key {place} (expected one of {', '.join(known)}{hint})"
    if problem["type"] == "missing":
        return f"the key {place} is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    found = SHORT.repr(problem["input"])
    return f"{place}: {problem['msg'][0].lower()}{problem['msg'][1:]}, found {found}"


def _fields_at(config: type[BaseModel], keys: list[str]) -> list[str]:
    """Field names of the section that `keys` lead to from `config`."""
    for key in keys:
        field = config.model_fields.get(key)
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                config = candidate
    return list(config.model_fields)


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]

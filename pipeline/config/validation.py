"""Reads params.yaml and turns a part of it into a frozen, validated object.

The only reader of that file. It knows no section: `schema` has those, and every family of models
has its `Config` beside its class. Every problem is one sentence: where, expected what, found what.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from pipeline.runtime.errors import ParamsError

FILE = "params.yaml"
SEE_KEYS = f"edit {FILE}, see its comments and docs/settings.md"
MAX_BYTES = 1_000_000

# Keys of earlier versions, `*` for any name or position, and what to write today.
RENAMED_KEYS = {
    "data.foreign": "unknown_classes",
    "generators.*.view": "augmentation",
    "generators.*.rare_weight": "rare_oversampling",
    "generators.*.most_steps": "max_steps",
    "generators.*.sampler": "generator",
    "generators.*.critic": "discriminator",
    "generators.*.half.sampler": "generator",
    "generators.*.half.critic": "discriminator",
    "teachers.*.view": "augmentation",
    "teachers.*.confidence": "min_probability",
    "teachers.*.stroke_share": "hog_weight",
    "teachers.*.draw_weight": "labeled_weight",
    "teachers.*.rounds.*.surest_frac": "top_frac",
    "teachers.*.rounds.*.most_steps": "max_steps",
    "teachers.*.rounds.*.own": "fixmatch",
    "teachers.*.rounds.*.fixmatch.from_frac": "warmup_frac",
    "teachers.*.rounds.*.fixmatch.shares_decay": "alignment_decay",
    "teachers.*.network.glances": "num_tta",
    "teachers.*.network.sure": "tta_below",
    "tune.confidence": "min_probability",
    "arms.*.start_from_critic": "kind: warm_start",
    "arms.*.start_from_discriminator": "kind: warm_start",
    "arms.*.teacher_itself": "kind: teacher",
    "report.rival": "reference",
    "report.confidence": "confidence_level",
}
RENAMED_VALUES = {
    "data/splits/draws": "data/splits/subsets",
    # Families of teachers and classifiers.
    "graph": "label_propagation",
    "kplus1": "ssgan",
    "critic": "discriminator_cnn",
}


def _refuse_name(name: str) -> str:
    """`name` itself; raises `ValueError` if it cannot be a part of a DVC key or a file name."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name):
        raise ValueError(
            "expected a name of lowercase letters, digits, _ and -, at most 64, a letter first"
        )
    return name


Name = Annotated[str, AfterValidator(_refuse_name)]
# A typo must not ask for all the memory there is.
Count = Annotated[int, Field(gt=0, le=1_000_000)]
MAX_WIDTH = 4096
Width = Annotated[int, Field(gt=0, le=MAX_WIDTH)]  # of a layer: channels, features, dimensions
Member = dict[str, Any]
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxother, SHORT.maxstring = 2, 80, 80
ConfigType = TypeVar("ConfigType", bound="Section")


class Section(BaseModel):
    """A part of params.yaml: unknown keys are errors, values are never converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _fill_nested_sections(cls, values: Any) -> Any:
        """Fill what a nested section leaves out from that field's default, if it has one."""
        if not isinstance(values, dict):
            return values
        filled = {
            name: {**field.default.model_dump(), **values[name]}
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Section) and isinstance(values.get(name), dict)
        }
        return {**values, **filled}


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Read YAML 1.2 the way DVC does; raises `ParamsError` for anything but a mapping of keys."""
    if len(text) > MAX_BYTES:
        raise ParamsError(where, f"expected at most {MAX_BYTES} characters", "shorten the file")
    try:
        loaded = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        key = re.findall(r'duplicate key "(.*?)"', str(error.problem))[0]
        lines = [
            str(number)
            for number, line in enumerate(text.splitlines(), 1)
            if re.match(rf"\s*{re.escape(key)}\s*:", line)
        ]
        problem = f"expected every key once, found {key!r} in line {' and line '.join(lines)}"
        raise ParamsError(where, problem, "keep one of the two") from None
    except RecursionError:
        problem = "expected a few levels of nesting, found too many"
        raise ParamsError(where, problem, "reduce the nesting") from None
    except (YAMLError, ValueError) as error:
        raise ParamsError(
            where, f"not valid YAML: {_one_line(error)}", "correct that line"
        ) from None
    if not isinstance(loaded, dict):
        raise ParamsError(
            where,
            f"expected keys and values, found {type(loaded).__name__}",
            "restore it with `git checkout params.yaml`",
        )
    return loaded


def read_text(root: Path) -> str:
    """The text of the params.yaml at `root`; raises `ParamsError` if it cannot be read."""
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
        prefix = where.removeprefix(FILE).removeprefix(": ")
        problems = [
            _explain(config, problem, prefix) for problem in error.errors(include_url=False)
        ]
    raise ParamsError(where, "; ".join(problems), SEE_KEYS)


def unknown_name(where: str, name: str, choices: Iterable[str]) -> list[str]:
    """A sentence about `name` if it is none of `choices`, else nothing."""
    names = list(choices)
    if name in names:
        return []
    close = closest(name, names)
    hint = f" (did you mean {close}?)" if close else ""
    if RENAMED_VALUES.get(name) in names:
        hint = f" (renamed to {RENAMED_VALUES[name]})"
    return [f"{where}: expected one of {', '.join(names) or 'none'}, found {name!r}{hint}"]


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` most likely means, or None; case alone counts for little."""
    names = list(names)
    equal = [other for other in names if other.lower() == name.lower()]
    return next(iter(equal or difflib.get_close_matches(name, names, n=1)), None)


def refuse_unknown(where: str, name: str, choices: Iterable[str]) -> None:
    """Raise `ParamsError` if `name` is none of `choices`; `where` has the file and the key."""
    for problem in unknown_name(where, name, choices):
        what = problem.removeprefix(f"{where}: ")
        raise ParamsError(where, what, "use one of these names")


def refuse_repeats(key: str, values: Iterable[Any], among: str = "") -> None:
    """Raise `ValueError` if a value is there more than once; `among` says what was compared."""
    repeated = sorted(value for value, count in Counter(values).items() if count > 1)
    if repeated:
        values = ", ".join(map(str, repeated))
        raise ValueError(f"{key}: expected different values{among}, found {values} twice")


def renamed_key(place: str) -> str | None:
    """What to write today in place of the dotted key `place` of an earlier version, or None."""
    parts = place.split(".")
    for old, new in RENAMED_KEYS.items():
        pattern = old.split(".")
        if len(pattern) == len(parts) and all(
            key in ("*", part) for key, part in zip(pattern, parts, strict=True)
        ):
            return new
    return None


def _explain(config: type[Section], problem: Any, prefix: str) -> str:
    """One problem that pydantic found in `config` as a sentence."""
    section, keys = _locate(config, problem["loc"])
    place = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return _unknown_key(place, keys[-1], section, prefix)
    if problem["type"] == "missing":
        return f"the key {place} is missing{_proposal(section, keys[-1])}"
    if keys[-1:] == ["[key]"]:
        name = f"{'.'.join(keys[:-2])}.{SHORT.repr(keys[-2])}"
        return f"{name}: {problem['msg'].partition(', ')[2]}"
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        names_key = re.match(r"[a-z_.]+: ", message)
        return f"{place}{'.' if names_key else ': '}{message}" if place else message
    value = SHORT.repr(problem["input"])
    return f"{place}: {problem['msg'][0].lower()}{problem['msg'][1:]}, found {value}"


def _proposal(section: type[BaseModel], key: str) -> str:
    """What to write for a key that is missing, where its field has an example."""
    field = section.model_fields.get(key)
    return f"; add `{key}: {field.examples[0]}`" if field and field.examples else ""


def _unknown_key(place: str, key: str, section: type[BaseModel], prefix: str) -> str:
    new = renamed_key(f"{prefix}.{place}" if prefix else place)
    if new is not None:
        word = "replaced by" if ":" in new else "renamed to"
        return f"unknown key {place}, it was {word} {new}"
    fields = list(section.model_fields)
    close = closest(key, fields)
    hint = f", did you mean {close}?" if close else ""
    return f"unknown key {place} (expected one of {', '.join(fields)}{hint})"


def _locate(config: type[BaseModel], loc: tuple[Any, ...]) -> tuple[type[BaseModel], list[str]]:
    """The innermost section on the way `loc`, and the keys as they are written in the file.

    Pydantic adds the tag of a union to the way; the file does not have it as a key.
    """
    section: type[BaseModel] = config
    at: Any = config
    keys = []
    for key in loc:
        if get_origin(at) is Annotated:
            at = get_args(at)[0]
        models = [model for model in _models(at) if key in _tags(model)]
        if models:
            at = section = models[0]
            continue
        keys.append(str(key))
        if get_origin(at) in (dict, list):
            at = get_args(at)[-1]
        else:
            candidates = _models(at)
            section = candidates[0] if candidates else section
            field = section.model_fields.get(str(key)) if candidates else None
            at = field.annotation if field else None
    return section, keys


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections among the alternatives of an annotation."""
    is_union = get_origin(annotation) in (Union, UnionType)
    candidates = get_args(annotation) if is_union else (annotation,)
    return [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]

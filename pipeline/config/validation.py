"""A part of params.yaml as a frozen, validated object, and what is wrong with it in one sentence.

The only reader of that file. Knows no section: `params` has the schema, and each member of an open
family has its `Config` beside it.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, TypeVar

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
MAX_BYTES = 1_000_000


def _refuse_name(name: str) -> str:
    """`name` itself; raises `ValueError` for one that DVC could not address."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name):
        raise ValueError(
            "expected a name that begins with a lowercase letter and goes on with lowercase "
            "letters, digits, _ or -, 64 characters at most (a dot parts keys for DVC)"
        )
    return name


Name = Annotated[str, AfterValidator(_refuse_name)]
# Far above any sensible size: a slip of the finger must not ask for all the memory there is.
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Member = dict[str, Any]
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxother, SHORT.maxstring = 2, 80, 80
ConfigType = TypeVar("ConfigType", bound="Section")


class Section(BaseModel):
    """A part of params.yaml: unknown keys are errors, values are never converted silently."""

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
        problem = (
            f"expected every key once, found {key!r} again, see line {' and line '.join(lines)}"
        )
        raise ParamsError(where, problem, "keep one of the two") from None
    except RecursionError:
        problem = "expected a few levels, found too many"
        raise ParamsError(where, problem, "mend the nesting") from None
    except (YAMLError, ValueError) as error:
        raise ParamsError(where, f"not valid YAML: {_one_line(error)}", "mend that line") from None
    if not isinstance(loaded, dict):
        raise ParamsError(
            where,
            f"expected keys and values, found {type(loaded).__name__}",
            "restore it with `git checkout params.yaml`",
        )
    return loaded


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
        fields = _fields_at(config, keys[:-1])
        close = difflib.get_close_matches(keys[-1], fields, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        return f"unknown key {place} (expected one of {', '.join(fields)}{hint})"
    if problem["type"] == "missing":
        return f"the key {place} is missing"
    if keys[-1:] == ["[key]"]:
        return f"{'.'.join(keys[:-2])}.{SHORT.repr(keys[-2])}: {problem['msg'].partition(', ')[2]}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    value = SHORT.repr(problem["input"])
    return f"{place}: {problem['msg'][0].lower()}{problem['msg'][1:]}, found {value}"


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

"""What decides the result of a trial, as frozen values without any of params.yaml around them.

A worker receives one spec and the files named beside it, so it cannot read a setting that its
spec does not hold. Provenance is the dump of the spec. Knows no stage and no family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from pipeline.config.validation import FILE, Member, member_config, refuse_unknown


@dataclass(frozen=True)
class Spec:
    """What every spec has: the seed from which all randomness of the trial is derived."""

    seed: int


@dataclass(frozen=True)
class MemberSpec:
    """A member of an open family: its class or builder, and its validated `Config`.

    The defaults of the configuration are filled in, so a changed default changes the spec. `parts`
    are the members that this one is made of, if any.
    """

    family: Any
    config: Any
    parts: tuple[MemberSpec, ...] = ()


def member(
    registry: Mapping[str, type[Any]], family: str, settings: Member, where: str
) -> MemberSpec:
    """The member of `registry` called `family`; `where` names the section, for errors.

    Raises `ParamsError` when there is no such family or the settings do not fit its `Config`.
    """
    refuse_unknown(f"{FILE}: {where}.family", family, registry)
    config = member_config(registry[family].Config, settings, where)
    parts: list[tuple[type[Any], Any]] = config.parts() if hasattr(config, "parts") else []
    return MemberSpec(registry[family], config, tuple(MemberSpec(*part) for part in parts))


def dump(value: Any) -> Any:
    """`value` as plain JSON values: dataclasses and sections by field, classes by their path."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", serialize_as_any=True)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: dump(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: dump(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(entry) for entry in value]
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else value


def family_modules(value: Any) -> set[str]:
    """The dotted modules of all classes and builders in a spec."""
    if is_dataclass(value) and not isinstance(value, type):
        return set().union(*(family_modules(getattr(value, field.name)) for field in fields(value)))
    if isinstance(value, tuple):
        return set().union(*map(family_modules, value))
    return {value.__module__} if callable(value) else set()

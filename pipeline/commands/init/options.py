"""The flags of `init`; a flag that is None is guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.validation import parse_yaml
from pipeline.runtime.errors import ParamsError


@dataclass(frozen=True)
class Options:
    """One field per flag; see the command in `__main__` for their meaning."""

    size: int | None = None
    policy: str | None = None
    background: str | None = None
    test_frac: float | None = None
    test_per_class: int | None = None
    per_seed: bool | None = None
    group_column: str | None = None
    group_name: str | None = None
    group_folder: bool = False
    group_twins: float | None = None
    no_groups: bool = False
    budgets: tuple[int, ...] = ()
    seeds: int | None = None
    label_column: str | None = None
    file_column: str | None = None
    classes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    alpha_onto: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # further keys of `data`
    force: bool = False

    @property
    def group(self) -> dict[str, Any]:
        """The rule of `data.group`; empty if none is given."""
        rules = {
            "column": self.group_column,
            "name": self.group_name,
            "folder": self.group_folder,
            "twins": self.group_twins,
        }
        return {key: value for key, value in rules.items() if value}

    def check(self) -> None:
        """Raise `ParamsError` for flags that exclude each other."""
        pairs = (
            ("--test-frac", self.test_frac, "--test-per-class", self.test_per_class),
            ("--test-per-class", self.test_per_class, "--per-seed", self.per_seed),
            ("--no-groups", self.no_groups, "a rule for groups", self.group),
        )
        for first, given, second, other in pairs:
            if given and other:
                raise ParamsError("init", f"expected {first} or {second}, found both", "drop one")
        if len(self.group) > 1:
            raise ParamsError(
                "init",
                f"expected one rule for groups, found {' and '.join(self.group)}",
                "keep one of the --group flags",
            )
        if self.seeds is not None and self.seeds < 1:
            raise ParamsError(
                "init: --seeds", f"expected at least 1, found {self.seeds}", "raise it"
            )


def listed(text: str | None) -> tuple[str, ...]:
    """The names in a text that separates them by commas."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def keys_and_values(pairs: Iterable[str]) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, read as in params.yaml."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.isidentifier():
            raise ParamsError("init: --set", f"expected KEY=VALUE, found {pair!r}", "correct it")
        found |= parse_yaml(f"{key}: {value}", "init: --set")
    return found

"""The flags of `init`; a flag that is None is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.schema import MAX_SIDE, MIN_SIDE
from pipeline.config.validation import parse_yaml
from pipeline.runtime.errors import ParamsError

FILE_FLAGS = ("file_column", "label_column", "classes", "class_names", "alpha_onto")
# Keys of `data` that --set does not reach, and what to do instead.
DECIDED = {
    "path": "give it as PATH",
    "resize": "use --size and --policy",
    "background": "use --background",
    "test": "use --test-frac and --per-seed",
    "test_per_class": "use --test-per-class",
    "group": "use one of the --group flags",
    "imbalance": "edit it in params.yaml after init",
    "unknown_classes": "edit it in params.yaml after init",
}
MAX_SEEDS = 1000
LEVELS = "auto, none, or 1 or 3 levels of 0 to 255, such as 255 or 250,245,240"


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
        return {key: value for key, value in rules.items() if value not in (None, False)}

    @property
    def of_files(self) -> dict[str, Any]:
        """The keys of `data` with a flag of their own, as far as they are given."""
        given = {key: getattr(self, key) for key in FILE_FLAGS}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in given.items()
            if value not in (None, ())
        }

    @property
    def background_value(self) -> str | list[int]:
        """The value of `data.background`; raises `ParamsError` for what is no number."""
        if self.background in (None, "auto", "none"):
            return self.background or "auto"
        try:
            return [int(level) for level in self.background.split(",")]
        except ValueError:
            raise _wrong("--background", LEVELS, self.background) from None

    def check(self) -> None:
        """Raise `ParamsError` for values out of range and for flags that exclude each other."""
        self._refuse_ranges()
        self._refuse_texts()
        self._refuse_pairs()
        self._refuse_settings()

    def _refuse_ranges(self) -> None:
        """Numbers; bounds are inclusive but for shares and correlations."""
        counts: tuple[tuple[str, int | None, int, int], ...] = (
            ("--size", self.size, MIN_SIDE, MAX_SIDE),
            ("--test-per-class", self.test_per_class, 1, 1_000_000),
            ("--seeds", self.seeds, 1, MAX_SEEDS),
            *(("--budget", budget, 1, 1_000_000) for budget in self.budgets),
        )
        for flag, count, least, most in counts:
            if count is not None and not least <= count <= most:
                raise _wrong(flag, f"{least} to {most}", count)
        for flag, share in (("--test-frac", self.test_frac), ("--group-twins", self.group_twins)):
            if share is not None and not 0 < share < 1:
                raise _wrong(flag, "a number above 0 and below 1", share)
        if len(set(self.budgets)) < len(self.budgets):
            raise _wrong("--budget", "different numbers", self.budgets)

    def _refuse_texts(self) -> None:
        """No levels of a color, no regular expression, no name."""
        levels = self.background_value
        is_valid = isinstance(levels, str) or all(0 <= level <= 255 for level in levels)
        if not is_valid or (isinstance(levels, list) and len(levels) not in (1, 3)):
            raise _wrong("--background", LEVELS, self.background)
        try:
            re.compile(self.group_name or "")
        except re.error as error:
            raise _wrong(
                "--group-name", f"a regular expression ({error})", self.group_name
            ) from None
        names = {key: getattr(self, key) for key in ("group_column", "group_name", *FILE_FLAGS)}
        for key, value in names.items():
            if value == "" or (isinstance(value, tuple) and "" in value):
                raise _wrong(flag_of(key), "a name", "an empty one")

    def _refuse_pairs(self) -> None:
        """Flags that exclude each other."""
        has_frac, has_count = self.test_frac is not None, self.test_per_class is not None
        pairs = (
            ("--test-frac", has_frac, "--test-per-class", has_count),
            ("--test-per-class", has_count, "--per-seed", bool(self.per_seed)),
            ("--no-groups", self.no_groups, "a rule for groups", bool(self.group)),
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

    def _refuse_settings(self) -> None:
        """Keys that init decides, and keys that a flag sets as well."""
        for key in self.settings:
            if key in DECIDED:
                raise ParamsError(
                    f"init: --set {key}",
                    "expected another key of data, since init writes this one",
                    DECIDED[key],
                )
            if key in self.of_files:
                flag = flag_of(key)
                raise ParamsError("init", f"expected {flag} or --set {key}, found both", "drop one")


def _wrong(flag: str, expected: str, found: object) -> ParamsError:
    words = ", ".join(map(str, found)) if isinstance(found, tuple) else found
    return ParamsError(f"init: {flag}", f"expected {expected}, found {words}", "correct it")


def flag_of(key: str) -> str:
    """The flag that sets a key."""
    return f"--{key.replace('_', '-')}"


def listed(text: str | None) -> tuple[str, ...]:
    """The names in a text that separates them by commas."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def keys_and_values(pairs: Iterable[str]) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, read as in params.yaml."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.isidentifier():
            raise ParamsError("init: --set", f"expected KEY=VALUE, found {pair!r}", "correct it")
        found |= parse_yaml(f"{key}: {value}", "init: --set")
    return found

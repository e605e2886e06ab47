"""Ready-made settings: small YAML files laid over params.yaml, its comments kept.

A preset names only what differs from `default`, which names the shipped value of everything that
any preset touches and is laid first: what came before a preset leaves no trace in it. A member that
`default` does not name is given as a whole and comes and goes with its preset; of the others, those
that the user took out stay out.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from pipeline.config.schema import Params
from pipeline.config.validation import FILE, parse_yaml, read_text, validate
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import write_text

LONGEST_FLOW = 8  # entries of a mapping that is written on one line
FOLDER = Path(__file__).resolve().parents[2] / "presets"


def names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def apply(name: str, root: Path) -> list[str]:
    """Lay preset `name` over `root`/params.yaml; the keys that changed, dotted.

    Raises `ParamsError` for an unknown preset or when the result would not be valid; the file is
    then left as it was.
    """
    if name not in names():
        raise ParamsError(
            "preset", f"expected one of {', '.join(names())}, found {name!r}", "name one of these"
        )
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000  # no line is wrapped
    yaml.representer.add_representer(type(None), _write_null)
    before = read_text(root)
    parse_yaml(before, FILE)
    original = yaml.load(before)
    layers = {
        preset: parse_yaml((FOLDER / f"{preset}.yaml").read_text("utf-8"), preset)
        for preset in names()
    }
    for family, member, _ in whole_members(layers.values(), layers["default"]):
        before = without(before, family, member)
    document = yaml.load(before)
    for layer in dict.fromkeys(("default", name)):
        _lay_over(document, layers[layer])
        for family, member, value in reversed(whole_members([layers[layer]], layers["default"])):
            # At the end it would part comments; but the first classifier stays first.
            document[family].insert(family == "classifiers", member, _flow(value))
    changed = _differences(original, document, "")
    text = io.StringIO()
    yaml.dump(document, text)
    validate(Params, parse_yaml(text.getvalue(), FILE), FILE)
    write_text(root / FILE, text.getvalue())
    return changed


def whole_members(
    layers: Iterable[dict[str, Any]], shipped: dict[str, Any]
) -> list[tuple[str, str, Any]]:
    """Family, name and value of every member that is given as a whole: `shipped` has none of it."""
    return [
        (family, name, value)
        for layer in layers
        for family in ("teachers", "generators", "classifiers", "arms")
        for name, value in (layer.get(family) or {}).items()
        if name not in (shipped.get(family) or {})
    ]


def without(text: str, family: str, member: str) -> str:
    """`text` without the lines of one member; what stands below it stays, comments too."""
    lines = text.splitlines(keepends=True)
    if f"{family}:\n" not in lines:
        return text
    first = lines.index(f"{family}:\n") + 1
    last = first
    while last < len(lines) and lines[last][0] in " \n#":
        last += 1
    starts = [place for place in range(first, last) if lines[place].startswith(f"  {member}:")]
    if not starts:
        return text
    end = starts[0] + 1
    while end < last and lines[end].startswith("   "):
        end += 1
    left = lines[first : starts[0]] + lines[end:last]
    if not any(line.startswith("  ") and line.strip()[:1] not in ("", "#") for line in left):
        lines[first - 1] = f"{family}: {{}}\n"
    del lines[starts[0] : end]
    return "".join(lines)


def _lay_over(document: CommentedMap, overlay: dict[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(document.get(key), CommentedMap):
            _lay_over(document[key], value)
        elif isinstance(value, dict):
            continue  # an arm or member that the user took out stays out
        elif document.get(key) != value or key not in document:
            document[key] = _flow(value)


def _differences(before: CommentedMap, after: CommentedMap, prefix: str) -> list[str]:
    """Dotted keys of the values that differ."""
    changed = []
    for key in dict.fromkeys([*before, *after]):
        first, second = before.get(key), after.get(key)
        if isinstance(first, CommentedMap) and isinstance(second, CommentedMap):
            changed += _differences(first, second, f"{prefix}{key}.")
        elif first != second or key not in before or key not in after:
            changed.append(f"{prefix}{key}")
    return changed


def _write_null(representer: RoundTripRepresenter, _: None) -> ScalarNode:
    """`null` as a word: the library would leave nothing behind the colon."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _flow(value: Any) -> Any:
    """Lists and the small sections inside members on one line, as params.yaml writes them."""
    if isinstance(value, list):
        value = CommentedSeq(map(_flow, value))
        value.fa.set_flow_style()
    elif isinstance(value, dict):
        value = CommentedMap({key: _flow(item) for key, item in value.items()})
        if len(value) <= LONGEST_FLOW:
            value.fa.set_flow_style()
    return value

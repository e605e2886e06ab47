"""Ready-made settings: small YAML files laid over params.yaml, its comments kept.

A preset names only what it changes. `default` brings back the shipped values of everything that any
preset touches.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from pipeline.errors import ParamsError
from pipeline.params import FILE, Params, parse_yaml, read_text, validate
from pipeline.store import write_text

FOLDER = Path(__file__).resolve().parent.parent / "presets"


def names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def apply(name: str, root: Path) -> list[str]:
    """Lay preset `name` over `root`/params.yaml; the keys that changed, dotted.

    Raises `ParamsError` for an unknown preset or when the result would not be valid; the file is
    then left as it was.
    """
    if name not in names():
        raise ParamsError("preset", f"expected one of {', '.join(names())}, found {name!r}",
                          "name one of these")  # fmt: skip
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000  # no line is wrapped
    yaml.representer.add_representer(type(None), _write_null)
    before = read_text(root)
    parse_yaml(before, FILE)
    document = yaml.load(before)
    overlay = parse_yaml((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name)
    changed = _lay_over(document, overlay, "")
    text = io.StringIO()
    yaml.dump(document, text)
    validate(Params, parse_yaml(text.getvalue(), FILE), FILE)
    write_text(root / FILE, text.getvalue())
    return changed


def _lay_over(document: CommentedMap, overlay: dict[str, Any], prefix: str) -> list[str]:
    changed = []
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(document.get(key), CommentedMap):
            changed += _lay_over(document[key], value, f"{prefix}{key}.")
        elif document.get(key) != value or key not in document:
            document[key] = _flow(value)
            changed.append(f"{prefix}{key}")
    return changed


def _write_null(representer: RoundTripRepresenter, _: None) -> ScalarNode:
    """`null` as a word: the library would leave nothing behind the colon."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _flow(value: Any) -> Any:
    """Lists and new mappings on one line, as params.yaml writes them."""
    if isinstance(value, list):
        value = CommentedSeq(value)
    elif isinstance(value, dict):
        value = CommentedMap(value)
    else:
        return value
    value.fa.set_flow_style()
    return value

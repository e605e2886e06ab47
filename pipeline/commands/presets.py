"""`preset NAME`: replace params.yaml with a file of `presets/`, with a backup if it was edited."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

from pipeline.config.validation import FILE, refuse_unknown
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import write_text

FOLDER = Path(__file__).resolve().parents[2] / "presets"
# The last line of a file that was made for a dataset.
MARK = "# `init` and `preset` replace this file without a backup while this fits the text above: "


def names() -> list[str]:
    """The presets, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def apply(name: str, root: Path) -> Path | None:
    """Replace `root`/params.yaml with preset `name`; the backup of the old file, if one was made.

    A file that equals a preset needs none. An older backup is never overwritten: the next free name
    of params.yaml.bak, params.yaml.bak1, ... is used. Raises `ParamsError` if there is no such
    preset.
    """
    refuse_unknown("preset", name, names())
    return replace(root, (FOLDER / f"{name}.yaml").read_text("utf-8"))


def replace(root: Path, text: str) -> Path | None:
    """Write `root`/params.yaml; returns the backup of the old file, if it was edited."""
    backup = None
    if is_edited(root):
        places = (root / f"{FILE}.bak{number or ''}" for number in itertools.count())
        backup = next(place for place in places if not place.exists())
        (root / FILE).replace(backup)
    write_text(root / FILE, text)
    return backup


def is_edited(root: Path) -> bool:
    """Whether the params.yaml of `root` is neither a preset nor as `init` wrote it."""
    file = root / FILE
    if not file.is_file():
        return False
    text = file.read_text("utf-8-sig", errors="replace")
    shipped = (FOLDER / f"{preset}.yaml" for preset in names())
    return text != signed_again(text) and text not in [each.read_text("utf-8") for each in shipped]


def refuse_edited(root: Path) -> None:
    """Raise `ParamsError` if params.yaml was edited."""
    if is_edited(root):
        raise ParamsError(
            FILE,
            "expected a preset or what `init` wrote, found a file that was edited",
            f"add --force to replace it; it is kept as {FILE}.bak",
        )


def signed(text: str) -> str:
    """`text` with a last line that detects later edits."""
    return f"{text}\n{MARK}{hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def signed_again(text: str) -> str:
    """`text` with the last line recomputed."""
    return signed(text.rpartition(f"\n{MARK}")[0])

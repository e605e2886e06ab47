"""`preset NAME`: replace params.yaml with a file of `presets/`."""

from __future__ import annotations

import itertools
from pathlib import Path

from pipeline.config.validation import FILE, refuse_unknown
from pipeline.runtime.files import write_text

FOLDER = Path(__file__).resolve().parents[2] / "presets"


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
    texts = {preset: (FOLDER / f"{preset}.yaml").read_text("utf-8") for preset in names()}

    file, backup = root / FILE, None
    if file.is_file() and file.read_text("utf-8-sig", errors="replace") not in texts.values():
        places = (root / f"{FILE}.bak{number or ''}" for number in itertools.count())
        backup = next(place for place in places if not place.exists())
        file.replace(backup)
    write_text(file, texts[name])
    return backup

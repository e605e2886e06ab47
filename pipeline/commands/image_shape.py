"""The shape of the images that `check` builds every model for, before they are read.

Reading them may take minutes, so the splits of an earlier run are used where they are of the same
dataset and settings, and otherwise what params.yaml and the name of the dataset imply.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.config.schema import DataParams
from pipeline.data.images import ImageSpec
from pipeline.runtime.files import read_json
from pipeline.trials.layout import SUMMARY

# The shapes of datasets whose images are always the same.
KNOWN = {
    "digits": ImageSpec(channels=1, height=8, width=8, num_classes=10),
    "toy": ImageSpec(channels=1, height=8, width=8, num_classes=3),
    "mnist": ImageSpec(channels=1, height=28, width=28, num_classes=10),
    "mnist5k": ImageSpec(channels=1, height=28, width=28, num_classes=10),
}
# Assumed if nothing is known about the images: color, as in most folders.
ASSUMED = ImageSpec(channels=3, height=32, width=32, num_classes=10)


def image_spec(params: DataParams, root: Path) -> tuple[ImageSpec, str]:
    """The spec of the dataset's images, and in a few words where it comes from."""
    prepared = prepared_spec(params, root / SUMMARY.path)
    if prepared is not None:
        return prepared, f"as in {SUMMARY.path.as_posix()}"

    if params.name in KNOWN:
        return without_classes(KNOWN[params.name], params), f"as of {params.name}"
    height, width = params.resize.shape if params.resize else (ASSUMED.height, ASSUMED.width)
    names = params.settings.get("classes")
    num_classes = len(names) if isinstance(names, list) else ASSUMED.num_classes
    spec = ImageSpec(ASSUMED.channels, height, width, num_classes)
    return without_classes(spec, params), "assumed until the stage prepare has read the images"


def prepared_spec(params: DataParams, path: Path) -> ImageSpec | None:
    """The spec in the record of the last splits; None if there is none of these settings."""
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(path)
        channels, height, width = map(int, record["shape"])
        spec = ImageSpec(channels, height, width, len(record["class_names"]))
    except (ValueError, KeyError, TypeError):  # of another version, which prepare replaces
        return None

    known = KNOWN.get(params.name)
    is_same = (
        record.get("dataset") == params.name
        # As JSON, in which keys are strings and tuples are lists.
        and record.get("settings", {}) == json.loads(json.dumps(params.settings, default=str))
        and _is_resized(params, record, spec)
        and (known is None or without_classes(known, params) == spec)
    )
    return spec if is_same else None


def _is_resized(params: DataParams, record: dict[str, Any], spec: ImageSpec) -> bool:
    """Whether the images of the record are resized, or are not, as params.yaml says."""
    if params.resize is None:
        return record.get("resize") is None
    return params.resize.shape == (spec.height, spec.width)


def without_classes(spec: ImageSpec, params: DataParams) -> ImageSpec:
    """`spec` without the classes that are made unknown; at least two remain."""
    num_unknown = len(set(params.unknown_classes.classes))
    num_classes = max(2, spec.num_classes - num_unknown)
    return ImageSpec(spec.channels, spec.height, spec.width, num_classes, spec.background)


def described(spec: ImageSpec) -> str:
    """Such as `3 x 40 x 32 pixels and 5 classes`; channels first."""
    sides = " x ".join(map(str, (spec.channels, spec.height, spec.width)))
    return f"{sides} pixels and {spec.num_classes} classes"

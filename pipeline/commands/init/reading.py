"""Reads a dataset at a suitable image size, with the reason for that size."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from pipeline.commands.init.options import Options
from pipeline.config.schema import DataParams, ResizeParams
from pipeline.config.validation import FILE, validate
from pipeline.data.background import resolve_background
from pipeline.data.datasets import open_dataset
from pipeline.data.datasets.base import RawDataset
from pipeline.data.datasets.image_files import ImageFiles
from pipeline.data.images import Background
from pipeline.data.reading.decoding import DAMAGES, FORMATS
from pipeline.data.reading.resizing import MUCH, cropped_size
from pipeline.runtime.errors import DataError, ParamsError

SIDE = 32  # pixels, unless images are smaller
LEAST_SIDE = 8  # pixels; models need at least this many
KEPT = 40  # pixels; images of one size up to this keep it
MUCH_CUT = 0.1  # `pad` is chosen if a larger share of the images would lose much of their area
SAMPLED = 500  # files whose sizes are looked at before all are decoded
HEADER = 2**18  # bytes at the start of a file, enough to read its image size
MOST_UNREADABLE = 0.05  # share of the files; more is a problem of the whole folder
MAX_CLASSES = 100


@dataclass(frozen=True)
class Loaded:
    """A dataset, its section `data` so far, and the comments on its keys."""

    raw: RawDataset
    section: dict[str, Any]
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def background(self) -> Background:
        """The background: as given, or measured."""
        raw = self.raw
        return resolve_background(self.section["background"], raw.images.images, raw.boxes)


def load(section: dict[str, Any], options: Options, root: Path) -> Loaded:
    """The dataset of `section`, resized where that is needed.

    Raises `DataError` for what no study can use, `ParamsError` for flags that do not fit.
    """
    section = {**section, "background": options.background_value}
    dataset = open_dataset(_params(section, None), root)
    if isinstance(dataset, ImageFiles):
        refuse_many_classes(str(section["path"]), dataset.listing.class_names)
        if "on_error" not in section:
            section["on_error"] = "skip"

    # By the sizes of some files, to avoid decoding all of them twice.
    sizes = sampled_sizes(dataset) if isinstance(dataset, ImageFiles) else []
    resize, why = suitable_resize(sizes, options)
    try:
        raw = open_dataset(_params(section, resize), root).load()
    except DataError:
        # The other files differ in size, or arrays are too large as they are.
        if resize is not None:
            raise
        resize = ResizeParams(size=SIDE)
        raw = open_dataset(_params(section, resize), root).load()
    refuse_many_classes(str(section["path"]), raw.class_names)
    other, reason = better_resize(raw, resize, options)
    why = reason or why
    if other != resize:
        resize = other
        raw = open_dataset(_params(section, resize), root).load()

    comments = {"resize": why}
    section, comments = _unreadable(section, comments, raw)
    if resize is not None:
        section["resize"] = {"size": _size(resize), "policy": resize.policy}
    return Loaded(raw, _ordered(section), comments)


def _params(section: dict[str, Any], resize: ResizeParams | None) -> DataParams:
    values = {**section, "unknown_classes": {"classes": [], "frac": 0.0}}
    params = validate(DataParams, values, f"{FILE}: data")
    return params.model_copy(update={"resize": resize})


def suitable_resize(
    sizes: Sequence[tuple[int, int]], options: Options
) -> tuple[ResizeParams | None, str]:
    """The resizing that suits images of these sizes (height, width), as far as no flag says it.

    Images of one size are kept if they are small; none of no size are looked at as they are.
    """
    policies = get_args(ResizeParams.model_fields["policy"].annotation)
    if options.policy is not None and options.policy not in policies:
        raise ParamsError(
            "init: --policy",
            f"expected one of {', '.join(policies)}, found {options.policy!r}",
            "choose one",
        )
    if options.size is None and options.policy is None:
        same = len(set(sizes)) == 1
        if not sizes or (same and min(sizes[0]) >= LEAST_SIDE and max(sizes[0]) <= KEPT):
            return None, ""

    # Small images are enlarged no more than needed.
    largest = max((max(size) for size in sizes), default=SIDE)
    side = min(SIDE, max(LEAST_SIDE, largest)) if options.size is None else options.size
    values = {"size": side, "policy": options.policy or "crop"}
    resize = validate(ResizeParams, values, f"{FILE}: data.resize")
    if options.policy is not None or not sizes:
        return resize, "--size and --policy"

    cut = sum(loss_of_crop(size, resize) > MUCH for size in sizes)
    if cut > MUCH_CUT * len(sizes):
        resize = resize.model_copy(update={"policy": "pad"})
    return resize, _words(cut, len(sizes), resize)


def better_resize(
    raw: RawDataset, resize: ResizeParams | None, options: Options
) -> tuple[ResizeParams | None, str]:
    """The resizing that suits the images, after they were read once, and the reason."""
    reading = raw.reading
    total = max(1, reading.get("num_files", len(raw.images)))
    if reading.get("num_sizes") == 1:
        height, width = reading["largest"]
        return suitable_resize([(height, width)] * total, options)
    cut = (reading.get("resize") or {}).get("num_cropped_much", 0)
    if resize is None or resize.policy != "crop" or options.policy is not None:
        return resize, ""
    if cut > MUCH_CUT * total:
        resize = resize.model_copy(update={"policy": "pad"})
    return resize, _words(cut, total, resize)


def _words(cut: int, total: int, resize: ResizeParams) -> str:
    """The reason for a policy: how many images `crop` cuts much of."""
    if cut == 0:
        return "crop cuts at most 20 % of every image; --size, --policy"
    verb = "cuts" if resize.policy == "crop" else "would cut"
    return f"crop {verb} more than 20 % of {cut} of {total} images; --size, --policy"


def sampled_sizes(dataset: ImageFiles) -> list[tuple[int, int]]:
    """(height, width) of at most `SAMPLED` files at equal steps, by their first bytes."""
    listing = dataset.listing
    sizes = []
    for example in listing.examples[:: -(-len(listing.examples) // SAMPLED)]:
        try:
            start = io.BytesIO(listing.tree.read(example.file, HEADER))
            with Image.open(start, formats=FORMATS) as image:
                sizes.append((image.height, image.width))
        except DAMAGES:
            continue  # decoding says what is wrong with it
    return sizes


def loss_of_crop(size: tuple[int, int], resize: ResizeParams) -> float:
    """The share of the area that lies outside the largest box of the final shape."""
    (height, width), (tall, wide) = size, cropped_size(size, resize.shape)
    return 1 - tall * wide / (height * width)


def refuse_many_classes(path: str, names: tuple[str, ...]) -> None:
    """Raise `DataError` above `MAX_CLASSES` classes."""
    if len(names) > MAX_CLASSES:
        raise DataError(
            path,
            f"expected 2 to {MAX_CLASSES} classes, found {len(names)}",
            "choose some of them: --classes A,B,C",
        )


def _unreadable(
    section: dict[str, Any], comments: dict[str, str], raw: RawDataset
) -> tuple[dict[str, Any], dict[str, str]]:
    """Files that could not be read: named in a comment, or an error where they are many."""
    count = raw.reading.get("skipped", {}).get("unreadable", 0)
    if not count:
        return {key: value for key, value in section.items() if key != "on_error"}, comments
    names = raw.reading["skipped_examples"]["unreadable"]
    if count > max(2, MOST_UNREADABLE * raw.reading["num_files"]):
        raise DataError(
            str(section["path"]),
            f"expected readable images, found {count} that are not, such as {names[0]}",
            "replace or remove them",
        )
    words = f"{count} unreadable files are left out ({names[0]}); stop: refuse them"
    return section, {**comments, "on_error": words}


def _size(resize: ResizeParams) -> int | list[int]:
    return resize.size if isinstance(resize.size, int) else list(resize.size)


def _ordered(section: dict[str, Any]) -> dict[str, Any]:
    """Where the images are first, then how they are read."""
    last = ("resize", "background")
    return {key: value for key, value in section.items() if key not in last} | {
        key: section[key] for key in last if key in section
    }

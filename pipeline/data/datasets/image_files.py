"""What all datasets of image files share: their settings, decoding, and the record of it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os.path import splitext
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import ImageColor
from pydantic import field_validator
from typing_extensions import override

from pipeline.config.validation import Section
from pipeline.data.datasets.base import Dataset, Origins, RawDataset
from pipeline.data.images import LabeledImages
from pipeline.data.reading.cache import Decoding, Facts, Store, decode_files, refuse_unreadable
from pipeline.data.reading.decoding import common_span
from pipeline.data.reading.listing import Example, Listing, Val, refuse_missing
from pipeline.data.reading.resizing import Resized, boxes_of, cost
from pipeline.data.reading.tree import Tree, open_tree

NUM_EXAMPLES = 5  # names per reason in the record


class ImageFilesConfig(Section):
    """Where the images are and how they are read.

    `path`: a folder or a zip, relative to the project's folder or absolute. `classes`: the classes
    to use, in this order; None: all, in natural order. `val`: use of a validation part (auto:
    train, or test if there is no test part). `channels`: auto is gray if every image is gray in
    value. `alpha_onto`: the color behind transparent pixels. `on_error: skip` leaves out unreadable
    files. `masks: skip` leaves out binary images beside photos of the same name.
    """

    path: str
    classes: list[str] | None = None
    val: Val = "auto"
    channels: Literal["auto", "gray", "rgb"] = "auto"
    alpha_onto: str = "white"
    on_error: Literal["stop", "skip"] = "stop"
    masks: Literal["skip", "keep"] = "skip"

    @field_validator("alpha_onto")
    @classmethod
    def _is_a_color(cls, value: str) -> str:
        ImageColor.getrgb(value)
        return value


class ImageFiles(Dataset):
    """Images in a folder or a zip; subclasses list the files with their classes."""

    Config: ClassVar[type[Section]] = ImageFilesConfig

    @abstractmethod
    def list_images(self) -> Listing:
        """Every file with its class and part, before anything is decoded."""

    @property
    def path(self) -> Path:
        """The folder, zip or table of the user."""
        return self.root / Path(self.config.path).expanduser()

    @cached_property
    def tree(self) -> Tree:
        """The files below `path`."""
        return open_tree(self.path)

    @cached_property
    def listing(self) -> Listing:
        """`list_images`, once."""
        return self.list_images()

    @override
    def files(self) -> list[Path]:
        return self.listing.tree.sources([each.file for each in self.listing.examples])

    @override
    def load(self) -> RawDataset:
        listing = self.listing
        examples = listing.examples
        files = [each.file for each in examples]
        decoding = Decoding(self.resize, self.config.alpha_onto, self.background)
        store = decode_files(listing.tree, files, self.root, decoding)
        # Images of 16 bits all have one span, which is known once all were read.
        spans = [facts.span for facts in store.facts if facts.span is not None]
        if spans and common_span(spans) != decoding.span:
            decoding = replace(decoding, span=common_span(spans))
            store = decode_files(listing.tree, files, self.root, decoding)
        if self.config.on_error == "stop":
            refuse_unreadable(files, store.facts)

        # What is left out, and the choice of gray or RGB for the whole set.
        masks = find_masks(examples, store.facts) if self.config.masks == "skip" else set()
        index = np.array(
            [at for at, facts in enumerate(store.facts) if facts.error is None and at not in masks],
            dtype=np.int64,
        )
        is_gray = self.config.channels == "gray" or (
            self.config.channels == "auto" and all(store.facts[at].gray for at in index)
        )
        pixels = store.images(index, is_gray)

        chosen = [examples[at] for at in index]
        refuse_missing(str(self.config.path), listing.class_names, chosen, listing.test)

        # Training images come first, so both parts are slices, which stay memory-mapped.
        num_train = int((index < len(listing.train)).sum())
        labels = np.array(listing.labels(chosen), dtype=np.int64)
        train, test = slice(0, num_train), slice(num_train, None)
        source = str(self.config.path)
        images = LabeledImages(pixels[train], labels[train], source)
        test_images = LabeledImages(pixels[test], labels[test], f"{source}, test part")
        return RawDataset(
            images,
            test_images if listing.test else None,
            listing.class_names,
            origins(listing, chosen[train]),
            origins(listing, chosen[test]),
            self._record(store, masks, index),
            boxes_of(self.resize, [store.facts[at].box for at in index[train]]),
        )

    def _record(self, store: Store, masks: set[int], index: np.ndarray) -> dict[str, Any]:
        """What was read, skipped and converted, as JSON."""
        skipped: dict[str, list[str]] = defaultdict(list)
        for reasons in (self.listing.tree.skipped, self.listing.skipped):
            for reason, names in reasons.items():
                skipped[reason] += names
        for at, (each, facts) in enumerate(zip(self.listing.examples, store.facts, strict=True)):
            if facts.error is not None:
                skipped["unreadable"].append(f"{each.file.name}: {facts.error}")
            elif at in masks:
                skipped["masks beside photos"].append(each.file.name)
        record = reading([store.facts[at] for at in index], skipped)
        results = [
            Resized(np.empty(0, np.uint8), facts.enlarged, facts.lost_area)
            for facts in (store.facts[at] for at in index)
        ]
        return {**record, "resize": cost(self.resize, results), "notes": list(self.listing.notes)}


def reading(facts: Sequence[Facts], skipped: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The JSON record of `facts` of the images that are used, and of files that are not."""
    sizes = sorted({each.size for each in facts}, key=lambda size: (size[0] * size[1], size))
    conversions = Counter(word for each in facts for word in each.conversions)
    return {
        "num_files": len(facts),
        "skipped": {reason: len(names) for reason, names in sorted(skipped.items())},
        "skipped_examples": {
            reason: list(names[:NUM_EXAMPLES]) for reason, names in sorted(skipped.items())
        },
        "converted": dict(sorted(conversions.items())),
        "modes": dict(sorted(Counter(each.mode for each in facts).items())),
        "smallest": list(sizes[0]) if sizes else None,
        "largest": list(sizes[-1]) if sizes else None,
        "num_sizes": len(sizes),
    }


def find_masks(examples: Sequence[Example], facts: Sequence[Facts]) -> set[int]:
    """Positions of masks: binary images that differ from another image only by their extension.

    All such images of one extension must be binary, and not all of the others.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for at, each in enumerate(examples):
        groups[splitext(each.file.name)[0]].append(at)

    by_suffix: dict[str, list[int]] = defaultdict(list)
    for members in groups.values():
        if len(members) > 1:
            for at in members:
                by_suffix[examples[at].file.suffix].append(at)
    two_valued = {
        suffix: all(facts[at].two_valued for at in members) for suffix, members in by_suffix.items()
    }
    if all(two_valued.values()):
        return set()
    return {at for suffix, members in by_suffix.items() if two_valued[suffix] for at in members}


def origins(listing: Listing, examples: Sequence[Example]) -> Origins:
    """The paths and cells of `examples`."""
    columns = {
        name: tuple(each.cells[at] for each in examples) for at, name in enumerate(listing.columns)
    }
    return Origins(tuple(each.file.name for each in examples), columns)

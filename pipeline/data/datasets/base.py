"""The contract of a dataset: what it reads, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipeline.config.schema import ResizeParams
from pipeline.config.validation import Section
from pipeline.data.background import Boxes
from pipeline.data.images import UNLABELED, Background, LabeledImages
from pipeline.runtime.errors import DataError

DIGIT_NAMES = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Origins:
    """Where images come from, one entry per image: its path, and its cells in a table, by column.

    Paths are relative to the dataset's folder, with `/`. Empty where images are no files.
    """

    paths: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RawDataset:
    """All images of a dataset, and its test set if it has one.

    `class_names[label]` is the name in reports. Images outside the test set may be unlabeled (-1)
    and then belong to the pool. `origins` and `test_origins` are those of `images` and `test`.
    `reading` is a JSON record of what was read, skipped and resized, for the report. `boxes` are
    the parts of `images` inside of padding; None: images are not padded. Raises
    `DataError` for fewer than two classes, for classes without an image and for labels without a
    name.
    """

    images: LabeledImages
    test: LabeledImages | None
    class_names: tuple[str, ...]
    origins: Origins = Origins()
    test_origins: Origins = Origins()
    reading: Mapping[str, Any] = field(default_factory=dict)
    boxes: Boxes | None = None

    def __post_init__(self) -> None:
        num_classes = len(self.class_names)
        named = self.images.labels[self.images.labels != UNLABELED]
        parts = [(self.images.source, named)]
        if self.test is not None:
            parts.append((self.test.source, self.test.labels))
        for source, part in parts:
            labels = np.unique(part)
            if num_classes < 2 or not np.array_equal(labels, np.arange(num_classes)):
                raise DataError(
                    source,
                    f"expected every label from 0 to {num_classes - 1}, at least two of them, "
                    f"found {labels.tolist()[:20]}",
                    "give each class at least one image",
                )


class BuiltIn(Section):
    """The settings of a dataset that comes with a library: none."""

    path: None = None


class Dataset(ABC):
    """A source of images: reads or downloads them; does not split, shuffle or scale values.

    `root` is the project's folder, where relative paths start. A dataset of files resizes them as
    it decodes them (`resize`); `None` keeps their size. `pad` fills with the color `background`;
    None: with the color of the image's own border.
    """

    Config: ClassVar[type[Section]]

    def __init__(
        self,
        config: Any,
        root: Path,
        resize: ResizeParams | None = None,
        background: Background = None,
    ) -> None:
        self.config = config
        self.root = root
        self.resize = resize
        self.background = background

    def files(self) -> list[Path]:
        """The files below a folder of the user that `load` reads, so that a change is noticed."""
        return []

    @abstractmethod
    def load(self) -> RawDataset:
        """All images; the same at every call with the same files."""

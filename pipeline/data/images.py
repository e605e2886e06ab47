"""Labeled images as two arrays, and the content ids of images.

Knows arrays and the `.npz` format, but no torch and no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.errors import DataError
from pipeline.runtime.files import Rows, read_npz

UNLABELED = -1

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


# The color of the empty space around an object, 0..255 per channel, with which transforms fill
# empty pixels. None: a photo, which has no such color.
Background = tuple[int, ...] | None
BLACK: Background = (0,)  # a single value stands for all channels


@dataclass(frozen=True)
class ImageSpec:
    """What a model needs to know about a dataset: image shape, number of classes, background."""

    channels: int
    height: int
    width: int
    num_classes: int
    background: Background = BLACK


@dataclass(frozen=True)
class LabeledImages:
    """`images` uint8 (n, c, h, w); `labels` int64 (n,), -1 unlabeled; the background of all images.

    Raises `DataError` for other shapes, dtypes or label values.
    """

    images: Images
    labels: Labels
    source: str = "images"
    background: Background = BLACK

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(
                self.source,
                "expected uint8 images of shape (n, channels, height, width), "
                f"found {images.dtype} of shape {images.shape}",
                "convert the images first",
            )
        if labels.dtype != np.int64 or labels.shape != (len(images),):
            raise DataError(
                self.source,
                f"expected int64 labels of shape ({len(images)},), one per image, "
                f"found {labels.dtype} of shape {labels.shape}",
                "give every image one integer label",
            )
        if len(labels) and labels.min() < UNLABELED:
            raise DataError(
                self.source,
                f"expected labels from 0 up, or -1 for unlabeled, found {labels.min()}",
                "renumber the classes from 0",
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """One more than the largest label; a labeled subset has every class."""
        return int(self.labels.max()) + 1

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> LabeledImages:
        """The images at `index` (positions or a mask), in that order."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def spec(self) -> ImageSpec:
        """The shape of one image and the number of classes."""
        _, channels, height, width = self.images.shape
        return ImageSpec(channels, height, width, self.num_classes, self.background)


def joined(first: LabeledImages, second: LabeledImages) -> LabeledImages:
    """The images of `first`, then those of `second`; source and background are those of `first`."""
    images = np.concatenate([first.images, second.images])
    return replace(first, images=images, labels=np.concatenate([first.labels, second.labels]))


def read_images(path: Path) -> LabeledImages:
    """The `images` and `labels` of an `.npz` file; raises `DataError` if it lacks them.

    A file without `background` has black images; an empty one means photos.
    """
    arrays = read_npz(path)
    if not {"images", "labels"} <= set(arrays):
        raise DataError(
            str(path),
            f"expected the arrays images and labels, found {', '.join(arrays) or 'none'}",
            "run the stage that writes this file again",
        )
    background = background_of(arrays)
    return LabeledImages(arrays["images"], arrays["labels"], str(path), background)


def background_of(arrays: Mapping[str, NDArray[Any]]) -> Background:
    """The background that arrays of images or labels name: black without one, None if empty."""
    if "background" not in arrays:
        return BLACK
    return tuple(arrays["background"].tolist()) or None


def background_arrays(background: Background) -> dict[str, NDArray[np.int64]]:
    """The array that `background_of` reads; none where it is black."""
    if background == BLACK:
        return {}
    return {"background": np.array(background or (), dtype=np.int64)}


def arrays_of(data: LabeledImages) -> dict[str, NDArray[Any]]:
    """The arrays that `read_images` reads; the background is left out where it is black."""
    return {"images": data.images, "labels": data.labels, **background_arrays(data.background)}


def flat(images: Images) -> NDArray[np.float32]:
    """uint8 images (n, c, h, w) as float32 rows (n, c * h * w) in 0..1."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def content_ids(images: Images) -> NDArray[np.str_]:
    """SHA-256 of each image's bytes as hex, (n,): equal if and only if the pixels are equal."""
    ids = [
        hashlib.sha256(image.tobytes()).hexdigest()
        for chunk in Rows(images, np.arange(len(images))).chunks()
        for image in chunk
    ]
    return np.array(ids)


def digest(data: LabeledImages) -> str:
    """SHA-256 over all pixels and labels in order, as hex."""
    return digest_of(Rows(data.images, np.arange(len(data))), data.labels)


def digest_of(images: Rows, labels: Labels) -> str:
    """See `digest`: that of images which are not all in memory."""
    running = hashlib.sha256(repr(images.shape).encode())
    for chunk in images.chunks():
        running.update(chunk.tobytes())
    running.update(labels.tobytes())
    return running.hexdigest()

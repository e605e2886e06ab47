"""The color of the background: given in params.yaml, or measured at the borders of the images."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import BLACK, Background, Images
from pipeline.runtime.errors import ParamsError

Boxes = NDArray[np.int64]  # (n, 4): top, left, height and width of a part of every image

MAX_MEASURED = 2000  # images
NEAR = 16  # levels; noise and JPEG artifacts of a plain background stay within
SNAP = 24  # levels; a background this close to black or white counts as black or white
LEAST_FRAC = 0.6  # of all pixels at the borders


def measured_background(images: Images, boxes: Boxes | None = None) -> Background:
    """The color of most border pixels of `images`, per channel, or None for photos.

    The median of all border pixels, per channel, is the background if at least `LEAST_FRAC` of them
    are within `NEAR` levels of it in every channel. Objects may touch the border; photos have no
    such color. At most `MAX_MEASURED` images, at equal steps, are measured. `boxes`: the part of
    every image inside of padding, whose borders are measured instead.
    """
    count = min(len(images), MAX_MEASURED)
    if count == 0:
        return BLACK
    steps = np.linspace(0, len(images) - 1, count).astype(np.int64)
    if boxes is None:
        borders = _borders(images[steps])
    else:
        parts = [
            images[at : at + 1, :, top : top + height, left : left + width]
            for at, (top, left, height, width) in zip(steps, boxes[steps], strict=True)
        ]
        borders = np.concatenate([_borders(part) for part in parts])

    color = np.median(borders, axis=0)
    near = (np.abs(borders - color) <= NEAR).all(axis=1)
    if near.mean() < LEAST_FRAC:
        return None
    snapped = np.where(color <= SNAP, 0, np.where(color >= 255 - SNAP, 255, np.round(color)))
    levels = tuple(int(level) for level in snapped)
    return levels[:1] if len(set(levels)) == 1 else levels


def _borders(images: Images) -> np.ndarray:
    """The pixels of the first and last row and column of every image, (pixels, channels)."""
    sides = (
        images[:, :, 0, :],
        images[:, :, -1, :],
        images[:, :, 1:-1, 0],
        images[:, :, 1:-1, -1],
    )
    edge = np.concatenate(sides, axis=2)  # (n, c, border)
    return edge.transpose(0, 2, 1).reshape(-1, images.shape[1]).astype(np.int16)


def resolve_background(
    rule: Literal["auto", "none"] | list[int], images: Images, boxes: Boxes | None = None
) -> Background:
    """The background by `data.background`, measured from `images` and `boxes` if that is `auto`.

    Raises `ParamsError` for a list that has neither one value nor one per channel.
    """
    if rule == "auto":
        return measured_background(images, boxes)
    if rule == "none":
        return None
    channels = images.shape[1]
    if len(rule) not in (1, channels):
        expected = "one value" if channels == 1 else f"one value, or {channels} (one per channel)"
        raise ParamsError(
            "params.yaml: data.background", f"expected {expected}, found {list(rule)}", "correct it"
        )
    levels = tuple(int(level) for level in rule)
    return levels[:1] if len(set(levels)) == 1 else levels

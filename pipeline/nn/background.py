"""The background of images, for transforms and layers that read pixels beyond the edges.

A background is a color, levels 0..255 per channel or one for all channels, or None for photos,
which have none. Black is 0, the padding of torch's layers and of `grid_sample`; for any other color
images are shifted, so that the background is 0 there as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

Background = tuple[int, ...] | None


def is_black(background: Background) -> bool:
    """Whether the background is a color, and that color is black."""
    return background is not None and not any(background)


def color(background: tuple[int, ...]) -> Tensor:
    """The color in 0..1, (c, 1, 1), or (1, 1, 1) for one level that stands for all channels."""
    return torch.tensor(background, dtype=torch.float32).div(255)[:, None, None]


def warp(images: Tensor, grid: Tensor, background: Background) -> Tensor:
    """Images (n, c, h, w) in 0..1, read bilinearly at the places `grid` (n, h, w, 2), in -1..1.

    Empty pixels get the background. Photos are padded by reflection, since repeated edge pixels
    would give stripes.
    """
    if background is None:
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if is_black(background):
        return functional.grid_sample(images, grid, align_corners=False)
    level = color(background)
    return functional.grid_sample(images - level, grid, align_corners=False) + level


def erase(images: Tensor, hidden: Tensor, background: Background) -> Tensor:
    """Images (n, c, h, w) in 0..1 with the background, or a photo's mean color, where `hidden`.

    `hidden` is bool, (n, 1, h, w).
    """
    if is_black(background):
        return images.masked_fill(hidden, 0.0)
    level = images.mean((2, 3), keepdim=True) if background is None else color(background)
    return torch.where(hidden, level, images)


class Relative(nn.Module):
    """Images (n, c, h, w) in 0..1 to their difference from the background, in -1..1."""

    level: Tensor

    def __init__(self, background: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("level", color(background), persistent=False)

    @override
    def forward(self, images: Tensor) -> Tensor:
        return images - self.level


def relative(background: Background) -> list[nn.Module]:
    """The layer before a convolution that pads with zeros; none for black images and for photos.

    With it, a network trained on images and one trained on their negatives learn the same.
    """
    return [] if background is None or is_black(background) else [Relative(background)]

"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import functional

from pipeline.config.validation import Section
from pipeline.nn.augment import Transform
from pipeline.nn.background import Background

RGB = 3  # channels


class ColorConfig(Section):
    """The ranges of torchvision's `ColorJitter`, sampled uniformly for every image.

    A factor is within 1 - value and 1 + value, a shift of the hue within -hue and hue. Gray images
    have neither saturation nor hue.
    """

    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    saturation: float = Field(default=0.0, ge=0, le=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)  # 0.5: any hue


def color(config: ColorConfig, background: Background) -> Transform:
    """`torchvision.transforms.v2.ColorJitter` with different parameters for every image.

    Deviations: the four changes have a fixed order, the one above, and all are computed for the
    whole batch but hue, which is the library's. The color of the background changes like any other.
    """

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        # Four numbers for every image, so that a changed range does not change the others.
        uniform = torch.rand((4, len(images), 1, 1, 1), generator=generator).mul_(2).sub_(1)
        is_rgb = images.shape[1] == RGB

        if config.brightness:
            images = (images * (1 + uniform[0] * config.brightness)).clamp(0, 1)
        if config.contrast:
            mean = gray(images).mean((1, 2, 3), keepdim=True)
            images = blended(images, mean, 1 + uniform[1] * config.contrast)
        if config.saturation and is_rgb:
            images = blended(images, gray(images), 1 + uniform[2] * config.saturation)
        if config.hue and is_rgb:
            shifts = (uniform[3] * config.hue).flatten().tolist()
            pairs = zip(images, shifts, strict=True)
            images = torch.stack([functional.adjust_hue(image, shift) for image, shift in pairs])
        return images.clone()

    return transform


def gray(images: Tensor) -> Tensor:
    """The luminance of images (n, c, h, w), (n, 1, h, w)."""
    return functional.rgb_to_grayscale(images) if images.shape[1] == RGB else images


def blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`other` at factor 0, `images` at 1, and beyond them above 1; within 0..1."""
    return (factor * images + (1 - factor) * other).clamp(0, 1)

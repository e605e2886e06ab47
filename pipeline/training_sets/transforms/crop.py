"""Random crops, resized to the size of the image, or of an image padded at its edges."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from pipeline.config.validation import Section
from pipeline.nn.augment import Transform
from pipeline.nn.background import Background, warp


class CropConfig(Section):
    """The window that is cut out of an image: its size, its shape and its place, all uniform.

    `padding` alone is torchvision's `RandomCrop` of a padded image.
    """

    scale: float = Field(default=1.0, gt=0, le=1)  # smallest area, as a share of the image
    ratio: float = Field(default=1.0, ge=1, le=4)  # largest change of the aspect ratio, either way
    padding: float = Field(default=0.0, ge=0, le=0.5)  # beyond every edge, as a share of the side


def crop(config: CropConfig, background: Background) -> Transform:
    """`torchvision.transforms.v2.RandomResizedCrop` with another window for every image.

    Deviations: windows are not rounded to whole pixels; one that would be wider or higher than the
    image gets its width or height, where the library tries again; the interpolation has no
    antialias, since it only enlarges. Empty pixels get the background, those of photos a mirror
    image of the photo.
    """

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand((4, len(images)), generator=generator)
        area = config.scale + (1 - config.scale) * uniform[0]
        stretch = torch.exp((2 * uniform[1] - 1) * math.log(config.ratio))
        size = torch.stack([area * stretch, area / stretch]).sqrt().clamp(max=1)  # (2, n)

        # An image spans -1..1, so a window moves by at most the rest of the side.
        center = (2 * uniform[2:] - 1) * (1 - size + 2 * config.padding)
        matrices = torch.zeros((len(images), 2, 3))
        matrices[:, 0, 0], matrices[:, 1, 1] = size
        matrices[:, :, 2] = center.T
        grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
        return warp(images, grid, background)

    return transform

"""Classical augmentation: random changes of images that keep a digit's class.

A transform maps a float batch in 0..1, (n, c, h, w), and a torch generator to a batch of the same
shape. Empty pixels get the color of the background; photos are padded by reflection. There are
no flips, since digits are not symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from pipeline.config.validation import Section
from pipeline.nn.background import Background, erase, warp

KNOTS = 7  # of the coarse grid along each side: about four pixels apart on a digit
Transform = Callable[[Tensor, torch.Generator], Tensor]


class AffineConfig(Section):
    """The ranges of torchvision's `RandomAffine`, sampled uniformly for every image."""

    degrees: float = Field(default=0.0, ge=0, le=180)  # rotation, either way
    translate: float = Field(default=0.0, ge=0, le=1)  # shift, as a share of the side, either way
    scale: float = Field(default=0.0, ge=0, lt=1)  # 0.1 means 0.9 to 1.1 times
    shear: float = Field(default=0.0, ge=0, lt=90)  # degrees along x, either way


def affine(config: AffineConfig, background: Background) -> Transform:
    """`torchvision.transforms.v2.RandomAffine` with different parameters for every image.

    The library samples once per call and would change a whole batch alike; one call per image takes
    longer than the classifier's training step. Interpolation is bilinear. A test compares each
    image with `torchvision.transforms.v2.functional.affine`. Deviations: shifts are not rounded to
    whole pixels; empty pixels get the background, those of photos a mirror image of the photo.
    """

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        grid = affine_grid(config, images.shape, generator)
        return warp(images, grid, background)

    return transform


def shared_affine(
    config: AffineConfig, images: Tensor, seed: int, background: Background
) -> Tensor:
    """The same random affine change, which `seed` decides, of all `images`."""
    generator = torch.Generator().manual_seed(seed)
    grid = affine_grid(config, images[:1].shape, generator).expand(len(images), -1, -1, -1)
    return warp(images, grid, background)


def affine_grid(config: AffineConfig, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """The sampling grid (n, h, w, 2) of `grid_sample`, in -1..1, for a batch of that shape."""
    n, _, height, width = shape
    uniform = torch.rand((5, n), generator=generator).mul_(2).sub_(1)
    angle = uniform[0] * math.radians(config.degrees)
    shear = uniform[1] * math.radians(config.shear)
    scale = 1 + uniform[2] * config.scale
    shift = uniform[3:] * config.translate * torch.tensor([[width], [height]])

    matrices = inverse_affine(angle, shear, scale, shift, (height, width))
    return functional.affine_grid(matrices, list(shape), align_corners=False)


class ElasticConfig(AffineConfig):
    """An affine change, an elastic distortion on top of it, and cutout."""

    bend: float = Field(default=0.0, ge=0, le=1)  # standard deviation, as a share of the side
    cutout: float = Field(default=0.0, ge=0, le=1)  # largest side of the square, as a share


def elastic(config: ElasticConfig, background: Background) -> Transform:
    """Elastic distortion (Simard et al. 2003) and cutout (DeVries and Taylor 2017), per image.

    Deviations: displacements are normal at the knots of a coarse grid and interpolated cubically,
    instead of blurred white noise, which takes longer; the square's side is uniform between 0 and
    its maximum, and its pixels get the background, those of a photo its mean color (the paper: the
    mean of the dataset).
    """

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        grid = affine_grid(config, images.shape, generator)
        if config.bend:
            knots = torch.randn((n, 2, KNOTS, KNOTS), generator=generator) * (2 * config.bend)
            size = (height, width)
            bend = functional.interpolate(knots, size, mode="bicubic", align_corners=False)
            grid = grid + bend.permute(0, 2, 3, 1)

        warped = warp(images, grid, background)
        if not config.cutout:
            return warped

        side, row, column = torch.rand((3, n, 1, 1), generator=generator)
        half = side * config.cutout / 2
        rows, columns = (torch.arange(length) / length for length in (height, width))
        hidden = (rows[:, None] - row).abs() < half
        hidden = hidden & ((columns[None, :] - column).abs() < half)
        return erase(warped, hidden[:, None], background)

    return transform


def inverse_affine(
    angle: Tensor, shear: Tensor, scale: Tensor, shift: Tensor, size: tuple[int, int]
) -> Tensor:
    """Output-to-input matrices (n, 2, 3) for `affine_grid`, in which an image spans -1..1.

    `angle` and `shear` (along x) are in radians, (n,); `scale` is (n,); `shift` (2, n) is in pixels
    as (x, y). The forward map is torchvision's: translate o rotate o shear o scale about the
    center.
    """
    cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(shear)
    forward = torch.stack(
        [
            torch.stack([cos, -cos * tan - sin], dim=1),
            torch.stack([sin, -sin * tan + cos], dim=1),
        ],
        dim=1,
    )

    # From pixels to the units of `affine_grid`.
    height, width = size
    half = torch.tensor([width / 2, height / 2])
    linear = torch.linalg.inv(forward * scale[:, None, None])
    offset = -(linear @ shift.T[:, :, None])
    linear = linear * half[None, None, :] / half[None, :, None]
    return torch.cat([linear, offset / half[None, :, None]], dim=2)

"""Random erasing: a rectangle of every image is hidden."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.nn.augment import Transform
from pipeline.nn.background import Background, erase

MIN_AREA = 0.02
MAX_RATIO = 3.3


class ErasingConfig(Section):
    """How often, and how much."""

    probability: float = Field(default=0.5, ge=0, le=1)
    area: float = Field(default=0.2, ge=MIN_AREA, le=1)  # largest, as a share of the image


def erasing(config: ErasingConfig, background: Background) -> Transform:
    """`torchvision.transforms.v2.RandomErasing` with another rectangle for every image.

    Source: Zhong et al. (2020), "Random erasing data augmentation", with the library's ranges of
    the area (from 0.02) and of the aspect ratio (up to 3.3, either way). Deviations: a rectangle
    that does not fit is cut at the edges of the image; its pixels get the background, those of a
    photo its mean color, in place of noise.
    """

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        uniform = torch.rand((5, n, 1, 1, 1), generator=generator)
        area = MIN_AREA + (config.area - MIN_AREA) * uniform[1]
        stretch = torch.exp((2 * uniform[2] - 1) * math.log(MAX_RATIO))
        half_height, half_width = (area * stretch).sqrt() / 2, (area / stretch).sqrt() / 2

        # The centers of pixels in 0..1, and those within the rectangle.
        rows = ((torch.arange(height) + 0.5) / height)[:, None]
        columns = ((torch.arange(width) + 0.5) / width)[None, :]
        hidden = ((rows - uniform[3]).abs() < half_height) & (
            (columns - uniform[4]).abs() < half_width
        )
        return erase(images, hidden & (uniform[0] < config.probability), background)

    return transform

"""Random flips, for images whose mirror image has the same label."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.nn.augment import Transform
from pipeline.nn.background import Background


class FlipConfig(Section):
    """The probabilities of torchvision's `RandomHorizontalFlip` and `RandomVerticalFlip`."""

    horizontal: float = Field(default=0.5, ge=0, le=1)  # left and right are exchanged
    vertical: float = Field(default=0.0, ge=0, le=1)  # top and bottom are exchanged


def flip(config: FlipConfig, background: Background) -> Transform:
    """Flips of every image of a batch on its own; the library flips a whole batch alike."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand((2, len(images), 1, 1, 1), generator=generator)
        images = torch.where(uniform[0] < config.horizontal, images.flip(3), images)
        return torch.where(uniform[1] < config.vertical, images.flip(2), images)

    return transform

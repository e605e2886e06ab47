"""The strong augmentation of a student: movement, cutout and, where there is color, other colors.

Knows no network. A view maps a float batch in 0..1, (n, c, h, w), and a torch generator to a batch
of the same shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.nn.augment import ElasticConfig, Transform, elastic
from pipeline.nn.background import Background, color

BALANCE = 0.75  # of the strength: how much the channels differ from each other


def strong_view(config: ElasticConfig, strength: float, background: Background) -> Transform:
    """The transform `elastic`, after other colors of a strength in 0..1.

    Drawings in gray have no color to change: they keep their levels, since the network sees the
    difference from a known background.
    """
    move = elastic(config, background)
    if strength == 0:
        return move

    def view(images: Tensor, generator: torch.Generator) -> Tensor:
        if images.shape[1] > 1 or background is None:
            images = recolored(images, strength, background, generator)
        return move(images, generator)

    return view


def recolored(
    images: Tensor, strength: float, background: Background, generator: torch.Generator
) -> Tensor:
    """Images with random brightness, contrast, saturation and color balance, different for each.

    The operations of torchvision's `ColorJitter` in that order, with factors uniform in 1 +-
    `strength`. Deviations: a factor per channel replaces the turn of the hue, which takes longer;
    gray is the mean of the channels; with a background the difference from it is changed, and not
    its contrast, so that the background keeps its color.
    """
    n, channels, _, _ = images.shape
    factors = 1 + strength * (2 * torch.rand((3 + channels, n, 1, 1, 1), generator=generator) - 1)
    brightness, contrast, saturation = factors[:3]

    # The empty space stays what it is.
    level = torch.zeros(1, 1, 1) if background is None else color(background)
    difference = (images - level) * brightness
    if background is None:
        mean = difference.mean((1, 2, 3), keepdim=True)
        difference = mean + (difference - mean) * contrast

    if channels > 1:
        gray = difference.mean(dim=1, keepdim=True)
        balance = 1 + BALANCE * (factors[3:].reshape(channels, n, 1, 1).transpose(0, 1) - 1)
        difference = (gray + (difference - gray) * saturation) * balance
    return (difference + level).clamp(0, 1)

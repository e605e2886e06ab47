"""Transforms of torchvision that sample once per call, applied image by image.

They take several times as long as a training step of `cnn`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.augment import Transform
from pipeline.nn.backend import seeded
from pipeline.nn.background import Background, color

MARGIN = 4  # photos are continued by a quarter of their side
SEEDS = 2**62


def per_image(
    build: Callable[[list[float] | float], nn.Module], background: Background
) -> Transform:
    """The transform that `build` makes for a fill color in 0..1, anew for every image of a batch.

    The library fills empty pixels with one color only. A photo is continued by reflection first
    and cut to its size afterwards, so its shifts, shares of the side, are 1.5 times as long.
    """
    levels = [] if background is None else color(background).flatten().tolist()
    policy = build(levels if len(levels) > 1 else (levels or [0.0])[0])

    def changed(image: Tensor) -> Tensor:
        if background is not None:
            return policy(image)
        height, width = image.shape[1:]
        down, across = height // MARGIN, width // MARGIN
        larger = functional.pad(image[None], (across, across, down, down), mode="reflect")[0]
        return policy(larger)[:, down : down + height, across : across + width]

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        with seeded(int(torch.randint(SEEDS, (), generator=generator))):
            return torch.stack([changed(image) for image in images.contiguous()]).clamp(0, 1)

    return transform

"""A small residual network, for photos and color.

Source: He et al. (2016), "Deep residual learning for image recognition", section 4.2. Deviations:
one block per stage and a stem that halves larger images; a dense layer between the last map and
the scores; trained like `cnn`, with AdamW on a one-cycle schedule.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.config.validation import Width
from pipeline.data.images import ImageSpec
from pipeline.nn.background import relative

STAGES = 3  # each halves the sides of the one before and has twice its channels
# Sides of the first stage are at most this. So a step takes about as long for 24 to 64 pixels.
MAX_SIDE = 20
POOLED = 4  # sides of the last map, before the dense layer


class ResNetConfig(CNNConfig):
    """As for `cnn`; `channels` is the width of the stem and of the first stage."""

    channels: Width = 16


class Block(nn.Module):
    """Two convolutions with batch normalization, and the input added to what they give."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_normalized(before, after, 3, stride), nn.ReLU(), *_normalized(after, after, 3, 1)
        )
        same = before == after and stride == 1
        self.skip = nn.Sequential(*([] if same else _normalized(before, after, 1, stride)))

    @override
    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(cast("Tensor", self.main(maps) + self.skip(maps)))


class ResidualNet(Network):
    """A stem, three blocks, and the average of the last map in cells."""

    @staticmethod
    @override
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        widths = [config.channels * 2**number for number in range(STAGES)]
        layers = [*relative(spec.background), *stem(spec, config.channels)]
        for number, width in enumerate(widths):
            before, stride = (widths[number - 1], 2) if number else (width, 1)
            layers.append(Block(before, width, stride))
        return [*layers, nn.AdaptiveAvgPool2d(POOLED)]


def stem(spec: ImageSpec, channels: int) -> list[nn.Module]:
    """A convolution, and as many halvings as bring the longer side to at most `MAX_SIDE`.

    The first one is the stride of the convolution, further ones are max pooling.
    """
    halvings, side = 0, max(spec.height, spec.width)
    while side > MAX_SIDE:
        halvings, side = halvings + 1, (side + 1) // 2
    stride, kernel = (2, 5) if halvings else (1, 3)
    layers = [*_normalized(spec.channels, channels, kernel, stride), nn.ReLU()]
    return layers + [nn.MaxPool2d(3, stride=2, padding=1) for _ in range(halvings - 1)]


def _normalized(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    """A convolution without bias, which batch normalization makes superfluous."""
    convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after)]


class ResNet(CNN):
    """`CNN` with the layers of `ResidualNet`."""

    Config = ResNetConfig
    Network = ResidualNet

"""A small residual network, for photos and color.

Source: He et al. (2016), "Deep residual learning for image recognition", section 4.2. Deviations:
one block per stage; max pooling halves the maps, since networks with strides learned far less from
a hundred photos; a dense layer between the averaged map and the scores; trained like `cnn`, with
AdamW on a one-cycle schedule.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from pipeline.classifiers.cnn import CNN, KERNEL, CNNConfig, Network
from pipeline.config.validation import Width
from pipeline.data.images import ImageSpec
from pipeline.nn.background import relative

STAGES = 3
MAX_SIDE = 20  # of the maps of the first stage, along the shorter side


class ResNetConfig(CNNConfig):
    """As for `cnn`; `channels` is the width of the stem and of the first stage."""

    channels: Width = 16


class Block(nn.Module):
    """Two convolutions with batch normalization, and the input added to what they give."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_normalized(before, after, 3), nn.ReLU(), *_normalized(after, after, 3)
        )
        self.skip = nn.Sequential(*([] if before == after else _normalized(before, after, 1)))

    @override
    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(cast("Tensor", self.main(maps) + self.skip(maps)))


class ResidualNet(Network):
    """A stem, three blocks with max pooling between them, and the average of the last map."""

    @staticmethod
    @override
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        widths = [config.channels * 2**number for number in range(STAGES)]
        layers = [*relative(spec.background), *stem(spec, config.channels)]
        layers.append(Block(widths[0], widths[0]))
        for before, width in itertools.pairwise(widths):
            layers += [nn.MaxPool2d(2), Block(before, width)]
        return [*layers, nn.AdaptiveAvgPool2d(1)]


def stem(spec: ImageSpec, channels: int) -> list[nn.Module]:
    """A convolution, and as many halvings as bring the shorter side to at most `MAX_SIDE`."""
    halvings, side = 0, min(spec.height, spec.width)
    while side > MAX_SIDE:
        halvings, side = halvings + 1, side // 2
    layers = [*_normalized(spec.channels, channels, KERNEL), nn.ReLU()]
    return layers + [nn.MaxPool2d(2) for _ in range(halvings)]


def _normalized(before: int, after: int, kernel: int) -> list[nn.Module]:
    """A convolution without bias, which batch normalization makes superfluous."""
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after)]


class ResNet(CNN):
    """`CNN` with the layers of `ResidualNet`."""

    Config = ResNetConfig
    Network = ResidualNet

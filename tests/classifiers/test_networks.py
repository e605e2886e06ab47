"""The sizes of networks follow from the sizes of images."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.classifiers import CLASSIFIERS
from pipeline.classifiers.cnn import CNN, LeNet
from pipeline.data.images import ImageSpec
from pipeline.nn.backend import without_memory
from pipeline.nn.layers import convolutions

SIZES = [(8, 8), (8, 64), (20, 31), (28, 28), (32, 32), (40, 64), (64, 64), (128, 128)]
NETWORKS = {name: family for name, family in CLASSIFIERS.items() if issubclass(family, CNN)}


def spec(height: int, width: int, channels: int = 3) -> ImageSpec:
    return ImageSpec(channels, height, width, 5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_can_be_built_for_images_of_any_size(name: str, size: tuple[int, int]) -> None:
    family = NETWORKS[name]
    with without_memory():
        network = family.Network(family.Config(), spec(*size))
        assert network(torch.zeros(2, 3, *size)).shape == (2, 5)


@pytest.mark.parametrize("size", SIZES)
def test_the_last_map_of_the_cnn_has_a_few_pixels(size: tuple[int, int]) -> None:
    with without_memory():
        layers = nn.Sequential(*LeNet.convolve(CNN.Config(), spec(*size)))
        sides = layers(torch.zeros(2, 3, *size)).shape[2:]
    assert len(convolutions(layers)) == (3 if min(size) >= 32 else 2)
    assert 2 <= min(sides) <= 5


@pytest.mark.parametrize("side", range(20, 32))
def test_below_32_pixels_the_cnn_has_two_convolutions_without_padding(side: int) -> None:
    with without_memory():
        found = convolutions(nn.Sequential(*LeNet.convolve(CNN.Config(), spec(side, side, 1))))
    assert [layer.padding for layer in found] == [(0, 0), (0, 0)]
    assert [layer.out_channels for layer in found] == [16, 32]

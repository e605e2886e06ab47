"""Layers of textbook discriminators, and of the classifier that starts from one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

SLOPE = 0.2  # of leaky ReLU, as Radford, Metz and Chintala (2016) have it
KERNEL = 5


def strided_conv(before: int, after: int) -> nn.Conv2d:
    """A convolution that halves the sides of images, rounding up."""
    return nn.Conv2d(before, after, KERNEL, stride=2, padding=KERNEL // 2)


def downsampling_blocks(channels: Sequence[int], share: float = 0.0) -> list[nn.Module]:
    """Strided convolutions between successive `channels`, each with leaky ReLU and dropout."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [strided_conv(before, after), nn.LeakyReLU(SLOPE), *dropout(share)]
    return layers


def dropout(share: float) -> list[nn.Module]:
    """A dropout layer, or none for a share of 0."""
    return [nn.Dropout(share)] if share else []


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a network, from the image on."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def conv_state_dict(layers: Iterable[nn.Conv2d]) -> dict[str, Tensor]:
    """Weights by the number of the layer: `0.weight`, `0.bias`, `1.weight`, ..."""
    return {
        f"{number}.{name}": value
        for number, layer in enumerate(layers)
        for name, value in layer.state_dict(keep_vars=True).items()
    }

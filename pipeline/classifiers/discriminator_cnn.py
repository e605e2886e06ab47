"""A classifier built like a DCGAN discriminator, which can start from a trained one.

Source: Radford, Metz and Chintala (2016), section 5: the convolutions of a discriminator are
features for classification. Two 5 x 5 convolutions with stride 2 and leaky ReLU, then a dense layer
that always starts from random weights. Deviation: all layers are trained, as in `cnn`, not only the
new ones.

It can start from the discriminators of `plain_dcgan`, `wgan`, `wgan_gp` and `acgan`; their
`discriminator.channels` must be `channels` and twice `channels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from typing_extensions import override

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.config.validation import Width
from pipeline.data.images import ImageSpec
from pipeline.nn.layers import conv_state_dict, convolutions, downsampling_blocks
from pipeline.runtime.errors import ParamsError


class DiscriminatorCNNConfig(CNNConfig):
    """As for `cnn`, with the width of the discriminator of `plain_dcgan`."""

    channels: Width = 32  # of the first convolution; the second has twice as many


class Centered(nn.Module):
    """Images in 0..1 to -1..1, the input range of discriminators.

    Convolutions pad with 0, halfway between black and white, whatever the background.
    """

    @override
    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1


class DiscriminatorNet(Network):
    """Two convolutions with stride 2 and leaky ReLU, on images in -1..1."""

    @staticmethod
    @override
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        channels = (spec.channels, config.channels, 2 * config.channels)
        return [Centered(), *downsampling_blocks(channels)]


class DiscriminatorCNN(CNN):
    """`CNN` with the layers of `DiscriminatorNet`, and optionally a discriminator's weights."""

    Config = DiscriminatorCNNConfig
    Network = DiscriminatorNet
    start: Mapping[str, Tensor] = MappingProxyType({})

    @override
    def start_from(self, discriminator: Mapping[str, Tensor]) -> None:
        # The sizes of the convolutions depend on the number of channels, not on sides or classes.
        channels = discriminator["0.weight"].shape[1] if discriminator else 1
        network = self.Network(self.config, ImageSpec(channels, 28, 28, 2))

        expected, shapes = (
            {name: tuple(value.shape) for name, value in weights.items()}
            for weights in (conv_state_dict(convolutions(network)), discriminator)
        )
        if expected != shapes:
            raise ParamsError(
                "classifiers (discriminator_cnn)",
                f"expected a discriminator with convolutions of {expected}, found "
                f"{shapes or 'none'}",
                "name another generator in the arm, or set `channels` to that of the generator's "
                "discriminator",
            )
        self.start = discriminator

    @torch.no_grad()
    @override
    def untrained(self, spec: ImageSpec) -> nn.Module:
        """The network before its first step; the dense layers do not depend on the start."""
        network = super().untrained(spec)
        for name, value in conv_state_dict(convolutions(network)).items() if self.start else ():
            value.copy_(self.start[name])
        return network

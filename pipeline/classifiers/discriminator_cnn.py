"""A classifier built like a textbook's discriminator, which can start from a trained one.

Source: Radford, Metz and Chintala (2016), section 5: a discriminator's convolutions are features
that labels can be read from. Two convolutions of 5 x 5 with stride 2, leaky ReLU, then a dense
layer that is always new. Deviation: all of it is trained on, not only what is new, as `cnn` is. It
starts from the discriminators of `plain_dcgan`, `wgan`, `wgan_gp` and `acgan`, whose
`discriminator.channels` must be `channels` and twice as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.data.images import ImageSpec
from pipeline.nn.layers import conv_state_dict, convolutions, downsampling_blocks
from pipeline.runtime.errors import ParamsError


class Centered(nn.Module):
    """Images in 0..1 to the -1..1 that discriminators see."""

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return images * 2 - 1


class DiscriminatorNet(Network):
    """See the module."""

    @staticmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """See `Network.convolve`."""
        channels = (spec.channels, config.channels, 2 * config.channels)
        return [Centered(), *downsampling_blocks(channels)]


class DiscriminatorCNN(CNN):
    """See the module."""

    Network = DiscriminatorNet
    start: Mapping[str, Tensor] = MappingProxyType({})

    def start_from(self, discriminator: Mapping[str, Tensor]) -> None:
        """See `Classifier.start_from`."""
        channels = discriminator["0.weight"].shape[1] if discriminator else 1
        network = self.Network(self.config, ImageSpec(channels, 28, 28, 2))
        expected, shapes = (
            {name: tuple(value.shape) for name, value in weights.items()}
            for weights in (conv_state_dict(convolutions(network)), discriminator)
        )
        if expected != shapes:
            raise ParamsError(
                "classifiers.critic",
                f"expected a discriminator with convolutions of {expected}, found "
                f"{shapes or 'none'}",
                "let its arm name another generator, or make channels that of its `discriminator`",
            )
        self.start = discriminator

    @torch.no_grad()
    def untrained(self, spec: ImageSpec) -> nn.Module:
        """See `CNN.untrained`; the dense layers are the same from wherever it starts."""
        network = super().untrained(spec)
        for name, value in conv_state_dict(convolutions(network)).items() if self.start else ():
            value.copy_(self.start[name])
        return network

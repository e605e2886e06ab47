"""A classifier built like a textbook's discriminator, which can start from a trained one.

Source: Radford, Metz and Chintala (2016), section 5: a discriminator's convolutions are features
that labels can be read from. Two convolutions of 5 x 5 with stride 2, leaky ReLU, then a dense
layer that is always new. Deviation: all of it is trained on, not only what is new, as `cnn` is. It
starts from the discriminators of `plain_dcgan`, `wgan`, `wgan_gp` and `acgan`, whose
`critic.channels` must be `channels` and twice as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.data.images import ImageSpec
from pipeline.nn.layers import convolutions, halvings, numbered
from pipeline.runtime.errors import ParamsError


class Centered(nn.Module):
    """Images in 0..1 to the -1..1 that discriminators see."""

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return images * 2 - 1


class CriticNet(Network):
    """See the module."""

    @staticmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """See `Network.convolve`."""
        channels = (spec.channels, config.channels, 2 * config.channels)
        return [Centered(), *halvings(channels)]


class Critic(CNN):
    """See the module."""

    Network = CriticNet
    start: Mapping[str, Tensor] = MappingProxyType({})

    def start_from(self, critic: Mapping[str, Tensor]) -> None:
        """See `Classifier.start_from`."""
        channels = critic["0.weight"].shape[1] if critic else 1
        network = self.Network(self.config, ImageSpec(channels, 28, 28, 2))
        expected, found = (
            {name: tuple(value.shape) for name, value in weights.items()}
            for weights in (numbered(convolutions(network)), critic)
        )
        if expected != found:
            raise ParamsError(
                "classifiers.critic",
                f"expected a discriminator with convolutions of {expected}, found "
                f"{found or 'none'}",
                "let its arm name another generator, or make channels that of its `critic`",
            )
        self.start = critic

    @torch.no_grad()
    def untrained(self, spec: ImageSpec) -> nn.Module:
        """See `CNN.untrained`; the dense layers are the same from wherever it starts."""
        network = super().untrained(spec)
        for name, value in numbered(convolutions(network)).items() if self.start else ():
            value.copy_(self.start[name])
        return network

"""The DCGAN of introductory texts, with the options that they discuss.

Source: Radford, Metz and Chintala (2016); the layers are in `blocks.py`.

Deviations: both networks are conditional, the generator by an embedding next to the noise, the
discriminator by projection (Miyato and Koyama 2018, equation 4), and it learns from wrong labels
(`mismatch`); leaky ReLU also in the generator, no norm in the discriminator; averaged weights and
decaying learning rates, as in every fit. Unconditional and in the sizes of the texts (7 x 7 x 256,
128, 64 channels; 64 and 128), the generator has 2,343,681 weights and running statistics, 2,318,209
of them trained, and the discriminator 212,865.

Options: upsampling instead of transposed convolutions, Adam or RMSprop, label smoothing, dropout
in either network, several generator updates per step, minibatch discrimination, normal or uniform
noise.
"""

from __future__ import annotations

from torch import nn
from typing_extensions import override

from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import CrossEntropyConfig, CrossEntropyGame
from pipeline.generators.gan.blocks import (
    REGULARIZED,
    DiscriminatorConfig,
    NetworksConfig,
    build_networks,
    normal_weights,
)
from pipeline.nn.layers import convolutions


class PlainDCGANConfig(CrossEntropyConfig, NetworksConfig):
    """Fewer channels than the texts (256, 128, 64 and 64, 128), ten times their rates (0.0002)."""

    discriminator: DiscriminatorConfig = REGULARIZED


class PlainDCGAN(CrossEntropyGame):
    """See the module."""

    Config = PlainDCGANConfig
    config: PlainDCGANConfig

    def __init__(self, config: PlainDCGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        generator_net, discriminator = build_networks(config, config.latent_dim, spec)
        self.set_networks(normal_weights(generator_net), normal_weights(discriminator))

    @override
    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        return convolutions(self.discriminator)

"""The DCGAN of introductory texts, with the switches that they discuss.

Source: Radford, Metz and Chintala (2016); layers in `convolution`. Deviations: both players are
told the class, the generator by an embedding beside the noise, the discriminator by projection
(Miyato and Koyama 2018, equation 4), which is shown wrong labels, too (`mismatch`); leaky ReLU in
the generator, too, and no norm in the discriminator; the averaged sampler and the decay of rates of
the one fit loop. Without a label, in the sizes of the texts (7 x 7 x 256, 128, 64 channels; 64 and
128), the generator has 2,343,681 numbers, 2,318,209 of them trained, and the discriminator 212,865.

Switches: upsampling in place of transposed convolutions, Adam or RMSprop, label smoothing, dropout
in either player, several generator steps per step, minibatch discrimination, normal or uniform
noise.
"""

from __future__ import annotations

from torch import nn

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

    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        """See `Generator.discriminator_convolutions`."""
        return convolutions(self.discriminator)

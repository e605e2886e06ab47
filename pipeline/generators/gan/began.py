"""A GAN whose discriminator is an autoencoder, kept in balance with the generator.

Source: Berthelot, Schumm and Metz (2017), BEGAN, section 3.4: real images are to be restored well,
synthetic ones badly, and a controller k keeps the ratio of the two errors at `gamma`: low gives
clear images of few kinds, high varied ones. The history has k and the convergence measure M
(section 3.4.1), which falls as training goes well. Deviations: both players are told the class, the
discriminator by a plane beside the image and again where it restores it, and it is shown wrong
labels, too (`mismatch`); convolutions with stride in place of pooling; leaky ReLU and, but for the
encoder, batch norm (paper: ELU, no norm); the balance is read from the discriminator's synthetic
images (paper: from the generator's, of noise of their own), and k moves once per move of the
discriminator; the averaged sampler and the decay of rates of the one fit loop.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.validation import Count
from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import Adversarial, AdversarialConfig
from pipeline.generators.gan.blocks import (
    ConvolutionalFeatures,
    ConvolutionalGeneratorNet,
    NetworksConfig,
)
from pipeline.generators.labels import LabelEmbedding


class BEGANConfig(AdversarialConfig, NetworksConfig):
    """presets/zoo.yaml gives the values; the discriminator's second half is another
    `generator_net`.
    """

    latent_dim: Count = 32
    noise: Literal["normal", "uniform"] = "uniform"
    discriminator_learning_rate: float = Field(default=0.0005, gt=0)
    code_dim: Count = 8  # width of the discriminator's narrow middle
    # Wanted error of synthetic images, as a share of that of real ones. 1 is the most varied; with
    # 0.7 every class became one image.
    gamma: float = Field(default=1.0, gt=0, le=1)
    control: float = Field(default=1.0, gt=0)  # step of k; the paper's 0.001 needs far more steps


class AutoencoderDiscriminator(nn.Module):
    """Images (n, c, h, w) and labels (n,) to how badly each is restored, (n,), at least 0."""

    k: Tensor

    def __init__(self, config: BEGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.plane = (1, spec.height, spec.width)
        self.embed = LabelEmbedding(spec.num_classes, spec.height * spec.width)
        self.features = ConvolutionalFeatures(config.discriminator, spec, beside=1)
        self.squeeze = nn.Linear(self.features.num_features, config.code_dim)
        self.restore = ConvolutionalGeneratorNet(config.generator, config.code_dim, spec)
        self.register_buffer("k", torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        plane = self.embed(y).unflatten(1, self.plane).to(x.dtype)
        features = self.features(torch.cat([x, plane], dim=1))
        restored = cast("Tensor", self.restore(self.squeeze(features), y))
        return (restored.float() - x).abs().flatten(1).mean(dim=1)


class BEGAN(Adversarial):
    """See the module."""

    Config = BEGANConfig
    loss = "autoencoder discriminator"
    config: BEGANConfig
    discriminator: AutoencoderDiscriminator

    def __init__(self, config: BEGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        generator_net = ConvolutionalGeneratorNet(config.generator, config.latent_dim, spec)
        self.set_networks(generator_net, AutoencoderDiscriminator(config, spec))
        self.errors = torch.full((2,), math.nan)  # of real and of synthetic images, last move

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.discriminator_loss`."""
        self.errors = torch.stack([real.mean(), fake.mean()]).detach()
        return real.mean() - self.discriminator.k * fake.mean()

    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.generator_loss`."""
        return fake.mean()

    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        """See `Adversarial.mismatch_loss`: to be restored as badly as a synthetic image."""
        return -self.discriminator.k * wrong.mean()

    def after_step(self) -> None:
        """See `Adversarial.after_step`: moves k."""
        self.discriminator.k.add_(self.config.control * self._off_balance()).clamp_(0, 1)

    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """See `Adversarial.diagnostics`: k and M; errors of restoring tell no right from wrong."""
        convergence = self.errors[0] + self._off_balance().abs()
        return {"k": self.discriminator.k.clone(), "convergence": convergence}

    def _off_balance(self) -> Tensor:
        real, fake = self.errors
        return self.config.gamma * real - fake

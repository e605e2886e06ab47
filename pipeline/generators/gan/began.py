"""A GAN whose discriminator is an autoencoder, kept in balance with the generator.

Source: Berthelot, Schumm and Metz (2017), BEGAN, section 3.4. The discriminator learns to
reconstruct real images well and synthetic ones badly. A controller k keeps the ratio of the two
errors at `gamma`; a low ratio gives sharp images of little diversity. The history has k and the
convergence measure M (section 3.4.1), which falls while training goes well.

Deviations: both networks are conditional, the discriminator by a plane next to the image and in its
decoder, and it learns from wrong labels (`mismatch`); strided convolutions instead of pooling;
leaky ReLU and, except in the encoder, batch norm (paper: ELU, no norm); the balance is measured on
the discriminator's synthetic images (paper: on the generator's, from other noise), and k changes
once per update of the discriminator; averaged weights and decaying learning rates, as in every fit.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from pipeline.config.validation import Width
from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import Adversarial, AdversarialConfig
from pipeline.generators.gan.blocks import (
    ConvolutionalFeatures,
    ConvolutionalGeneratorNet,
    NetworksConfig,
)
from pipeline.generators.labels import LabelEmbedding


class BEGANConfig(AdversarialConfig, NetworksConfig):
    """Of `began`; the discriminator's decoder has the settings of `generator`."""

    latent_dim: Width = 32
    noise: Literal["normal", "uniform"] = "uniform"
    discriminator_learning_rate: float = Field(default=0.0005, gt=0)
    code_dim: Width = 8  # width of the discriminator's bottleneck
    # Target error of synthetic images, as a share of that of real ones. 1 gives the most diversity;
    # with 0.7 every class became one image.
    gamma: float = Field(default=1.0, gt=0, le=1)
    control: float = Field(default=1.0, gt=0)  # step of k; the paper's 0.001 needs far more steps


class AutoencoderDiscriminator(nn.Module):
    """Images (n, c, h, w) and labels (n,) to mean absolute reconstruction errors (n,)."""

    k: Tensor

    def __init__(self, config: BEGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.plane = (1, spec.height, spec.width)
        self.embed = LabelEmbedding(spec.num_classes, spec.height * spec.width)
        self.features = ConvolutionalFeatures(config.discriminator, spec, extra_channels=1)
        self.squeeze = nn.Linear(self.features.num_features, config.code_dim)
        self.restore = ConvolutionalGeneratorNet(config.generator, config.code_dim, spec)
        self.register_buffer("k", torch.zeros(()))

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
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
        self.errors = torch.full((2,), math.nan)  # last ones of real and of synthetic images

    @override
    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        self.errors = torch.stack([real.mean(), fake.mean()]).detach()
        return real.mean() - self.discriminator.k * fake.mean()

    @override
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        return fake.mean()

    @override
    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        """As for synthetic images."""
        return -self.discriminator.k * wrong.mean()

    @override
    def after_step(self) -> None:
        """Update k."""
        self.discriminator.k.add_(self.config.control * self._imbalance()).clamp_(0, 1)

    @override
    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """k and M; there is no accuracy, since reconstruction errors have no threshold."""
        convergence = self.errors[0] + self._imbalance().abs()
        return {"k": self.discriminator.k.clone(), "convergence": convergence}

    def _imbalance(self) -> Tensor:
        real, fake = self.errors
        return self.config.gamma * real - fake

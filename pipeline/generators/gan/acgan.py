"""A GAN whose discriminator also names the class, and the noise that it reads out of an image.

Sources: Odena, Olah and Shlens (2017) for the class as a second output (`acgan`), the alternative
to telling the discriminator the class, as projection does; Chen et al. (2016), InfoGAN, section 5,
for continuous codes: the first `code_dim` numbers of the noise must be readable from the image, so
that each comes to mean something. Deviations: the code's distribution is a normal of fixed width,
so its likelihood is a squared error; the discriminator learns classes from real images alone, lest
wrong synthetic ones teach it; the averaged sampler and the decay of rates of the one fit loop.
"""

from __future__ import annotations

from typing import cast

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import CrossEntropyConfig, CrossEntropyGame
from pipeline.generators.gan.blocks import (
    REGULARIZED,
    ConvolutionalFeatures,
    ConvolutionalGeneratorNet,
    DiscriminatorConfig,
    NetworksConfig,
    normal_weights,
)
from pipeline.nn.layers import convolutions


class ACGANConfig(CrossEntropyConfig, NetworksConfig):
    """Of `acgan`; InfoGAN is the same with `code_dim` and `code_weight`."""

    mismatch: float = Field(default=0.0, ge=0)
    discriminator: DiscriminatorConfig = REGULARIZED
    class_weight: float = Field(default=1.0, ge=0)  # of the loss by class, in both players' losses
    code_dim: int = Field(default=0, ge=0)  # numbers of the noise that must be readable; 0: none
    code_weight: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _codes_fit(self) -> ACGANConfig:
        if self.code_dim > self.latent_dim:
            raise ValueError(
                f"code_dim: expected at most latent_dim ({self.latent_dim}), found {self.code_dim}"
            )
        if (self.code_dim > 0) != (self.code_weight > 0):
            raise ValueError(
                f"code_weight: expected {'more than 0' if self.code_dim else '0'} with code_dim "
                f"{self.code_dim}, found {self.code_weight}"
            )
        return self

    @model_validator(mode="after")
    def _no_mismatch(self) -> ACGANConfig:
        if self.mismatch:
            raise ValueError(
                f"mismatch: expected 0, since acgan's discriminator is told no label, found "
                f"{self.mismatch}"
            )
        return self


class ClassifyingDiscriminator(nn.Module):
    """Images (n, c, h, w) to realness, class scores and code, (n, 1 + classes + code_dim)."""

    def __init__(self, config: ACGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.features = ConvolutionalFeatures(config.discriminator, spec)
        self.answer = nn.Linear(self.features.num_features, 1 + spec.num_classes + config.code_dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See the class; `y` is not looked at."""
        return cast("Tensor", self.answer(self.features(x)))


class ACGAN(CrossEntropyGame):
    """See the module."""

    Config = ACGANConfig
    config: ACGANConfig

    def __init__(self, config: ACGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        generator_net = ConvolutionalGeneratorNet(config.generator, config.latent_dim, spec)
        self.set_networks(
            normal_weights(generator_net), normal_weights(ClassifyingDiscriminator(config, spec))
        )

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.discriminator_loss`; it learns classes from real images alone."""
        game = super().discriminator_loss(real[:, 0], fake[:, 0], labels, z)
        named = self.config.class_weight * self._wrong_class(real, labels)
        return game + named + self._wrong_code(fake, z)

    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.generator_loss`."""
        game = super().generator_loss(fake[:, 0], labels, z)
        named = self.config.class_weight * self._wrong_class(fake, labels)
        return game + named + self._wrong_code(fake, z)

    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """See `Adversarial.diagnostics`."""
        return super().diagnostics(real[:, 0], fake[:, 0])

    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        """See `Generator.discriminator_convolutions`."""
        return convolutions(self.discriminator)

    def _wrong_class(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[:, 1 : 1 + self.spec.num_classes], labels)

    def _wrong_code(self, outputs: Tensor, z: Tensor) -> Tensor:
        count = self.config.code_dim
        if count == 0:
            return outputs.new_zeros(())
        read = outputs[:, -count:]
        return self.config.code_weight * (read - z[:, :count]).square().mean()

"""AC-GAN and InfoGAN: the discriminator also predicts the class and a part of the noise.

Sources: Odena, Olah and Shlens (2017) for the class as a second output, instead of an input as in
projection; Chen et al. (2016), InfoGAN, section 5, for continuous codes: the discriminator predicts
the first `code_dim` numbers of the noise from the image, so that each gets a visible meaning.

Deviations: the code's distribution is a normal of fixed width, so that its likelihood is a squared
error; the discriminator learns classes from real images only, since synthetic ones may have wrong
labels; averaged weights and decaying learning rates, as in every fit.
"""

from __future__ import annotations

from typing import cast

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

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
    class_weight: float = Field(default=1.0, ge=0)  # of the class loss, for both networks
    # Numbers of the noise that are predicted from the images; 0: none.
    code_dim: int = Field(default=0, ge=0, le=1_000_000)
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
                f"mismatch: expected 0, since acgan's discriminator gets no labels, found "
                f"{self.mismatch}"
            )
        return self


class ClassifyingDiscriminator(nn.Module):
    """Images (n, c, h, w) to realness, class scores and code, (n, 1 + classes + code_dim).

    Labels are ignored.
    """

    def __init__(self, config: ACGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.features = ConvolutionalFeatures(config.discriminator, spec)
        self.answer = nn.Linear(self.features.num_features, 1 + spec.num_classes + config.code_dim)

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
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

    @override
    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        adversarial = super().discriminator_loss(real[:, 0], fake[:, 0], labels, z)
        class_loss = self.config.class_weight * self._class_loss(real, labels)
        return adversarial + class_loss + self._code_loss(fake, z)

    @override
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        adversarial = super().generator_loss(fake[:, 0], labels, z)
        class_loss = self.config.class_weight * self._class_loss(fake, labels)
        return adversarial + class_loss + self._code_loss(fake, z)

    @override
    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return super().diagnostics(real[:, 0], fake[:, 0])

    @override
    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        return convolutions(self.discriminator)

    def _class_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[:, 1 : 1 + self.spec.num_classes], labels)

    def _code_loss(self, outputs: Tensor, z: Tensor) -> Tensor:
        count = self.config.code_dim
        if count == 0:
            return outputs.new_zeros(())
        predicted = outputs[:, -count:]
        return self.config.code_weight * (predicted - z[:, :count]).square().mean()

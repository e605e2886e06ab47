"""Wasserstein GANs: a critic estimates the distance between synthetic and real images.

Sources: Arjovsky, Chintala and Bottou (2017), algorithm 1, for the Wasserstein loss and clipped
weights (`wgan`); Gulrajani et al. (2017), algorithm 1, for the gradient penalty (`wgan_gp`).

Deviations: both networks are conditional, as in `plain_dcgan`, and the critic learns from wrong
labels (`mismatch`); Adam's beta 2 is 0.999 (`wgan_gp` in the paper: 0.9), and by default the critic
of `wgan_gp` is updated three times per step (paper: five times); averaged weights and decaying
learning rates, as in every fit.

The negative loss of the critic estimates the distance, which is said to measure the quality of the
samples. With `mismatch` the critic maximizes that difference together with the difference between
right and wrong labels of real images. The history has the first alone, which is then no estimate of
the distance and may have the wrong sign.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from pipeline.config.validation import Count
from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import Adversarial, AdversarialConfig
from pipeline.generators.gan.blocks import NetworksConfig, build_networks
from pipeline.nn.layers import convolutions


class WassersteinConfig(AdversarialConfig, NetworksConfig):
    """Settings of both."""

    momentum: float = Field(default=0.0, ge=0, lt=1)


class WGANConfig(WassersteinConfig):
    """Of `wgan`; a batch of 160 is 32 for each step of the critic."""

    batch_size: int = Field(default=160, gt=1, le=1_000_000)
    optimizer: Literal["adam", "rmsprop"] = "rmsprop"
    generator_learning_rate: float = Field(default=0.0005, gt=0)
    discriminator_learning_rate: float = Field(default=0.0005, gt=0)
    discriminator_steps: Count = 5
    clip: float = Field(default=0.01, gt=0)  # largest absolute weight of the critic


class WGANGPConfig(WassersteinConfig):
    """Of `wgan_gp`; a batch of 96 is 32 for each step of the critic."""

    batch_size: int = Field(default=96, gt=1, le=1_000_000)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    generator_learning_rate: float = Field(default=0.001, gt=0)
    discriminator_learning_rate: float = Field(default=0.001, gt=0)
    discriminator_steps: Count = 3
    gradient_penalty: float = Field(default=10.0, ge=0)  # its weight

    @model_validator(mode="after")
    def _no_minibatch_discrimination(self) -> WGANGPConfig:
        if self.discriminator.minibatch_kernels:
            raise ValueError(
                "discriminator.minibatch_kernels: expected 0, since the penalty is of each image's "
                f"score by itself, found {self.discriminator.minibatch_kernels}"
            )
        return self


class Wasserstein(Adversarial):
    """What both share; `discriminator` is the critic."""

    loss = "wasserstein"
    config: WassersteinConfig

    def __init__(self, config: WassersteinConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.set_networks(*build_networks(config, config.latent_dim, spec))

    @override
    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """The negative estimate of the distance."""
        return fake.mean() - real.mean()

    @override
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        return -fake.mean()

    @override
    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        return wrong.mean() - right.mean()

    @override
    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Accuracy is the share of pairs in which the real image has the higher score."""
        return {"accuracy": (real[:, None] > fake[None]).float().mean()}

    @override
    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        return convolutions(self.discriminator)


class WGAN(Wasserstein):
    """The critic's weights are clipped, which limits its slope; see the module."""

    Config = WGANConfig
    config: WGANConfig

    @override
    @torch.no_grad()
    def after_step(self) -> None:
        for weight in self.discriminator.parameters():
            weight.clamp_(-self.config.clip, self.config.clip)


class WGANGP(Wasserstein):
    """The norm of the critic's gradient is to be 1 between real and synthetic images."""

    Config = WGANGPConfig
    config: WGANGPConfig

    @override
    def extra_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The gradient penalty, in float32, since it is differentiated twice."""
        share = torch.rand(len(real), 1, 1, 1)
        between = torch.lerp(fake, real, share).requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.discriminator(between, labels).sum(), between, create_graph=True
        )
        norm = gradient.flatten(1).norm(dim=1)
        return {"penalty": self.config.gradient_penalty * (norm - 1).square().mean()}

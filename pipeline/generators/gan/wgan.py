"""GANs whose discriminator measures how far synthetic images are from real ones.

Sources: Arjovsky, Chintala and Bottou (2017), algorithm 1, for the Wasserstein loss and clipped
weights (`wgan`); Gulrajani et al. (2017), algorithm 1, for the gradient penalty (`wgan_gp`).
Deviations: both players are told the class, as in `plain_dcgan`, and the discriminator is shown
wrong labels, too (`mismatch`); Adam's beta 2 is 0.999 (`wgan_gp` in the paper: 0.9), and its
discriminator moves as often per step as the preset says (paper: five times); the averaged sampler
and the decay of rates of the one fit loop. The discriminator's loss, sign turned, is an estimate of
the distance: it is said to tell how good the samples are. With `mismatch` the discriminator
maximizes that difference together with the one between right and wrong labels of real images, so
that the history's number, the first alone, is no longer an estimate of the distance and may turn
negative as one.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.config.validation import Count
from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import Adversarial, AdversarialConfig
from pipeline.generators.gan.blocks import NetworksConfig, build_networks
from pipeline.nn.layers import convolutions


class WassersteinConfig(AdversarialConfig, NetworksConfig):
    """What both have."""

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
    def _images_are_scored_alone(self) -> WGANGPConfig:
        if self.discriminator.minibatch_kernels:
            raise ValueError(
                f"discriminator.minibatch_kernels: expected 0, since the penalty is of each image's score "
                f"by itself, found {self.discriminator.minibatch_kernels}"
            )
        return self


class Wasserstein(Adversarial):
    """What both share."""

    loss = "wasserstein"
    config: WassersteinConfig

    def __init__(self, config: WassersteinConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.set_networks(*build_networks(config, config.latent_dim, spec))

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.discriminator_loss`: minus the estimate of the distance."""
        return fake.mean() - real.mean()

    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.generator_loss`."""
        return -fake.mean()

    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        """See `Adversarial.mismatch_loss`."""
        return wrong.mean() - right.mean()

    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Scores have no zero here: share of pairs in which the real image has the higher one."""
        return {"accuracy": (real[:, None] > fake[None]).float().mean()}

    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        """See `Generator.discriminator_convolutions`."""
        return convolutions(self.discriminator)


class WGAN(Wasserstein):
    """Weights are clipped, so that scores cannot rise steeply; see the module."""

    Config = WGANConfig
    config: WGANConfig

    @torch.no_grad()
    def after_step(self) -> None:
        """See `Adversarial.after_step`."""
        for weight in self.discriminator.parameters():
            weight.clamp_(-self.config.clip, self.config.clip)


class WGANGP(Wasserstein):
    """Scores are to rise by 1 per distance between real and synthetic images; see the module."""

    Config = WGANGPConfig
    config: WGANGPConfig

    def extra_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `Adversarial.extra_losses`; in full precision, since it is differentiated twice."""
        share = torch.rand(len(real), 1, 1, 1)
        between = torch.lerp(fake, real, share).requires_grad_(True)
        (slope,) = torch.autograd.grad(
            self.discriminator(between, labels).sum(), between, create_graph=True
        )
        steepness = slope.flatten(1).norm(dim=1)
        return {"penalty": self.config.gradient_penalty * (steepness - 1).square().mean()}

"""What all GANs share except `dcgan`: alternating updates of generator and discriminator.

Source: Goodfellow et al. (2014), algorithm 1. Subclasses provide both networks and their losses;
this module has the updates, the optimizers and the discriminator's accuracy. One batch of real
images serves a whole step: the discriminator's updates divide it among them. Synthetic images have
the labels of the real images of their batch.

Deviation: with `mismatch` the discriminator also learns to reject real images with wrong labels
(Reed et al. 2016, section 4.2); the default of all families except `acgan`. Its loss is a separate
column of the history and not part of `discriminator`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from pipeline.config.validation import Count, Width
from pipeline.data.images import ImageSpec
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.nn.optimizing import descend

BETA_2 = 0.999  # of Adam
MIN_SHARE = 2  # images per update: batch norm needs two


class AdversarialConfig(GeneratorConfig):
    """Settings that all these families have."""

    latent_dim: Width = 100
    noise: Literal["normal", "uniform"] = "normal"  # uniform: from -1 to 1
    optimizer: Literal["adam", "rmsprop"] = "adam"
    momentum: float = Field(default=0.5, ge=0, lt=1)  # of Adam (beta 1); 0 with RMSprop
    generator_learning_rate: float = Field(default=0.002, gt=0)
    discriminator_learning_rate: float = Field(default=0.002, gt=0)
    discriminator_steps: Count = 1  # per step, each on its share of the batch
    generator_steps: Count = 1  # per step
    # Weight of real images with a wrong label in the discriminator's loss (Reed et al. 2016,
    # section 4.2). With 0 it learns only from synthetic images that labels matter.
    mismatch: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _updates_share_the_batch(self) -> AdversarialConfig:
        share, rest = divmod(self.batch_size, self.discriminator_steps)
        if rest or share < MIN_SHARE:
            raise ValueError(
                f"batch_size: expected a multiple of discriminator_steps "
                f"({self.discriminator_steps}), at least {MIN_SHARE} times it, found "
                f"{self.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _rmsprop_has_no_momentum(self) -> AdversarialConfig:
        if self.optimizer == "rmsprop" and self.momentum:
            raise ValueError(f"momentum: expected 0 with rmsprop, found {self.momentum}")
        return self


class Adversarial(Generator):
    """See the module; a subclass calls `set_networks` at the end of its `__init__`."""

    kind = "gan"
    config: AdversarialConfig
    discriminator: nn.Module

    def __init__(self, config: AdversarialConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.mismatch = config.mismatch if spec.num_classes > 1 else 0.0

    def set_networks(self, generator_net: nn.Module, discriminator: nn.Module) -> None:
        """Set both networks and their optimizers.

        `generator_net` maps noise and labels to images, `discriminator` images and labels to
        scores.
        """
        self.generator_net = generator_net.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "critic": self.discriminator})
        config = self.config
        self.optimizers = {
            "generator": optimizer(config, self.generator_net, config.generator_learning_rate),
            "discriminator": optimizer(
                config, self.discriminator, config.discriminator_learning_rate
            ),
        }

    @abstractmethod
    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """The loss, given scores of real images and of synthetic ones, generated from `z`."""

    @abstractmethod
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """The loss, given scores of synthetic images, generated from `z`."""

    def preprocess(self, real: Tensor) -> Tensor:
        """Map real images to the discriminator's input."""
        return real

    def generate(self, z: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Synthetic images as the discriminator's input; `real` are preprocessed."""
        return self.in_precision(self.generator_net, z, labels)

    @abstractmethod
    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        """The loss, given scores of real images with wrong and with right labels."""

    def extra_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Further terms of the discriminator's loss by name; columns of the history."""
        return {}

    def after_step(self) -> None:
        """Called after each update of the discriminator."""

    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Further columns of the history, given the discriminator's last scores.

        `accuracy`: share of images that it classifies correctly; real ones have scores above 0.
        """
        return {"accuracy": (torch.cat([real, -fake]) > 0).float().mean()}

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        config = self.config
        parts = zip(
            self.preprocess(real).chunk(config.discriminator_steps),
            labels.chunk(config.discriminator_steps),
            strict=True,
        )

        for images, y in parts:
            z = self.sample_noise(len(y))
            with torch.no_grad():
                fake = self.generate(z, y, images)
            scores_real = self.in_precision(self.discriminator, images, y)
            scores_fake = self.in_precision(self.discriminator, fake, y)
            discriminator = self.discriminator_loss(scores_real, scores_fake, y, z)
            extra = self.extra_losses(images, fake, y)

            if self.mismatch:
                others = y + torch.randint(1, self.spec.num_classes, y.shape)
                wrong = self.in_precision(
                    self.discriminator, images, others % self.spec.num_classes
                )
                extra["mismatch"] = self.mismatch * self.mismatch_loss(wrong, scores_real)

            descend(self.optimizers["discriminator"], discriminator + sum(extra.values()))
            self.after_step()

        self.discriminator.requires_grad_(False)  # its gradients are not needed
        for _ in range(config.generator_steps):
            z = self.sample_noise(len(y))
            scores = self.in_precision(self.discriminator, self.generate(z, y, images), y)
            generator = self.generator_loss(scores, y, z)
            descend(self.optimizers["generator"], generator)
        self.discriminator.requires_grad_(True)

        diagnostics = self.diagnostics(scores_real, scores_fake)
        return {"generator": generator, "discriminator": discriminator, **extra, **diagnostics}

    @override
    def to_latent(self, normal: Tensor) -> Tensor:
        """The normal distribution function makes normal numbers uniform; here in -1..1."""
        return torch.erf(normal / 2**0.5) if self.config.noise == "uniform" else normal


class CrossEntropyConfig(AdversarialConfig):
    """Settings of GANs with the cross-entropy loss."""

    realness: float = Field(
        default=0.9, gt=0.5, le=1
    )  # target of real images; 0.9 is label smoothing


class CrossEntropyGame(Adversarial):
    """The non-saturating loss of Goodfellow et al. (2014).

    A target below 1 is one-sided label smoothing (Salimans et al. 2016, section 3.4).
    """

    loss = "cross-entropy"
    config: CrossEntropyConfig

    @override
    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        return (cross_entropy(real, self.config.realness) + cross_entropy(fake, 0.0)) / 2

    @override
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        return cross_entropy(fake, 1.0)

    @override
    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        return cross_entropy(wrong, 0.0)


def optimizer(
    config: AdversarialConfig, network: nn.Module, learning_rate: float
) -> torch.optim.Optimizer:
    """The optimizer that the configuration names."""
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), learning_rate)
    betas = (config.momentum, BETA_2)
    return torch.optim.Adam(network.parameters(), learning_rate, betas=betas, fused=True)


def cross_entropy(scores: Tensor, realness: float) -> Tensor:
    """Binary cross-entropy of logits with the same target `realness` for all."""
    target = torch.full_like(scores, realness)
    return nn.functional.binary_cross_entropy_with_logits(scores, target)

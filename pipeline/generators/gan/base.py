"""Two networks that play against each other: what all such families share, but for `dcgan`.

Source: Goodfellow et al. (2014), algorithm 1. A family sets its two players and says what each of
them loses; who moves when, the optimizers and the discriminator's accuracy are here. One batch of
real images serves all moves of a step, shared out among the discriminator's. Synthetic images have
the labels of the real ones beside them. Deviation: with `mismatch` the discriminator is shown real
images under wrong labels, too (Reed et al. 2016, section 4.2); the preset `zoo` uses it for all but
`acgan`. The history has what it costs beside the column `discriminator`, which leaves it out.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.config.validation import Count
from pipeline.data.images import ImageSpec
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.nn.optimizing import descend

SECOND_MOMENT = 0.999  # of Adam
MIN_SHARE = 2  # images per move: batch norm needs two


class AdversarialConfig(GeneratorConfig):
    """What every such family needs."""

    latent_dim: Count = 100
    noise: Literal["normal", "uniform"] = "normal"  # uniform: from -1 to 1
    optimizer: Literal["adam", "rmsprop"] = "adam"
    momentum: float = Field(default=0.5, ge=0, lt=1)  # of Adam (beta 1); 0 with RMSprop
    generator_learning_rate: float = Field(default=0.002, gt=0)
    discriminator_learning_rate: float = Field(default=0.002, gt=0)
    discriminator_steps: Count = 1  # per step, each on its share of the batch
    generator_steps: Count = 1  # per step
    # Weight of real images under a wrong label, which the discriminator has to refuse as well
    # (Reed et al. 2016, section 4.2); 0: it has to find out by itself that the label matters.
    mismatch: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _moves_share_the_batch(self) -> AdversarialConfig:
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
    """See the module; a subclass calls `set_networks` last in its `__init__`."""

    kind = "gan"
    config: AdversarialConfig
    discriminator: nn.Module

    def __init__(self, config: AdversarialConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.mismatch = config.mismatch if spec.num_classes > 1 else 0.0

    def set_networks(self, generator_net: nn.Module, discriminator: nn.Module) -> None:
        """Set the players: images of noise and labels, and what is said of images and labels."""
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
        """Of what the discriminator said of real images and of synthetic ones, made from `z`."""

    @abstractmethod
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """Of what the discriminator said of the images made from `z`."""

    def preprocess(self, real: Tensor) -> Tensor:
        """Real images as the discriminator sees them."""
        return real

    def generate(self, z: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Synthetic images as the discriminator sees them; `real` are prepared."""
        return self.in_precision(self.generator_net, z, labels)

    @abstractmethod
    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        """Of what the discriminator said of real images under a wrong and the right label."""

    def extra_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What the discriminator pays on top for the images, by name: columns of the history."""
        return {}

    def after_step(self) -> None:
        """What is done to the discriminator after each of its moves."""

    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Numbers for the history beside the losses, of what the discriminator said last.

        `accuracy`: share of images that it takes for what they are, real ones above 0.
        """
        return {"accuracy": (torch.cat([real, -fake]) > 0).float().mean()}

    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `Generator.update`."""
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
        self.discriminator.requires_grad_(False)  # its gradients would be thrown away
        for _ in range(config.generator_steps):
            z = self.sample_noise(len(y))
            scores = self.in_precision(self.discriminator, self.generate(z, y, images), y)
            generator = self.generator_loss(scores, y, z)
            descend(self.optimizers["generator"], generator)
        self.discriminator.requires_grad_(True)
        diagnostics = self.diagnostics(scores_real, scores_fake)
        return {"generator": generator, "discriminator": discriminator, **extra, **diagnostics}

    def to_latent(self, normal: Tensor) -> Tensor:
        """See `Generator.to_latent`; its distribution function makes normal noise uniform."""
        return torch.erf(normal / 2**0.5) if self.config.noise == "uniform" else normal


class CrossEntropyConfig(AdversarialConfig):
    """Of a game for cross-entropy."""

    realness: float = Field(
        default=0.9, gt=0.5, le=1
    )  # target of real images; 0.9 is label smoothing


class CrossEntropyGame(Adversarial):
    """The game of Goodfellow et al. (2014) with the loss that does not saturate.

    A target below 1 is one-sided label smoothing: Salimans et al. (2016), section 3.4.
    """

    loss = "cross-entropy"
    config: CrossEntropyConfig

    def discriminator_loss(self, real: Tensor, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.discriminator_loss`."""
        return (cross_entropy(real, self.config.realness) + cross_entropy(fake, 0.0)) / 2

    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """See `Adversarial.generator_loss`: that synthetic images pass for real."""
        return cross_entropy(fake, 1.0)

    def mismatch_loss(self, wrong: Tensor, right: Tensor) -> Tensor:
        """See `Adversarial.mismatch_loss`."""
        return cross_entropy(wrong, 0.0)


def optimizer(
    config: AdversarialConfig, network: nn.Module, learning_rate: float
) -> torch.optim.Optimizer:
    """The one that the configuration names."""
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), learning_rate)
    betas = (config.momentum, SECOND_MOMENT)
    return torch.optim.Adam(network.parameters(), learning_rate, betas=betas, fused=True)


def cross_entropy(scores: Tensor, realness: float) -> Tensor:
    """Binary cross-entropy of logits against one target for all."""
    target = torch.full_like(scores, realness)
    return nn.functional.binary_cross_entropy_with_logits(scores, target)

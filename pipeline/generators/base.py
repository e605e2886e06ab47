"""The contract of a generator: what a family supplies, and what it may override."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.config.validation import Count, Section
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.nn.augment import AffineConfig
from pipeline.nn.backend import forward, seeded, stream
from pipeline.runtime.determinism import Precision, resolve_precision

Kind = Literal["gan", "variational autoencoder", "autoencoder", "diffusion"]
Loss = Literal[
    "cross-entropy",
    "hinge",
    "wasserstein",  # scores of a critic have no zero that separates real from synthetic images
    "autoencoder discriminator",  # BEGAN: reconstruction errors, kept in balance
    "evidence lower bound",
    "squared error",
]


class GeneratorConfig(Section):
    """Settings of the fit that every family has; a family may have other defaults."""

    steps: Count = 900  # optimization steps, whatever the number of images
    steps_per_image: float = Field(default=0.0, ge=0)  # further steps per real image
    max_steps: Count = 100_000  # upper limit of both together
    batch_size: int = Field(default=64, gt=1, le=1_000_000)  # real images per step

    ema_decay: float = Field(default=0.995, ge=0, lt=1)  # of the averaged weights, which sample
    # Share of the steps after which learning rates fall to 0.
    decay_from: float = Field(default=0.5, ge=0, le=1)
    rare_oversampling: float = Field(default=1.0, ge=1)  # sampling weight of rare real images
    precision: Precision = "auto"  # of training; sampling is always float32
    # Random affine changes of real images, anew for every batch; all zero: none. The generator
    # reproduces them.
    augmentation: AffineConfig = AffineConfig(degrees=10.0, translate=0.05, scale=0.1, shear=8.0)

    @model_validator(mode="after")
    def _steps_fit(self) -> GeneratorConfig:
        if self.steps > self.max_steps:
            raise ValueError(
                f"max_steps: expected at least steps ({self.steps}), found {self.max_steps}"
            )
        return self

    def num_steps(self, num_images: int) -> int:
        """The number of optimization steps of a fit on `num_images` real images."""
        return min(self.max_steps, self.steps + round(self.steps_per_image * num_images))


class Generator(ABC):
    """A class-conditional generative model of images.

    A subclass sets `noise_dim`, `networks` (everything that is trained), `optimizers` and
    `generator_net`: the network that maps noise (n, noise_dim) and labels (n,) to images
    (n, c, h, w) in -1..1.
    """

    Config: ClassVar[type[GeneratorConfig]]
    kind: ClassVar[Kind]
    loss: ClassVar[Loss]

    noise_dim: int
    num_unscaled: int = 0  # the last latents of an image, which always have a `std` of 1
    networks: nn.ModuleDict
    generator_net: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(self, config: Any, spec: ImageSpec) -> None:
        self.config = config
        self.spec = spec
        self.precision = resolve_precision(config.precision)

    @classmethod
    def losses(cls, config: Any) -> dict[str, Loss]:
        """The loss of every game, by the prefix of its columns in the history.

        The prefix of the first game is empty. Only `srgan` plays a second one.
        """
        return {"": cls.loss}

    @abstractmethod
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One optimization step of every network on real images in -1..1; the losses by name."""

    def finalize(self, generator_net: Any, data: LabeledImages) -> None:  # noqa: B027 (optional)
        """Prepare the averaged `generator_net`, trained on `data`, for sampling."""

    def showcase(self, data: LabeledImages, seed: int) -> dict[str, Tensor]:
        """Further images for the report, in -1..1, ten to a row, by name.

        Called after `fit` on `data`; `seed` is for noise.
        """
        return {}

    def discriminator_convolutions(self) -> list[nn.Conv2d]:
        """Convolutions, from the image on, that a warm-started classifier can start from."""
        return []

    def to_latent(self, normal: Tensor) -> Tensor:
        """Map standard normal numbers to the family's latent distribution."""
        return normal

    def sample_noise(self, count: int) -> Tensor:
        """Latents (count, noise_dim) for training, by torch's global random state."""
        return self.to_latent(torch.randn(count, self.noise_dim))

    def normal(self, seeds: list[int]) -> Tensor:
        """Standard normal numbers (n, noise_dim), one random stream per image."""
        rows = [torch.randn(self.noise_dim, generator=stream(seed)) for seed in seeds]
        return torch.stack(rows)

    def noise(self, seeds: list[int], std: float = 1.0) -> Tensor:
        """Latents (n, noise_dim), one random stream per image; training has a `std` of 1."""
        scales = torch.full((self.noise_dim,), std)
        scales[self.noise_dim - self.num_unscaled :] = 1
        return self.to_latent(self.normal(seeds)) * scales

    def in_precision(self, network: nn.Module, *inputs: Tensor) -> Tensor:
        """Apply `network` in the precision of training; the result is float32."""
        return forward(network, self.precision, *inputs)


def create(
    family: type[Generator], config: GeneratorConfig, spec: ImageSpec, seed: int
) -> Generator:
    """An untrained generator; `seed` decides its initial weights."""
    with seeded(seed):
        return family(config, spec)

"""A semi-supervised GAN: a discriminator of the K classes and of one more, the generator's images.

Source: Salimans et al. (2016), "Improved techniques for training GANs", section 5: the score of the
extra class is fixed at zero, so that an image is real with the probability Z / (Z + 1), Z being the
sum of exponentiated class scores; the generator matches the mean features of real images. It is not
conditional and its images are thrown away: what it is for is the discriminator. Added to it is what
the averaged discriminator says of an unlabeled image, which the trained one shall say of another
view of it (mean teachers, Tarvainen and Valpola 2017). Deviations: images are convolved and shown
weakly changed; the averaged discriminator is kept; layers are weight normalized without the
data-dependent start.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel
from typing_extensions import override

from pipeline.config.validation import Count
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.nn.augment import AffineConfig, affine
from pipeline.nn.averaging import moving_average
from pipeline.nn.backend import autocast, forward, seeded, stream
from pipeline.nn.optimizing import refuse_divergence
from pipeline.nn.tensors import to_input
from pipeline.runtime.determinism import Precision, resolve_precision
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.teachers.base import Teacher, TeacherConfig
from pipeline.teachers.fixmatch import SLOWER, in_batches

SLOPE = 0.2
BETAS = (0.5, 0.999)
RAMP = 0.3  # share of the steps over which agreement comes to its full weight


class SSGANConfig(TeacherConfig):
    """The defaults are for MNIST with few labels."""

    steps: int = Field(default=2000, gt=1, le=1_000_000)
    batch_size: int = Field(default=64, gt=1, le=1_000_000)  # labeled, unlabeled and generated each
    latent_dim: Count = 64
    generator_channels: Count = 64  # at a quarter of the size; half as many at half of it
    channels: Count = 32  # of the discriminator's first convolution; the others have twice as many
    features: Count = 128  # width of its dense layer, whose mean the generator matches
    noise_std: float = Field(default=0.1, ge=0)  # of the noise that is added to its input
    dropout: float = Field(default=0.1, ge=0, lt=1)
    # Of both networks; falls to zero over the second half of the steps. Errors: 0.001 gave 5.0 %,
    # 0.003 gave 3.3 % (three labeled subsets, LOG.md).
    learning_rate: float = Field(default=0.003, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    # Weight of the consistency with the averaged discriminator; 10 gave 2.7 % errors (three labeled
    # subsets); 0 turns it off.
    agreement: float = Field(default=10.0, ge=0)
    # Of real images, anew for every batch.
    augmentation: AffineConfig = AffineConfig(degrees=6.0, translate=0.05, scale=0.05, shear=6.0)
    precision: Precision = "auto"


class Discriminator(nn.Module):
    """Images (n, c, h, w) in 0..1 to class scores (n, num_classes)."""

    def __init__(self, config: SSGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.channels
        sizes = (spec.channels, width, 2 * width, 2 * width)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [
                weight_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)),
                nn.LeakyReLU(SLOPE),
                nn.Dropout2d(config.dropout),
            ]
        flat = sizes[-1] * (spec.height // 8) * (spec.width // 8)
        self.embed = nn.Sequential(
            *layers,
            nn.Flatten(),
            weight_norm(nn.Linear(flat, config.features)),
            nn.LeakyReLU(SLOPE),
        )
        self.scores = weight_norm(nn.Linear(config.features, spec.num_classes))
        self.noise_std = config.noise_std

    def features(self, images: Tensor) -> Tensor:
        """The dense layer, (n, features), of images with noise while it trains."""
        if self.training and self.noise_std:
            images = images + self.noise_std * torch.randn_like(images)
        return cast("Tensor", self.embed(images))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return cast("Tensor", self.scores(self.features(images)))


class GeneratorNet(nn.Module):
    """Noise (n, latent_dim) to images (n, c, h, w) in 0..1, of no class in particular."""

    def __init__(self, config: SSGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.generator_channels
        start = (width, spec.height // 4, spec.width // 4)
        self.layers = nn.Sequential(
            nn.Linear(config.latent_dim, math.prod(start), bias=False),
            nn.BatchNorm1d(math.prod(start)),
            nn.ReLU(),
            nn.Unflatten(1, start),
            nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            nn.ConvTranspose2d(width // 2, spec.channels, 4, stride=2, padding=1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        return cast("Tensor", self.layers(z)).sigmoid()


class SSGAN(Teacher):
    """See the module."""

    Config = SSGANConfig
    config: SSGANConfig

    def build(self, spec: ImageSpec) -> None:
        """Set the untrained networks for images and classes like `spec`."""
        if spec.height % 4 or spec.width % 4 or min(spec.height, spec.width) < 8:
            raise ParamsError(
                "teachers (ssgan)",
                "expected image sides that are divisible by 4 and at least 8, found "
                f"{spec.height} x {spec.width}",
                "pad the images to the next multiple of 4, or use another teacher",
            )
        with seeded(derive_seed("initial", self.seed)):
            self.discriminator = Discriminator(self.config, spec)
            self.generator_net = GeneratorNet(self.config, spec)
        self.averaged = AveragedModel(
            self.discriminator, multi_avg_fn=moving_average(self.config.ema_decay)
        )
        self.network = self.averaged.module

    @override
    def fit(self, labeled: LabeledImages, unlabeled: Images, folder: Path) -> Self:
        config, subset = self.config, labeled
        self.build(subset.spec())
        self.precision = resolve_precision(config.precision)
        optimizers = [
            torch.optim.Adam(network.parameters(), config.learning_rate, betas=BETAS, fused=True)
            for network in (self.discriminator, self.generator_net)
        ]
        move = affine(config.augmentation)
        labels = torch.from_numpy(subset.labels)
        with torch.random.fork_rng(devices=[]):
            for step in range(config.steps):
                torch.manual_seed(derive_seed("step", self.seed, step))
                rng = numpy_rng("batch", self.seed, step)
                views = stream(derive_seed("view", self.seed, step))
                index = rng.integers(0, len(subset), config.batch_size)
                index_unlabeled = rng.integers(0, len(unlabeled), config.batch_size)
                moved = move(to_input(subset.images[index]), views)
                plain = to_input(unlabeled[index_unlabeled])
                unknown, again = move(plain, views), move(plain, views)
                for optimizer in optimizers:
                    optimizer.param_groups[0]["lr"] = self._rate(step)
                target, weight = self._predict(again), config.agreement * self._ramp(step)
                self._update(optimizers, (moved, labels[index]), (unknown, target, weight), step)
                self.averaged.update_parameters(self.discriminator)
        self.network.eval()
        return self

    def _rate(self, step: int) -> float:
        left = 2 * (1 - step / self.config.steps)
        return self.config.learning_rate * min(1.0, left)

    def _ramp(self, step: int) -> float:
        return min(1.0, step / (RAMP * self.config.steps))

    @torch.no_grad()
    def _predict(self, images: Tensor) -> Tensor:
        """The averaged discriminator's class probabilities, (n, num_classes)."""
        self.averaged.eval()
        return forward(self.averaged, self.precision, images).softmax(dim=1)

    def _update(
        self,
        optimizers: list[torch.optim.Adam],
        labeled: tuple[Tensor, Tensor],
        unlabeled: tuple[Tensor, Tensor, float],
        step: int,
    ) -> None:
        """One step of the discriminator, then one of the sampler.

        `labeled` are images and labels, `unlabeled` images, the probabilities that their classes
        shall get, and how much that weighs.
        """
        (images, labels), (unknown, target, weight) = labeled, unlabeled
        discriminator, generator_net = optimizers
        self.discriminator.train()
        self.generator_net.train()
        count = len(unknown)
        with autocast(self.precision):
            fake = self.generator_net(torch.randn(count, self.config.latent_dim))
            scores = self.discriminator(torch.cat([images, unknown, fake.detach().float()])).float()
        total = scores.logsumexp(dim=1)
        real, generated = total[count : 2 * count], total[2 * count :]
        loss = functional.cross_entropy(scores[:count], labels)
        loss = (
            loss + (functional.softplus(-real).mean() + functional.softplus(generated).mean()) / 2
        )
        predicted = scores[count : 2 * count].softmax(dim=1)
        loss = loss + weight * (predicted - target).square().sum(dim=1).mean()
        refuse_divergence({"teacher": loss}, step + 1, SLOWER)
        discriminator.zero_grad()
        loss.backward()
        discriminator.step()
        self.discriminator.requires_grad_(False)
        with autocast(self.precision):
            mean_real = self.discriminator.features(unknown).float().mean(dim=0)
            mean_fake = self.discriminator.features(fake).float().mean(dim=0)
        generator_net.zero_grad()
        (mean_real - mean_fake).square().mean().backward()
        generator_net.step()
        self.discriminator.requires_grad_(True)

    @override
    def state(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        self.build(spec)
        self.network.load_state_dict(dict(state))
        self.network.eval()
        return self

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        return in_batches(images, lambda batch: self.network(batch).softmax(dim=1))

    def ood_score(self, images: Images, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """How little the discriminator takes an image for real: minus the logarithm of Z, (n,)."""
        return in_batches(images, lambda batch: -self.network(batch).logsumexp(dim=1))

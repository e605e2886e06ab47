"""A semi-supervised GAN: the discriminator classifies real images and detects synthetic ones.

Source: Salimans et al. (2016), "Improved techniques for training GANs", section 5. The score of the
extra class is fixed at zero, so that an image is real with probability Z / (Z + 1), where Z is the
sum of the exponentiated class scores. The generator matches the mean features of real images
(section 3.1). It is unconditional and its images are discarded: only the discriminator is used.

The predictions of the averaged discriminator for an unlabeled image are the targets of the trained
one for another view of that image (mean teachers, Tarvainen and Valpola 2017).

Deviations from Salimans et al.: real images are weakly augmented; the averaged discriminator is the
one that predicts; layers have weight norm without the data-dependent initialization.
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

from pipeline.config.validation import Width
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.data.parts import Groups
from pipeline.nn.augment import AffineConfig, affine
from pipeline.nn.averaging import moving_average
from pipeline.nn.backend import autocast, forward, seeded, stream
from pipeline.nn.background import relative
from pipeline.nn.fit import Batch, TrainingPlan, by_steps, train
from pipeline.nn.optimizing import descend
from pipeline.nn.tensors import to_input
from pipeline.runtime.determinism import Precision, resolve_precision
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.teachers.base import ADVICE, Teacher, TeacherConfig, in_batches

SLOPE = 0.2  # of leaky ReLU
MIN_SIDE = 8  # the discriminator halves sides three times, rounding down
BETAS = (0.5, 0.999)
DECAY_FROM = 0.5  # share of the steps after which learning rates fall to 0
RAMP = 0.3  # share of the steps over which the weight of agreement rises


class SSGANConfig(TeacherConfig):
    """The defaults are for MNIST with few labels."""

    steps: int = Field(default=2000, gt=1, le=1_000_000)
    batch_size: int = Field(default=64, gt=1, le=1_000_000)  # labeled, unlabeled, synthetic each
    latent_dim: Width = 64
    generator_channels: Width = 64  # at a quarter of the size; half as many at half of it
    channels: Width = 32  # of the discriminator's first convolution; the others have twice as many
    features: Width = 128  # width of its dense layer, whose mean the generator matches
    noise_std: float = Field(default=0.1, ge=0)  # of the noise that is added to its input
    dropout: float = Field(default=0.1, ge=0, lt=1)
    # Of both networks; falls to zero over the second half of the steps. Errors: 0.001 gave 5.0 %,
    # 0.003 gave 3.3 % (three labeled subsets, LOG.md).
    learning_rate: float = Field(default=0.003, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    # Weight of the agreement with the averaged discriminator; 10 gave 2.7 % errors (three labeled
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
        layers = relative(spec.background)
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
        """The dense layer, (n, features); in training, of images with added noise."""
        if self.training and self.noise_std:
            images = images + self.noise_std * torch.randn_like(images)
        return cast("Tensor", self.embed(images))

    @override
    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.scores(self.features(images)))


class GeneratorNet(nn.Module):
    """Noise (n, latent_dim) to images (n, c, h, w) in 0..1; unconditional."""

    def __init__(self, config: SSGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.generator_channels
        self.size = (spec.height, spec.width)  # cropped where 4 does not divide it
        start = (width, -(-spec.height // 4), -(-spec.width // 4))
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

    @override
    def forward(self, z: Tensor) -> Tensor:
        images = cast("Tensor", self.layers(z)).sigmoid()
        return images[:, :, : self.size[0], : self.size[1]]


class SSGAN(Teacher):
    """See the module; `update` is one step of the discriminator and one of the generator."""

    Config = SSGANConfig
    config: SSGANConfig
    networks: nn.ModuleDict
    optimizers: dict[str, torch.optim.Optimizer]

    @override
    def build(self, spec: ImageSpec) -> None:
        if min(spec.height, spec.width) < MIN_SIDE:
            raise ParamsError(
                "teachers (ssgan)",
                f"expected image sides of at least {MIN_SIDE}, found {spec.height} x {spec.width}",
                "enlarge the images with data.resize, or use another teacher",
            )
        config = self.config
        with seeded(derive_seed("initial", self.seed)):
            self.discriminator = Discriminator(config, spec)
            self.generator_net = GeneratorNet(config, spec)

        self.networks = nn.ModuleDict(
            {"discriminator": self.discriminator, "generator": self.generator_net}
        )
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), config.learning_rate, BETAS, fused=True)
            for name, network in self.networks.items()
        }
        self.averaged = AveragedModel(
            self.discriminator, multi_avg_fn=moving_average(config.ema_decay)
        )
        self.averaged.requires_grad_(False)
        self.network = self.averaged.module  # the one that predicts
        self.precision = resolve_precision(config.precision)

    @override
    def fit(
        self,
        labeled: LabeledImages,
        unlabeled: Images,
        folder: Path,
        groups: Groups | None = None,
    ) -> Self:
        config = self.config
        self.build(labeled.spec())
        labels = torch.from_numpy(labeled.labels)
        augment = affine(config.augmentation, labeled.background)

        def sample_batch(step: int) -> Batch:
            rng = numpy_rng("batch", self.seed, step)
            views = stream(derive_seed("view", self.seed, step))
            index = rng.integers(0, len(labeled), config.batch_size)
            index_unlabeled = rng.integers(0, len(unlabeled), config.batch_size)

            real = augment(to_input(labeled.images[index]), views)
            without_label = to_input(unlabeled[index_unlabeled])
            # Two views of the same images: one is classified, the other gives the target.
            first, second = augment(without_label, views), augment(without_label, views)
            return real, labels[index], first, second

        plan = TrainingPlan(self.seed, folder, by_steps(config.steps), DECAY_FROM, ADVICE)
        train(self, self.discriminator, self.averaged, sample_batch, plan)
        self.network.eval()
        return self

    def update(
        self, real: Tensor, labels: Tensor, unlabeled: Tensor, other_view: Tensor
    ) -> dict[str, Tensor]:
        """One step of both networks on images in 0..1; returns the losses by name.

        `other_view` are the images of `unlabeled` with another augmentation.
        """
        count = len(unlabeled)
        target, weight = self._target(other_view), self._agreement_weight()

        # The discriminator: classes of labeled images, real against synthetic, agreement.
        with autocast(self.precision):
            fake = self.generator_net(torch.randn(count, self.config.latent_dim))
            scores = self.discriminator(torch.cat([real, unlabeled, fake.detach().float()])).float()
        log_z = scores.logsumexp(dim=1)
        log_z_real, log_z_fake = log_z[count : 2 * count], log_z[2 * count :]
        loss = functional.cross_entropy(scores[:count], labels)
        loss = (
            loss
            + (functional.softplus(-log_z_real).mean() + functional.softplus(log_z_fake).mean()) / 2
        )
        predicted = scores[count : 2 * count].softmax(dim=1)
        loss = loss + weight * (predicted - target).square().sum(dim=1).mean()
        descend(self.optimizers["discriminator"], loss)

        # The generator: mean features of real images (feature matching).
        self.discriminator.requires_grad_(False)
        with autocast(self.precision):
            mean_real = self.discriminator.features(unlabeled).float().mean(dim=0)
            mean_fake = self.discriminator.features(fake).float().mean(dim=0)
        matching = (mean_real - mean_fake).square().mean()
        descend(self.optimizers["generator"], matching)
        self.discriminator.requires_grad_(True)
        return {"discriminator": loss, "generator": matching}

    def _agreement_weight(self) -> float:
        """Rises linearly from 0 over the first steps; the average counts the steps."""
        step = int(self.averaged.n_averaged)
        return self.config.agreement * min(1.0, step / (RAMP * self.config.steps))

    @torch.no_grad()
    def _target(self, images: Tensor) -> Tensor:
        """The averaged discriminator's class probabilities, (n, num_classes)."""
        self.averaged.eval()
        return forward(self.averaged, self.precision, images).softmax(dim=1)

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

    @override
    def ood_score(self, images: Images, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Minus log Z, (n,): how little the discriminator takes an image for real."""
        return in_batches(images, lambda batch: -self.network(batch).logsumexp(dim=1))

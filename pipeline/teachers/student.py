"""A convolutional network trained on given labels and, with `fixmatch`, on pseudo-labels.

The network that counts is the moving average of the trained one, as in mean teachers (Tarvainen and
Valpola 2017).

Source of the pseudo-labels: Sohn et al. (2020), "FixMatch". If the network is confident about a
weakly augmented image, its prediction is the label of the strongly augmented image. Before that,
distribution alignment (Berthelot et al. 2020, "ReMixMatch") moves its mean class shares to those of
the pool, which the caller gives; by default they are equal. Deviations: the averaged network gives
the pseudo-labels, from a share of the steps on; an image whose predicted class would change by the
alignment gets none.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import Count, Section, Width
from pipeline.data.images import Background, Images, ImageSpec
from pipeline.nn.augment import AffineConfig, ElasticConfig, affine, shared_affine
from pipeline.nn.averaging import follow, warm_decay
from pipeline.nn.backend import forward, seeded, stream
from pipeline.nn.background import relative
from pipeline.nn.hog import Rows
from pipeline.nn.optimizing import OneCycle, refuse_divergence
from pipeline.nn.sampling import cumulative_weights
from pipeline.nn.tensors import to_input
from pipeline.runtime.determinism import Precision, resolve_precision
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.teachers.base import ADVICE, in_batches
from pipeline.teachers.views import strong_view

MIN_SIDE = 8


class TeacherNetConfig(Section):
    """The network and how it is trained."""

    # Of the first convolution; the others have twice as many. 32, or 2,600 steps in the second
    # round, gained nothing measurable (LOG.md).
    channels: Width = 24
    features: Width = 128  # width of the dense layer
    dropout: float = Field(default=0.3, ge=0, lt=1)
    # The peak of the one-cycle schedule. With all labels it gave 0.59 % errors, 0.003 gave 0.70
    # (one run each, with elastic bends).
    learning_rate: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    # Test-time augmentation: the number of weakly augmented copies that are averaged. Eight took
    # 0.82 % errors to 0.76 (one run).
    num_tta: int = Field(default=4, ge=0, le=100)
    # Only images whose highest probability is below this are augmented: one in forty. Augmenting
    # all images gave the same errors.
    tta_below: float = Field(default=0.99, ge=0, le=1)
    weak: AffineConfig = AffineConfig(degrees=6.0, translate=0.05, scale=0.05, shear=6.0)
    # More movement, bends and cutout were worse with so few steps (LOG.md).
    strong: ElasticConfig = ElasticConfig(
        degrees=11.5, translate=0.07, scale=0.1, shear=11.5, bend=0.0, cutout=0.0
    )
    # Strength of random brightness, contrast, saturation and color balance (see `views`) of photos
    # and of images with more than one channel; 0: none.
    color: float = Field(default=0.0, ge=0, lt=1)
    precision: Precision = "auto"


class FixMatchConfig(Section):
    """The pseudo-labels that the network gives unlabeled images."""

    batch_size: Count = 64  # unlabeled images per step; the confident ones get a pseudo-label
    threshold: float = Field(default=0.95, ge=0, lt=1)  # minimum probability of a pseudo-label
    warmup_frac: float = Field(default=0.3, ge=0, le=1)  # share of the steps without pseudo-labels
    # Decay of the mean class shares; 1 turns distribution alignment off.
    alignment_decay: float = Field(default=0.99, ge=0, le=1)


class Phase(Section):
    """How long the network is trained, and on how many images per step."""

    steps: int = Field(gt=1, le=1_000_000)
    batch_size: int = Field(default=128, gt=1, le=1_000_000)  # images with a given label
    fixmatch: FixMatchConfig | None = None  # None: given labels only


def refuse_small(spec: ImageSpec, family: str) -> None:
    """Raise `ParamsError` for images that are too small for the network to pool twice."""
    if min(spec.height, spec.width) < MIN_SIDE:
        raise ParamsError(
            f"teachers ({family})",
            f"expected image sides of at least {MIN_SIDE}, found {spec.height} x {spec.width}",
            "enlarge the images with data.resize, or use another teacher",
        )


class TeacherNet(nn.Module):
    """Images (n, c, h, w) in 0..1 to class scores (n, num_classes)."""

    def __init__(self, config: TeacherNetConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.channels
        self.embed = nn.Sequential(
            *relative(spec.background),
            *_block(spec.channels, width, kernel=5, padding=2, pool=2),
            *_block(width, 2 * width, kernel=3, padding=1),
            *_block(2 * width, 2 * width, kernel=3, padding=0, pool=2),
            nn.Flatten(),
            nn.LazyLinear(config.features),
            nn.BatchNorm1d(config.features),
            nn.ReLU(),
        )
        self.scores = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(config.features, spec.num_classes)
        )

        # A first forward pass sets the input width of the lazy layer.
        with torch.no_grad():
            self.eval()(torch.zeros(1, spec.channels, spec.height, spec.width))

    @override
    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.scores(self.embed(images)))


def _block(
    width_in: int, width_out: int, *, kernel: int, padding: int, pool: int = 1
) -> list[nn.Module]:
    """A convolution and what follows; pooling comes first, since the rest then costs a quarter."""
    convolution = nn.Conv2d(width_in, width_out, kernel, padding=padding, bias=False)
    pooling = [nn.MaxPool2d(pool)] if pool > 1 else []
    return [convolution, *pooling, nn.BatchNorm2d(width_out), nn.ReLU()]


class Student:
    """A network in training and its moving average, which gives all predictions."""

    def __init__(self, config: TeacherNetConfig, spec: ImageSpec, seed: int) -> None:
        with seeded(derive_seed("initial", seed)):
            network = TeacherNet(config, spec)
        self.config, self.background = config, spec.background
        self.network = network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.precision = resolve_precision(config.precision)

    def scores(self, network: nn.Module, images: Tensor) -> Tensor:
        """`network(images)` in the precision of the training, as float32."""
        return forward(network, self.precision, images)

    def probabilities(self, images: Images) -> Rows:
        """Class probabilities (n, num_classes) of uint8 images, by the averaged network.

        Where the highest one is below `tta_below`, test-time augmentation: the mean over the image
        and `num_tta` weakly augmented copies. The augmentations are the same for every image.
        """
        probabilities = in_batches(images, self._predict)
        index = np.flatnonzero(probabilities.max(axis=1) < self.config.tta_below)
        if self.config.num_tta and len(index):
            probabilities[index] += in_batches(images[index], self._predict_augmented)
            probabilities[index] /= 1 + self.config.num_tta
        return probabilities

    def _predict(self, images: Tensor) -> Tensor:
        return self.scores(self.average, images).softmax(dim=1)

    def _predict_augmented(self, images: Tensor) -> Tensor:
        """The sum of the probabilities of all augmented copies."""
        seeds = [derive_seed("glance", number) for number in range(self.config.num_tta)]
        copies = [shared_affine(self.config.weak, images, seed, self.background) for seed in seeds]
        return torch.stack([self._predict(augmented) for augmented in copies]).sum(dim=0)

    def embed(self, images: Tensor) -> Tensor:
        """The averaged network's dense layer, (n, features)."""
        return self.scores(self.average.embed, images)

    def follow(self, step: int) -> None:
        """Update the average after training step number `step`."""
        follow(self.average, self.network, warm_decay(self.config.ema_decay, step))


@dataclass(frozen=True)
class Pool:
    """Unlabeled images (n, c, h, w) and their class shares (num_classes,); None: equal ones."""

    images: Images
    shares: Rows | None = None

    def unequal_shares(self) -> Tensor | None:
        """The class shares, None if they are equal."""
        if self.shares is None or np.ptp(self.shares) == 0:
            return None
        return torch.from_numpy(self.shares)


def train(
    config: TeacherNetConfig,
    phase: Phase,
    labeled: tuple[Images, Rows, Rows],
    pool: Pool,
    seed: int,
    background: Background,
) -> Student:
    """A network trained on `labeled` and, with `phase.fixmatch`, on pseudo-labels of `pool`.

    `labeled` are images, class probabilities (n, num_classes) and sampling weights (n,). The loss
    is the cross-entropy summed over images and divided by the number of images per step, with or
    without pseudo-label. Raises `DivergedError` at the first loss that is not finite.
    """
    images, targets, weights = labeled
    _, channels, height, width = images.shape
    num_classes = targets.shape[1]
    spec = ImageSpec(channels, height, width, num_classes, background)
    student = Student(config, spec, seed)
    training = OneCycle(student.network, config.learning_rate, config.weight_decay, phase.steps)
    edges = cumulative_weights(weights, total=weights.sum(dtype=np.float64)).numpy()
    augment = strong_view(config.strong, config.color, background)
    shares = torch.full((num_classes,), 1 / num_classes)
    pool_shares = pool.unequal_shares()

    for step in range(phase.steps):
        rng = numpy_rng("step", seed, step)
        views = stream(derive_seed("view", seed, step))

        index = np.searchsorted(edges, rng.random(phase.batch_size))
        batch, target = to_input(images[index]), torch.from_numpy(targets[index])
        count = len(batch)

        fixmatch = phase.fixmatch
        if fixmatch is not None and step >= fixmatch.warmup_frac * phase.steps:
            others = rng.integers(0, len(pool.images), fixmatch.batch_size)
            confident, pseudo = pseudo_labels(
                student, to_input(pool.images[others]), fixmatch, shares, views, pool_shares
            )
            batch, target = torch.cat([batch, confident]), torch.cat([target, pseudo])
            count += fixmatch.batch_size

        # Dropout reads torch's global random state.
        with seeded(derive_seed("step", seed, step)):
            student.network.train()
            scores = student.scores(student.network, augment(batch, views))
        loss = -(target * scores.log_softmax(dim=1)).sum() / count
        refuse_divergence({"teacher": loss}, step + 1, ADVICE)
        training.step(loss)
        student.follow(step)
    return student


@torch.no_grad()
def pseudo_labels(
    student: Student,
    images: Tensor,
    fixmatch: FixMatchConfig,
    shares: Tensor,
    views: torch.Generator,
    pool_shares: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The images with a pseudo-label, (m, c, h, w), and their labels, one-hot (m, num_classes).

    `shares`, (num_classes,), is the running mean of the averaged network's probabilities and is
    updated in place; `pool_shares` are what the alignment moves it to. An image whose predicted
    class changes by the alignment gets no label, since the pool may lack that class.
    """
    weak = affine(student.config.weak, student.background)(images, views)
    probabilities = student.scores(student.average, weak).softmax(dim=1)

    shares.lerp_(probabilities.mean(dim=0), 1 - fixmatch.alignment_decay)
    aligned = probabilities / shares
    if pool_shares is not None:
        aligned = aligned * pool_shares
    aligned = aligned / aligned.sum(dim=1, keepdim=True)

    highest, predicted = aligned.max(dim=1)
    keep = (highest >= fixmatch.threshold) & (predicted == probabilities.argmax(dim=1))
    return images[keep], functional.one_hot(predicted[keep], len(shares)).float()

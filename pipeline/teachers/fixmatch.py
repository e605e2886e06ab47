"""A convolutional network that learns from labels that came from elsewhere and, if asked, its own.

The averaged network is the one that counts, as in mean teachers (Tarvainen and Valpola 2017). With
`fixmatch`, consistency as in FixMatch (Sohn et al. 2020): what it says of a weakly changed image,
when it is sure, is the label of a strongly changed one. Before, its class shares are aligned with
the draw's, which are equal (Berthelot et al. 2020): it is less sure of common classes. Deviations:
the averaged network says it, from a share of the steps on; alignment turns no label into another.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config.validation import Count, Section
from pipeline.data.images import Images, ImageSpec
from pipeline.nn.augment import AffineConfig, ElasticConfig, affine, elastic, shared_affine
from pipeline.nn.averaging import follow, warm_decay
from pipeline.nn.backend import forward, seeded, stream
from pipeline.nn.optimizing import OneCycle, refuse_divergence
from pipeline.nn.sampling import cumulative_weights
from pipeline.nn.tensors import map_images, to_input
from pipeline.runtime.determinism import Precision, resolve_precision
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.teachers.features import Rows

SLOWER = "lower that teacher's learning rate in params.yaml"
PREDICT_BATCH = 200  # larger ones leave the cache


class TeacherNetConfig(Section):
    """How the network is trained; presets/semi.yaml gives the values and reasons."""

    channels: Count  # of the first convolution; the others have twice as many
    features: Count  # width of the dense layer
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)  # the peak of the cycle
    weight_decay: float = Field(ge=0)
    ema_decay: float = Field(ge=0, lt=1)  # of the averaged network, which is the one that counts
    num_tta: int = Field(ge=0, le=100)  # at changed forms of an image that it is not sure of
    tta_below: float = Field(ge=0, le=1)  # probability of a first choice that needs no such glance
    weak: AffineConfig
    strong: ElasticConfig
    precision: Precision


class FixMatchConfig(Section):
    """The labels that the network gives images itself."""

    batch_size: Count  # images per step, of which it labels those that it is sure of
    threshold: float = Field(ge=0, lt=1)  # least probability of such a label
    warmup_frac: float = Field(ge=0, le=1)  # of the steps; before, it has learned too little
    alignment_decay: float = Field(ge=0, le=1)  # of the mean class shares; 1: they are not aligned


class Phase(Section):
    """How long it is trained, and on how much at a time."""

    steps: int = Field(gt=1, le=1_000_000)
    batch_size: int = Field(gt=1, le=1_000_000)  # images with a label that came from elsewhere
    fixmatch: FixMatchConfig | None = None  # None: no consistency


class TeacherNet(nn.Module):
    """Images (n, c, h, w) in 0..1 to class scores (n, num_classes)."""

    def __init__(self, config: TeacherNetConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.channels
        self.embed = nn.Sequential(
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
        with torch.no_grad():  # settles the lazy layer's input width
            self.eval()(torch.zeros(1, spec.channels, spec.height, spec.width))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return cast("Tensor", self.scores(self.embed(images)))


def _block(
    width_in: int, width_out: int, *, kernel: int, padding: int, pool: int = 1
) -> list[nn.Module]:
    """A convolution; what is pooled is pooled first, since all after it then costs a quarter."""
    convolution = nn.Conv2d(width_in, width_out, kernel, padding=padding, bias=False)
    pooling = [nn.MaxPool2d(pool)] * (pool > 1)
    return [convolution, *pooling, nn.BatchNorm2d(width_out), nn.ReLU()]


class Student:
    """The network in training and the average of it; `average` is the one that counts."""

    def __init__(self, config: TeacherNetConfig, spec: ImageSpec, seed: int) -> None:
        with seeded(derive_seed("initial", seed)):
            network = TeacherNet(config, spec)
        self.config = config
        self.network = network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.precision = resolve_precision(config.precision)

    def scores(self, network: nn.Module, images: Tensor) -> Tensor:
        """`network` of images in the precision of training; float32."""
        return forward(network, self.precision, images)

    def probabilities(self, images: Images) -> Rows:
        """Class probabilities (n, num_classes) of uint8 images, by the averaged network.

        Where its first choice is less sure than `tta_below`, they are the mean over the image and
        `num_tta` weakly changed forms of it. The changes are the same for every image.
        """
        probabilities = in_batches(images, self._predict)
        unsure = np.flatnonzero(probabilities.max(axis=1) < self.config.tta_below)
        if self.config.num_tta and len(unsure):
            probabilities[unsure] += in_batches(images[unsure], self._augmented)
            probabilities[unsure] /= 1 + self.config.num_tta
        return probabilities

    def _predict(self, images: Tensor) -> Tensor:
        return self.scores(self.average, images).softmax(dim=1)

    def _augmented(self, images: Tensor) -> Tensor:
        """The sum of the probabilities of all changed forms."""
        seeds = [derive_seed("glance", number) for number in range(self.config.num_tta)]
        forms = [shared_affine(self.config.weak, images, seed) for seed in seeds]
        return torch.stack([self._predict(form) for form in forms]).sum(dim=0)

    def embed(self, images: Tensor) -> Tensor:
        """The averaged network's dense layer, (n, features)."""
        return self.scores(self.average.embed, images)

    def follow(self, step: int) -> None:
        """Move the average after the network."""
        decay = warm_decay(self.config.ema_decay, step)
        follow(self.average, self.network, decay)


def train(
    config: TeacherNetConfig,
    phase: Phase,
    labeled: tuple[Images, Rows, Rows],
    unlabeled: Images,
    seed: int,
) -> Student:
    """A network trained on `labeled` and, with `fixmatch`, in agreement with itself on `unlabeled`.

    `labeled` are images, class probabilities (n, num_classes) and how often each image is drawn
    relative to others, (n,). Raises `DivergedError` at the first loss that is not finite.
    """
    images, targets, weights = labeled
    _, channels, height, width = images.shape
    student = Student(config, ImageSpec(channels, height, width, targets.shape[1]), seed)
    training = OneCycle(student.network, config.learning_rate, config.weight_decay, phase.steps)
    edges = cumulative_weights(weights, total=weights.sum(dtype=np.float64)).numpy()
    shares = torch.full((targets.shape[1],), 1 / targets.shape[1])
    with torch.random.fork_rng(devices=[]):
        for step in range(phase.steps):
            torch.manual_seed(derive_seed("step", seed, step))  # dropout knows no other source
            rng = numpy_rng("step", seed, step)
            index = np.searchsorted(edges, rng.random(phase.batch_size))
            views = stream(derive_seed("view", seed, step))
            batch, target = to_input(images[index]), torch.from_numpy(targets[index])
            count = len(batch)
            if phase.fixmatch is not None and step >= phase.fixmatch.warmup_frac * phase.steps:
                others = rng.integers(0, len(unlabeled), phase.fixmatch.batch_size)
                pseudo = pseudo_labels(
                    student, to_input(unlabeled[others]), phase.fixmatch, shares, views
                )
                batch, target = torch.cat([batch, pseudo[0]]), torch.cat([target, pseudo[1]])
                count += phase.fixmatch.batch_size
            student.network.train()
            scores = student.scores(student.network, elastic(config.strong)(batch, views))
            loss = -(target * scores.log_softmax(dim=1)).sum() / count
            refuse_divergence({"teacher": loss}, step + 1, SLOWER)
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
) -> tuple[Tensor, Tensor]:
    """The images whose weakly changed form the averaged network is sure of, and what it says.

    `shares` is the running mean of its opinions, (num_classes,), which this call moves on. What
    alignment would turn into another class gets no label: the pool may lack that class.
    """
    weak = affine(student.config.weak)(images, views)
    probabilities = student.scores(student.average, weak).softmax(dim=1)
    shares.lerp_(probabilities.mean(dim=0), 1 - fixmatch.alignment_decay)
    aligned = probabilities / shares
    most, first = (aligned / aligned.sum(dim=1, keepdim=True)).max(dim=1)
    sure = (most >= fixmatch.threshold) & (first == probabilities.argmax(dim=1))
    return images[sure], functional.one_hot(first[sure], len(shares)).float()


def in_batches(images: Images, function: Callable[[Tensor], Tensor]) -> Rows:
    """`function` of all images, float32 rows; every batch is of one size, so none sees another."""
    return map_images(images, function, PREDICT_BATCH, pad=True)

"""A conditional DCGAN for few labeled images.

Sources: Radford, Metz and Chintala (2016) for the transposed-convolution generator; Dumoulin et al.
(2017) for class-conditional batch norm; Miyato and Koyama (2018), equation 4, for the projection
discriminator; Miyato et al. (2018) for spectral norm and the hinge loss, equations 16 and 17; Mao
et al. (2019), equation 2, for the mode-seeking term, without which a generator trained on a hundred
images has far less diversity than these; Karras et al. (2018) for averaged weights.

Deviations: with two widths the last doubling is a pixel shuffle (Shi et al. 2016), since
convolutions at full size would take half of the time; the class embedding of the projection has no
spectral norm, since with so few steps the generator then ignored its label; one forward pass of the
generator serves both updates of a step; the mode-seeking distance is between images of one class,
so that confusing classes does not help; the output is a scaled tanh, clipped to -1..1.

The sizes follow from the shape of the images (`scaling.py`). Images with more values than 28 x 28
in gray have two further differences: the generator is augmented like the real images
(`random_affine.py`), since few steps do not suffice to learn photos together with their changes;
and the mode-seeking term does not drive synthetic images of a class further apart than real ones
are on average, since it made photos bright and noisy. Of smaller images only the real ones are
augmented, and the generator learns the augmentation.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from pipeline.config.validation import Count, Width
from pipeline.data.images import ImageSpec
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.generators.gan.random_affine import (
    NUM_PARAMETERS,
    AugmentedGeneratorNet,
    RandomAffine,
)
from pipeline.generators.gan.scaling import Scale, scale_of
from pipeline.generators.labels import LabelEmbedding
from pipeline.nn.layers import SLOPE
from pipeline.nn.optimizing import descend
from pipeline.runtime.errors import ParamsError

BETAS = (0.0, 0.99)  # no momentum: the other network changes the loss at every step
# Classes differ from the first step on; otherwise few steps do not suffice to separate them.
CLASS_STD = 0.1
# Scales the tanh: most pixels are -1 or 1, which tanh alone never reaches.
REACH = 1.05
MIN_DISTANCE = 0.02  # added to pixel distances in the mode-seeking ratio: two images may be equal
MIN_SIDE = 8  # the discriminator halves sides three times or more, rounding down


class DCGANConfig(GeneratorConfig):
    """Tuned for some hundred labeled digits (LOG.md).

    With all labels of MNIST and some minutes, wider networks with a third width were better.
    """

    steps: Count = 700
    steps_per_image: float = Field(default=2.0, ge=0)
    max_steps: Count = 10_000
    latent_dim: Width = 64  # not tuned; the paper has 100
    label_dim: Width = 6  # of the label's embedding; larger values reduce diversity
    # At a quarter, at half and, if there is a third width, at the full size; large images have
    # more (`scaling.py`).
    generator_channels: list[Width] = Field(default=[64, 32], min_length=2, max_length=3)
    # At half the size; doubled at each of the next two halvings. In color a third more.
    discriminator_channels: Width = 24
    features: Width = 128  # width of the discriminator's dense layer; not tuned
    generator_learning_rate: float = Field(default=0.002, gt=0)  # ten times the paper's
    discriminator_learning_rate: float = Field(default=0.004, gt=0)
    mode_seeking: float = Field(default=0.2, ge=0)  # more: more diversity, more wrong labels

    def scale(self, spec: ImageSpec) -> Scale:
        """The sizes of the networks for images of a shape."""
        return scale_of(self.generator_channels, self.discriminator_channels, spec)


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a gain and a bias per class; (n, c, h, w) to the same shape."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = LabelEmbedding(num_classes, channels)
        self.bias = LabelEmbedding(num_classes, channels)
        nn.init.normal_(self.gain.weight, 1.0, CLASS_STD)
        nn.init.normal_(self.bias.weight, 0.0, CLASS_STD)

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.norm(x).permute(0, 2, 3, 1)  # (n, h, w, c), the order in memory

        # Rows of pixels as one vector, in x's dtype and order in memory: anything else takes longer
        # than the norm itself.
        gain, bias = (
            embedding(y).to(x.dtype).repeat(1, x.shape[2]) for embedding in (self.gain, self.bias)
        )
        rows = torch.addcmul(bias[:, None], x.flatten(2), gain[:, None])
        return rows.view(x.shape).permute(0, 3, 1, 2)


class GeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        scale = config.scale(spec)
        widths = scale.generator_channels
        self.size = (spec.height, spec.width)  # cropped where the doublings exceed it
        self.start = (*scale.start, widths[0])
        inputs = config.latent_dim + config.label_dim
        self.embed = LabelEmbedding(spec.num_classes, config.label_dim)
        self.project = _orthogonal(nn.Linear(inputs, math.prod(self.start)))
        self.norm = ConditionalBatchNorm(widths[0], spec.num_classes)
        self.ups, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            up = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            self.ups.append(_orthogonal(up))
            self.norms.append(ConditionalBatchNorm(after, spec.num_classes))
        # Factor of the last layer's enlargement.
        self.shuffle = 2 ** (3 - len(config.generator_channels))
        channels = spec.channels * self.shuffle**2
        self.to_pixels = _orthogonal(nn.Conv2d(widths[-1], channels, 3, padding=1))

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.project(torch.cat([z, self.embed(y)], dim=1))
        x = x.unflatten(1, self.start).permute(0, 3, 1, 2)  # (n, c, h, w), channels last in memory
        x = functional.relu(self.norm(x, y))
        for up, norm in zip(self.ups, self.norms, strict=True):
            x = functional.relu(norm(up(x), y))
        x = functional.pixel_shuffle(self.to_pixels(x), self.shuffle)
        x = x[:, :, : self.size[0], : self.size[1]]
        return (REACH * torch.tanh(x)).clamp(-1, 1)


class Discriminator(nn.Module):
    """Images (n, c, h, w) in -1..1 and labels (n,) to realness scores (n,), unbounded."""

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        widths = config.scale(spec).discriminator_channels
        channels = (spec.channels, *widths)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            convolution = nn.Conv2d(before, after, 4, stride=2, padding=1)
            layers += [spectral_norm(_orthogonal(convolution)), nn.LeakyReLU(SLOPE)]
        size = 2 ** len(widths)
        flat = channels[-1] * (spec.height // size) * (spec.width // size)
        dense = spectral_norm(_orthogonal(nn.Linear(flat, config.features)))
        self.convolve = nn.Sequential(*layers)
        self.dense = nn.Sequential(dense, nn.LeakyReLU(SLOPE))
        self.score = spectral_norm(_orthogonal(nn.Linear(config.features, 1)))
        self.embed = nn.Embedding(spec.num_classes, config.features)

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.convolve(x).permute(0, 2, 3, 1).flatten(1)  # the order in memory: no copy
        features = self.dense(x)
        return cast("Tensor", self.score(features)[:, 0] + (self.embed(y) * features).sum(dim=1))


class DCGAN(Generator):
    """See the module; `update` is one discriminator step and one generator step."""

    Config = DCGANConfig
    kind = "gan"
    loss = "hinge"
    config: DCGANConfig

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        if min(spec.height, spec.width) < MIN_SIDE:
            raise ParamsError(
                "a generator of the family dcgan",
                f"expected image sides of at least {MIN_SIDE}, found {spec.height} x {spec.width}",
                f"enlarge the images with `resize: {{size: {MIN_SIDE}}}` in data",
            )
        self.base_net = GeneratorNet(config, spec).to(memory_format=torch.channels_last)
        self.generator_net: nn.Module = self.base_net
        self.noise_dim = config.latent_dim
        self.random_affine = None
        if config.scale(spec).is_augmented and any(config.augmentation.model_dump().values()):
            self.random_affine = RandomAffine(config.augmentation, spec.background)
            self.generator_net = AugmentedGeneratorNet(
                self.base_net, config.latent_dim, self.random_affine
            )
            self.noise_dim += NUM_PARAMETERS
            self.num_unscaled = NUM_PARAMETERS
        self.discriminator = Discriminator(config, spec).to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "critic": self.discriminator})
        self.optimizers = {
            "generator": _adam(self.generator_net, config.generator_learning_rate),
            "discriminator": _adam(self.discriminator, config.discriminator_learning_rate),
        }

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        # Synthetic labels come in pairs, for the mode-seeking term.
        pairs = labels[: (len(labels) + 1) // 2].repeat_interleave(2)
        z, parameters = torch.randn(len(pairs), self.noise_dim).tensor_split(
            [self.config.latent_dim], dim=1
        )
        fake = self.in_precision(self.base_net, z, pairs)
        if self.random_affine is not None:
            fake = self.random_affine(fake, parameters)

        # The discriminator: hinge loss.
        both, y = torch.cat([real, fake.detach()]), torch.cat([labels, pairs])
        scores = self.in_precision(self.discriminator, both, y)
        discriminator_loss = functional.relu(1 - scores[: len(real)]).mean()
        discriminator_loss = discriminator_loss + functional.relu(1 + scores[len(real) :]).mean()
        descend(self.optimizers["discriminator"], discriminator_loss)

        is_correct = torch.cat([scores[: len(real)], -scores[len(real) :]]) > 0

        # The generator: hinge loss and mode seeking.
        self.discriminator.requires_grad_(False)  # its gradients are not needed
        adversarial = -self.in_precision(self.discriminator, fake, pairs).mean()
        is_limited = self.random_affine is not None
        max_distance = pair_distance(real, labels) if is_limited else math.inf
        seeking = mode_seeking(z, fake, max_distance)
        descend(self.optimizers["generator"], adversarial + self.config.mode_seeking * seeking)
        self.discriminator.requires_grad_(True)
        return {
            "generator": adversarial,
            "discriminator": discriminator_loss,
            "mode_seeking": seeking,
            "accuracy": is_correct.float().mean(),
        }


def mode_seeking(z: Tensor, images: Tensor, max_distance: float = math.inf) -> Tensor:
    """Distance of the noise divided by that of the images; mean over pairs (0, 1), (2, 3), ...

    Images that are further apart than `max_distance` count as that far apart.
    """
    noise = (z[::2] - z[1::2]).abs().mean(dim=1)
    pixels = (images[::2] - images[1::2]).abs().flatten(1).mean(dim=1)
    if max_distance < math.inf:
        pixels = pixels.clamp(max=max_distance)
    return (noise / (pixels + MIN_DISTANCE)).mean()


def pair_distance(images: Tensor, labels: Tensor) -> float:
    """Mean absolute difference of neighbors of one class, in the order of labels; else infinite."""
    order = labels.argsort(stable=True)
    images, labels = images[order], labels[order]
    is_pair = labels[1:] == labels[:-1]
    if not is_pair.any():
        return math.inf
    return float((images[1:] - images[:-1]).abs()[is_pair].mean())


def _orthogonal(layer: nn.Module) -> nn.Module:
    nn.init.orthogonal_(cast("Tensor", layer.weight))
    return layer


def _adam(network: nn.Module, learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), learning_rate, betas=BETAS, fused=True)

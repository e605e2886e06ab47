"""Convolutional networks of textbooks, which several families share.

Source: Radford, Metz and Chintala (2016), with the layers of introductory texts. The generator has
a dense layer at a quarter of the size and three transposed convolutions of 5 x 5 with strides 1, 2
and 2; the discriminator has two convolutions of 5 x 5 with stride 2. Salimans et al. (2016),
section 3.2, for minibatch discrimination. Images whose sides are not multiples of 4 are cropped
from larger ones.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import MAX_WIDTH, Section, Width
from pipeline.data.images import ImageSpec
from pipeline.generators.labels import LabelEmbedding
from pipeline.nn.layers import KERNEL, SLOPE, downsampling_blocks, dropout

WEIGHT_STD = 0.02  # of Radford et al.


class GeneratorNetConfig(Section):
    """Settings of `ConvolutionalGeneratorNet`."""

    # At quarter, quarter and half size.
    channels: list[Width] = Field(default=[64, 64, 32], min_length=3, max_length=3)
    label_dim: int = Field(default=10, ge=0, le=MAX_WIDTH)  # of the label's embedding; 0: no label
    upsample: bool = False  # enlarge, then convolve, in place of transposed convolutions
    dropout: float = Field(default=0.0, ge=0, lt=1)


class DiscriminatorConfig(Section):
    """Settings of `ConvolutionalFeatures`."""

    # At half and quarter size.
    channels: list[Width] = Field(default=[32, 64], min_length=2, max_length=2)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    # Of minibatch discrimination; 0: none.
    minibatch_kernels: int = Field(default=0, ge=0, le=MAX_WIDTH)


# Without minibatch discrimination these generators sample one image per class (LOG.md).
REGULARIZED = DiscriminatorConfig(dropout=0.3, minibatch_kernels=20)


class NetworksConfig(Section):
    """Settings of a convolutional generator and discriminator."""

    generator: GeneratorNetConfig = GeneratorNetConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()


class ConvolutionalGeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: GeneratorNetConfig, latent_dim: int, spec: ImageSpec) -> None:
        super().__init__()
        first, second, third = config.channels
        self.size = (spec.height, spec.width)
        self.start = (first, -(-spec.height // 4), -(-spec.width // 4))
        self.embed = (
            LabelEmbedding(spec.num_classes, config.label_dim) if config.label_dim else None
        )

        rows = math.prod(self.start)
        self.project = nn.Sequential(
            nn.Linear(latent_dim + config.label_dim, rows),
            nn.BatchNorm1d(rows),
            nn.LeakyReLU(SLOPE),
        )

        layers: list[nn.Module] = []
        for before, after, stride in ((first, second, 1), (second, third, 2)):
            layers += [
                *upsampling_block(before, after, stride, config.upsample),
                nn.BatchNorm2d(after),
            ]
            layers += [nn.LeakyReLU(SLOPE), *dropout(config.dropout)]
        last = upsampling_block(third, spec.channels, 2, config.upsample)
        self.layers = nn.Sequential(*layers, *last, nn.Tanh())

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        rows = z if self.embed is None else torch.cat([z, self.embed(y)], dim=1)
        images = cast("Tensor", self.layers(self.project(rows).unflatten(1, self.start)))
        return images[:, :, : self.size[0], : self.size[1]]


class ConvolutionalFeatures(nn.Module):
    """Images (n, c + extra_channels, h, w) to features (n, num_features)."""

    def __init__(
        self, config: DiscriminatorConfig, spec: ImageSpec, extra_channels: int = 0
    ) -> None:
        super().__init__()
        channels = (spec.channels + extra_channels, *config.channels)
        self.layers = nn.Sequential(*downsampling_blocks(channels, config.dropout), nn.Flatten())
        size = channels[-1] * -(-spec.height // 4) * -(-spec.width // 4)
        self.compare = MinibatchDiscrimination(size, config.minibatch_kernels)
        self.num_features = size + config.minibatch_kernels

    @override
    def forward(self, x: Tensor) -> Tensor:
        features = self.layers(x)
        return torch.cat([features, self.compare(features)], dim=1)


class ConvolutionalDiscriminator(nn.Module):
    """Images (n, c, h, w) and labels (n,) to realness scores (n,), unbounded.

    Conditional by projection (Miyato and Koyama 2018, equation 4).
    """

    def __init__(self, config: DiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.features = ConvolutionalFeatures(config, spec)
        size = self.features.num_features
        self.score = nn.Linear(size, 1)
        self.embed = nn.Embedding(spec.num_classes, size)
        nn.init.normal_(self.embed.weight, 0.0, WEIGHT_STD)

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.features(x)
        scores = cast("Tensor", self.score(features))[:, 0]
        return scores + (self.embed(y).to(features.dtype) * features).sum(dim=1)


def build_networks(
    config: NetworksConfig, latent_dim: int, spec: ImageSpec
) -> tuple[ConvolutionalGeneratorNet, ConvolutionalDiscriminator]:
    """A generator network and its discriminator."""
    generator_net = ConvolutionalGeneratorNet(config.generator, latent_dim, spec)
    return generator_net, ConvolutionalDiscriminator(config.discriminator, spec)


class MinibatchDiscrimination(nn.Module):
    """Features (n, f) to their closeness to the others of the batch, (n, kernels).

    A batch is either real or synthetic. The discriminator can then recognize a generator that
    repeats one image.
    """

    LENGTH = 5  # of the vectors whose distances are taken

    def __init__(self, num_features: int, kernels: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.project = (
            nn.Linear(num_features, kernels * self.LENGTH, bias=False) if kernels else None
        )

    @override
    def forward(self, features: Tensor) -> Tensor:
        if self.project is None:
            return features.new_zeros(len(features), 0)
        rows = self.project(features).float().unflatten(1, (self.kernels, self.LENGTH))
        distances = (rows[:, None] - rows[None]).abs().sum(dim=3)  # (n, n, kernels)
        # Minus 1 for the distance to itself.
        return ((-distances).exp().sum(dim=1) - 1).to(features.dtype)


def upsampling_block(before: int, after: int, stride: int, upsample: bool) -> list[nn.Module]:
    """A transposed convolution, or upsampling and a convolution, that enlarges `stride` times."""
    if upsample:
        resize: list[nn.Module] = [nn.Upsample(scale_factor=stride)] if stride > 1 else []
        return [*resize, nn.Conv2d(before, after, KERNEL, padding=KERNEL // 2)]
    return [nn.ConvTranspose2d(before, after, KERNEL, stride, KERNEL // 2, stride - 1)]


def normal_weights(network: nn.Module) -> nn.Module:
    """Initialize convolutions and dense layers as Radford et al.; returns `network`."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, WEIGHT_STD)
    return network


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (n, c, h, w) in -1..1 resized bicubically to `size` (h, w)."""
    result = functional.interpolate(
        images, size, mode="bicubic", align_corners=False, antialias=True
    )
    return result.clamp(-1, 1)

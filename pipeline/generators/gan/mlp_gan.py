"""The first GAN, of dense layers; labels are concatenated to the inputs.

Sources: Goodfellow et al. (2014) for the game and the non-saturating loss; Mirza and Osindero
(2014), equation 2 and figure 1, for the label as an input of both networks. The layers are those of
textbooks: 256-512-1024 and 512-256, leaky ReLU of 0.2, batch norm in the generator.

Deviations: the discriminator learns from wrong labels (`mismatch`); averaged weights and decaying
learning rates, as in every fit.

Without hidden layers and without tanh (`output: linear`) it is the linear generator of
`benchmarks/plane.py`.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from pipeline.config.validation import Count, Width
from pipeline.data.images import ImageSpec
from pipeline.generators.gan.base import CrossEntropyConfig, CrossEntropyGame
from pipeline.generators.labels import as_shares
from pipeline.nn.layers import SLOPE


class MLPGANConfig(CrossEntropyConfig):
    """Of `mlp_gan`."""

    steps: Count = 2000
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    generator_learning_rate: float = Field(default=0.001, gt=0)
    discriminator_learning_rate: float = Field(default=0.001, gt=0)
    generator_widths: list[Width] = Field(default=[256, 512, 1024])
    discriminator_widths: list[Width] = Field(default=[512, 256])
    output: Literal["tanh", "linear"] = "tanh"


class DenseGeneratorNet(nn.Module):
    """Noise (n, latent_dim), labels (n,) to images (n, c, h, w) in -1..1 (`linear`: unbounded)."""

    def __init__(self, config: MLPGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.shape = (spec.channels, spec.height, spec.width)
        self.num_classes = spec.num_classes
        widths = [config.latent_dim + spec.num_classes, *config.generator_widths]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(SLOPE)]
        layers.append(nn.Linear(widths[-1], math.prod(self.shape)))
        if config.output == "tanh":
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        rows = torch.cat([z, as_shares(y, self.num_classes)], dim=1)
        return cast("Tensor", self.layers(rows)).unflatten(1, self.shape)


class DenseDiscriminator(nn.Module):
    """Images (n, c, h, w) and labels (n,) to realness scores (n,), unbounded."""

    def __init__(self, config: MLPGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.num_classes = spec.num_classes
        size = spec.channels * spec.height * spec.width
        widths = [size + spec.num_classes, *config.discriminator_widths]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rows = torch.cat([x.flatten(1), as_shares(y, self.num_classes)], dim=1)
        return cast("Tensor", self.layers(rows))[:, 0]


class MLPGAN(CrossEntropyGame):
    """See the module."""

    Config = MLPGANConfig
    config: MLPGANConfig

    def __init__(self, config: MLPGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.set_networks(DenseGeneratorNet(config, spec), DenseDiscriminator(config, spec))

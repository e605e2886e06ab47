"""A generator whose last layer changes its image at random, as real images are augmented.

Sources: Zhao et al. (2020), "Differentiable Augmentation for Data-Efficient GAN Training", figure
4: the discriminator sees real and synthetic images through the same random changes, and gradients
pass through the changes to the generator, which learns the images before them. Jaderberg et al.
(2015), equation 1, for the layer that samples its input on an affine grid.

Deviations: synthetic images are sampled with the changes, whose parameters are part of the noise,
so they have the distribution of the augmented real images; Zhao et al. sample without them. The
changes are those of `augmentation`, not color, translation and cutout.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.data.images import Background
from pipeline.nn.augment import AffineConfig, inverse_affine
from pipeline.nn.background import warp

NUM_PARAMETERS = 5  # rotation, shear, scale and two shifts


class RandomAffine(nn.Module):
    """Images (n, c, h, w) in -1..1, changed within the ranges of an `AffineConfig`.

    The parameters are standard normal, (n, 5), and become uniform within their ranges.
    Differentiable with respect to the images.
    """

    def __init__(self, config: AffineConfig, background: Background) -> None:
        super().__init__()
        self.config = config
        self.background = background

    @override
    def forward(self, images: Tensor, parameters: Tensor) -> Tensor:
        height, width = images.shape[2:]
        config = self.config

        # The normal distribution function, scaled to -1..1, makes normal numbers uniform.
        uniform = torch.erf(parameters / 2**0.5).T
        angle = uniform[0] * math.radians(config.degrees)
        shear = uniform[1] * math.radians(config.shear)
        scale = 1 + uniform[2] * config.scale
        shift = uniform[3:] * config.translate * torch.tensor([[width], [height]])

        matrices = inverse_affine(angle, shear, scale, shift, (height, width))
        grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
        return warp(images.float().add(1).div(2), grid, self.background).mul(2).sub(1)


class AugmentedGeneratorNet(nn.Module):
    """Noise (n, latent_dim + 5) and labels (n,) to the changed images of `network`.

    `network` maps noise (n, latent_dim) and labels to images (n, c, h, w) in -1..1.
    """

    def __init__(self, network: nn.Module, latent_dim: int, random_affine: RandomAffine) -> None:
        super().__init__()
        self.network = network
        self.latent_dim = latent_dim
        self.random_affine = random_affine

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        images = self.network(z[:, : self.latent_dim], y)
        return cast("Tensor", self.random_affine(images, z[:, self.latent_dim :]))

"""A convolutional autoencoder whose codes are sampled from one normal distribution per class.

Source: Hinton and Salakhutdinov (2006). The layers are those of textbooks: two convolutions of
5 x 5 with stride 2 to 16 and 32 channels, 20 codes, and the same backwards.

An autoencoder has no distribution of codes. Before sampling, a normal distribution is fitted to the
codes of the real images of every class; its covariance is estimated as by Ledoit and Wolf (2004),
since there are few images.

Deviations: codes are standardized, so that their standard deviation is 1 like that of the noise;
the distributions are fitted to images without `augmentation` and with the last encoder, while the
decoder is averaged.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import Count, Width
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.generators.gan.blocks import upsampling_block
from pipeline.generators.labels import as_shares
from pipeline.generators.showcase import evenly_spaced, interleave_rows
from pipeline.nn.layers import KERNEL, strided_conv
from pipeline.nn.optimizing import descend
from pipeline.nn.tensors import to_signed_input

ENCODE_BATCH = 500
RECONSTRUCTION_ROWS = 5  # of ten images, in a figure
JITTER = 1e-6  # added to variances, so that a covariance is positive definite


class AutoencoderConfig(GeneratorConfig):
    """Of `autoencoder`."""

    steps: Count = 1800
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    latent_dim: Width = 20  # codes
    # At half and quarter size.
    channels: list[Width] = Field(default=[16, 32], min_length=2, max_length=2)
    learning_rate: float = Field(default=0.002, gt=0)


class Encoder(nn.Module):
    """Images (n, c, h, w) in -1..1 and conditions (n, cond) to (n, outputs)."""

    def __init__(self, channels: list[int], spec: ImageSpec, outputs: int, cond: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((spec.channels, *channels)):
            layers += [strided_conv(before, after), nn.BatchNorm2d(after), nn.ReLU()]
        self.convolve = nn.Sequential(*layers, nn.Flatten())
        size = channels[-1] * -(-spec.height // 4) * -(-spec.width // 4)
        self.dense = nn.Linear(size + cond, outputs)

    @override
    def forward(self, x: Tensor, *cond: Tensor) -> Tensor:
        return cast("Tensor", self.dense(torch.cat([self.convolve(x), *cond], dim=1)))


class Decoder(nn.Module):
    """Rows (n, inputs) to images (n, c, h, w) in -1..1; the encoder's layers backwards."""

    def __init__(self, channels: list[int], spec: ImageSpec, inputs: int) -> None:
        super().__init__()
        half, quarter = channels
        self.size = (spec.height, spec.width)
        self.start = (quarter, -(-spec.height // 4), -(-spec.width // 4))
        self.dense = nn.Sequential(nn.Linear(inputs, math.prod(self.start)), nn.ReLU())
        self.enlarge = nn.Sequential(
            *upsampling_block(quarter, half, 2, upsample=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            *upsampling_block(half, half, 2, upsample=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, spec.channels, KERNEL, padding=KERNEL // 2),
            nn.Tanh(),
        )

    @override
    def forward(self, codes: Tensor) -> Tensor:
        images = cast("Tensor", self.enlarge(self.dense(codes).unflatten(1, self.start)))
        return images[:, :, : self.size[0], : self.size[1]]


class CodeGeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images: codes of the class, then the decoder."""

    mean: Tensor  # (classes, latent_dim)
    spread: Tensor  # Cholesky factors (classes, latent_dim, latent_dim)

    def __init__(self, config: AutoencoderConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.decode = Decoder(config.channels, spec, config.latent_dim)
        shape = (spec.num_classes, config.latent_dim)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("spread", torch.eye(shape[1]).repeat(shape[0], 1, 1))

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        shares = as_shares(y, len(self.mean))  # (n, classes)
        cholesky = (shares @ self.spread.flatten(1)).unflatten(1, self.spread.shape[1:])
        codes = shares @ self.mean + (cholesky @ z[:, :, None])[:, :, 0]  # (n, latent_dim)
        return cast("Tensor", self.decode(codes))


class Autoencoder(Generator):
    """See the module."""

    Config = AutoencoderConfig
    kind = "autoencoder"
    loss = "squared error"
    config: AutoencoderConfig
    generator_net: CodeGeneratorNet

    def __init__(self, config: AutoencoderConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.generator_net = CodeGeneratorNet(config, spec).to(memory_format=torch.channels_last)
        encoder = nn.Sequential(
            Encoder(config.channels, spec, config.latent_dim),
            nn.BatchNorm1d(config.latent_dim, affine=False),
        )
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "encoder": self.encoder})
        self.optimizers = {
            "autoencoder": torch.optim.Adam(
                self.networks.parameters(), config.learning_rate, fused=True
            )
        }

    def reconstruct(self, images: Tensor) -> Tensor:
        """Encode and decode images in -1..1."""
        return self.in_precision(self.generator_net.decode, self.in_precision(self.encoder, images))

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = functional.mse_loss(self.reconstruct(real), real, reduction="sum") / len(real)
        descend(self.optimizers["autoencoder"], loss)
        return {"reconstruction": loss}

    @override
    def showcase(self, data: LabeledImages, seed: int) -> dict[str, Tensor]:
        """Rows of real images, and their reconstructions below."""
        real, _ = evenly_spaced(data, RECONSTRUCTION_ROWS)
        return {"reconstruction": interleave_rows(real, self.reconstruct(real))}

    @override
    @torch.no_grad()
    def finalize(self, generator_net: CodeGeneratorNet, data: LabeledImages) -> None:
        """Fit the normal distribution of every class."""
        from sklearn.covariance import ledoit_wolf  # slow to load

        self.encoder.eval()
        codes = np.concatenate(
            [
                self.encoder(to_signed_input(data.images[start : start + ENCODE_BATCH]))
                .double()
                .numpy()
                for start in range(0, len(data), ENCODE_BATCH)
            ]
        )

        for label in np.unique(data.labels):
            of_class = codes[data.labels == label]
            # One image has no covariance: that of all codes, which have a variance of 1.
            covariance = ledoit_wolf(of_class)[0] if len(of_class) > 1 else np.eye(codes.shape[1])
            covariance = covariance + JITTER * np.eye(codes.shape[1])
            generator_net.mean[label] = torch.from_numpy(of_class.mean(axis=0))
            generator_net.spread[label] = torch.from_numpy(np.linalg.cholesky(covariance))

"""A convolutional variational autoencoder, conditional on the class.

Sources: Kingma and Welling (2014), equation 10, for the bound and the reparameterization; Sohn, Lee
and Yan (2015), equation 4, for the class as an input of encoder and decoder; Higgins et al. (2017),
equation 4, for the weight `beta` of the divergence. Encoder and decoder are those of `autoencoder`.
Samples are the decoder's means.

The likelihood depends on the images. Pixels of gray drawings, nearly all of them background or ink,
are probabilities in a cross-entropy, as is common for digits; it is the same for a drawing and its
negative. Colors and photos lie in between, where a cross-entropy hardly tells levels apart: they
have a normal distribution whose variance is the mean squared error of the batch, its most likely
value (Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated
decoders").

Deviations: averaged weights and decaying learning rates, as in every fit.
"""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import Count, Width
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators.autoencoder import RECONSTRUCTION_ROWS, Decoder, Encoder
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.generators.labels import as_shares
from pipeline.generators.showcase import COLUMNS, evenly_spaced, interleave_rows
from pipeline.nn.optimizing import descend

EPSILON = 1e-6  # least probability of a pixel in the cross-entropy
ROUNDING = (1 / 127.5) ** 2 / 12  # variance of rounding images in -1..1 to 256 levels
TRAVERSAL_RANGE = 2.5  # standard deviations from the mean, either way
LOG_VARIANCE = 8.0  # at most, either way: exp must stay finite in the first steps


class CVAEConfig(GeneratorConfig):
    """Of `cvae`."""

    steps: Count = 1800
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    latent_dim: Width = 20
    # At half and quarter size.
    channels: list[Width] = Field(default=[16, 32], min_length=2, max_length=2)
    # Weight of the divergence; 1 is the bound itself. With 1 or less, samples come from codes that
    # no real image has.
    beta: float = Field(default=3.0, gt=0)
    learning_rate: float = Field(default=0.002, gt=0)


class LabeledDecoder(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: CVAEConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.num_classes = spec.num_classes
        self.decode = Decoder(config.channels, spec, config.latent_dim + spec.num_classes)

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return cast("Tensor", self.decode(torch.cat([z, as_shares(y, self.num_classes)], dim=1)))


class CVAE(Generator):
    """See the module."""

    Config = CVAEConfig
    kind = "variational autoencoder"
    loss = "evidence lower bound"
    config: CVAEConfig

    def __init__(self, config: CVAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        is_drawing = spec.channels == 1 and spec.background is not None
        self.negative_log_likelihood = cross_entropy if is_drawing else squared_error
        self.generator_net = LabeledDecoder(config, spec).to(memory_format=torch.channels_last)
        encoder = Encoder(config.channels, spec, 2 * config.latent_dim, spec.num_classes)
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "encoder": self.encoder})
        self.optimizers = {
            "autoencoder": torch.optim.Adam(
                self.networks.parameters(), config.learning_rate, fused=True
            )
        }

    def encode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances (n, latent_dim) of the codes of images in -1..1."""
        cond = as_shares(labels, self.spec.num_classes)
        mean, log_variance = self.in_precision(self.encoder, images, cond).chunk(2, dim=1)
        return mean, log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)

    @override
    def showcase(self, data: LabeledImages, seed: int) -> dict[str, Tensor]:
        """Rows of real images, and their reconstructions below; a traversal of ten codes.

        These are the codes whose means vary most among real images; the divergence makes the others
        carry no information.
        """
        real, labels = evenly_spaced(data, RECONSTRUCTION_ROWS)
        means, _ = self.encode(real, labels)
        used = means.var(dim=0).argsort(descending=True)[:COLUMNS]
        codes = torch.zeros(len(used), COLUMNS, self.noise_dim)
        codes[torch.arange(len(used)), :, used] = torch.linspace(
            -TRAVERSAL_RANGE, TRAVERSAL_RANGE, COLUMNS
        )
        label = torch.full((len(used) * COLUMNS,), self.spec.num_classes // 2)
        return {
            "reconstruction": interleave_rows(real, self.generator_net(means, labels)),
            "traversal": self.generator_net(codes.flatten(0, 1), label),
        }

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses are in nats per image."""
        mean, log_variance = self.encode(real, labels)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        images = self.in_precision(self.generator_net, z, labels)

        reconstruction = self.negative_log_likelihood(images, real)
        kl = divergence(mean, log_variance)
        descend(self.optimizers["autoencoder"], reconstruction + self.config.beta * kl)
        return {"reconstruction": reconstruction, "divergence": kl}


def cross_entropy(images: Tensor, real: Tensor) -> Tensor:
    """Cross-entropy of images in -1..1, in nats per image."""
    predicted, target = ((images + 1) / 2).clamp(EPSILON, 1 - EPSILON), (real + 1) / 2
    log_likelihood = target * predicted.log() + (1 - target) * (1 - predicted).log()
    return -log_likelihood.sum() / len(real)


def squared_error(images: Tensor, real: Tensor) -> Tensor:
    """Minus the normal log density of images in -1..1, in nats per image, up to a constant."""
    variance = functional.mse_loss(images, real) + ROUNDING
    return variance.log() * (real[0].numel() / 2)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of normals (n, d) from the standard normal, in nats per row."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2 / len(mean)

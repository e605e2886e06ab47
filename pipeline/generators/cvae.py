"""A convolutional variational autoencoder that is told the class.

Sources: Kingma and Welling (2014), equation 10, for the bound and the reparameterization; Sohn, Lee
and Yan (2015), equation 4, for the class as an input of both halves; Higgins et al. (2017),
equation 4, for the weight `beta` of the divergence. Encoder and decoder as in `autoencoder`.
Samples are the decoder's means. Deviations: pixels in 0..1 count as shares of ink in the
cross-entropy, as is common for digits; the averaged sampler and the decay of rates of the one fit
loop.
"""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pipeline.generators.autoencoder import Decoder, Encoder
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.images import ImageSpec
from pipeline.sections import Count

LEAST = 1e-6  # share of ink that counts as none
LOG_VARIANCE = 8.0  # at most, either way: exp must stay finite at the first steps


class CVAEConfig(GeneratorConfig):
    """presets/zoo.yaml gives the values."""

    latent_dim: Count
    channels: list[Count] = Field(min_length=2, max_length=2)  # at half and quarter size
    beta: float = Field(gt=0)  # weight of the divergence; 1 is the bound itself
    learning_rate: float = Field(gt=0)


class LabeledDecoder(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: CVAEConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.num_classes = spec.num_classes
        self.decode = Decoder(config.channels, spec, config.latent_dim + spec.num_classes)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        told = functional.one_hot(y, self.num_classes).to(z.dtype)
        return cast("Tensor", self.decode(torch.cat([z, told], dim=1)))


class CVAE(Generator):
    """See the module."""

    Config = CVAEConfig
    config: CVAEConfig

    def __init__(self, config: CVAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.sampler = LabeledDecoder(config, spec).to(memory_format=torch.channels_last)
        encoder = Encoder(config.channels, spec, 2 * config.latent_dim, spec.num_classes)
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.sampler, "encoder": self.encoder})
        self.optimizers = {
            "autoencoder": torch.optim.Adam(
                self.networks.parameters(), config.learning_rate, fused=True
            )
        }

    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `Generator.update`; losses in nats per image."""
        told = functional.one_hot(labels, self.spec.num_classes).float()
        mean, log_variance = self.in_precision(self.encoder, real, told).chunk(2, dim=1)
        log_variance = log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        found = self.in_precision(self.sampler, z, labels)
        ink, wanted = ((found + 1) / 2).clamp(LEAST, 1 - LEAST), (real + 1) / 2
        missed = -(wanted * ink.log() + (1 - wanted) * (1 - ink).log()).sum() / len(real)
        apart = divergence(mean, log_variance)
        (adam,) = self.optimizers.values()
        adam.zero_grad()
        (missed + self.config.beta * apart).backward()
        adam.step()
        return {"reconstruction": missed, "divergence": apart}


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from normals (n, d) to the standard one, in nats per row."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2 / len(mean)

"""A conditional DCGAN for few labeled images.

Sources: Radford, Metz and Chintala (2016) for the transposed-convolution generator; Dumoulin et al.
(2017) for class-conditional batch norm; Miyato and Koyama (2018), equation 4, for the projection
discriminator; Miyato et al. (2018) for spectral norm and the hinge loss; Zhao et al. (2020),
DiffAugment, here translation alone: digits may move, but not flip, and cut-outs leak into samples
when images are few.

Deviations: the discriminator uses no batch norm (spectral norm does its work); one generator pass
serves both updates of a step, which saves a sixth of the time; a final dense layer stands between
the convolutions and the projection.
"""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.errors import ParamsError
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.images import ImageSpec

SLOPE = 0.2  # of leaky ReLU, as in the DCGAN paper
BETAS = (0.0, 0.99)  # no momentum: it chases a loss that the other network keeps moving


class DCGANConfig(GeneratorConfig):
    """Widths and rates; see params.yaml for the values and why."""

    generator_channels: int = Field(gt=0)  # at a quarter of the size; halved at each doubling
    discriminator_channels: int = Field(gt=0)  # at half the size; doubled at each halving
    features: int = Field(gt=0)  # width of the discriminator's dense layer
    generator_learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    translate: int = Field(ge=0)  # DiffAugment: largest shift in pixels, either way


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are looked up by class; (n, c, h, w) to the same shape."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(num_classes, channels)
        self.bias = nn.Embedding(num_classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        gain, bias = self.gain(y)[:, :, None, None], self.bias(y)[:, :, None, None]
        return cast("Tensor", self.norm(x) * gain + bias)


class Sampler(nn.Module):
    """The generator network: noise (n, latent_dim), labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.generator_channels
        self.start = (width, spec.height // 4, spec.width // 4)
        self.embed = nn.Embedding(spec.num_classes, config.latent_dim)
        self.project = nn.Linear(2 * config.latent_dim, width * self.start[1] * self.start[2])
        self.norms = nn.ModuleList(
            ConditionalBatchNorm(width // scale, spec.num_classes) for scale in (1, 2, 4)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(width // scale, width // scale // 2, 4, stride=2, padding=1)
            for scale in (1, 2)
        )
        self.to_image = nn.Conv2d(width // 4, spec.channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        x = self.project(torch.cat([z, self.embed(y)], dim=1)).unflatten(1, self.start)
        x = functional.relu(self.norms[0](x.contiguous(memory_format=torch.channels_last), y))
        for up, norm in zip(self.ups, list(self.norms)[1:], strict=True):
            x = functional.relu(norm(up(x), y))
        return torch.tanh(self.to_image(x))


class Discriminator(nn.Module):
    """Images (n, c, h, w) in -1..1 and labels (n,) to realness scores (n,), unbounded."""

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        width = config.discriminator_channels
        area = (spec.height // 4) * (spec.width // 4)
        self.features = nn.Sequential(
            spectral_norm(nn.Conv2d(spec.channels, width, 4, stride=2, padding=1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Conv2d(2 * width, 4 * width, 3, padding=1)),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            spectral_norm(nn.Linear(4 * width * area, config.features)),
            nn.LeakyReLU(SLOPE),
        )
        self.score = spectral_norm(nn.Linear(config.features, 1))
        self.embed = spectral_norm(nn.Embedding(spec.num_classes, config.features))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        features = self.features(x)
        return cast("Tensor", self.score(features)[:, 0] + (self.embed(y) * features).sum(dim=1))


class DCGAN(Generator):
    """See the module; `update` is one discriminator step and one generator step."""

    Config = DCGANConfig
    config: DCGANConfig

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        if spec.height % 4 or spec.width % 4:
            raise ParamsError(
                "generators.dcgan",
                f"expected image sides divisible by 4, found {spec.height} x {spec.width}",
                "pad the images to the next multiple of 4",
            )
        self.sampler = Sampler(config, spec).to(memory_format=torch.channels_last)
        self.discriminator = Discriminator(config, spec).to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.sampler, "critic": self.discriminator})
        self.optimizers = {
            "generator": _adam(self.sampler, config.generator_learning_rate),
            "discriminator": _adam(self.discriminator, config.discriminator_learning_rate),
        }

    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See `Generator.update`: the hinge losses of equations 16 and 17 of Miyato et al."""
        z = torch.randn(len(labels), self.config.latent_dim)
        fake = self.sampler(z, labels)
        both = torch.cat([self.augment(real), self.augment(fake.detach())])
        scores = self.discriminator(both, labels.repeat(2))
        real_score, fake_score = scores.chunk(2)
        critic_loss = (
            functional.relu(1 - real_score).mean() + functional.relu(1 + fake_score).mean()
        )
        _step(self.optimizers["discriminator"], critic_loss)

        self.discriminator.requires_grad_(False)  # its gradients would be thrown away
        generator_loss = -self.discriminator(self.augment(fake), labels).mean()
        _step(self.optimizers["generator"], generator_loss)
        self.discriminator.requires_grad_(True)
        return {"generator": generator_loss, "discriminator": critic_loss}

    def augment(self, images: Tensor) -> Tensor:
        """DiffAugment: each image shifted by up to `translate` pixels, background moves in."""
        reach = self.config.translate
        if reach == 0:
            return images
        n, _, height, width = images.shape
        padded = functional.pad(images, (reach,) * 4, value=-1.0)
        top, left = torch.randint(0, 2 * reach + 1, (2, n))
        rows = (top[:, None] + torch.arange(height))[:, None, :, None]
        columns = (left[:, None] + torch.arange(width))[:, None, None, :]
        image, channel = torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])
        return padded[image, channel[None, :, None, None], rows, columns]


def _adam(network: nn.Module, learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), learning_rate, betas=BETAS, fused=True)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

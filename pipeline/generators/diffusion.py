"""A small class-conditional diffusion model, sampled in few steps.

Sources: Ho, Jain and Abbeel (2020) for the training; Nichol and Dhariwal (2021), equation 17
without its offset, for the cosine schedule; Salimans and Ho (2022), section 4 and appendix D, for
the network's target v; Song, Meng and Ermon (2021), equation 12 with sigma 0, for the deterministic
sampler (DDIM), in which the noise decides the image; Ho and Salimans (2022), equation 6, for
classifier-free guidance: a tenth of the training images has no class, and sampling extrapolates
from the unconditional prediction to the conditional one.

Deviations: time is continuous; the U-Net has two levels and works on squares of 2 x 2 pixels, since
convolutions at full size cost four times as much; the estimated image is clipped to its range at
every step; AdamW with its weight decay of 0.01.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import Count, Width
from pipeline.data.images import ImageSpec
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.generators.labels import LabelEmbedding
from pipeline.nn.optimizing import descend

PATCH = 2  # side of a square, in pixels
FOLD = 2 * PATCH  # the same at the lower level
COND_DROPOUT = 0.1  # share of the training images without a class
NUM_WAVES = 32  # sines and cosines that encode the time
FIRST_TIME, LAST_TIME = 0.999, 0.0  # pure noise, no noise


class DiffusionConfig(GeneratorConfig):
    """Of `diffusion`."""

    steps: Count = 1800
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    channels: Width = 32  # at the upper level; twice as many at the lower one
    sampling_steps: Count = 20
    guidance: float = Field(default=1.0, ge=0)  # 0: the class-conditional network alone
    learning_rate: float = Field(default=0.002, gt=0)


class Block(nn.Module):
    """A residual block with scale and shift by `cond`, which encodes time and class."""

    def __init__(self, before: int, after: int, cond: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.norm = nn.GroupNorm(min(8, after), after)
        self.tell = nn.Linear(cond, 2 * after)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    @override
    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.tell(cond)[:, :, None, None].chunk(2, dim=1)
        inner = functional.silu(self.norm(self.first(x)) * (1 + scale) + shift)
        return cast("Tensor", self.skip(x) + self.second(inner))


class UNet(nn.Module):
    """Noisy images (n, c, h, w), times (n,) and labels (n,) to v (n, c, h, w).

    The label `num_classes` means "no class".
    """

    def __init__(self, config: DiffusionConfig, spec: ImageSpec) -> None:
        super().__init__()
        width, cond = config.channels, 4 * config.channels
        squares = spec.channels * PATCH**2
        self.size = (spec.height, spec.width)
        self.margin = (0, -spec.width % FOLD, 0, -spec.height % FOLD)  # padding, cropped at the end
        self.register_buffer("waves", torch.exp(torch.linspace(0, math.log(1000), NUM_WAVES)))
        self.embed = LabelEmbedding(spec.num_classes + 1, cond)
        self.time = nn.Sequential(nn.Linear(2 * NUM_WAVES, cond), nn.SiLU(), nn.Linear(cond, cond))
        self.start = nn.Conv2d(squares, width, 3, padding=1)
        self.down = Block(width, width, cond)
        self.halve = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(Block(2 * width, 2 * width, cond) for _ in range(2))
        self.widen = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.up = Block(2 * width, width, cond)
        self.finish = nn.Conv2d(width, squares, 3, padding=1)

    @override
    def forward(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
        angles = time[:, None] * cast("Tensor", self.waves)
        cond = self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.embed(y)
        cond = functional.silu(cond)

        squares = functional.pixel_unshuffle(functional.pad(x, self.margin), PATCH)
        above = self.down(self.start(squares), cond)  # (n, channels, h / 2, w / 2)
        below = self.halve(above)  # (n, 2 * channels, h / 4, w / 4)
        for block in self.middle:
            below = block(below, cond)
        joined = torch.cat([above, self.widen(below)], dim=1)
        v = functional.pixel_shuffle(self.finish(self.up(joined, cond)), PATCH)
        return v[:, :, : self.size[0], : self.size[1]]


class DenoisingGeneratorNet(nn.Module):
    """Noise (n, c * h * w) and labels (n,) to images (n, c, h, w) in -1..1, by the U-Net."""

    def __init__(self, config: DiffusionConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.shape = (spec.channels, spec.height, spec.width)
        self.uncond = spec.num_classes
        self.guidance, self.num_steps = config.guidance, config.sampling_steps
        self.network = UNet(config, spec)

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = z.unflatten(1, self.shape).contiguous(memory_format=torch.channels_last)
        times = torch.linspace(FIRST_TIME, LAST_TIME, self.num_steps + 1)
        for now, then in itertools.pairwise(times):
            (signal, noise), (next_signal, next_noise) = schedule(now), schedule(then)
            v = self._guided(x, now.expand(len(z)), y)
            image = (signal * x - noise * v).clamp(-1, 1)
            # The noise that is consistent with the clipped image.
            x = next_signal * image + next_noise * (x - signal * image) / noise
        return x.clamp(-1, 1)

    def _guided(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
        v = cast("Tensor", self.network(x, time, y))
        if self.guidance == 0:
            return v
        uncond = self.network(x, time, torch.full((len(y),), self.uncond))
        return v + self.guidance * (v - uncond)


class Diffusion(Generator):
    """See the module."""

    Config = DiffusionConfig
    kind = "diffusion"
    loss = "squared error"
    config: DiffusionConfig
    generator_net: DenoisingGeneratorNet

    def __init__(self, config: DiffusionConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = spec.channels * spec.height * spec.width
        generator_net = DenoisingGeneratorNet(config, spec)
        self.generator_net = generator_net.to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.generator_net})
        self.optimizers = {
            "denoiser": torch.optim.AdamW(
                self.generator_net.parameters(), config.learning_rate, fused=True
            )
        }

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        count = len(real)
        # Times are stratified over the batch.
        times = (torch.arange(count) + torch.rand(count)) / count * FIRST_TIME
        signal, noise = (share[:, None, None, None] for share in schedule(times))
        added = torch.randn_like(real)

        uncond = torch.rand(count) < COND_DROPOUT
        cond = labels.masked_fill(uncond, self.spec.num_classes)
        v = self.in_precision(
            self.generator_net.network, signal * real + noise * added, times, cond
        )
        loss = functional.mse_loss(v, signal * added - noise * real)
        descend(self.optimizers["denoiser"], loss)
        return {"denoising": loss}


def schedule(time: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of image and of noise at times in 0..1; their squares sum to 1."""
    angle = time * (math.pi / 2)
    return angle.cos(), angle.sin()

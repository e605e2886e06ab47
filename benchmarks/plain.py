"""Every generator trained as in a textbook, and its speed compared with the project's fit loop.

The plain recipe does equal work: the same networks, batch size, optimizer updates and augmentation.
It does it as textbooks do: float32, contiguous images and weights (channels first), optimizers that
update one tensor at a time, batches from a shuffled `DataLoader`, a pass of the generator for each
player's update, and separate passes of the discriminator for real and synthetic images. All
families but `dcgan` have these passes anyway. Neither computes gradients that are not used. Ours is
the fit loop: the configured precision, averaged weights, recorded losses; without snapshots,
checkpoints and the work after the last step, which the plain recipe does not have.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from benchmarks.claims import Job, Result, sections, train, tried
from pipeline.config.validation import member_config
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators.base import Generator
from pipeline.generators.fit import augmenter
from pipeline.generators.gan.dcgan import (
    BETAS,
    REACH,
    ConditionalBatchNorm,
    DCGANConfig,
    Discriminator,
    GeneratorNet,
    mode_seeking,
)
from pipeline.generators.sampling import sample_classes

ROUNDS = 7
ROUND_S = 0.5  # approximately, of either recipe
MIN_STEPS = 5  # per round
WARM_UPDATES = 3
DRAWN = 50  # images per class, each round
OURS = "dcgan"


class PlainNorm(ConditionalBatchNorm):
    """The same computation, channels first."""

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        gain, bias = (embedding(y)[:, :, None, None] for embedding in (self.gain, self.bias))
        return cast("Tensor", gain * self.norm(x) + bias)


class PlainGeneratorNet(GeneratorNet):
    """The same layers, channels first."""

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        first, *others = (PlainNorm(w, spec.num_classes) for w in config.generator_channels)
        self.norm, self.norms = first, nn.ModuleList(others)

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        height, width, channels = self.start
        x = self.project(torch.cat([z, self.embed(y)], 1)).unflatten(1, (channels, height, width))
        x = functional.relu(self.norm(x, y))
        for up, norm in zip(self.ups, self.norms, strict=True):
            x = functional.relu(norm(up(x), y))
        x = functional.pixel_shuffle(self.to_pixels(x), self.shuffle)
        return (REACH * torch.tanh(x)).clamp(-1, 1)


class PlainDiscriminator(Discriminator):
    """The same layers, channels first."""

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.dense(self.convolve(x).flatten(1))
        return cast("Tensor", self.score(features)[:, 0] + (self.embed(y) * features).sum(dim=1))


class TextbookDCGAN(Generator):
    """`dcgan` with separate passes for everything that ours does in one."""

    Config = DCGANConfig
    config: DCGANConfig

    def __init__(self, config: DCGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.generator_net, self.discriminator = (
            PlainGeneratorNet(config, spec),
            PlainDiscriminator(config, spec),
        )
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "critic": self.discriminator})
        rates = (config.generator_learning_rate, config.discriminator_learning_rate)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), rate, betas=BETAS)
            for (name, network), rate in zip(self.networks.items(), rates, strict=True)
        }

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        pairs = labels[: (len(labels) + 1) // 2].repeat_interleave(2)
        with torch.no_grad():
            fake = self.generator_net(self.sample_noise(len(pairs)), pairs)
        discriminator_loss = functional.relu(1 - self.discriminator(real, labels)).mean()
        discriminator_loss = (
            discriminator_loss + functional.relu(1 + self.discriminator(fake, pairs)).mean()
        )
        self.optimizers["critic"].zero_grad()
        discriminator_loss.backward()
        self.optimizers["critic"].step()
        self.discriminator.requires_grad_(False)
        z = self.sample_noise(len(pairs))
        fake = self.generator_net(z, pairs)
        loss = -self.discriminator(fake, pairs).mean() + self.config.mode_seeking * mode_seeking(
            z, fake
        )
        self.optimizers["sampler"].zero_grad()
        loss.backward()
        self.optimizers["sampler"].step()
        self.discriminator.requires_grad_(True)
        return {"generator": loss, "discriminator": discriminator_loss}


class Plain:
    """The plain recipe of one generator, and its batches."""

    def __init__(self, job: Job, name: str, data: LabeledImages) -> None:
        self.generator = plain_member(job, name, data.spec())
        batch = self.generator.config.batch_size
        # Not by `to_signed_input`: images of one channel would keep the strides of channels last.
        images = torch.from_numpy(data.images).float().div(127.5).sub(1)
        pairs = TensorDataset(images, torch.from_numpy(data.labels))
        loader = DataLoader(pairs, min(batch, len(data)), shuffle=True, drop_last=True)
        self.batches: Iterator[Any] = itertools.chain.from_iterable(itertools.repeat(loader))
        self.augment = augmenter(self.generator.config.augmentation, data.background)

    def seconds(self, steps: int) -> float:
        """Seconds of some steps, after a few warm-up steps."""
        self.generator.networks.train()
        strict = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)  # textbooks do not use them
        try:
            self.run(WARM_UPDATES)
            begun = time.perf_counter()
            self.run(steps)
            return time.perf_counter() - begun
        finally:
            torch.use_deterministic_algorithms(strict)

    def run(self, steps: int) -> None:
        """Do some steps."""
        for images, labels in itertools.islice(self.batches, steps):
            self.generator.update(self.augment(images), labels)


def plain_member(job: Job, name: str, spec: ImageSpec) -> Generator:
    """A generator in float32, channels first, with optimizers that are not fused."""
    if name == OURS:
        section = {**sections()[name], "precision": "float32"}
        config = member_config(DCGANConfig, section, f"generators.{name}")
        return TextbookDCGAN(config, spec)
    generator = job.generator(name, spec, 0, precision="float32")
    generator.networks.to(memory_format=torch.contiguous_format)
    for optimizer in generator.optimizers.values():
        for group in optimizer.param_groups:
            group.update(fused=False, foreach=False)
    return generator


class Stopwatch:
    """A clock that ends a fit after some steps and times all but the warm-up steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.begun = self.seconds = math.nan

    def __call__(self, step: int) -> float:
        """The progress of a `Clock`: 0 before the last step, so that no mark is passed."""
        if step == WARM_UPDATES:
            self.begun = time.perf_counter()
        if step < WARM_UPDATES + self.steps:
            return 0.0
        self.seconds = time.perf_counter() - self.begun
        return 1.0


def our_seconds(generator: Generator, data: LabeledImages, steps: int) -> float:
    """Seconds of some steps of the fit loop."""
    clock = Stopwatch(steps)
    train(generator, data, 0, clock)
    return clock.seconds


def drawn_per_second(generator: Generator) -> float:
    """Sampled images per second, median over the rounds; the training steps were the warm-up."""
    count = DRAWN * generator.spec.num_classes
    seconds = []
    for seed in range(ROUNDS):
        begun = time.perf_counter()
        sample_classes(generator, DRAWN, seed)
        seconds.append(time.perf_counter() - begun)
    return count / statistics.median(seconds)


def speed(job: Job) -> Result:
    """Whether a generator is slower than its plain recipe: both alternate in one process."""
    data = job.subset(0)

    def measure(family: str) -> Result:
        ours, plain = job.generator(family, data.spec(), 0), Plain(job, family, data)
        slower = max(our_seconds(ours, data, MIN_STEPS), plain.seconds(MIN_STEPS))
        steps = max(MIN_STEPS, round(MIN_STEPS * ROUND_S / slower))
        rounds = [
            {"ours_s": our_seconds(ours, data, steps), "plain_s": plain.seconds(steps)}
            for _ in range(ROUNDS)
        ]
        return {
            "precision": ours.precision,
            "steps": steps,
            "batch_size": ours.config.batch_size,
            "rounds": rounds,
            "drawn_per_s": drawn_per_second(ours),
        }

    return tried(measure, [{"family": name} for name in sections()])

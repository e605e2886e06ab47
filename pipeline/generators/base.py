"""The contract of a generator, and the one fit loop that trains them all.

Randomness is stateless: before step k the random state is derived from (seed, k), so a resumed run
needs no saved random state and looking at samples cannot disturb training. A family supplies
networks, optimizers and `update`; averaging, learning-rate decay, history, snapshots, checkpoints
and the check for divergence are here.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import DivergedError
from pipeline.generators.checkpoint import History, TrainingState
from pipeline.generators.rarity import drawing_weights
from pipeline.images import Images, ImageSpec, LabeledImages, Labels
from pipeline.runtime import Precision, derive_seed, resolve_precision
from pipeline.sections import Count, Section
from pipeline.transforms import AffineConfig, affine

NUM_SNAPSHOTS = 6
SNAPSHOT_PER_CLASS = 8
NUM_HISTORY_ROWS = 60
CHECKPOINT_S = 20.0  # a checkpoint takes some 10 ms: far below a tenth of a percent
# Every forward pass of `draw_images` has this many rows: kernels may round otherwise when the
# batch size changes, and then an image would depend on its neighbours.
SAMPLE_BATCH = 100
SETTLE_BATCH, SETTLE_BATCHES = 250, 10
SLOWER = "lower that generator's learning rates in params.yaml"

Weights = tuple[Tensor, ...] | list[Tensor]
Clock = Callable[[int], float]  # the share of training that is over after so many steps


class GeneratorConfig(Section):
    """What every family needs."""

    steps: Count  # optimization steps, for however few images
    steps_per_image: float = Field(ge=0)  # and so many more for each real image
    most_steps: Count  # but no more than these
    batch_size: int = Field(gt=1, le=1_000_000)  # real images per step
    ema_decay: float = Field(ge=0, lt=1)  # of the averaged weights that are sampled from
    decay_from: float = Field(ge=0, le=1)  # share of the steps after which learning rates fall to 0
    rare_weight: float = Field(ge=1)  # how often rare real images are drawn, relative to others
    precision: Precision  # of the networks while they are trained; sampling is always float32
    view: AffineConfig  # how real images are moved, anew for every batch; all zero: not at all

    @model_validator(mode="after")
    def _steps_fit(self) -> GeneratorConfig:
        if self.steps > self.most_steps:
            raise ValueError(
                f"most_steps: expected at least steps ({self.steps}), found {self.most_steps}"
            )
        return self

    def num_steps(self, num_images: int) -> int:
        """The optimization steps of a fit on so many real images."""
        return min(self.most_steps, self.steps + round(self.steps_per_image * num_images))


class Generator(ABC):
    """A conditional generative model of labeled images.

    A subclass sets `noise_dim`, `networks` (everything that is trained), `sampler` (the network
    among them that maps noise (n, noise_dim) and labels (n,) to images (n, c, h, w) in -1..1) and
    `optimizers`.
    """

    Config: ClassVar[type[GeneratorConfig]]
    noise_dim: int
    networks: nn.ModuleDict
    sampler: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(self, config: Any, spec: ImageSpec) -> None:
        self.config = config
        self.spec = spec
        self.precision = resolve_precision(config.precision)

    def in_precision(self, network: nn.Module, *inputs: Tensor) -> Tensor:
        """`network` of `inputs` in the precision of training; the result is float32."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            return cast("Tensor", network(*inputs)).float()

    @abstractmethod
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One optimization step of every network on real images in -1..1; the losses by name."""

    def conclude(self, sampler: Any, data: LabeledImages) -> None:  # noqa: B027 (most: nothing)
        """What is left to do before the averaged `sampler`, trained on `data`, is drawn from."""

    def exhibits(self, data: LabeledImages, seed: int) -> dict[str, Tensor]:
        """Images in -1..1, ten to a row, by name: what only this family has to show.

        Called after `fit` on `data`; `seed` is for noise.
        """
        return {}

    def critic_convolutions(self) -> list[nn.Conv2d]:
        """A discriminator's, from the image on, where a classifier `critic` can start from them."""
        return []

    def shaped(self, normal: Tensor) -> Tensor:
        """Latents of the family's distribution from standard normal numbers."""
        return normal

    def draw_noise(self, count: int) -> Tensor:
        """Latents (count, noise_dim) of training, by torch's global random state."""
        return self.shaped(torch.randn(count, self.noise_dim))

    def normal(self, seeds: list[int]) -> Tensor:
        """Standard normal numbers (n, noise_dim), one stream per image."""
        rows = [
            torch.randn(self.noise_dim, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        return torch.stack(rows)

    def noise(self, seeds: list[int], std: float = 1.0) -> Tensor:
        """Latents (n, noise_dim), `std` times as wide as in training, one stream per image."""
        return self.shaped(self.normal(seeds)) * std


def create(
    family: type[Generator], config: GeneratorConfig, spec: ImageSpec, seed: int
) -> Generator:
    """An untrained generator; `seed` decides its first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family(config, spec)


def by_steps(steps: int) -> Clock:
    """Training that ends after so many steps: the same bits at every run."""
    return lambda step: step / steps


def by_seconds(seconds: float) -> Clock:
    """Training that ends so many seconds from now: for benchmarks, no two runs are alike."""
    start = time.perf_counter()
    return lambda _: (time.perf_counter() - start) / seconds


@torch.random.fork_rng(devices=[])
def fit(
    generator: Generator,
    data: LabeledImages,
    seed: int,
    folder: Path,
    clock: Clock | None = None,
) -> History:
    """Train `generator` on `data` for `num_steps`; `generator.sampler` ends averaged.

    `folder` keeps checkpoints: a run that was killed goes on from the last and ends with the same
    bits. `clock` decides otherwise when training is over. Raises `DivergedError` at the first step
    whose loss is not finite.
    """
    config = generator.config
    clock = clock or by_steps(config.num_steps(len(data)))
    averaged = AveragedModel(generator.sampler, multi_avg_fn=moving_average(config.ema_decay))
    averaged.requires_grad_(False)
    labels, view = torch.from_numpy(data.labels), moved(config.view)
    edges = torch.from_numpy(drawing_weights(data, config.rare_weight)).cumsum(0) / len(data)
    edges[-1] = 1.0  # rounding must not leave a gap above the last image
    modules = {"networks": generator.networks, "averaged": averaged}
    state = TrainingState(modules, generator.optimizers)
    saved_at = time.monotonic()
    step = state.resume(folder)
    done = clock(step) if step else 0.0  # at least one step, whatever the clock says
    while done < 1:
        torch.manual_seed(derive_seed("step", seed, step))
        generator.networks.train()
        rates = set_learning_rates(generator, done)
        chosen = torch.searchsorted(edges, torch.rand(config.batch_size, dtype=edges.dtype))
        real = view(as_input(data.images[chosen.numpy()]))
        losses = generator.update(real, labels[chosen])
        averaged.update_parameters(generator.sampler)
        step += 1
        refuse_divergence(losses, step)
        before, done = done, clock(step)
        if passes_mark(before, done, NUM_HISTORY_ROWS):
            values = {name: float(value.detach()) for name, value in losses.items()}
            state.history.rows.append({"step": step, **values, **rates})
        is_mark = passes_mark(before, done, NUM_SNAPSHOTS)
        is_due = is_mark or time.monotonic() - saved_at > CHECKPOINT_S
        if is_due:
            refuse_bad_weights(generator.networks, step)
        if is_mark:  # the last one is the end
            generator.conclude(averaged.module, data)
            state.history.snapshots[step] = snapshot(generator, averaged.module, seed)
        if is_due:
            state.save(folder, step)
            saved_at = time.monotonic()
    generator.sampler.load_state_dict(averaged.module.state_dict())
    torch.manual_seed(derive_seed("settle", seed))
    settle_batch_norm(generator)
    return state.history


def moved(config: AffineConfig) -> Callable[[Tensor], Tensor]:
    """The affine transform for images in -1..1, by torch's global random state."""
    if not any(config.model_dump().values()):
        return lambda images: images
    transform = affine(config)
    return lambda images: transform(images.add(1), torch.default_generator).sub(1)


def moving_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """Exponential moving average that forgets the first, untrained weights sooner."""

    def update(averaged: Weights, current: Weights, count: Tensor | int) -> None:
        ramp = (1 + int(count)) / (10 + int(count))
        torch._foreach_lerp_(averaged, current, 1 - min(decay, ramp))

    return update


@torch.no_grad()
def settle_batch_norm(generator: Generator) -> None:
    """Replace the batch statistics of the averaged sampler, which are those of the live one.

    Averages over fresh noise and every class in turn; leaves the sampler ready for use.
    """
    sampler = generator.sampler
    layers = [layer for layer in sampler.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
    sampler.train()
    labels = torch.arange(SETTLE_BATCH) % generator.spec.num_classes
    for _ in range(SETTLE_BATCHES if layers else 0):
        sampler(generator.draw_noise(SETTLE_BATCH), labels)
    sampler.eval()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of `loss`."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def set_learning_rates(generator: Generator, done: float) -> dict[str, float]:
    """Constant up to `decay_from`, then linear to 0; the rates in force, by optimizer."""
    start = generator.config.decay_from
    factor = min(1.0, (1 - done) / (1 - start)) if start < 1 else 1.0
    rates = {}
    for name, optimizer in generator.optimizers.items():
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = rates[f"{name}_learning_rate"] = group["initial_lr"] * factor
    return rates


def refuse_divergence(losses: dict[str, Tensor], step: int) -> None:
    """Raise `DivergedError` when a loss of step number `step` is NaN or infinite."""
    for name, value in losses.items():
        if not torch.isfinite(value):
            raise DivergedError(
                f"step {step}",
                f"expected a finite {name} loss, found {float(value.detach())}",
                SLOWER,
            )


def refuse_bad_weights(networks: nn.ModuleDict, step: int) -> None:
    """Raise `DivergedError` when a weight is not finite; the last step's shows in no loss."""
    for name, value in networks.state_dict().items():
        if not torch.isfinite(value).all():
            raise DivergedError(f"step {step}", f"expected finite weights, found others in {name}",
                                SLOWER)  # fmt: skip


def passes_mark(before: float, after: float, count: int) -> bool:
    """True when one of `count` evenly spaced marks in 0..1, the last at 1, lies between the two."""
    return math.floor(min(after, 1.0) * count) > math.floor(before * count)


def snapshot(generator: Generator, sampler: nn.Module, seed: int) -> Images:
    """Images of every class from the same noise at every call, (classes * per class, c, h, w)."""
    labels = np.repeat(np.arange(generator.spec.num_classes), SNAPSHOT_PER_CLASS)
    seeds = [derive_seed("snapshot", seed, position) for position in range(len(labels))]
    return draw_images(generator, labels, seeds, sampler)


def draw_images(
    generator: Generator, labels: Labels, seeds: list[int], sampler: nn.Module | None = None,
    latent_std: float = 1.0,
) -> Images:  # fmt: skip
    """uint8 images of `labels` (n,), each from its own seed: neither n nor order changes one.

    `latent_std` is the standard deviation of the noise; generators are trained with 1.
    """
    network = generator.sampler if sampler is None else sampler
    return render(network, generator.noise(seeds, latent_std), torch.from_numpy(labels))


@torch.no_grad()
def render(sampler: nn.Module, noise: Tensor, labels: Tensor) -> Images:
    """uint8 images of latents (n, noise_dim) and labels (n,), or shares of them (n, classes)."""
    was_training = sampler.training
    sampler.eval()
    parts = [sampler(rows, chosen)[:used] for rows, chosen, used in _padded(noise, labels)]
    sampler.train(was_training)
    return as_pixels(torch.cat(parts))


def as_pixels(images: Tensor) -> Images:
    """Images in -1..1 as uint8."""
    pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).contiguous().numpy()


def draw_classes(
    generator: Generator, per_class: int, seed: int, latent_std: float = 1.0
) -> LabeledImages:
    """`per_class` images of every class, in turns; another `latent_std` scales the same noise."""
    classes = range(generator.spec.num_classes)
    seeds = [derive_seed("image", seed, label, rank) for rank in range(per_class)
             for label in classes]  # fmt: skip
    labels = np.tile(np.arange(len(classes)), per_class)
    return LabeledImages(draw_images(generator, labels, seeds, latent_std=latent_std), labels)


def _padded(noise: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Batches of exactly `SAMPLE_BATCH` rows, the last one filled up, and how many rows count."""
    for start in range(0, len(labels), SAMPLE_BATCH):
        rows, chosen = (each[start : start + SAMPLE_BATCH] for each in (noise, labels))
        missing = SAMPLE_BATCH - len(rows)
        whole = [torch.cat([each, each.new_zeros((missing, *each.shape[1:]))])
                 for each in (rows, chosen)]  # fmt: skip
        yield whole[0], whole[1], len(rows)


def as_input(images: Images) -> Tensor:
    """uint8 images as float32 in -1..1, channels last."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(torch.float32)
    return pixels.div_(127.5).sub_(1).to(memory_format=torch.channels_last)

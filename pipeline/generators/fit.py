"""The one loop that trains every generator.

Randomness is stateless: before step k the random state is derived from (seed, k). A resumed run
therefore needs no saved random state, and sampling cannot disturb training. A family supplies
networks, optimizers and `update`; averaging, learning-rate decay, history, snapshots, checkpoints
and the check for divergence are here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pipeline.data.images import LabeledImages
from pipeline.generators.base import Generator
from pipeline.generators.checkpoint import History, TrainingState
from pipeline.generators.oversampling import sampling_weights
from pipeline.generators.sampling import snapshot
from pipeline.nn.augment import AffineConfig, affine
from pipeline.nn.averaging import moving_average
from pipeline.nn.optimizing import refuse_divergence
from pipeline.nn.sampling import cumulative_weights, sample_indices
from pipeline.nn.tensors import to_signed_input
from pipeline.runtime.errors import DivergedError
from pipeline.runtime.seeds import derive_seed

NUM_SNAPSHOTS = 6
NUM_HISTORY_ROWS = 60
CHECKPOINT_S = 20.0  # a checkpoint takes some 10 ms: far below a tenth of a percent
RECALIBRATION_BATCH, RECALIBRATION_BATCHES = 250, 10
SLOWER = "lower that generator's learning rates in params.yaml"
Clock = Callable[[int], float]  # the share of training that is over after so many steps


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
    """Train `generator` on `data` for `num_steps`; `generator.generator_net` ends averaged.

    `folder` keeps checkpoints: a run that was killed goes on from the last and ends with the same
    bits. `clock` decides otherwise when training is over. Raises `DivergedError` at the first step
    whose loss is not finite.
    """
    config = generator.config
    clock = clock or by_steps(config.num_steps(len(data)))
    averaged = AveragedModel(generator.generator_net, multi_avg_fn=moving_average(config.ema_decay))
    averaged.requires_grad_(False)
    labels, augment = torch.from_numpy(data.labels), augmenter(config.augmentation)
    edges = cumulative_weights(sampling_weights(data, config.rare_oversampling), total=len(data))
    modules = {"networks": generator.networks, "averaged": averaged}
    state = TrainingState(modules, generator.optimizers)
    saved_at = time.monotonic()
    step = state.resume(folder)
    done = clock(step) if step else 0.0  # at least one step, whatever the clock says
    while done < 1:
        torch.manual_seed(derive_seed("step", seed, step))
        generator.networks.train()
        rates = set_learning_rates(generator, done)
        index = sample_indices(edges, config.batch_size)
        real = augment(to_signed_input(data.images[index.numpy()]))
        losses = generator.update(real, labels[index])
        averaged.update_parameters(generator.generator_net)
        step += 1
        refuse_divergence(losses, step, SLOWER)
        before, done = done, clock(step)
        if passes_mark(before, done, NUM_HISTORY_ROWS):
            values = {name: float(value.detach()) for name, value in losses.items()}
            state.history.rows.append({"step": step, **values, **rates})
        is_mark = passes_mark(before, done, NUM_SNAPSHOTS)
        is_due = is_mark or time.monotonic() - saved_at > CHECKPOINT_S
        if is_due:
            refuse_bad_weights(generator.networks, step)
        if is_mark:  # the last one is the end
            generator.finalize(averaged.module, data)
            state.history.snapshots[step] = snapshot(generator, averaged.module, seed)
        if is_due:
            state.save(folder, step)
            saved_at = time.monotonic()
    generator.generator_net.load_state_dict(averaged.module.state_dict())
    torch.manual_seed(derive_seed("settle", seed))
    recalibrate_batch_norm(generator)
    return state.history


def augmenter(config: AffineConfig) -> Callable[[Tensor], Tensor]:
    """The affine transform for images in -1..1, by torch's global random state."""
    if not any(config.model_dump().values()):
        return lambda images: images
    transform = affine(config)
    return lambda images: transform(images.add(1), torch.default_generator).sub(1)


@torch.no_grad()
def recalibrate_batch_norm(generator: Generator) -> None:
    """Replace the batch statistics of the averaged sampler, which are those of the live one.

    Averages over fresh noise and every class in turn; leaves the sampler ready for use.
    """
    generator_net = generator.generator_net
    layers = [layer for layer in generator_net.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
    generator_net.train()
    labels = torch.arange(RECALIBRATION_BATCH) % generator.spec.num_classes
    for _ in range(RECALIBRATION_BATCHES if layers else 0):
        generator_net(generator.sample_noise(RECALIBRATION_BATCH), labels)
    generator_net.eval()


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


def refuse_bad_weights(networks: nn.ModuleDict, step: int) -> None:
    """Raise `DivergedError` when a weight is not finite; the last step's shows in no loss."""
    for name, value in networks.state_dict().items():
        if not torch.isfinite(value).all():
            raise DivergedError(
                f"step {step}", f"expected finite weights, found others in {name}", SLOWER
            )


def passes_mark(before: float, after: float, count: int) -> bool:
    """True when one of `count` evenly spaced marks in 0..1, the last at 1, lies between the two."""
    return math.floor(min(after, 1.0) * count) > math.floor(before * count)

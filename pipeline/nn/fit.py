"""The one training loop: of every generator and of the teacher `ssgan`.

A model supplies networks, optimizers and `update`. The loop averages the weights, lowers the
learning rates, records the history, writes checkpoints, resumes from them and stops when a loss is
not finite. It knows neither images nor labels: a batch is what `sample_batch` returns.

Randomness is stateless: before step k the random state is derived from (seed, k). A resumed run
therefore needs no saved random state, and snapshots cannot disturb training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.nn.checkpoint import History, TrainingState
from pipeline.nn.optimizing import refuse_divergence
from pipeline.nn.tensors import Images
from pipeline.runtime.errors import DivergedError
from pipeline.runtime.seeds import derive_seed

NUM_SNAPSHOTS = 6
NUM_HISTORY_ROWS = 60
CHECKPOINT_S = 20.0  # a checkpoint takes about 10 ms: less than 0.1 % of the time

Batch = tuple[Tensor, ...]
Clock = Callable[[int], float]  # share of the training that is done after a number of steps


def by_steps(steps: int) -> Clock:
    """Training that ends after `steps` steps: the same bits in every run."""
    return lambda step: step / steps


def by_seconds(seconds: float) -> Clock:
    """Training that ends `seconds` from now: for benchmarks, since no two runs are equal."""
    start = time.perf_counter()
    return lambda _: (time.perf_counter() - start) / seconds


class Trainable(Protocol):
    """What the loop trains."""

    @property
    def networks(self) -> nn.ModuleDict:
        """Everything that is trained; checkpoints keep it."""

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """By name; their learning rates are the initial ones."""

    @property
    def update(self) -> Callable[..., dict[str, Tensor]]:
        """One optimization step of every network on a batch; returns the losses by name.

        A batch is `(real, labels)` or, for semi-supervised models, `(real, labels, *unlabeled)`.
        """


@dataclass(frozen=True)
class TrainingPlan:
    """How long a model is trained and how, whatever the model is."""

    seed: int  # of everything random
    folder: Path  # for checkpoints
    clock: Clock
    decay_from: float  # share of the training after which learning rates fall to 0
    advice: str  # how to fix divergence


@torch.random.fork_rng(devices=[])
def train(
    model: Trainable,
    network: nn.Module,
    averaged: AveragedModel,
    sample_batch: Callable[[int], Batch],
    plan: TrainingPlan,
    snapshot: Callable[[], Images] | None = None,
) -> History:
    """Train `model`; `averaged` ends as the moving average of its `network`.

    `sample_batch(step)` returns the batch of a step; it may use the global random state, which the
    step has seeded. An interrupted run resumes from the last checkpoint in the plan's folder and
    ends with the same bits. `snapshot` is called `NUM_SNAPSHOTS` times, the last time at the end.

    Raises `DivergedError` at the first step with a loss that is not finite.
    """
    optimizers = dict(model.optimizers)
    state = TrainingState({"networks": model.networks, "averaged": averaged}, optimizers)
    saved_at = time.monotonic()
    step = state.resume(plan.folder)
    done = plan.clock(step) if step else 0.0  # at least one step, whatever the clock says

    while done < 1:
        torch.manual_seed(derive_seed("step", plan.seed, step))
        model.networks.train()
        rates = set_learning_rates(optimizers, done, plan.decay_from)
        losses = model.update(*sample_batch(step))
        averaged.update_parameters(network)
        step += 1
        refuse_divergence(losses, step, plan.advice)

        before, done = done, plan.clock(step)
        if passes_mark(before, done, NUM_HISTORY_ROWS):
            values = {name: float(value.detach()) for name, value in losses.items()}
            state.history.rows.append({"step": step, **values, **rates})

        # Weights are checked before they are kept: those of the last step are in no loss.
        is_mark = passes_mark(before, done, NUM_SNAPSHOTS)
        if is_mark or time.monotonic() - saved_at > CHECKPOINT_S:
            refuse_bad_weights(model.networks, step, plan.advice)
            if is_mark and snapshot is not None:
                state.history.snapshots[step] = snapshot()
            state.save(plan.folder, step)
            saved_at = time.monotonic()

    return state.history


def set_learning_rates(
    optimizers: Mapping[str, torch.optim.Optimizer], done: float, decay_from: float
) -> dict[str, float]:
    """Keep learning rates constant up to `decay_from`, then lower them linearly to 0.

    Returns the present rates by name of the optimizer.
    """
    factor = min(1.0, (1 - done) / (1 - decay_from)) if decay_from < 1 else 1.0
    rates = {}
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = rates[f"{name}_learning_rate"] = group["initial_lr"] * factor
    return rates


def refuse_bad_weights(networks: nn.Module, step: int, advice: str) -> None:
    """Raise `DivergedError` when a weight is not finite."""
    for name, value in networks.state_dict().items():
        if not torch.isfinite(value).all():
            raise DivergedError(
                f"step {step}", f"expected finite weights, found others in {name}", advice
            )


def passes_mark(before: float, after: float, count: int) -> bool:
    """Whether one of `count` evenly spaced marks in 0..1, the last at 1, lies between the two."""
    return math.floor(min(after, 1.0) * count) > math.floor(before * count)

"""Exponential moving averages of weights, with a smaller decay during the first steps.

The untrained weights are then forgotten sooner.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Weights = tuple[Tensor, ...] | list[Tensor]


def warm_decay(decay: float, step: int) -> float:
    """The average's decay after `step` updates: (1 + step) / (10 + step), at most `decay`."""
    return min(decay, (1 + step) / (10 + step))


def moving_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """The update rule for `torch.optim.swa_utils.AveragedModel(multi_avg_fn=...)`."""

    def update(averaged: Weights, current: Weights, num_averaged: Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, 1 - warm_decay(decay, int(num_averaged)))

    return update


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move `average` towards `network`, including batch statistics; counters are copied."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    for mean, value in pairs:
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)

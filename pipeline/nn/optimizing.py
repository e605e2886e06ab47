"""AdamW on a one-cycle schedule, one gradient step, and the check for divergence."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.runtime.errors import DivergedError


class OneCycle:
    """AdamW (Loshchilov and Hutter 2019) on a one-cycle schedule (Smith 2018).

    `learning_rate` is the peak of the cycle, `steps` its length.
    """

    def __init__(
        self, network: nn.Module, learning_rate: float, weight_decay: float, steps: int
    ) -> None:
        self.optimizer = torch.optim.AdamW(
            network.parameters(), learning_rate, weight_decay=weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, learning_rate, total_steps=steps
        )

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`, and one step of the schedule."""
        descend(self.optimizer, loss)
        self.schedule.step()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of `loss`."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def refuse_divergence(losses: Mapping[str, Tensor], step: int, fix: str) -> None:
    """Raise `DivergedError` if a loss of step number `step` is NaN or infinite.

    `fix` is the advice of the error's message.
    """
    for name, value in losses.items():
        if not torch.isfinite(value):
            raise DivergedError(
                f"step {step}", f"expected a finite {name} loss, found {float(value.detach())}", fix
            )

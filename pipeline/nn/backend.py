"""Where networks are computed: device, precision and random streams.

No other module knows a device. Noise and the choice of batches come from CPU streams, so that a
seed keeps its meaning on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.runtime.determinism import Precision

DEVICE = "cpu"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global random state inside the block; restore the caller's state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def stream(seed: int) -> torch.Generator:
    """A new CPU random stream, independent of the global state."""
    return torch.Generator().manual_seed(seed)


def without_memory() -> torch.device:
    """Inside this block new tensors have a shape but no memory; for checks of networks."""
    return torch.device("meta")


def autocast(precision: Precision) -> torch.autocast:
    """Mixed precision inside the block if `precision` is bfloat16; float32 otherwise."""
    return torch.autocast(DEVICE, torch.bfloat16, enabled=precision == "bfloat16")


def forward(network: nn.Module, precision: Precision, *inputs: Tensor) -> Tensor:
    """`network(*inputs)` computed in `precision`, returned as float32."""
    with autocast(precision):
        return cast("Tensor", network(*inputs)).float()

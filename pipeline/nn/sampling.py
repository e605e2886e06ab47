"""Weighted sampling of indices with replacement."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def cumulative_weights(weights: NDArray[np.floating[Any]], total: float) -> Tensor:
    """Cumulative distribution (n,) float64 of weights (n,) that sum to `total`."""
    edges = torch.from_numpy(np.cumsum(weights, dtype=np.float64)) / total
    edges[-1] = 1.0  # rounding must not leave a gap above the last index
    return edges


def sample_indices(edges: Tensor, count: int) -> Tensor:
    """Indices (count,) sampled from a cumulative distribution, by torch's global random state."""
    return torch.searchsorted(edges, torch.rand(count, dtype=edges.dtype))

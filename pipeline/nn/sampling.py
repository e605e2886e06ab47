"""Batches of images drawn with replacement, each image in proportion to its weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def cumulative_weights(weights: NDArray[np.floating[Any]], total: float) -> Tensor:
    """Upper ends of the images' shares of 0..1, (n,) float64, for weights (n,) that sum to `total`.

    The last one is 1 exactly: rounding must not leave a gap above the last image.
    """
    edges = torch.from_numpy(np.cumsum(weights, dtype=np.float64)) / total
    edges[-1] = 1.0
    return edges


def sample_indices(edges: Tensor, count: int) -> Tensor:
    """Positions (count,) of images, by torch's global random state."""
    return torch.searchsorted(edges, torch.rand(count, dtype=edges.dtype))

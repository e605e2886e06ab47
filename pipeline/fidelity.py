"""How close synthetic images come to real ones: distances between sets of feature vectors.

Arrays in, numbers out. Features are those of a classifier of the same kind of images, so the
Frechet distance here is not the FID of published tables and must not be compared with one.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from torch import Tensor, nn

Features = NDArray[np.float32]
NEIGHBORS = 5  # as in Naeem et al. (2020)
KERNEL_SUBSETS = 20
KERNEL_SUBSET_SIZE = 500


class _Given(nn.Module):
    """Hands features through: torchmetrics expects the network that makes them."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Features, synthetic: Features) -> float:
    """Frechet distance between Gaussians fitted to both sets, (n, d) each; 0 for equal sets.

    Source: Heusel et al. (2017). Biased upwards for small n: compare only values of equal n.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(
        feature=_Given(real.shape[1]), input_img_size=(real.shape[1],)
    ).set_dtype(torch.float64)
    return _between(metric, real, synthetic)


def kernel_distance(real: Features, synthetic: Features, seed: int) -> float:
    """Squared maximum mean discrepancy with a cubic kernel, mean over random subsets; unbiased.

    Source: Binkowski et al. (2018). May be slightly negative when the sets are alike.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(KERNEL_SUBSET_SIZE, len(real), len(synthetic))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features")
        metric = KernelInceptionDistance(
            feature=_Given(real.shape[1]), subsets=KERNEL_SUBSETS, subset_size=size
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _between(metric, real, synthetic)


def _between(metric, real: Features, synthetic: Features) -> float:  # type: ignore[no-untyped-def]
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(synthetic), real=False)
    value = metric.compute()
    return float(value[0] if isinstance(value, tuple) else value)


def prdc(real: Features, synthetic: Features, neighbors: int = NEIGHBORS) -> dict[str, float]:
    """Precision, recall, density and coverage from balls that reach the k-th neighbor.

    Sources: Kynkaanniemi et al. (2019) for precision and recall, Naeem et al. (2020), equations
    3 to 6, for density and coverage. Precision: share of synthetic points inside some real point's
    ball. Recall: the same with the roles exchanged. Density: how many real balls hold a synthetic
    point, over k. Coverage: share of real balls that hold a synthetic point.
    """
    across = pairwise_distances(real, synthetic)
    real_radius = _radius(real, neighbors)
    synthetic_radius = _radius(synthetic, neighbors)
    inside = across < real_radius[:, None]
    return {
        "precision": float(inside.any(axis=0).mean()),
        "recall": float((across < synthetic_radius[None, :]).any(axis=1).mean()),
        "density": float(inside.sum(axis=0).mean() / neighbors),
        "coverage": float((across.min(axis=1) < real_radius).mean()),
    }


def _radius(points: Features, neighbors: int) -> NDArray[np.float32]:
    """Distance of every point to its k-th nearest other point, (n,)."""
    distances = pairwise_distances(points)
    return np.asarray(np.partition(distances, neighbors, axis=1)[:, neighbors])


def nearest_distance(points: Features, references: Features) -> Features:
    """Euclidean distance of every row of `points` (n, d) to the nearest of `references`, (n,)."""
    return np.asarray(pairwise_distances(points, references).min(axis=1))

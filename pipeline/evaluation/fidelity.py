"""How close synthetic images come to real ones: distances, right labels, variety.

Arrays in, numbers out. Features are those of a classifier of the same kind of images, so the
Frechet distance here is not the FID of published tables and must not be compared with one.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from scipy.stats import binomtest
from sklearn.metrics import pairwise_distances
from torch import Tensor, nn

from pipeline.data.images import Images, LabeledImages, flat
from pipeline.nn.backend import seeded

if TYPE_CHECKING:  # the library is slow to load
    from torchmetrics import Metric

Features = NDArray[np.float32]
NEIGHBORS = 5  # as in Naeem et al. (2020)
KERNEL_SUBSETS = 20
KERNEL_SUBSET_SIZE = 500
MAX_PAIRED = 500  # images whose pairwise distances are averaged: they take n * n numbers
MIN_PAIRED = 5  # fewer images of a class may be alike by chance

# Flag "wrong_labels": the DCGAN mislabels 3 to 6 % of MNIST, with 1 as with 10 labels per class.
# Twice as many is a generator that does not obey its label.
MAX_WRONG_FRAC = 0.1
# Flag "collapsed": mean distance within a class, as a share of the draw's. Classes of real MNIST
# have 0.63 and more, of real `digits` 0.55, random sets of 5 images 0.37; DCGANs that serve 0.48,
# also after 5 steps. A DCGAN whose noise has no effect has 0.11 to 0.20, one image per class with
# noise of 20 gray levels 0.19 to 0.23. A false alarm costs a trial, so the bound lies low.
COLLAPSED_FRAC = 0.25
# The same flag: share of a class's drawn images that lie nearer to a synthetic image than to each
# other. DCGANs that serve reach 0.4 and more, 0.91 on average; one image of a class over and over
# 0.09 on average, two in turns 0.16, three 0.22 (100 classes each, 10 labels per class).
MIN_COVERED_FRAC = 0.15


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
    with seeded(seed):
        return _between(metric, real, synthetic)


def _between(metric: Metric, real: Features, synthetic: Features) -> float:
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
    if len(points) == 0:
        return np.zeros(0, dtype=np.float32)
    return np.asarray(pairwise_distances(points, references).min(axis=1))


def mean_distance(points: Features) -> float | None:
    """Mean Euclidean distance over all pairs of rows (n, d), the first 500 of them; None of one.

    Exactly 0 of equal rows, unlike distances by way of scalar products.
    """
    return float(pdist(points[:MAX_PAIRED]).mean()) if len(points) > 1 else None


def diversity(images: Images, real: Images) -> float | None:
    """Mean pixel distance between images of a class over that between real ones; 1 is alike.

    None where there are too few of either, or where real images do not differ.
    """
    if min(len(images), len(real)) < MIN_PAIRED:
        return None
    ours, theirs = mean_distance(flat(images)), mean_distance(flat(real))
    return ours / theirs if ours is not None and theirs else None


def collapsed_classes(synthetic: LabeledImages, subset: LabeledImages) -> list[int]:
    """The classes, in order, whose synthetic images hardly differ; needs the draw's labels alone.

    A class counts when its images lie close together or when they come near to few of the drawn
    ones. Mean pixel distances within a class are held against those between drawn images of one
    class, the mean over all that are drawn. With one label per class there are no such pairs; those
    of different classes, which on digits lie 10 to 30 % further apart, stand in.

    Shifts by a whole pixel pass for variety. Says nothing of classes with fewer than 5 synthetic
    images; sees a generator that repeats two or three different images only where there are 5 drawn
    ones or more, and not each time.
    """
    reference = _subset_distance(subset)
    collapsed = []
    for label in np.unique(synthetic.labels):
        points = flat(synthetic.images[synthetic.labels == label])
        originals = flat(subset.images[subset.labels == label])
        if len(points) < MIN_PAIRED:
            continue
        alike = (mean_distance(points) or 0) < COLLAPSED_FRAC * reference
        covered = covered_frac(originals, points)
        if alike or (covered is not None and covered < MIN_COVERED_FRAC):
            collapsed.append(int(label))
    return collapsed


def covered_frac(real: Features, synthetic: Features) -> float | None:
    """Share of rows of `real` with a synthetic row as near as the nearest other real one.

    Coverage (Naeem et al. 2020, equation 6) with the first neighbor, since draws are small. None of
    fewer than 5 real rows, or of fewer than 5 synthetic ones for each of them.
    """
    if len(real) < MIN_PAIRED or len(synthetic) < MIN_PAIRED * len(real):
        return None
    return float((pairwise_distances(real, synthetic).min(axis=1) <= _radius(real, 1)).mean())


def _subset_distance(subset: LabeledImages) -> float:
    """Mean pixel distance between drawn images of one class, else of any; 0 of a single image."""
    parts = [flat(subset.images[subset.labels == label]) for label in np.unique(subset.labels)]
    distances = [value for value in map(mean_distance, parts) if value is not None]
    return float(np.mean(distances)) if distances else mean_distance(flat(subset.images)) or 0.0


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share, from `count` of `total` > 0. Source: Wilson (1927)."""
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def wrong_label_frac(agreement: float, floor: float, num_classes: int) -> float | None:
    """Share of wrong labels, 0..1, from the share of labels that the judge agrees with.

    The judge agrees with a share `floor` of right labels (measured on real images), and with a
    wrong one where it errs towards just that class. Source: Rogan and Gladen (1978), the share of
    ill among tested by an imperfect test. Assumes that wrong labels and the judge's errors are
    spread evenly over classes, and that the judge errs as often on synthetic images as on real
    ones: images that belong to no class count as wrongly labeled. None of a judge that is no better
    than chance.
    """
    by_error = (1 - floor) / (num_classes - 1)
    if floor <= by_error:
        return None
    return float(np.clip((floor - agreement) / (floor - by_error), 0, 1))

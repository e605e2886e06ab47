"""How similar synthetic images are to real ones: distances, label fidelity, diversity, collapse.

Arrays in, numbers out. Features are those of a classifier of the same kind of images, not of an
Inception network, so the Frechet distance must not be compared with published FIDs.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.metrics import pairwise_distances
from torch import Tensor, nn

from pipeline.data.images import Images, LabeledImages, flat
from pipeline.nn.backend import seeded
from pipeline.runtime.errors import CollapsedError

if TYPE_CHECKING:  # the library is slow to load
    from torchmetrics import Metric

Features = NDArray[np.float32]
NEIGHBORS = 5  # as in Naeem et al. (2020)
KERNEL_SUBSETS = 20
KERNEL_SUBSET_SIZE = 500
MAX_PAIRED = 500  # images whose pairwise distances are averaged: they need n * n numbers
MIN_PAIRED = 5  # fewer images of a class may be similar by chance

# Flag "wrong_labels": the DCGAN mislabels 3 to 6 % of MNIST, with 1 label per class as with 10.
# A generator with twice as many ignores its label.
MAX_WRONG_FRAC = 0.1
# Flag "collapsed": mean distance within a class, as a share of that of the labeled subset. Classes
# of real MNIST have at least 0.63, of real `digits` 0.55, random sets of 5 images 0.37; usable
# DCGANs 0.48, also after 5 steps. A DCGAN whose noise has no effect has 0.11 to 0.20, one image per
# class with noise of 20 gray levels 0.19 to 0.23. A false alarm costs a trial, so the bound is low.
COLLAPSED_FRAC = 0.25
# A class whose own labeled images lie closer together than half of that average has its own bound:
# this share of their mean distance. Without it, real images of plain backgrounds count as collapsed
# (photos of electronic parts: 0.14 of the average).
COLLAPSED_OWN_FRAC = 0.5
# The same flag: share of a class's labeled images that lie nearer to a synthetic image than to each
# other. If m images are from the distribution of n labeled ones, it is m / (m + n - 1) on average
# for any dataset, so 0.83 or more (0.85 on MNIST, `digits`, photos of hands and of electronic
# parts); a single image that is repeated has 1 / n.
MIN_COVERED_FRAC = 0.15


class _Given(nn.Module):
    """Returns its input: torchmetrics expects the network that computes features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Features, synthetic: Features) -> float:
    """Frechet distance between Gaussians fitted to both sets, (n, d) each; 0 for equal sets.

    Source: Heusel et al. (2017). Biased upwards for small n: compare values of equal n only.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(
        feature=_Given(real.shape[1]), input_img_size=(real.shape[1],)
    ).set_dtype(torch.float64)
    return _between(metric, real, synthetic)


def kernel_distance(real: Features, synthetic: Features, seed: int) -> float:
    """Squared maximum mean discrepancy with a cubic kernel, mean over random subsets; unbiased.

    Source: Binkowski et al. (2018). Can be slightly negative for similar sets.
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
    """Precision, recall, density and coverage, from balls that reach each point's k-th neighbor.

    Sources: Kynkaanniemi et al. (2019) for precision and recall, Naeem et al. (2020), equations
    3 to 6, for density and coverage. Precision: share of synthetic points inside the ball of a real
    point. Recall: the same with exchanged roles. Density: number of real balls around a synthetic
    point, divided by k, on average. Coverage: share of real balls that contain a synthetic point.
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
    """Mean Euclidean distance over all pairs of the first 500 rows (n, d); None for a single row.

    Exactly 0 for equal rows, unlike distances computed from scalar products.
    """
    return float(pdist(points[:MAX_PAIRED]).mean()) if len(points) > 1 else None


def diversity(images: Images, real: Images) -> float | None:
    """Mean pixel distance between images of a class, divided by that between real ones.

    1 is as diverse as real images. None for too few images, or if the real ones do not differ.
    """
    if min(len(images), len(real)) < MIN_PAIRED:
        return None
    ours, theirs = mean_distance(flat(images)), mean_distance(flat(real))
    return ours / theirs if ours is not None and theirs else None


def collapsed_classes(synthetic: LabeledImages, subset: LabeledImages) -> list[int]:
    """The classes, in order, whose synthetic images hardly differ; needs the labeled subset only.

    A class has collapsed if its images lie close together, or if they lie near few of the labeled
    images. The mean pixel distance within a class is compared with that within the classes of the
    subset, averaged over classes, and with that of its own labeled images if these lie closer
    together. With one label per class there are no such pairs; then pairs of different classes are
    used, which on digits lie 10 to 30 % further apart.

    Limits: with one label per class, real images of a class that differ much less than those of
    other classes count as collapsed; shifts by a whole pixel count as diversity; classes with fewer
    than 5 synthetic images are not judged; a generator that repeats two or three images is detected
    only with 5 labeled images or more, and not always.
    """
    reference = _subset_distance(subset)
    collapsed = []
    for label in np.unique(synthetic.labels):
        points = flat(synthetic.images[synthetic.labels == label])
        originals = flat(subset.images[subset.labels == label])
        if len(points) < MIN_PAIRED:
            continue
        own = mean_distance(originals)
        limit = COLLAPSED_FRAC * reference
        limit = limit if own is None else min(limit, COLLAPSED_OWN_FRAC * own)
        alike = (mean_distance(points) or 0) < limit
        covered = covered_frac(originals, points)
        if alike or (covered is not None and covered < MIN_COVERED_FRAC):
            collapsed.append(int(label))
    return collapsed


def refuse_collapse(synthetic: LabeledImages, labeled: LabeledImages) -> None:
    """Raise `CollapsedError` that names the classes whose images hardly differ."""
    if classes := collapsed_classes(synthetic, labeled):
        raise CollapsedError(
            f"{len(synthetic)} synthetic images",
            f"expected diverse images of every class, found almost equal ones in {classes}",
            "train that generator longer, or change its settings in params.yaml",
        )


def covered_frac(real: Features, synthetic: Features) -> float | None:
    """Share of rows of `real` with a synthetic row at most as far as the nearest other real row.

    Coverage (Naeem et al. 2020, equation 6) with the first neighbor, since labeled subsets are
    small. None for fewer than 5 real rows, or fewer than 5 synthetic rows per real row.
    """
    if len(real) < MIN_PAIRED or len(synthetic) < MIN_PAIRED * len(real):
        return None
    return float((pairwise_distances(real, synthetic).min(axis=1) <= _radius(real, 1)).mean())


def _subset_distance(subset: LabeledImages) -> float:
    """Mean pixel distance within classes, or between any images if classes have one; 0 for one."""
    parts = [flat(subset.images[subset.labels == label]) for label in np.unique(subset.labels)]
    distances = [value for value in map(mean_distance, parts) if value is not None]
    return float(np.mean(distances)) if distances else mean_distance(flat(subset.images)) or 0.0


def wrong_label_frac(agreement: float, floor: float, num_classes: int) -> float | None:
    """Estimated share of wrong labels, 0..1, from the share that the judge agrees with.

    The judge agrees with a share `floor` of correct labels (measured on real images), and with a
    wrong label if it errs towards that class. Source: Rogan and Gladen (1978), the prevalence
    estimated with an imperfect test. Assumes that wrong labels and errors of the judge are spread
    evenly over classes, and that the judge errs as often on synthetic images as on real ones; so
    images of no class count as wrongly labeled. None if the judge is no better than chance.
    """
    by_error = (1 - floor) / (num_classes - 1)
    if floor <= by_error:
        return None
    return float(np.clip((floor - agreement) / (floor - by_error), 0, 1))

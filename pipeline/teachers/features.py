"""The pool's graph of neighbors, and labels that spread along it.

Images whose strokes run alike are linked; a label reaches a style of writing that the draw does not
show through the images between. Sources: Zhou et al. (2004) for the spreading, which is
scikit-learn's; Zelnik-Manor and Perona (2004), equation 2, for the width of each link.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading
from torch.nn import functional

from pipeline.data.images import Images, Labels

Rows = NDArray[np.float32]

DIRECTIONS = 8  # of edges, over half a turn
CELLS = 9.3  # places along each side: every third pixel of a digit of MNIST
SMOOTH = 0.7  # pixels, before gradients are taken
TINY = 1e-9


def hog_features(images: Images) -> Rows:
    """Images (n, c, h, w) as rows: how much edge of each direction there is at each place.

    Histograms of oriented gradients (Dalal and Triggs 2005) of the straightened image, softly
    shared out over directions and places, square roots taken. Edges of opposite sign are one.
    """
    upright = deslant(images).sum(axis=1)
    steps = [max(1, round(side / CELLS)) for side in upright.shape[1:]]
    places = [slice(step // 2, None, step) for step in steps]
    across, down = (
        ndimage.gaussian_filter(upright, (0, SMOOTH, SMOOTH), order=(0, *order))
        for order in ((0, 1), (1, 0))
    )
    strength, angle = np.hypot(across, down), 2 * np.arctan2(down, across)
    narrow = np.cos(2 * np.pi / DIRECTIONS)
    parts = []
    for number in range(DIRECTIONS):
        near = np.cos(angle - 2 * np.pi * number / DIRECTIONS) - narrow
        share = strength * near.clip(0) / (1 - narrow)
        blurred = ndimage.gaussian_filter(share, (0, *(step / 2 for step in steps)))
        parts.append(blurred[:, *places].reshape(len(images), -1))
    return np.sqrt(np.concatenate(parts, axis=1))


def deslant(images: Images) -> Rows:
    """Images (n, c, h, w) in 0..1, slant taken out and ink in the middle.

    By the shear that makes the covariance of ink along x and y zero, from its moments.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float().div_(255)
    _, _, height, width = pixels.shape
    ink = pixels.sum(1)
    y = torch.arange(height, dtype=torch.float32)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float32)[None, :] - (width - 1) / 2
    mass = ink.sum((1, 2)).clamp_min(TINY)
    center_y, center_x = ((ink * axis).sum((1, 2)) / mass for axis in (y, x))
    dy = y - center_y[:, None, None]
    dx = x - center_x[:, None, None]
    slant = (ink * dy * dx).sum((1, 2)) / (ink * dy * dy).sum((1, 2)).clamp_min(TINY)
    from_y = (y + center_y[:, None, None]).expand(ink.shape)
    from_x = x + center_x[:, None, None] + slant[:, None, None] * y
    grid = torch.stack([from_x * 2 / width, from_y * 2 / height], dim=-1)
    return functional.grid_sample(pixels, grid, align_corners=False).numpy()


def principal_components(rows: Rows, components: int) -> Rows:
    """Principal components, (n, components at most), scaled to a mean length of 1."""
    count = min(components, *rows.shape)
    result = PCA(count, svd_solver="covariance_eigh").fit_transform(rows)
    return normalize_mean_length(result.astype(np.float32))


def normalize_mean_length(rows: Rows) -> Rows:
    """`rows` with a mean length of 1."""
    lengths = np.linalg.norm(rows, axis=1)
    return rows / max(float(lengths.mean()), TINY)


def affinity(rows: Rows, neighbors: int) -> sparse.csr_matrix:
    """How alike every row and its nearest ones are, (n, n), symmetric, 0 to 1; 0 for all others."""
    count = min(neighbors, len(rows) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(rows)
    distances, others = search.kneighbors()  # without the row itself
    widths = distances[:, -1] + TINY
    weights = np.exp(-(distances**2) / (widths[:, None] * widths[others]))
    n = len(rows)
    starts = np.arange(0, n * count + 1, count)
    links = sparse.csr_matrix((weights.ravel(), others.ravel(), starts), (n, n))
    return links.maximum(links.T)


def propagate_labels(
    links: sparse.csr_matrix, labels: Labels, num_classes: int, alpha: float
) -> Rows:
    """Class probabilities of every row, (n, num_classes), from those with a label (others -1).

    Class mass normalization (Zhu et al. 2003) made no difference, so there is none.
    """
    library = LabelSpreading(
        kernel=lambda *_: links, alpha=alpha, max_iter=num_steps(alpha), tol=0.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is told how many steps to take
        library.fit(np.arange(len(labels))[:, None], labels)
    result = np.full((len(labels), num_classes), 1 / num_classes, dtype=np.float32)
    # A row that no label reaches says nothing of any class.
    reached = library.label_distributions_.sum(axis=1) > 0
    result[reached] = library.label_distributions_[reached]
    return result


def num_steps(alpha: float) -> int:
    """After so many steps a seventh (e to the -2) of the labels' weight is still on its way."""
    return int(np.ceil(2 / -np.log(alpha)))

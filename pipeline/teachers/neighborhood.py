"""The pool's graph of neighbors, and labels that spread along it.

Images that look alike are linked; a label reaches a style of writing that the draw does not show
through the images between. Sources: Zhou et al. (2004) for the spreading, as scikit-learn's
`LabelSpreading` has it; Zelnik-Manor and Perona (2004), equation 2, for the width of each link;
Zhu et al. (2003), section 4, for class mass normalization.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional

from pipeline.images import Images, Labels

Rows = NDArray[np.float32]

BLUR = 0.8  # pixels; strokes a pixel apart are then alike
TINY = 1e-9


def straightened(images: Images) -> Rows:
    """Images (n, c, h, w) as blurred rows (n, c * h * w), slant taken out and ink in the middle.

    The shear that makes the covariance of ink along x and y zero, from its moments.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float().div_(255)
    _, _, height, width = pixels.shape
    ink = pixels.sum(1)
    y = torch.arange(height, dtype=torch.float32)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float32)[None, :] - (width - 1) / 2
    mass = ink.sum((1, 2)).clamp_min(TINY)
    center_y, center_x = ((ink * each).sum((1, 2)) / mass for each in (y, x))
    dy = y - center_y[:, None, None]
    dx = x - center_x[:, None, None]
    slant = (ink * dy * dx).sum((1, 2)) / (ink * dy * dy).sum((1, 2)).clamp_min(TINY)
    from_y = (y + center_y[:, None, None]).expand(ink.shape)
    from_x = x + center_x[:, None, None] + slant[:, None, None] * y
    grid = torch.stack([from_x * 2 / width, from_y * 2 / height], dim=-1)
    upright = functional.grid_sample(pixels, grid, align_corners=False).numpy()
    blurred = ndimage.gaussian_filter(upright, (0, 0, BLUR, BLUR))
    return blurred.reshape(len(images), -1)


def reduced(rows: Rows, components: int) -> Rows:
    """Principal components, (n, components at most), scaled to a mean length of 1."""
    count = min(components, *rows.shape)
    found = PCA(count, svd_solver="covariance_eigh").fit_transform(rows)
    return scaled(found.astype(np.float32))


def scaled(rows: Rows) -> Rows:
    """`rows` with a mean length of 1."""
    lengths = np.linalg.norm(rows, axis=1)
    return rows / max(float(lengths.mean()), TINY)


def affinity(rows: Rows, neighbors: int) -> sparse.csr_matrix:
    """Links between every row and its nearest ones, (n, n), symmetric, normalized by degree."""
    count = min(neighbors, len(rows) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(rows)
    distances, others = search.kneighbors()  # without the row itself
    widths = distances[:, -1] + TINY
    weights = np.exp(-(distances**2) / (widths[:, None] * widths[others]))
    n = len(rows)
    starts = np.arange(0, n * count + 1, count)
    links = sparse.csr_matrix((weights.ravel(), others.ravel(), starts), (n, n))
    links = links.maximum(links.T)
    scale = sparse.diags(1 / np.sqrt(np.asarray(links.sum(axis=1)).ravel()))
    return (scale @ links @ scale).astype(np.float32).tocsr()


def spread(links: sparse.csr_matrix, labels: Labels, num_classes: int, alpha: float) -> Rows:
    """Class probabilities of every row, (n, num_classes), from those with a label (others -1).

    Each class is given the same mass in all before rows are normalized: the draw is stratified, and
    a class whose images lie close together would else take in its neighbors'.
    """
    known = np.flatnonzero(labels >= 0)
    start = np.zeros((len(labels), num_classes), dtype=np.float32)
    start[known, labels[known]] = 1
    found = start.copy()
    for _ in range(num_steps(alpha)):
        found = alpha * (links @ found) + (1 - alpha) * start
    found /= found.sum(axis=0).clip(TINY)
    total = found.sum(axis=1, keepdims=True)
    # A row that no label reaches says nothing of any class.
    return np.where(total > 0, found / total.clip(TINY), 1 / num_classes).astype(np.float32)


def num_steps(alpha: float) -> int:
    """After so many steps a seventh (e to the -2) of the labels' weight is still on its way."""
    return int(np.ceil(2 / -np.log(alpha)))

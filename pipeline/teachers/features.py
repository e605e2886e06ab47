"""Features of images, the graph of their nearest neighbors, and label propagation over it.

Images with similar edges are linked, and labels pass along the links, through images in between, to
styles that the labeled subset does not show. Sources: Zhou et al. (2004), "Learning with local and
global consistency", for the propagation, which is scikit-learn's; Zelnik-Manor and Perona (2004),
"Self-tuning spectral clustering", equation 2, for the local scale of each link.
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

from pipeline.data.images import Background, Images, Labels
from pipeline.nn.background import color, warp
from pipeline.nn.tensors import to_input

Rows = NDArray[np.float32]

DIRECTIONS = 8  # of edges, over half a turn
CELLS = 9.3  # cells along each side: every third pixel of an MNIST digit
SMOOTHING = 0.7  # standard deviation in pixels, before gradients are computed
EPSILON = 1e-9


def hog_features(images: Images, background: Background) -> Rows:
    """HOG features (n, d) of uint8 images (n, c, h, w).

    Histograms of oriented gradients (Dalal and Triggs 2005) of the deslanted image, channels added
    up, with soft assignment to directions and cells, then square roots. Opposite gradients count as
    the same direction, so an image and its negative have the same features.
    """
    upright = deslant(images, background).sum(axis=1)
    strides = [max(1, round(side / CELLS)) for side in upright.shape[1:]]
    cells = [slice(stride // 2, None, stride) for stride in strides]

    # Magnitude and doubled angle of the gradient: doubling makes opposite gradients equal.
    dx, dy = (
        ndimage.gaussian_filter(upright, (0, SMOOTHING, SMOOTHING), order=(0, *order))
        for order in ((0, 1), (1, 0))
    )
    magnitude, angle = np.hypot(dx, dy), 2 * np.arctan2(dy, dx)

    # A gradient counts for its two nearest directions, and is blurred over the cells.
    cutoff = np.cos(2 * np.pi / DIRECTIONS)
    parts = []
    for number in range(DIRECTIONS):
        similarity = np.cos(angle - 2 * np.pi * number / DIRECTIONS) - cutoff
        share = magnitude * similarity.clip(0) / (1 - cutoff)
        blurred = ndimage.gaussian_filter(share, (0, *(stride / 2 for stride in strides)))
        parts.append(blurred[:, *cells].reshape(len(images), -1))
    return np.sqrt(np.concatenate(parts, axis=1))


def deslant(images: Images, background: Background) -> Rows:
    """uint8 images (n, c, h, w) as float32 in 0..1, with their slant removed and centered.

    The shear along x makes the covariance of x and y zero; each pixel is weighted by its difference
    from the background. Photos stay as they are, since they have no background.
    """
    pixels = to_input(images).contiguous()
    if background is None:
        return pixels.numpy()
    _, _, height, width = pixels.shape
    mass = (pixels - color(background)).abs().sum(1)  # (n, h, w)
    y = torch.arange(height, dtype=torch.float32)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float32)[None, :] - (width - 1) / 2

    # The center of mass, and the slant from the second moments.
    total = mass.sum((1, 2)).clamp_min(EPSILON)
    center_y, center_x = ((mass * axis).sum((1, 2)) / total for axis in (y, x))
    dy = y - center_y[:, None, None]
    dx = x - center_x[:, None, None]
    slant = (mass * dy * dx).sum((1, 2)) / (mass * dy * dy).sum((1, 2)).clamp_min(EPSILON)

    # Where each output pixel is read from, in -1..1.
    from_y = (y + center_y[:, None, None]).expand(mass.shape)
    from_x = x + center_x[:, None, None] + slant[:, None, None] * y
    grid = torch.stack([from_x * 2 / width, from_y * 2 / height], dim=-1)
    return warp(pixels, grid, background).numpy()


def principal_components(rows: Rows, components: int) -> Rows:
    """The first principal components, (n, at most `components`), with a mean length of 1."""
    count = min(components, *rows.shape)
    result = PCA(count, svd_solver="covariance_eigh").fit_transform(rows)
    return normalize_mean_length(result.astype(np.float32))


def normalize_mean_length(rows: Rows) -> Rows:
    """`rows` divided by their mean length."""
    lengths = np.linalg.norm(rows, axis=1)
    return rows / max(float(lengths.mean()), EPSILON)


def affinity(rows: Rows, neighbors: int) -> sparse.csr_matrix:
    """Affinities in 0..1 of every row and its nearest neighbors, sparse and symmetric (n, n).

    A Gaussian kernel whose width is the product of both rows' distances to their farthest neighbor.
    """
    count = min(neighbors, len(rows) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(rows)
    distances, others = search.kneighbors()  # without the row itself

    scales = distances[:, -1] + EPSILON
    weights = np.exp(-(distances**2) / (scales[:, None] * scales[others]))

    n = len(rows)
    starts = np.arange(0, n * count + 1, count)
    links = sparse.csr_matrix((weights.ravel(), others.ravel(), starts), (n, n))
    return links.maximum(links.T)


def propagate_labels(
    links: sparse.csr_matrix, labels: Labels, num_classes: int, alpha: float
) -> Rows:
    """Class probabilities (n, num_classes) of all rows, from the labels of some (-1: unlabeled).

    A row that no label reaches gets equal probabilities. Class mass normalization (Zhu et al. 2003)
    made no difference and is left out.
    """
    library = LabelSpreading(
        kernel=lambda *_: links, alpha=alpha, max_iter=num_steps(alpha), tol=0.0
    )
    with warnings.catch_warnings():
        # The number of steps is fixed, so convergence is not expected.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # With few images, most of them labels: the library warns that this may be a regression.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        library.fit(np.arange(len(labels))[:, None], labels)

    result = np.full((len(labels), num_classes), 1 / num_classes, dtype=np.float32)
    reached = library.label_distributions_.sum(axis=1) > 0
    result[reached] = library.label_distributions_[reached]
    return result


def num_steps(alpha: float) -> int:
    """Propagation steps after which the weight alpha^steps of the labels is at most e^-2."""
    return int(np.ceil(2 / -np.log(alpha)))

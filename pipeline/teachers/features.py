"""Components of features, the graph of their nearest neighbors, and label propagation over it.

Images with similar edges are linked, and labels pass along the links, through images in between, to
styles that the labeled subset does not show. Sources: Zhou et al. (2004), "Learning with local and
global consistency", for the propagation, which is scikit-learn's; Zelnik-Manor and Perona (2004),
"Self-tuning spectral clustering", equation 2, for the local scale of each link.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

from pipeline.data.images import Labels
from pipeline.nn.hog import EPSILON, Rows


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

"""How often each real image is drawn while a generator is trained.

A generator learns what it is shown often; the shapes it leaves out are the rare ones, and they are
the ones that a classifier gets wrong. So rare images may be shown more often than they occur.

Source: Lee et al. (2021), "Self-Diagnosing GAN", which draws underrepresented images more often.
Deviation: an image is rare when its neighbors are far, which is known before training, not when the
discriminator finds it so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import LabeledImages, flat

RARE_SHARE = 0.2  # of each class
NEIGHBOR = 5  # which one's distance is taken, as in coverage
NUM_COMPONENTS = 40  # keep neighbors of digits as they are, at a twentieth of the time
MAX_FITTED = 5000  # images that decide the components


def sampling_weights(data: LabeledImages, rare_oversampling: float) -> NDArray[np.float64]:
    """How often to draw each image relative to the others, (n,): 1, or `rare_oversampling` of a
    rare one.

    Classes keep their shares. A class needs a few more images than the neighbor's rank for any of
    them to count as rare.
    """
    weights = np.ones(len(data))
    if rare_oversampling == 1:
        return weights
    from sklearn.decomposition import PCA  # slow to load

    fitted = flat(data.images[:: -(-len(data) // MAX_FITTED)])  # evenly: some sets are sorted
    components = PCA(min(NUM_COMPONENTS, *fitted.shape), svd_solver="covariance_eigh").fit(fitted)
    for label in np.unique(data.labels):
        of_class = np.flatnonzero(data.labels == label)
        num_rare = int(RARE_SHARE * len(of_class))
        if num_rare and len(of_class) > NEIGHBOR:
            distances = neighbor_distance(components.transform(flat(data.images[of_class])))
            rarest = np.argsort(-distances, kind="stable")[:num_rare]
            weights[of_class[rarest]] = rare_oversampling
            weights[of_class] *= len(of_class) / weights[of_class].sum()
    return weights


def neighbor_distance(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of each row (n, d) to its fifth nearest other row, (n,)."""
    from sklearn.neighbors import NearestNeighbors

    neighbors = NearestNeighbors(n_neighbors=NEIGHBOR + 1, algorithm="brute").fit(points)
    return np.asarray(neighbors.kneighbors(points)[0][:, NEIGHBOR])

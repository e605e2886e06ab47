"""Sampling weights of real images while a generator is trained.

A generator misses rare shapes first, and these are the ones that a classifier gets wrong. Rare
images may therefore be sampled more often than they occur.

Source: Lee et al. (2021), "Self-Diagnosing GAN", which samples underrepresented images more often.
Deviation: an image is rare if its neighbors are far away, which is known before training, not if
the discriminator scores it so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import LabeledImages, flat

RARE_SHARE = 0.2  # of each class
NEIGHBOR = 5  # rank of the neighbor whose distance counts, as in coverage
NUM_COMPONENTS = 40  # digits keep their neighbors, in a twentieth of the time
MAX_FITTED = 5000  # images that the components are fitted to


def sampling_weights(data: LabeledImages, rare_oversampling: float) -> NDArray[np.float64]:
    """Relative sampling weights (n,): `rare_oversampling` for rare images, 1 for the others.

    They are scaled so that every class keeps its share. A class needs more images than the
    neighbor's rank for any of them to count as rare.
    """
    weights = np.ones(len(data))
    if rare_oversampling == 1:
        return weights

    from sklearn.decomposition import PCA  # slow to load

    subset = flat(data.images[:: -(-len(data) // MAX_FITTED)])  # evenly: some sets are sorted
    components = PCA(min(NUM_COMPONENTS, *subset.shape), svd_solver="covariance_eigh").fit(subset)

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

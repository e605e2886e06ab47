"""Refuses labeled and unlabeled images that no teacher can learn from, before the training.

Works on pixels alone; knows no teacher.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.neighbors import NearestNeighbors

from pipeline.data.images import Images, LabeledImages, flat
from pipeline.runtime.errors import TrialError

MISMATCH_P = 1e-4  # level of the nearest-neighbor test
MISMATCH_RANK = 0.99  # of a mean rank; 0.5 for images of the same kind
MAX_RANKED = 500  # unlabeled images that give the reference distances
MIN_RANKED = 100  # with fewer, a rank says too little


def refuse_unusable(labeled: LabeledImages, unlabeled: Images) -> float:
    """Raise `TrialError` for images that no teacher can learn from; return their `distance_rank`.

    Refused are a class without a labeled image (see `refuse_missing_class`), an empty pool, and
    unlabeled images that are all of another kind than the labeled ones (see `_mismatch`). This does
    not detect a few images of unknown classes, or a pool of similar images such as other digits:
    `Teacher.ood_score` and `distance_rank` are for that.
    """
    refuse_missing_class(labeled)
    if len(unlabeled) == 0:
        raise TrialError(
            "the pool",
            "expected unlabeled images, found none besides the labeled subset",
            "lower study.budgets",
        )

    rows, others = flat(labeled.images), flat(unlabeled)
    rank = distance_rank(rows, others)
    if problem := _mismatch(rows, others, rank):
        raise TrialError(
            "the pool",
            f"expected unlabeled images like the labeled ones, found that {problem}: the "
            "others seem to have another distribution",
            "remove those images from the pool, or label some of every kind",
        )
    return rank


def refuse_missing_class(labeled: LabeledImages) -> None:
    """Raise `TrialError` if a class has no labeled image.

    The number of classes is that of `labeled` itself, so a missing last class goes unnoticed;
    `prepare` splits off a subset with every class.
    """
    counts = np.bincount(labeled.labels, minlength=labeled.num_classes if len(labeled) else 1)
    if (counts == 0).any():
        raise TrialError(
            labeled.source,
            f"expected a labeled image of every class, found none of class {int(counts.argmin())}",
            "label one, or leave the class out",
        )


def distance_rank(labeled: NDArray[np.float32], unlabeled: NDArray[np.float32]) -> float:
    """How far labeled rows lie from unlabeled ones, 0 to 1; 0.5 if both are of the same kind.

    The mean rank of the labeled rows' distances to the nearest unlabeled row, among the same
    distances of (at most `MAX_RANKED`) unlabeled rows to each other. For a pool of other digits
    than the labeled ones it is 0.7 to 1; so it can be if half of the pool is of unknown classes and
    much denser (LOG.md). With a single unlabeled row it is 0.5.
    """
    if len(unlabeled) < 2:
        return 0.5
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(unlabeled)

    # The reference: an unlabeled row's first neighbor is itself, the second is what counts.
    sample = np.linspace(0, len(unlabeled) - 1, min(MAX_RANKED, len(unlabeled)), dtype=int)
    reference = np.sort(nearest.kneighbors(unlabeled[sample])[0][:, 1])

    # Ties count half.
    distance = nearest.kneighbors(labeled, n_neighbors=1)[0][:, 0]
    below = np.searchsorted(reference, distance, "left")
    at_most = np.searchsorted(reference, distance, "right")
    return float((below + at_most).mean() / (2 * len(reference)))


def _mismatch(labeled: NDArray[np.float32], unlabeled: NDArray[np.float32], rank: float) -> str:
    """Why two sets of rows are of different kinds, as half a sentence; empty if they may be alike.

    Two tests. First, far more than half of the labeled rows have a labeled row as their nearest
    neighbor (after Schilling 1986; p below `MISMATCH_P` by a binomial, which takes 14 labeled
    rows). Second, labeled rows lie farther from the unlabeled ones than practically all of these
    lie from each other, or nearer (`rank`). Two labeled images per class cannot tell upright digits
    from a pool of rotated ones.
    """
    count = len(labeled)
    both = np.concatenate([labeled, unlabeled])
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(both)
    first, second = nearest.kneighbors(labeled, return_distance=False).T

    # A row is its own first neighbor, but for equal images, which may change places.
    neighbor = np.where(first == np.arange(count), second, first)
    num_labeled_neighbors = int((neighbor < count).sum())
    expected = max(0.5, count / len(both))  # more than half, if most of all images are labeled
    if binom.sf(num_labeled_neighbors - 1, count, expected) < MISMATCH_P:
        return (
            f"{num_labeled_neighbors} of {count} labeled images lie nearest to another labeled one"
        )

    if len(unlabeled) >= MIN_RANKED and max(rank, 1 - rank) > MISMATCH_RANK:
        word = "farther from" if rank > MISMATCH_RANK else "nearer to"
        return f"labeled images lie {word} the others than practically all of these do"
    return ""

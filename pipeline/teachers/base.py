"""The contract of a teacher: it learns from a labeled draw and from images without labels.

Its regime is therefore `labeled+unlabeled`. What it is told, it is told by its two inputs; no label
outside the draw can reach it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import binom
from sklearn.neighbors import NearestNeighbors
from torch import nn

from pipeline.config.validation import Section
from pipeline.data.images import Images, LabeledImages, flat
from pipeline.nn.weights import read_weights
from pipeline.runtime.errors import TrialError

MISMATCH_P = 1e-4
MISMATCH_RANK = 0.99  # a mean rank, 0.5 for images of one kind
RANKED = 500  # unlabeled images that others are ranked among
MIN_RANKED = 100  # fewer tell no such rank


class TeacherConfig(Section):
    """What every family needs."""

    # Least probability of its first choice for the filter `agreement`.
    min_probability: float = Field(ge=0, lt=1)
    # Share of the unlabeled images that get a label at all, the least strange ones.
    keep_frac: float = Field(gt=0, le=1)


class Teacher(ABC):
    """Fit once on a draw and on unlabeled images, then give class probabilities of any images.

    A subclass sets `network` in `fit` or `build`; its state is all there is to keep. The same
    configuration, seed and images give the same bits.
    """

    Config: ClassVar[type[TeacherConfig]]
    network: nn.Module

    def __init__(self, config: Any, seed: int) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def build(self, data: LabeledImages) -> None:
        """Set `network`, untrained, for images and classes like those of `data`."""

    @abstractmethod
    def fit(self, subset: LabeledImages, unlabeled: Images) -> Teacher:
        """Train from scratch, return self. Raises `DivergedError` when training does."""

    @abstractmethod
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, num_classes) for uint8 images (n, c, h, w); rows sum to 1."""

    def restore(self, data: LabeledImages, path: Path) -> Teacher:
        """Become the teacher whose weights are at `path`, of images like `data`; return self."""
        self.build(data)
        self.network.load_state_dict(read_weights(path))
        self.network.eval()
        return self

    def ood_score(self, images: Images, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """How unlike the known classes each image is, (n,), higher is stranger: doubt, here.

        `probabilities` are the teacher's class probabilities of the images.
        """
        return 1 - probabilities.max(axis=1)


def refuse_unusable(subset: LabeledImages, unlabeled: Images) -> float:
    """Raise `TrialError` for images that no teacher could make sense of; their `distance_rank`.

    No unlabeled images, a class without a labeled one (but for the last: how many there are, the
    draw alone says; `prepare` draws of every class), or unlabeled images of wholly another kind:
    see `_mismatch`. It is no test of whether some are foreign, or all of a like kind, such as
    other digits: `ood_score` and `distance_rank` are for that.
    """
    counts = np.bincount(subset.labels, minlength=subset.num_classes if len(subset) else 1)
    if (counts == 0).any():
        raise TrialError(
            subset.source,
            f"expected a labeled image of every class, found none of class {int(counts.argmin())}",
            "label one, or leave the class out",
        )
    if len(unlabeled) == 0:
        raise TrialError(
            "the pool",
            "expected unlabeled images, found none beside the draw",
            "lower study.budgets",
        )
    rows, others = flat(subset.images), flat(unlabeled)
    rank = distance_rank(rows, others)
    if problem := _mismatch(rows, others, rank):
        raise TrialError(
            "the pool",
            f"expected unlabeled images like the labeled ones, found that {problem}, as if the "
            "others were of another kind",
            "take the foreign images out of the pool, or label some of all kinds",
        )
    return rank


def distance_rank(labeled: NDArray[np.float32], unlabeled: NDArray[np.float32]) -> float:
    """How far labeled rows lie from unlabeled ones: 0.5 where all are of one kind, 1 at most.

    The mean rank of the distance to the nearest one among such distances of unlabeled ones, or of
    `RANKED` of them, to each other. In a pool of other digits than the labeled ones it is 0.7 to 1,
    as it may be where half the pool is foreign and lies much closer together (LOG.md). A single
    unlabeled row has no other: 0.5.
    """
    if len(unlabeled) < 2:
        return 0.5
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(unlabeled)
    sample = np.linspace(0, len(unlabeled) - 1, min(RANKED, len(unlabeled)), dtype=int)
    usual = np.sort(nearest.kneighbors(unlabeled[sample])[0][:, 1])  # the first is itself
    distance = nearest.kneighbors(labeled, n_neighbors=1)[0][:, 0]
    ranks = np.searchsorted(usual, distance, "left") + np.searchsorted(usual, distance, "right")
    return float(ranks.mean() / (2 * len(usual)))


def _mismatch(labeled: NDArray[np.float32], unlabeled: NDArray[np.float32], rank: float) -> str:
    """How two sets of rows differ wholly, as half a sentence; nothing where they may be alike.

    Either far more than half of the labeled ones lie nearest to another labeled one (after
    Schilling 1986; below one in ten thousand by a binomial, which takes 14 of them), or they lie
    farther from the others than practically all of these do from each other, or nearer (a rank
    among a sample).
    Two labeled images per class cannot tell upright digits from a pool of turned ones.
    """
    count = len(labeled)
    both = np.concatenate([labeled, unlabeled])
    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(both)
    first, second = nearest.kneighbors(labeled, return_distance=False).T
    other = np.where(first == np.arange(count), second, first)  # two equal images may change places
    alike = int((other < count).sum())
    most = max(0.5, count / len(both))  # where the draw is most of all images
    if binom.sf(alike - 1, count, most) < MISMATCH_P:
        return f"{alike} of {count} labeled images lie nearest to another labeled one"
    if len(unlabeled) < MIN_RANKED:
        return ""
    if max(rank, 1 - rank) > MISMATCH_RANK:
        word = "farther from" if rank > MISMATCH_RANK else "nearer to"
        return f"labeled images lie {word} the others than practically all of these do"
    return ""

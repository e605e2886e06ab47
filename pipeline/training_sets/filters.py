"""Filters: which images of a generator or a teacher an arm keeps.

A filter uses the class probabilities of a teacher, which learned from the labeled subset and, for
arms of that regime, from unlabeled images. The minimum probability is `tune.min_probability`, or
what the replicate chose from it, or the teacher's own. Knows no classifier and no teacher.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.data.images import Labels
from pipeline.runtime.errors import ParamsError

Keep = NDArray[np.bool_]
Filter = Callable[[Labels, NDArray[np.float32], float], Keep]


def agreement(labels: Labels, probabilities: NDArray[np.float32], min_probability: float) -> Keep:
    """Keep an image if its label is the most probable class and has at least `min_probability`."""
    agrees = probabilities.argmax(axis=1) == labels
    return agrees & (probabilities.max(axis=1) >= min_probability)


def everything(labels: Labels, probabilities: NDArray[np.float32], min_probability: float) -> Keep:
    """Keep every image."""
    return np.ones(len(labels), dtype=bool)


FILTERS: dict[str, Filter] = {
    "none": everything,
    "agreement": agreement,
}


def find_filter(name: str) -> Filter:
    """The filter called `name`; raises `ParamsError` when there is none."""
    if name not in FILTERS:
        raise ParamsError(
            "params.yaml: arms",
            f"expected a filter of {', '.join(FILTERS)}, found {name!r}",
            "use one of these names",
        )
    return FILTERS[name]

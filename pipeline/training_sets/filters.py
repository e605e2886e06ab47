"""Which synthetic images an arm keeps.

A filter judges by a teacher's class probabilities. The teacher was trained on the draw's labels
and, where the arm's regime says so, on unlabeled images. How sure it must be is
`tune.min_probability`, or what a replicate chose from it, or the teacher's own setting. Knows no
classifier: it receives probabilities.
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
    """Keep an image when the teacher's first choice is its label, with enough probability."""
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

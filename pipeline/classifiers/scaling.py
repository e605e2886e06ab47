"""Scales tables of features: distances and penalties then mean the same for every kind.

Knows no estimator and no image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scaling = Literal["kind", "column", "none"]
Table = NDArray[np.float64]


class Scaler:
    """Subtracts the means of the training table and divides by standard deviations.

    `column`: each column by its own, as scikit-learn's `StandardScaler`. `kind`: all columns of one
    table by the root of their mean variance, so that a pixel that hardly ever changes does not
    count as much as one in the middle of the image. `none`: tables stay as they are.
    """

    def __init__(self, tables: Sequence[NDArray[np.float32]], scaling: Scaling) -> None:
        """`tables` (n, d) are the features of the training images, one for each kind."""
        joined = _joined(tables)
        self.means = np.zeros(joined.shape[1])
        self.deviations = np.ones(joined.shape[1])
        if scaling == "none":
            return

        variances = joined.var(axis=0)
        if scaling == "kind":
            ends = np.cumsum([table.shape[1] for table in tables])[:-1]
            kinds = np.split(variances, ends)
            variances = np.concatenate([np.full(len(kind), kind.mean()) for kind in kinds])
        self.means = joined.mean(axis=0)
        self.deviations = np.sqrt(np.where(variances > 0, variances, 1.0))

    def __call__(self, tables: Sequence[NDArray[np.float32]]) -> Table:
        """The scaled `tables` (n, d) side by side."""
        return (_joined(tables) - self.means) / self.deviations


def _joined(tables: Sequence[NDArray[np.float32]]) -> Table:
    return np.concatenate(tables, axis=1).astype(np.float64)

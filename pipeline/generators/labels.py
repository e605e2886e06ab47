"""Labels as networks read them: whole ones, or shares of several classes between two of them.

Generators are trained on whole labels, int64 (n,). Shares, float (n, classes) with sum 1, exist to
draw what lies between two classes; a network that reads labels through this module takes either.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class LabelEmbedding(nn.Embedding):
    """Labels, or shares of the first classes, to vectors (n, d); of shares the weighted mean."""

    def forward(self, y: Tensor) -> Tensor:
        """See the class."""
        return y @ self.weight[: y.shape[1]] if y.is_floating_point() else super().forward(y)


def as_shares(y: Tensor, num_classes: int) -> Tensor:
    """Labels or shares as shares, float32 (n, num_classes)."""
    return y if y.is_floating_point() else functional.one_hot(y, num_classes).float()

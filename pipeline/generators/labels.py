"""Labels as networks read them: integers, or mixtures of several classes.

Generators are trained with integer labels, int64 (n,). A mixture, float (n, classes) with sum 1,
only serves to sample images between two classes. Networks that read labels through this module
accept both.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override


class LabelEmbedding(nn.Embedding):
    """Labels (n,) to vectors (n, d); a mixture gives the weighted mean of its classes' vectors."""

    @override
    def forward(self, y: Tensor) -> Tensor:
        # There may be more vectors than classes (`diffusion` has one for "no class").
        return y @ self.weight[: y.shape[1]] if y.is_floating_point() else super().forward(y)


def as_shares(y: Tensor, num_classes: int) -> Tensor:
    """Labels or mixtures as float32 (n, num_classes): one-hot, or unchanged."""
    return y if y.is_floating_point() else functional.one_hot(y, num_classes).float()

"""Mixup: images and labels are mixed with those of other images of the batch."""

from __future__ import annotations

from pydantic import Field
from torchvision.transforms import v2

from pipeline.config.validation import Section
from pipeline.nn.background import Background
from pipeline.nn.mixing import Mixing, from_library


class MixUpConfig(Section):
    """The argument of torchvision's class."""

    alpha: float = Field(default=0.2, gt=0, le=100)  # of the beta distribution of the shares


def mixup(config: MixUpConfig, background: Background) -> Mixing:
    """`torchvision.transforms.v2.MixUp`: one share per batch.

    Source: Zhang et al. (2018), "mixup: beyond empirical risk minimization", equation 1.
    """
    return from_library(lambda num_classes: v2.MixUp(alpha=config.alpha, num_classes=num_classes))

"""CutMix: a rectangle of every image is replaced by that of another image of the batch."""

from __future__ import annotations

from pydantic import Field
from torchvision.transforms import v2

from pipeline.config.validation import Section
from pipeline.nn.background import Background
from pipeline.nn.mixing import Mixing, from_library


class CutMixConfig(Section):
    """The argument of torchvision's class."""

    alpha: float = Field(default=1.0, gt=0, le=100)  # of the beta distribution of the area


def cutmix(config: CutMixConfig, background: Background) -> Mixing:
    """`torchvision.transforms.v2.CutMix`: one rectangle per batch; labels are mixed by its area.

    Source: Yun et al. (2019), "CutMix: regularization strategy to train strong classifiers with
    localizable features".
    """
    return from_library(lambda num_classes: v2.CutMix(alpha=config.alpha, num_classes=num_classes))

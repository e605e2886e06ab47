"""RandAugment: a few random operations of one strength."""

from __future__ import annotations

from pydantic import Field
from torchvision.transforms import InterpolationMode, v2

from pipeline.config.validation import Section
from pipeline.nn.augment import Transform
from pipeline.nn.background import Background
from pipeline.training_sets.transforms.library import per_image


class RandAugmentConfig(Section):
    """The arguments of torchvision's class."""

    num_ops: int = Field(default=2, ge=1, le=10)  # operations in sequence
    magnitude: int = Field(default=9, ge=0, le=30)  # strength of all operations


def randaugment(config: RandAugmentConfig, background: Background) -> Transform:
    """`torchvision.transforms.v2.RandAugment`, bilinear, for every image.

    Source: Cubuk et al. (2020), "RandAugment: practical automated data augmentation with a reduced
    search space".
    """
    return per_image(
        lambda fill: v2.RandAugment(
            config.num_ops, config.magnitude, interpolation=InterpolationMode.BILINEAR, fill=fill
        ),
        background,
    )

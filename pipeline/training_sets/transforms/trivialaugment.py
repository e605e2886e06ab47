"""TrivialAugment: one random operation of random strength."""

from __future__ import annotations

from pydantic import Field
from torchvision.transforms import InterpolationMode, v2

from pipeline.config.validation import Section
from pipeline.nn.augment import Transform
from pipeline.nn.background import Background
from pipeline.training_sets.transforms.library import per_image


class TrivialAugmentConfig(Section):
    """The argument of torchvision's class."""

    num_magnitude_bins: int = Field(default=31, ge=2, le=1000)  # strengths to sample from


def trivialaugment(config: TrivialAugmentConfig, background: Background) -> Transform:
    """`torchvision.transforms.v2.TrivialAugmentWide`, bilinear, for every image.

    Source: Mueller and Hutter (2021), "TrivialAugment: tuning-free yet state-of-the-art data
    augmentation", with the wide ranges of strength. Shifts are up to 32 pixels, for images of that
    size and more: at 8 x 8 one image in six has nothing but background.
    """
    return per_image(
        lambda fill: v2.TrivialAugmentWide(
            config.num_magnitude_bins, interpolation=InterpolationMode.BILINEAR, fill=fill
        ),
        background,
    )

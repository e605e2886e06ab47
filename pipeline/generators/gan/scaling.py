"""The sizes of the networks of `dcgan`, by a fixed rule from the shape of the images.

The rule leaves images of up to 28 x 28 pixels in gray as they are: the settings are tuned on these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.images import ImageSpec

DIGIT_VALUES = 28 * 28  # pixels times channels
MAX_START, MAX_END = 7, 4  # longer side where the generator begins and the discriminator ends
MIN_DOUBLINGS, MIN_HALVINGS = 2, 3


@dataclass(frozen=True)
class Scale:
    """The sizes of both networks, and whether the generator is augmented like real images.

    `start` is (h, w) where the generator begins, `generator_channels` are its widths from there on,
    and `discriminator_channels` those after each halving of the discriminator.
    """

    start: tuple[int, int]
    generator_channels: tuple[int, ...]
    discriminator_channels: tuple[int, ...]
    is_augmented: bool


def scale_of(
    generator_channels: Sequence[int], discriminator_channels: int, spec: ImageSpec
) -> Scale:
    """The scale for images of a shape, given the widths for digits.

    The generator begins where the longer side is at most 7 pixels, the discriminator ends where it
    is at most 4. The generator's layers that digits do not need come first and are twice as wide as
    the first one for digits; those of the discriminator come last and are as wide as its last one.
    In color the discriminator is a third wider. The generator is augmented if an image has more
    values than a digit.
    """
    shorter, longer = sorted((spec.height, spec.width))
    num_doublings = max(MIN_DOUBLINGS, math.ceil(math.log2(longer / MAX_START)))
    num_halvings = max(MIN_HALVINGS, math.ceil(math.log2((longer + 1) / (MAX_END + 1))))
    num_halvings = min(num_halvings, math.floor(math.log2(shorter)))  # one pixel has to be left

    wider = [2 * generator_channels[0]] * (num_doublings - MIN_DOUBLINGS)
    first = discriminator_channels
    if spec.channels > 1:
        first = 4 * first // 3

    factor = 2**num_doublings
    return Scale(
        (-(-spec.height // factor), -(-spec.width // factor)),
        (*wider, *generator_channels),
        tuple(first * min(4, 2**number) for number in range(num_halvings)),
        spec.channels * spec.height * spec.width > DIGIT_VALUES,
    )

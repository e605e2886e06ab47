"""A background is measured where there is one, and photos have none."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pipeline.data.background import measured_background, resolve_background
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.digits import Digits
from pipeline.data.datasets.toy import Toy
from pipeline.data.images import Background
from pipeline.runtime.errors import ParamsError


def plain(color: tuple[int, ...], noise: int = 0) -> np.ndarray:
    """100 images of one color with an object in the middle."""
    rng = np.random.default_rng(0)
    images = np.empty((100, len(color), 12, 10), dtype=np.int64)
    images[:] = np.array(color)[None, :, None, None]
    images += rng.integers(-noise, noise + 1, images.shape)
    images[:, :, 3:9, 3:7] = rng.integers(0, 256, (100, len(color), 6, 4))
    return images.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("dataset", [Toy, Digits])
def test_digits_and_toy_images_are_black_and_inverted_ones_white(
    dataset: type[Toy], root: Path
) -> None:
    images = dataset(BuiltIn(), root).load().images.images
    assert measured_background(images) == (0,)
    assert measured_background(255 - images) == (255,)


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ((0,), (0,)),
        ((250, 247, 255), (255,)),
        ((150, 150, 150), (150,)),
        ((200, 120, 40), (200, 120, 40)),
        ((3, 120, 251), (0, 120, 255)),
    ],
)
def test_the_color_of_the_borders_is_the_background(
    color: tuple[int, ...], expected: Background
) -> None:
    assert measured_background(plain(color)) == expected


def test_noise_on_the_background_does_not_hide_it() -> None:
    assert measured_background(plain((128, 60, 200), noise=8)) == (128, 60, 200)


def test_photos_have_no_background() -> None:
    rng = np.random.default_rng(0)
    brightness = rng.integers(0, 200, (50, 1, 1, 1))
    photos = (brightness + rng.integers(0, 50, (50, 3, 9, 9))).astype(np.uint8)
    assert measured_background(photos) is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("none", None), ("auto", (9 * 10,)), ([7], (7,)), ([7, 7, 7], (7,)), ([1, 2, 3], (1, 2, 3))],
)
def test_params_yaml_says_the_background_or_how_to_find_it(
    rule: Literal["auto", "none"] | list[int], expected: Background
) -> None:
    images = plain((90, 90, 90))
    assert resolve_background(rule, images) == expected


def test_a_list_for_other_channels_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"one value, or 3 .*found \[1, 2\]"):
        resolve_background([1, 2], plain((0, 0, 0)))
    with pytest.raises(ParamsError, match=r"expected one value, found \[1, 2, 3\]"):
        resolve_background([1, 2, 3], plain((0,)))


def test_only_the_part_inside_of_padding_is_measured() -> None:
    images = plain((90,))
    images[:, :, 2:] = 200
    boxes = np.tile([2, 0, images.shape[2] - 2, images.shape[3]], (len(images), 1))
    assert measured_background(images, boxes) == (200,)

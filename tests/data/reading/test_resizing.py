"""Three policies bring images of any shape to one size, and say what that costs."""

from __future__ import annotations

import numpy as np
import pytest
from folders import photo

from pipeline.config.schema import ResizeParams
from pipeline.data.reading.resizing import (
    border_color,
    boxes_of,
    cost,
    refuse_size,
    resize,
    resize_all,
)
from pipeline.runtime.errors import DataError

POLICIES = ("crop", "pad", "stretch")


def params(size, policy: str) -> ResizeParams:
    return ResizeParams(size=size, policy=policy)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [(40, 32), (31, 97), (7, 5), (300, 4), (16, 24), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_shape_becomes_the_one_that_is_asked_for(policy, shape, channels) -> None:
    found = resize(photo(0, *shape, channels), params((16, 24), policy))
    assert found.pixels.shape == (16, 24, channels)
    assert found.pixels.dtype == np.uint8
    assert 0 <= found.lost_area < 1
    assert found.lost_area == 0 or policy == "crop"


@pytest.mark.parametrize("policy", POLICIES)
def test_an_image_of_that_size_is_unchanged(policy: str) -> None:
    pixels = photo(0, 16, 24)
    np.testing.assert_array_equal(resize(pixels, params((16, 24), policy)).pixels, pixels)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_plain_color_stays_that_color(policy: str) -> None:
    found = resize(np.full((50, 20, 3), 77, np.uint8), params(16, policy)).pixels
    assert np.unique(found).tolist() == [77]


def halves() -> np.ndarray:
    """64 high, 32 wide: the upper and lower quarter white, the middle black with a white border."""
    pixels = np.full((64, 32, 1), 255, np.uint8)
    pixels[16:48] = 0
    return pixels


def test_crop_takes_the_middle() -> None:
    found = resize(halves(), params(32, "crop"))
    assert not found.pixels.any()
    assert found.lost_area == 0.5


def test_stretch_shows_all() -> None:
    found = resize(halves(), params(32, "stretch"))
    rows = found.pixels[:, 0, 0]
    assert rows[0] == rows[-1] == 255
    assert rows[16] == 0


def test_pad_keeps_the_aspect_and_fills_with_the_border_color() -> None:
    pixels = np.full((64, 32, 3), (10, 200, 30), np.uint8)
    pixels[8:56, 4:28] = 0
    found = resize(pixels, params(32, "pad")).pixels
    assert (found[:, :8] == [10, 200, 30]).all()
    assert (found[:, 24:] == [10, 200, 30]).all()
    assert found[16, 16].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(border_color(pixels), [10, 200, 30])


def test_stripes_finer_than_a_pixel_become_gray_and_no_pattern() -> None:
    stripes = np.zeros((256, 256, 1), np.uint8)
    stripes[:, ::2] = 255
    for policy in POLICIES:
        found = resize(stripes, params(24, policy)).pixels.astype(int)
        assert np.abs(found[2:-2, 2:-2] - 127).max() <= 12


@pytest.mark.parametrize(
    ("policy", "shape", "enlarged"),
    [
        ("crop", (40, 16), True),
        ("pad", (40, 16), False),
        ("stretch", (40, 16), True),
        ("crop", (40, 33), False),
        ("pad", (20, 16), True),
        ("stretch", (32, 32), False),
    ],
)
def test_enlarging_is_told(policy: str, shape: tuple[int, int], enlarged: bool) -> None:
    assert resize(photo(0, *shape), params(32, policy)).enlarged == enlarged


def test_the_record_counts_what_was_lost() -> None:
    crop = params(16, "crop")
    images = np.stack([np.moveaxis(photo(at, 20, 40), 2, 0) for at in range(3)])
    pixels, results = resize_all(images, crop)
    assert pixels.shape == (3, 3, 16, 16)
    assert cost(crop, results) == {
        "size": [16, 16],
        "policy": "crop",
        "num_enlarged": 0,
        "num_cropped_much": 3,
        "mean_lost_area": 0.5,
    }
    assert cost(None, results) is None


@pytest.mark.parametrize("shape", [(3, 20), (20, 129)])
def test_a_size_that_no_model_takes_is_refused_with_the_key(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"resize: \{size: 32\}"):
        refuse_size("cat/1.png", *shape)


@pytest.mark.parametrize(
    ("channels", "background", "expected"),
    [
        (1, (255,), [255]),
        (3, (9,), [9, 9, 9]),
        (3, (1, 2, 3), [1, 2, 3]),
        (1, (1, 2, 3), [1, 2, 3]),
    ],
)
def test_pad_fills_with_a_background_that_is_given(channels, background, expected) -> None:
    pixels = photo(0, 64, 32, channels)
    found = resize(pixels, params(32, "pad"), background=background)
    assert found.box == (0, 8, 32, 16)
    assert (found.pixels[:, :8] == expected).all()
    assert (found.pixels[:, 24:] == expected).all()
    inside = resize(pixels, params(32, "pad")).pixels[:, 8:24]
    assert (found.pixels[:, 8:24] == inside).all()


def test_boxes_are_whole_images_beside_padded_ones() -> None:
    pad = params(32, "pad")
    results = [resize(photo(0, 64, 32), pad).box, resize(photo(0, 32, 32), pad).box]
    boxes = boxes_of(pad, results)
    assert boxes is not None
    assert boxes.tolist() == [[0, 8, 32, 16], [0, 0, 32, 32]]
    assert boxes_of(pad, [None]) is None
    assert boxes_of(None, []) is None

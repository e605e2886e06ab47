"""Transforms keep range and shape; the batched affine is torchvision's, image by image."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference
from transform_sections import OTHERS, SECTIONS

from pipeline.data.images import BLACK
from pipeline.nn.augment import AffineConfig, affine, inverse_affine
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.training_sets.transforms.building import build_transform, transform_spec

NAMES = [name for name in TRANSFORMS if name not in OTHERS]
STILL = AffineConfig(degrees=0, translate=0, scale=0, shear=0)
MOVED = AffineConfig(degrees=20, translate=0.1, scale=0.1, shear=5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(n: int, channels: int, height: int, width: int) -> Tensor:
    """Blobs without sharp edges, (n, channels, height, width) in 0..1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    spots = torch.rand((n, channels, 2), generator=generator(1)) * 0.4 + 0.3
    down = (rows / height - spots[..., 0, None, None]) ** 2
    across = (columns / width - spots[..., 1, None, None]) ** 2
    return torch.exp(-12 * (down + across))


def interior(images: Tensor) -> Tensor:
    return images[..., 2:-2, 2:-2]


@pytest.mark.parametrize("shape", [(6, 1, 28, 28), (6, 3, 20, 32), (6, 1, 8, 8)])
@pytest.mark.parametrize(
    "config",
    [
        AffineConfig(degrees=30, translate=0, scale=0, shear=0),
        AffineConfig(degrees=0, translate=0.2, scale=0, shear=0),
        AffineConfig(degrees=0, translate=0, scale=0.3, shear=0),
        AffineConfig(degrees=0, translate=0, scale=0, shear=25),
        AffineConfig(degrees=180, translate=0.15, scale=0.2, shear=15),
    ],
)
def test_each_image_of_a_batch_is_moved_as_torchvision_would(
    config: AffineConfig, shape: tuple[int, ...]
) -> None:
    images = smooth(*shape)
    moved = affine(config, BLACK)(images, generator(3))
    subsets = torch.rand((5, shape[0]), generator=generator(3)) * 2 - 1
    for position in range(shape[0]):
        angle, shear, scale, right, down = subsets[:, position].tolist()
        expected = reference.affine(
            images[position],
            angle=angle * config.degrees,
            translate=[
                right * config.translate * shape[3],
                down * config.translate * shape[2],
            ],
            scale=1 + scale * config.scale,
            shear=[shear * config.shear, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(interior(moved[position]), interior(expected), atol=1e-4, rtol=0)


@given(
    angle=st.floats(-180, 180),
    shear=st.floats(-60, 60),
    scale=st.floats(0.2, 3),
    right=st.floats(-10, 10),
    down=st.floats(-10, 10),
)
def test_the_matrix_undoes_translate_rotate_shear_scale_about_the_center(
    angle: float, shear: float, scale: float, right: float, down: float
) -> None:
    height, width = 20, 32
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = torch.tensor([[cos, -sin], [sin, cos]])
    slant = torch.tensor([[1, -math.tan(math.radians(shear))], [0, 1]])
    half = torch.tensor([width / 2, height / 2])
    point = torch.tensor([3.0, -4.0])
    there = turn @ slant @ (scale * point) + torch.tensor([right, down])
    matrix = inverse_affine(
        torch.tensor([math.radians(angle)]),
        torch.tensor([math.radians(shear)]),
        torch.tensor([scale]),
        torch.tensor([[right], [down]]),
        (height, width),
    )
    back = matrix[0] @ torch.cat([there / half, torch.ones(1)])
    torch.testing.assert_close(back * half, point, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (4, 3, 9, 13)])
def test_ranges_of_zero_change_nothing(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=generator())
    torch.testing.assert_close(affine(STILL, BLACK)(images, generator()), images, atol=1e-5, rtol=0)


def test_every_image_of_a_batch_gets_a_draw_of_its_own() -> None:
    same = smooth(1, 1, 28, 28).expand(5, -1, -1, -1)
    moved = affine(MOVED, BLACK)(same, generator())
    for position in range(1, 5):
        assert (moved[position] - moved[0]).abs().max() > 0.05


def test_all_channels_of_an_image_move_together() -> None:
    images = smooth(4, 1, 16, 16).expand(-1, 3, -1, -1)
    moved = affine(MOVED, BLACK)(images, generator())
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])


@pytest.fixture
def transform(name: str) -> Any:
    return build_transform(transform_spec(name, SECTIONS), BLACK)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (5, 3, 9, 13), (1, 1, 8, 8)])
def test_a_transform_keeps_shape_kind_and_range(transform: Any, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=generator()).round()
    moved = transform(images, generator())
    assert moved.shape == images.shape
    assert moved.dtype == images.dtype
    assert moved.min() >= 0
    assert moved.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_transform_depends_on_its_generator_alone(transform: Any) -> None:
    images = smooth(5, 1, 28, 28)
    before, state = images.clone(), torch.get_rng_state()
    first = transform(images, generator(1))
    torch.manual_seed(99)
    assert torch.equal(transform(images, generator(1)), first)
    assert not torch.equal(transform(images, generator(2)), first)
    assert torch.equal(images, before)
    torch.set_rng_state(state)
    transform(images, generator(1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_matter(transform: Any) -> None:
    images = smooth(5, 3, 12, 12)
    other = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(transform(other, generator()), transform(images, generator()))


def test_none_is_no_transform() -> None:
    assert transform_spec("none", {}) is None
    assert build_transform(None, BLACK) is None

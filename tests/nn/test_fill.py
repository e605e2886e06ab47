"""Transforms and networks treat a drawing and its negative alike, and black images as ever."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transform_sections import MOVING, SECTIONS

from pipeline.data.images import BLACK, Background
from pipeline.nn.augment import (
    AffineConfig,
    ElasticConfig,
    affine,
    affine_grid,
    elastic,
    shared_affine,
)
from pipeline.nn.background import relative
from pipeline.training_sets.transforms.building import build_transform, transform_spec

WHITE: Background = (255,)
PHOTO: Background = None
MOVED = AffineConfig(degrees=30, translate=0.2, scale=0.2, shear=10)
CUT = ElasticConfig(degrees=30, translate=0.2, scale=0.2, shear=10, bend=0.05, cutout=0.7)
LEVEL = 1 / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, channels: int = 1, size: int = 12) -> Tensor:
    return torch.rand((n, channels, size, size), generator=generator(5))


def transforms(background: Background) -> dict[str, Any]:
    """Every transform that moves pixels, and with all that moves much into view."""
    found = {name: build_transform(transform_spec(name, SECTIONS), background) for name in MOVING}
    assert all(found.values())
    return {
        **found,
        "moved": affine(MOVED, background),
        "cut": elastic(CUT, background),
        "shared": lambda images, _: shared_affine(MOVED, images, 3, background),
    }


NAMES = [*MOVING, "moved", "cut", "shared"]
every = pytest.mark.parametrize("name", NAMES)


def test_black_images_are_sampled_with_zeros_to_the_bit() -> None:
    images = noise(9, 3)
    for config, transform in ((MOVED, affine(MOVED, BLACK)), (CUT, affine(CUT, (0, 0, 0)))):
        grid = affine_grid(config, images.shape, generator())
        expected = functional.grid_sample(images, grid, align_corners=False)
        assert torch.equal(transform(images, generator()), expected)
    only_cut = ElasticConfig(cutout=0.7)
    cut, uncut = (
        elastic(config, BLACK)(images, generator()) for config in (only_cut, ElasticConfig())
    )
    assert ((cut == uncut) | (cut == 0)).all()
    assert (cut == 0).any()


@pytest.mark.parametrize("background", [(0,), (255,), (100,), (250, 128, 3)])
@every
def test_an_empty_image_stays_empty(name: str, background: tuple[int, ...]) -> None:
    empty = torch.tensor(background).div(255)[:, None, None].expand(40, -1, 16, 12)
    assert torch.equal(transforms(background)[name](empty, generator()), empty)


@every
def test_negatives_become_the_negatives_of_the_results(name: str) -> None:
    images = noise(20)
    result = transforms(BLACK)[name](images, generator())
    negative = transforms(WHITE)[name](1 - images, generator())
    torch.testing.assert_close(negative, 1 - result, atol=LEVEL, rtol=0)
    assert (1 - negative - images).abs().mean() > 0.01


@every
def test_a_photo_is_continued_with_its_own_pixels(name: str) -> None:
    photos = 0.3 + 0.4 * noise(60, 3)
    moved = transforms(PHOTO)[name](photos, generator())
    assert moved.shape == photos.shape
    assert moved.min() >= photos.min() - LEVEL
    assert moved.max() <= photos.max() + LEVEL
    if name not in ("cut", "erasing"):  # no wedge of one color in any corner
        for rows in (slice(0, 3), slice(-3, None)):
            for columns in (slice(0, 3), slice(-3, None)):
                assert (moved[:, :, rows, columns].flatten(2).std(dim=2) > 1e-3).all()


@pytest.mark.parametrize("background", [(250, 128, 3), (40,), PHOTO])
def test_an_erased_square_has_the_color_of_the_background_or_of_the_photo(
    background: Background,
) -> None:
    photos = 0.3 + 0.4 * noise(60, 3)
    only_cut = ElasticConfig(cutout=0.9)
    warped = elastic(ElasticConfig(), background)(photos, generator())
    cut = elastic(only_cut, background)(photos, generator())
    mean = warped.mean((2, 3), keepdim=True)
    color = mean if background is None else torch.tensor(background).div(255)[:, None, None]
    changed = (cut != warped).any(dim=1, keepdim=True)
    assert changed.any()
    torch.testing.assert_close(cut, torch.where(changed, color, warped))


def test_only_a_color_other_than_black_is_subtracted_and_no_weight_is_added() -> None:
    assert relative(BLACK) == relative((0, 0, 0)) == relative(PHOTO) == []
    layer = nn.Sequential(*relative((255, 128, 0)))
    empty = torch.tensor([255, 128, 0]).div(255)[:, None, None].expand(2, -1, 4, 4)
    assert not layer(empty).any()
    assert not layer.state_dict()

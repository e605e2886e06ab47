"""The sizes of `dcgan`, which follow from the shape of the images, and its augmented generator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from pipeline.data.images import Background, ImageSpec
from pipeline.generators.base import create
from pipeline.generators.gan.dcgan import DCGAN, DCGANConfig, mode_seeking, pair_distance
from pipeline.generators.gan.random_affine import NUM_PARAMETERS, RandomAffine
from pipeline.generators.gan.scaling import MAX_END, MAX_START
from pipeline.nn.augment import AffineConfig

SIDES = (8, 15, 28, 32, 40, 64, 128)
NARROW = {"generator_channels": [8, 4], "discriminator_channels": 4, "features": 8}
MOVED = AffineConfig(degrees=20, translate=0.15, scale=0.1, shear=8)
DIGITS, PHOTOS = ImageSpec(1, 28, 28, 10), ImageSpec(3, 32, 32, 3, None)


def built(spec: ImageSpec, **changes: object) -> DCGAN:
    config = DCGANConfig.model_validate({**NARROW, **changes})
    generator = create(DCGAN, config, spec, 0)
    assert isinstance(generator, DCGAN)
    return generator


def test_digits_get_the_sizes_of_the_settings() -> None:
    config = DCGANConfig()
    for side in (8, 28):
        scale = config.scale(ImageSpec(1, side, side, 10))
        assert scale.start == (side // 4, side // 4)
        assert [*scale.generator_channels] == config.generator_channels
        assert scale.discriminator_channels == (24, 48, 96)
        assert not scale.is_augmented


def test_networks_grow_with_the_images() -> None:
    scales = [DCGANConfig().scale(ImageSpec(3, side, side, 10)) for side in (28, 32, 64, 128)]
    assert [len(scale.generator_channels) for scale in scales] == [2, 3, 4, 5]
    assert [len(scale.discriminator_channels) for scale in scales] == [3, 3, 4, 5]
    assert all(scale.is_augmented for scale in scales)


@pytest.mark.parametrize(("height", "width"), list(itertools.product(SIDES, SIDES)))
def test_every_shape_begins_and_ends_small(height: int, width: int) -> None:
    scale = DCGANConfig().scale(ImageSpec(1, height, width, 2))
    doublings = len(scale.generator_channels)  # the last one is a pixel shuffle
    assert max(scale.start) <= MAX_START
    for start, side in zip(scale.start, (height, width), strict=True):
        assert side <= start * 2**doublings
    halvings = len(scale.discriminator_channels)
    shortest_end = min(height, width) >> halvings
    assert shortest_end >= 1
    assert shortest_end == 1 or max(height, width) >> halvings <= MAX_END


@pytest.mark.parametrize("channels", [[8, 4], [8, 4, 4]])
@pytest.mark.parametrize("spec", [DIGITS, PHOTOS, ImageSpec(3, 40, 33, 2), ImageSpec(1, 64, 8, 2)])
def test_images_have_the_shape_of_the_real_ones(spec: ImageSpec, channels: list[int]) -> None:
    generator = built(spec, generator_channels=channels)
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        images = generator.generator_net(generator.noise([1, 2]), labels)
        scores = generator.discriminator(images, labels)
    assert images.shape == (2, spec.channels, spec.height, spec.width)
    assert scores.shape == (2,)


def test_only_the_generator_of_larger_images_is_augmented() -> None:
    assert built(DIGITS).random_affine is None
    assert built(PHOTOS, augmentation={}).random_affine is not None
    nothing = {"degrees": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0}
    assert built(PHOTOS, augmentation=nothing).random_affine is None

    generator = built(PHOTOS)
    noise = generator.noise([1, 1])
    assert noise.shape[1] == generator.config.latent_dim + NUM_PARAMETERS
    noise[1, -NUM_PARAMETERS:] = 0
    generator.generator_net.eval()
    with torch.no_grad():
        moved, still = generator.generator_net(noise, torch.tensor([0, 0]))
        unchanged = generator.base_net(noise[1:, :-NUM_PARAMETERS], torch.tensor([0]))[0]
    torch.testing.assert_close(still, unchanged, atol=1e-5, rtol=0)
    assert (moved - still).abs().max() > 0.01


@pytest.mark.parametrize(("spec", "count"), [(DIGITS, 0), (PHOTOS, NUM_PARAMETERS)])
def test_another_deviation_of_the_noise_leaves_the_augmentation_as_it_is(
    spec: ImageSpec, count: int
) -> None:
    generator = built(spec)
    plain, wide = generator.noise([1, 2]), generator.noise([1, 2], std=1.5)
    end = generator.noise_dim - count
    assert torch.equal(wide[:, :end], 1.5 * plain[:, :end])
    assert torch.equal(wide[:, end:], plain[:, end:])


@pytest.mark.parametrize("background", [(0,), (255,), None])
def test_a_change_of_zero_is_none_and_gradients_reach_the_images(background: Background) -> None:
    images = torch.rand((4, 1, 12, 9), requires_grad=True)
    change = RandomAffine(MOVED, background)
    torch.testing.assert_close(change(images, torch.zeros(4, NUM_PARAMETERS)), images)
    change(images, torch.ones(4, NUM_PARAMETERS)).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0


def test_changes_stay_within_their_ranges_and_fill_them() -> None:
    ramp = torch.linspace(-1, 1, 101).expand(1, 1, 101, 101)  # the gray level is the place
    change = RandomAffine(AffineConfig(translate=0.2), None)
    far = torch.zeros(2, NUM_PARAMETERS)
    far[:, 3] = torch.tensor([9.0, -9.0])
    right, left = change(ramp.expand(2, -1, -1, -1), far)[:, 0, 50, 50]
    assert math.isclose(right, -0.404, abs_tol=0.01)
    assert math.isclose(left, 0.404, abs_tol=0.01)

    shifts = change(ramp.expand(500, -1, -1, -1), torch.randn(500, NUM_PARAMETERS))[:, 0, 50, 50]
    share = (shifts.abs() < 0.202).float().mean()  # half of a uniform distribution
    assert 0.4 < share < 0.6


def test_mode_seeking_does_not_drive_images_beyond_the_distance_of_real_ones() -> None:
    images = torch.rand((4, 3, 8, 8), requires_grad=True)
    z = torch.randn(4, 5)
    assert mode_seeking(z, images, 9.0) == mode_seeking(z, images)
    mode_seeking(z, images, 0.01).backward()
    assert images.grad is not None
    assert not images.grad.any()


def test_the_distance_of_pairs_is_within_classes() -> None:
    levels = torch.tensor([0.0, 5.0, 1.0, 7.0])[:, None, None, None].expand(-1, 1, 4, 4)
    assert pair_distance(levels, torch.tensor([0, 1, 0, 1])) == pytest.approx(1.5)
    assert pair_distance(levels, torch.arange(4)) == math.inf

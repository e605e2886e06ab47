"""Generators learn drawings on any background, and photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.validation import Member
from pipeline.data.images import BLACK, Images, ImageSpec, LabeledImages
from pipeline.generators import GENERATORS
from pipeline.generators.base import create
from pipeline.generators.cvae import CVAE, cross_entropy, squared_error
from pipeline.generators.fit import augmenter, fit
from pipeline.generators.sampling import sample_classes
from pipeline.nn.augment import AffineConfig, affine
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.seeds import numpy_rng

MOVED = AffineConfig(degrees=20, translate=0.15, scale=0.1, shear=8)


def strokes(count: int = 60) -> LabeledImages:
    """White strokes on black, away from the borders: one, two or three."""
    images = np.zeros((count, 1, 16, 16), np.uint8)
    labels = np.arange(count) % 3
    places = numpy_rng("strokes").integers(3, 5, (count, 2))
    for image, label, (row, column) in zip(images, labels, places, strict=True):
        for number in range(label + 1):
            image[0, row : row + 8, column + 3 * number : column + 3 * number + 2] = 230
    return LabeledImages(images, labels)


def dark_border_share(images: Images) -> float:
    border = np.ones(images.shape[2:], dtype=bool)
    border[1:-1, 1:-1] = False
    return float((images[:, :, border] < 128).mean())


def test_the_augmentation_of_black_images_is_the_same_to_the_bit() -> None:
    images = torch.from_numpy(strokes().images).float().div(127.5).sub(1)
    torch.manual_seed(3)
    result = augmenter(MOVED, BLACK)(images)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(result, affine(MOVED, BLACK)(images.add(1), generator).sub(1))


def test_the_augmentation_of_a_negative_is_the_negative_of_the_augmentation() -> None:
    images = torch.from_numpy(strokes().images).float().div(127.5).sub(1)
    torch.manual_seed(3)
    result = augmenter(MOVED, BLACK)(images)
    torch.manual_seed(3)
    torch.testing.assert_close(augmenter(MOVED, (255,))(-images), -result)


def test_images_synthesized_from_black_on_white_have_no_dark_borders(
    sections: dict[str, Member], tmp_path: Path
) -> None:
    upright = strokes()
    data = replace(upright, images=255 - upright.images, background=(255,))
    section = {**sections["dcgan"], "steps": 150, "augmentation": MOVED}
    family = GENERATORS["dcgan"]
    with deterministic():
        generator = create(family, family.Config.model_validate(section), data.spec(), 0)
        fit(generator, data, 0, tmp_path)
        synthetic = sample_classes(generator, 40, 0)
    assert synthetic.background == (255,)
    assert (synthetic.images < 100).any()
    assert dark_border_share(data.images) == 0
    assert dark_border_share(synthetic.images) < 0.01


def test_a_drawing_is_as_likely_as_its_negative() -> None:
    real, images = (torch.rand((5, 1, 8, 8)) * 2 - 1 for _ in range(2))
    for loss in (cross_entropy, squared_error):
        torch.testing.assert_close(loss(-images, -real), loss(images, real))


@pytest.mark.parametrize(
    ("channels", "background", "is_drawing"),
    [(1, BLACK, True), (1, (255,), True), (1, None, False), (3, (255,), False), (3, None, False)],
)
def test_pixels_of_gray_drawings_are_probabilities_and_others_are_levels(
    channels: int, background: tuple[int, ...] | None, is_drawing: bool, sections: dict[str, Member]
) -> None:
    spec = ImageSpec(channels, 16, 16, 3, background)
    model = CVAE(CVAE.Config.model_validate(sections["cvae"]), spec)
    assert model.negative_log_likelihood is (cross_entropy if is_drawing else squared_error)


def test_the_normal_likelihood_is_that_of_the_most_likely_variance() -> None:
    real, images = (
        torch.rand((5, 3, 8, 8), generator=torch.Generator().manual_seed(k)) for k in (1, 2)
    )
    sigma = (images - real).square().mean().sqrt()
    density = torch.distributions.Normal(images, sigma).log_prob(real).flatten(1).sum(1).mean()
    constant = 3 * 8 * 8 / 2 * (1 + np.log(2 * np.pi))
    assert squared_error(images, real) == pytest.approx(-density.item() - constant, rel=1e-3)

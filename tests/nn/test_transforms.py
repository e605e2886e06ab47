"""Families of transforms: what the library does, image by image; parts, mixed labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as library
from transform_sections import SECTIONS

from pipeline.config.schema import TransformParams
from pipeline.data.images import BLACK
from pipeline.nn.mixing import Mixing, apply_transform
from pipeline.runtime.errors import ParamsError
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.training_sets.transforms.building import build_transform, find_choice, named_spec

SHAPES = [(6, 1, 8, 8), (6, 3, 9, 13), (6, 1, 28, 28)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=generator(5))


def built(**settings: Any) -> Any:
    section = TransformParams(**settings)
    return build_transform(named_spec("one", {**SECTIONS, "one": section}), BLACK)


def test_every_family_has_settings_here() -> None:
    assert set(SECTIONS) == set(TRANSFORMS)


@pytest.mark.parametrize("shape", SHAPES)
def test_flips_are_those_of_the_library(shape: tuple[int, ...]) -> None:
    images = noise(shape)
    sideways = built(family="flip", horizontal=1.0, vertical=0.0)(images, generator())
    upside_down = built(family="flip", horizontal=0.0, vertical=1.0)(images, generator())
    assert torch.equal(sideways, library.horizontal_flip(images))
    assert torch.equal(upside_down, library.vertical_flip(images))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("key", ["brightness", "contrast", "saturation", "hue"])
def test_colors_change_as_in_the_library(key: str, shape: tuple[int, ...]) -> None:
    images = noise(shape)
    changed = built(family="color", **{key: 0.5})(images, generator(3))
    uniform = torch.rand((4, shape[0]), generator=generator(3)) * 2 - 1
    row = uniform[["brightness", "contrast", "saturation", "hue"].index(key)] * 0.5
    for image, result, value in zip(images, changed, row.tolist(), strict=True):
        adjust = getattr(library, f"adjust_{key}")
        expected = adjust(image, value if key == "hue" else 1 + value)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    images = noise((4, 3, 9, 13))
    same = built(family="crop")(images, generator())
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)


def test_a_padded_crop_moves_the_image_within_the_padding() -> None:
    images = torch.ones((50, 1, 10, 10))
    moved = built(family="crop", padding=0.2)(images, generator())
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(moved[inside], images[inside])
    assert (moved[:, :, 0, :] == 0).any()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("shape", SHAPES)
def test_mixed_labels_are_shares_of_the_mixed_images(name: str, shape: tuple[int, ...]) -> None:
    labels = torch.arange(shape[0])
    images = labels.float()[:, None, None, None].div(10).expand(shape).clone()
    mixed, targets = apply_transform(
        build_transform(named_spec(name, SECTIONS), BLACK), images, labels, 10, generator(2)
    )
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(shape[0]))
    # An image of one gray level: its mean is the mean of the levels, weighted by the shares.
    expected = (targets * torch.arange(10).div(10)).sum(dim=1)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), expected, atol=1e-5, rtol=0)
    again = apply_transform(
        build_transform(named_spec(name, SECTIONS), BLACK), images, labels, 10, generator(2)
    )
    assert torch.equal(again[0], mixed)


def test_a_sequence_applies_its_parts_in_order_with_one_stream() -> None:
    images = noise((5, 3, 12, 12))
    stream = generator(7)
    expected = images
    for part in ("affine", "color"):
        expected = build_transform(named_spec(part, SECTIONS), BLACK)(expected, stream)
    result = built(family="sequence", of=["affine", "color"])(images, generator(7))
    assert torch.equal(result, expected)


def test_a_sequence_mixes_labels_only_at_its_end() -> None:
    assert isinstance(built(family="sequence", of=["affine", "mixup"]), Mixing)
    for of, words in (
        (["mixup", "affine"], "the transform that mixes labels to be last, found mixup, affine"),
        (["mixup", "cutmix"], "at most one transform that mixes labels, found mixup, cutmix"),
    ):
        with pytest.raises(ParamsError, match=rf"transforms.one.of: expected {words}\. Fix: "):
            built(family="sequence", of=of)


def test_a_transform_is_made_of_simpler_ones() -> None:
    for key, settings in (
        ("of", {"family": "sequence", "of": ["sequence"]}),
        ("of", {"family": "sequence", "of": ["one"]}),
        ("of", {"family": "sequence", "of": ["tuned"]}),
        ("choices", {"family": "tuned", "choices": ["none", "tuned"]}),
        ("choices", {"family": "tuned", "choices": ["none", "one"]}),
    ):
        kinds = "not sequences and not tuned" if key == "of" else "not tuned"
        words = f"transforms.one.{key}: expected transforms that are {kinds}, found "
        with pytest.raises(ParamsError, match=words):
            built(**settings)
    with pytest.raises(ParamsError, match="`none` as one of the choices, found affine, flip"):
        built(family="tuned", choices=["affine", "flip"])


def test_an_unknown_part_is_refused_with_the_names_that_are_allowed() -> None:
    leaves = [name for name in SECTIONS if name not in ("sequence", "tuned")]
    for settings, allowed in (
        ({"family": "sequence", "of": ["afine"]}, leaves),
        ({"family": "tuned", "choices": ["none", "afine"]}, ["none", *leaves, "sequence"]),
    ):
        expected = f"expected one of {', '.join(allowed)}, found 'afine' .did you mean affine"
        with pytest.raises(ParamsError, match=expected):
            built(**settings)


def test_a_choice_is_one_of_the_parts() -> None:
    spec = named_spec("tuned", SECTIONS)
    assert find_choice(spec, "none") is None
    for name in ("affine", "sequence"):
        assert find_choice(spec, name) == named_spec(name, SECTIONS)

"""Interpolated images lie between neighbors of their class."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.images import LabeledImages, digest
from pipeline.training_sets.smote import interpolated


def a_subset(*sizes: int, channels: int = 3) -> LabeledImages:
    """Random images, `sizes` of the classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = rng.integers(0, 256, (len(labels), channels, 6, 5)).astype(np.uint8)
    return LabeledImages(images, labels)


def neighbors_of(images: np.ndarray, k_neighbors: int) -> list[tuple[int, int]]:
    """Every image with each of its nearest others, by a plain search."""
    rows = images.reshape(len(images), -1).astype(float)
    pairs = []
    for at, row in enumerate(rows):
        order = np.argsort(((rows - row) ** 2).sum(axis=1))
        pairs += [(at, int(other)) for other in order[1 : k_neighbors + 1]]
    return pairs


def is_between(image: np.ndarray, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether `image` is first + t * (second - first) for one t in 0..1, up to rounding."""
    image, first, second = (each.astype(float).ravel() for each in (image, first, second))
    step = second - first
    share = float(np.clip(step @ (image - first) / (step @ step), 0, 1))
    return bool(np.abs(first + share * step - image).max() <= 1)


@pytest.mark.parametrize("k_neighbors", [1, 3, 5, 100])
def test_every_image_lies_between_two_neighbors_of_its_class(k_neighbors: int) -> None:
    subset = a_subset(9, 4, 2)
    counts = np.array([3, 8, 7])
    found = interpolated(subset, counts, k_neighbors, seed=1)
    np.testing.assert_array_equal(np.bincount(found.labels), counts)
    assert found.images.dtype == np.uint8
    for image, label in zip(found.images, found.labels, strict=True):
        own = subset.images[subset.labels == label]
        pairs = neighbors_of(own, min(k_neighbors, len(own) - 1))
        assert any(is_between(image, own[first], own[other]) for first, other in pairs)


def test_the_seed_decides_and_the_global_random_state_does_not() -> None:
    subset, counts = a_subset(9, 4), np.array([0, 5])
    np.random.seed(1)
    one = interpolated(subset, counts, 3, seed=1)
    np.random.seed(2)
    state = np.random.get_state()[1]
    again, other = (interpolated(subset, counts, 3, seed) for seed in (1, 2))
    assert digest(one) == digest(again) != digest(other)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_class_with_one_image_gets_copies() -> None:
    subset = a_subset(5, 1, 3)
    found = interpolated(subset, np.array([0, 4, 2]), 5, seed=1)
    copies = found.images[found.labels == 1]
    assert len(copies) == 4
    assert (copies == subset.images[subset.labels == 1]).all()


def test_nothing_wanted_is_nothing_made() -> None:
    assert len(interpolated(a_subset(3, 3), np.array([0, 0]), 5, seed=1)) == 0

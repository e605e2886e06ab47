"""Rare images are those whose neighbors are far, class by class."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.images import LabeledImages
from pipeline.generators.oversampling import RARE_SHARE, sampling_weights


def planted(num_odd: int) -> tuple[LabeledImages, np.ndarray]:
    """Two classes of 50 nearly equal images, of which `num_odd` each are noise; and which."""
    rng = np.random.default_rng(0)
    images = rng.integers(90, 110, (100, 1, 8, 8))
    odd = np.zeros(100, dtype=bool)
    odd[[*range(num_odd), *range(50, 50 + num_odd)]] = True
    images[odd] = rng.integers(0, 256, (2 * num_odd, 1, 8, 8))
    return LabeledImages(images.astype(np.uint8), np.repeat([0, 1], 50)), odd


def test_rare_images_are_drawn_more_often_and_classes_as_often_as_before() -> None:
    data, odd = planted(int(RARE_SHARE * 50))
    weights = sampling_weights(data, 3)
    assert np.allclose(weights[odd] / weights[~odd].mean(), 3)
    assert len(np.unique(weights[~odd])) == 1
    for label in (0, 1):
        assert weights[data.labels == label].sum() == pytest.approx(50)


def test_a_weight_of_one_changes_nothing() -> None:
    data, _ = planted(5)
    assert (sampling_weights(data, 1) == 1).all()


@pytest.mark.parametrize("per_class", [1, 3, 5])
def test_among_a_few_images_none_is_rare(per_class: int) -> None:
    data, _ = planted(5)
    few = data.take(np.r_[:per_class, 50 : 50 + per_class])
    assert (sampling_weights(few, 3) == 1).all()


def test_weights_do_not_depend_on_the_order() -> None:
    data, _ = planted(10)
    order = np.random.default_rng(1).permutation(100)
    assert np.allclose(sampling_weights(data.take(order), 3), sampling_weights(data, 3)[order])

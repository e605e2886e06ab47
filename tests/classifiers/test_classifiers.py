"""The contract of a classifier, held against every member of the registry."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.classifiers import CLASSIFIERS
from pipeline.classifiers.base import Classifier, TrainingSet, plain
from pipeline.config.schema import Params, load_params
from pipeline.data.images import LabeledImages
from pipeline.runtime.determinism import deterministic

# It differs from `cnn` in its layers alone, and is slow: tried by `make proofs`.
SLOW = ("cnn_textbook",)
pytestmark = pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.proof) if each in SLOW else each for each in CLASSIFIERS],
)
DEEPER = {"steps": 100, "channels": 8, "features": 64}  # twice as many convolutions
NARROW = {"cnn": {"channels": 8, "features": 32}}
Split = tuple[LabeledImages, LabeledImages]
Build = Callable[..., Classifier]


@pytest.fixture(scope="module")
def split(bars: LabeledImages) -> Split:
    """120 toy images for training and 60 for scoring."""
    order = np.random.default_rng(0).permutation(len(bars))
    return bars.take(order[:120]), bars.take(order[120:])


def configured(name: str, params: Params, seed: int) -> Classifier:
    family = CLASSIFIERS[name]
    # One that the shipped study does not run is a variant of `cnn`.
    section = params.classifiers.get(name) or {**params.classifiers["cnn"], **DEEPER}
    return family(family.Config.model_validate(section), seed)


@pytest.fixture(scope="module")
def build(smoke: Params) -> Build:
    """An unfitted classifier by name and seed, smaller still than those of the preset `smoke`."""
    classifiers = {
        name: {**section, **NARROW.get(name, {})} for name, section in smoke.classifiers.items()
    }
    small = smoke.model_copy(update={"classifiers": classifiers})
    return lambda name, seed=1: configured(name, small, seed)


def probabilities(classifier: Classifier, split: Split) -> np.ndarray:
    with deterministic():
        return classifier.fit(plain(split[0])).predict_proba(split[1].images)


def invert(images: Tensor, generator: torch.Generator) -> Tensor:
    return 1 - images


def test_it_learns_toy_images_well_above_chance(name: str, split: Split, root) -> None:
    classifier = configured(name, load_params(root), 1)
    accuracy = (probabilities(classifier, split).argmax(axis=1) == split[1].labels).mean()
    assert accuracy > 0.7


def test_rows_are_probabilities_of_every_class(name: str, split: Split, build: Build) -> None:
    found = probabilities(build(name), split)
    assert found.dtype == np.float32
    assert found.shape == (60, 3)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(name: str, split: Split, build: Build) -> None:
    first = probabilities(build(name), split)
    torch.manual_seed(123)
    np.random.seed(123)
    assert probabilities(build(name), split).tobytes() == first.tobytes()


def test_another_seed_gives_another_fit(name: str, split: Split, build: Build) -> None:
    first, second = (probabilities(build(name, seed), split) for seed in (1, 2))
    assert not np.allclose(first, second)


def test_fitting_again_starts_from_scratch(name: str, split: Split, build: Build) -> None:
    classifier = build(name)
    first = probabilities(classifier, split)
    assert probabilities(classifier, split).tobytes() == first.tobytes()


def fitted(name: str, data: LabeledImages, build: Build, seed: int = 1, **other: Any) -> Classifier:
    with deterministic():
        return build(name, seed).fit(replace(plain(data), **other))


def test_equal_fits_have_equal_digests(name: str, split: Split, build: Build) -> None:
    first = fitted(name, split[0], build)
    torch.manual_seed(123)
    np.random.seed(123)
    again = fitted(name, split[0], build)
    assert first.digest() == again.digest()
    assert len(first.digest()) == 64
    assert set(first.digest()) <= set("0123456789abcdef")


def test_other_seeds_data_labels_weights_and_views_have_other_digests(
    name: str, split: Split, build: Build
) -> None:
    data = split[0]
    one_less, one_wrong = data.take(np.arange(119)), data.labels.copy()
    one_wrong[0] = (one_wrong[0] + 1) % 3
    second = np.arange(120) % 2 == 1
    found = [
        fitted(name, data, build),
        fitted(name, data, build, seed=2),
        fitted(name, one_less, build),
        fitted(name, LabeledImages(data.images, one_wrong), build),
        fitted(name, LabeledImages(255 - data.images, data.labels), build),
        fitted(name, data, build, weights=np.linspace(0.5, 1.5, 120)),
        fitted(name, data, build, extra=second, transform=invert),
    ]
    assert len({each.digest() for each in found}) == len(found)


def test_equal_digests_predict_alike_and_others_do_not(
    name: str, split: Split, build: Build
) -> None:
    one, same, other = (fitted(name, split[0], build, seed) for seed in (1, 1, 2))
    images = split[1].images
    assert one.predict_proba(images).tobytes() == same.predict_proba(images).tobytes()
    assert one.predict_proba(images).tobytes() != other.predict_proba(images).tobytes()


def test_looking_changes_no_digest(name: str, split: Split, build: Build) -> None:
    classifier = fitted(name, split[0], build)
    before = classifier.digest()
    classifier.predict_proba(split[1].images)
    assert classifier.digest() == before


def test_fitting_again_gives_the_digest_of_a_first_fit(
    name: str, split: Split, build: Build
) -> None:
    classifier = fitted(name, split[0].take(np.arange(60)), build)
    before = classifier.digest()
    with deterministic():
        classifier.fit(plain(split[0]))
    assert classifier.digest() == fitted(name, split[0], build).digest() != before


def test_a_classifier_of_a_single_class_has_a_digest(name: str, split: Split, build: Build) -> None:
    data = split[0].take(split[0].labels == 1)
    assert len(fitted(name, data, build, num_classes=3).digest()) == 64


def test_fit_returns_the_classifier_itself(name: str, split: Split, build: Build) -> None:
    classifier = build(name)
    assert classifier.fit(plain(split[0])) is classifier


def test_inputs_are_left_as_they_were(name: str, split: Split, build: Build) -> None:
    extra = np.arange(120) % 2 == 0
    arrays = [split[0].images, split[0].labels, split[1].images, extra, np.ones(120)]
    before = [array.copy() for array in arrays]
    training_set = TrainingSet(
        data=split[0], extra=extra, weights=arrays[4], num_classes=3, transform=invert
    )
    build(name).fit(training_set).predict_proba(split[1].images)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_global_random_states_are_left_alone(name: str, split: Split, build: Build) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    build(name).fit(plain(split[0])).predict_proba(split[1].images)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1][1])
    assert np.random.get_state()[2] == before[1][2]
    assert random.getstate() == before[2]


@pytest.mark.parametrize("present", [[0, 1], [0, 2], [1, 2], [0], [1], [2]])
def test_a_class_without_images_gets_next_to_no_probability(
    name: str, present: list[int], split: Split, smoke: Params
) -> None:
    data = split[0].take(np.isin(split[0].labels, present))
    training_set = TrainingSet(
        data=data, extra=np.zeros(len(data), dtype=bool), weights=np.ones(len(data)), num_classes=3
    )
    found = configured(name, smoke, 1).fit(training_set).predict_proba(split[1].images)
    absent = [label for label in range(3) if label not in present]
    assert found.shape == (60, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found[:, absent].mean() < 0.05


def test_one_image_per_class_is_enough_to_fit(name: str, split: Split, build: Build) -> None:
    first = [int(np.flatnonzero(split[0].labels == label)[0]) for label in range(3)]
    found = build(name).fit(plain(split[0].take(np.array(first)))).predict_proba(split[1].images)
    assert np.isfinite(found).all()


def test_the_transform_is_given_batches_in_0_to_1(name: str, split: Split, build: Build) -> None:
    seen: list[Tensor] = []

    def spy(images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(images.clone())
        return images

    training_set = TrainingSet(
        data=split[0],
        extra=np.ones(120, dtype=bool),
        weights=np.ones(120),
        num_classes=3,
        transform=spy,
    )
    build(name).fit(training_set)
    assert seen
    for images in seen:
        assert images.dtype == torch.float32
        assert images.shape[1:] == (1, 8, 8)
        assert images.min() >= 0
        assert 0.5 < images.max() <= 1


def test_the_transform_changes_what_is_learned(name: str, split: Split, build: Build) -> None:
    inverted = LabeledImages(255 - split[1].images, split[1].labels)
    scores = []
    for transform in (None, invert):
        training_set = TrainingSet(
            data=split[0],
            extra=np.ones(120, dtype=bool),
            weights=np.ones(120),
            num_classes=3,
            transform=transform,
        )
        found = build(name).fit(training_set).predict_proba(inverted.images)
        scores.append(float((found.argmax(axis=1) == inverted.labels).mean()))
    assert scores[1] > scores[0] + 0.1


def test_the_transform_draws_from_the_generator_it_is_given(
    name: str, split: Split, build: Build
) -> None:
    def shake(images: Tensor, generator: torch.Generator) -> Tensor:
        return images * torch.rand((len(images), 1, 1, 1), generator=generator)

    def fitted(seed: int) -> bytes:
        training_set = TrainingSet(
            data=split[0],
            extra=np.ones(120, dtype=bool),
            weights=np.ones(120),
            num_classes=3,
            transform=shake,
        )
        with deterministic():
            return build(name, seed).fit(training_set).predict_proba(split[1].images).tobytes()

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)


def test_heavier_images_count_for_more(name: str, split: Split, build: Build) -> None:
    data = split[0]
    contradicted = LabeledImages(
        np.concatenate([data.images, data.images]),
        np.concatenate([data.labels, (data.labels + 1) % 3]),
    )
    scores = []
    for weight in (1.9, 0.1):
        training_set = TrainingSet(
            data=contradicted,
            extra=np.zeros(240, dtype=bool),
            weights=np.repeat([weight, 2 - weight], 120),
            num_classes=3,
        )
        found = build(name).fit(training_set).predict_proba(split[1].images)
        scores.append(float((found.argmax(axis=1) == split[1].labels).mean()))
    assert scores[0] > scores[1] + 0.3


@pytest.mark.parametrize(
    ("channels", "height", "width", "num_classes"),
    [(1, 8, 8, 2), (3, 8, 8, 3), (3, 8, 12, 2), (1, 28, 28, 3)],
)
def test_other_shapes_and_numbers_of_classes_work(
    name: str, channels: int, height: int, width: int, num_classes: int, build: Build
) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(num_classes), 12)
    pixels = rng.integers(0, 60, (len(labels), channels, height, width))
    for label in range(num_classes):
        pixels[labels == label, :, 2 * label : 2 * label + 2] += 180
    data = LabeledImages(pixels.astype(np.uint8), labels)
    found = build(name).fit(plain(data)).predict_proba(data.images)
    assert found.shape == (len(labels), num_classes)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == labels).mean() > 1.2 / num_classes


def test_an_image_is_judged_alike_alone_and_among_others(
    name: str, split: Split, build: Build
) -> None:
    classifier = build(name).fit(plain(split[0]))
    together = classifier.predict_proba(split[1].images)
    alone = np.concatenate([classifier.predict_proba(split[1].images[k : k + 1]) for k in range(9)])
    np.testing.assert_allclose(alone, together[:9], atol=1e-5)


def test_the_shipped_section_of_a_member_is_whole(name: str, smoke: Params) -> None:
    section = smoke.classifiers.get(name, smoke.classifiers["cnn"])
    assert set(CLASSIFIERS[name].Config.model_fields) == set(section)

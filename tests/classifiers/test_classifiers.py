"""Every classifier of the registry keeps the contract of `Classifier`."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.classifiers import CLASSIFIERS
from pipeline.classifiers.base import Classifier, plain
from pipeline.classifiers.cnn import CNN
from pipeline.config.validation import member_config
from pipeline.data.images import LabeledImages
from pipeline.nn.weights import read_weights, write_weights
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import ParamsError

# Fewer and smaller layers than the defaults, fewer trees.
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"steps": 60, "channels": 8, "features": 32},
    "cnn_textbook": {"steps": 100, "channels": 8, "features": 64, "learning_rate": 0.003},
    "discriminator_cnn": {"steps": 60, "channels": 8, "features": 32},
    "lgbm": {"num_trees": 40},
    # One that depends on the seed.
    "sklearn": {"estimator": "RandomForestClassifier", "settings": {"n_estimators": 40}},
}
# For what does not depend on how much was learned.
BRIEF = {name: {**section, "steps": 10} for name, section in SMALL.items() if "steps" in section}
BRIEF["lgbm"] = {"num_trees": 5}
BRIEF["sklearn"] = {"estimator": "RandomForestClassifier", "settings": {"n_estimators": 5}}
# It differs from `cnn` in its layers alone, and is slow: tested by `make proofs`.
SLOW = ("cnn_textbook",)
NAMES = [
    pytest.param(name, marks=pytest.mark.proof) if name in SLOW else name for name in CLASSIFIERS
]
every = pytest.mark.parametrize("name", NAMES)
Split = tuple[LabeledImages, LabeledImages]


@pytest.fixture(scope="module")
def split(bars: LabeledImages) -> Split:
    """120 toy images for training and 60 for scoring."""
    order = np.random.default_rng(0).permutation(len(bars))
    return bars.take(order[:120]), bars.take(order[120:])


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest, split: Split) -> Classifier:
    """One classifier of every family, fitted on the training images."""
    return fit(request.param, split[0])


def build(name: str, settings: dict[str, Any], seed: int = 1) -> Classifier:
    family = CLASSIFIERS[name]
    return family(family.Config.model_validate(settings), seed)


def fit(
    name: str, data: LabeledImages, seed: int = 1, *, brief: bool = False, **changes: Any
) -> Classifier:
    """A small classifier fitted on `data`; `changes` are fields of the training set."""
    with deterministic():
        settings = (BRIEF if brief else SMALL)[name]
        return build(name, settings, seed).fit(replace(plain(data), **changes))


def accuracy(classifier: Classifier, data: LabeledImages) -> float:
    return float((classifier.predict_proba(data.images).argmax(axis=1) == data.labels).mean())


def invert(images: Tensor, generator: torch.Generator) -> Tensor:
    return 1 - images


def shake(images: Tensor, generator: torch.Generator) -> Tensor:
    return images * torch.rand((len(images), 1, 1, 1), generator=generator)


def test_the_registry_has_a_section_here_for_every_family() -> None:
    assert set(SMALL) == set(CLASSIFIERS)


@every
def test_the_defaults_are_complete_and_learn_toy_images(name: str, split: Split) -> None:
    required = {key: SMALL[name][key] for key in ("estimator",) if key in SMALL[name]}
    CLASSIFIERS[name].Config.model_validate(required)
    shorter = {"steps": 60} if "steps" in SMALL[name] else {}
    with deterministic():
        assert accuracy(build(name, required | shorter).fit_labeled(split[0]), split[1]) > 0.7


@every
def test_unknown_settings_are_refused(name: str) -> None:
    with pytest.raises(ParamsError, match="unknown key depth"):
        member_config(CLASSIFIERS[name].Config, {"depth": 3}, f"classifiers.{name}")


def test_rows_are_probabilities_of_every_class(fitted: Classifier, split: Split) -> None:
    result = fitted.predict_proba(split[1].images)
    assert result.dtype == np.float32
    assert result.shape == (60, 3)
    assert result.min() >= 0
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-5)


def test_an_image_is_classified_alike_alone_and_among_others(
    fitted: Classifier, split: Split
) -> None:
    images, before = split[1].images, fitted.digest()
    together = fitted.predict_proba(images)
    alone = np.concatenate([fitted.predict_proba(images[k : k + 1]) for k in range(9)])
    np.testing.assert_allclose(alone, together[:9], atol=1e-5)
    assert fitted.digest() == before


def check_round_trip(name: str, classifier: Classifier, images: LabeledImages, path: Any) -> None:
    """Save, load and compare to the bit, also the state of what was loaded."""
    write_weights(path, classifier.state())
    spec = replace(images.spec(), num_classes=3)
    state = torch.get_rng_state()
    loaded = CLASSIFIERS[name](classifier.config, 99).load(read_weights(path), spec)
    assert torch.equal(state, torch.get_rng_state())

    assert loaded.digest() == classifier.digest()
    expected = classifier.predict_proba(images.images)
    assert loaded.predict_proba(images.images).tobytes() == expected.tobytes()
    assert loaded.state().keys() == classifier.state().keys()
    for key, value in classifier.state().items():
        assert torch.equal(value, loaded.state()[key])


@every
def test_a_loaded_classifier_is_the_saved_one_to_the_bit(
    name: str, split: Split, tmp_path: Any
) -> None:
    check_round_trip(name, fit(name, split[0], brief=True), split[1], tmp_path / "weights")


@every
def test_the_same_seed_gives_the_same_bits_and_touches_nothing(name: str, split: Split) -> None:
    data, extra, weights = split[0], np.arange(120) % 2 == 0, np.ones(120)
    arrays = [data.images, data.labels, split[1].images, extra, weights]
    copies = [array.copy() for array in arrays]
    results = []
    for global_seed in (1, 2):  # a new process starts from any state
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        random.seed(global_seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        classifier = fit(name, data, brief=True, extra=extra, weights=weights, transform=shake)
        results.append((classifier.digest(), classifier.predict_proba(split[1].images).tobytes()))
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])
        assert random.getstate() == before[2]

    assert results[0] == results[1]
    assert len(results[0][0]) == 64
    assert set(results[0][0]) <= set("0123456789abcdef")
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@every
def test_other_seeds_data_labels_weights_and_transforms_learn_something_else(
    name: str, split: Split
) -> None:
    data, extra = split[0], np.arange(120) % 2 == 1
    one_wrong = data.labels.copy()
    one_wrong[0] = (one_wrong[0] + 1) % 3
    fits = [
        fit(name, data, brief=True),
        fit(name, data, seed=2, brief=True),
        fit(name, data.take(np.arange(119)), brief=True),
        fit(name, LabeledImages(data.images, one_wrong), brief=True),
        fit(name, LabeledImages(255 - data.images, data.labels), brief=True),
        fit(name, data, brief=True, weights=np.linspace(0.5, 1.5, 120)),
        fit(name, data, brief=True, extra=extra, transform=invert),
        fit(name, data, brief=True, extra=extra, transform=shake),
        fit(name, data, seed=2, brief=True, extra=extra, transform=shake),
    ]
    assert len({classifier.digest() for classifier in fits}) == len(fits)
    images = split[1].images
    assert len({classifier.predict_proba(images).tobytes() for classifier in fits}) == len(fits)


@every
def test_fitting_again_starts_from_scratch(name: str, split: Split) -> None:
    classifier = fit(name, split[0].take(np.arange(60)), brief=True)
    before = classifier.digest()
    with deterministic():
        classifier.fit_labeled(split[0])
    assert classifier.digest() == fit(name, split[0], brief=True).digest() != before


@pytest.mark.parametrize("present", [[0, 2], [1, 2], [1]])
@every
def test_a_class_without_images_gets_next_to_no_probability(
    name: str, present: list[int], split: Split, tmp_path: Any
) -> None:
    data = split[0].take(np.isin(split[0].labels, present))
    classifier = fit(name, data, num_classes=3)
    result = classifier.predict_proba(split[1].images)
    absent = [label for label in range(3) if label not in present]
    assert result.shape == (60, 3)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-5)
    assert result[:, absent].mean() < 0.05
    check_round_trip(name, classifier, split[1], tmp_path / "weights")


@every
def test_one_image_per_class_is_enough_to_fit(name: str, split: Split) -> None:
    first = np.unique(split[0].labels, return_index=True)[1]
    result = fit(name, split[0].take(first), brief=True).predict_proba(split[1].images)
    assert np.isfinite(result).all()


@every
def test_the_transform_gets_batches_in_0_to_1(name: str, split: Split) -> None:
    batches: list[Tensor] = []

    def spy(images: Tensor, generator: torch.Generator) -> Tensor:
        batches.append(images.clone())
        return images

    fit(name, split[0], brief=True, extra=np.ones(120, dtype=bool), transform=spy)
    assert batches
    for images in batches:
        assert images.dtype == torch.float32
        assert images.shape[1:] == (1, 8, 8)
        assert images.min() >= 0
        assert 0.5 < images.max() <= 1


@every
def test_the_transform_changes_what_is_learned(name: str, split: Split) -> None:
    inverted = LabeledImages(255 - split[1].images, split[1].labels)
    every_image = np.ones(120, dtype=bool)
    without, with_transform = (
        accuracy(fit(name, split[0], extra=every_image, transform=transform), inverted)
        for transform in (None, invert)
    )
    assert with_transform > without + 0.1


@every
def test_heavier_images_count_for_more(name: str, split: Split) -> None:
    data = split[0]
    contradicted = LabeledImages(
        np.concatenate([data.images, data.images]),
        np.concatenate([data.labels, (data.labels + 1) % 3]),
    )
    heavy, light = (
        accuracy(fit(name, contradicted, weights=np.repeat([weight, 2 - weight], 120)), split[1])
        for weight in (1.9, 0.1)
    )
    assert heavy > light + 0.3


@pytest.mark.parametrize(
    ("channels", "height", "width", "num_classes"), [(3, 8, 12, 2), (1, 28, 28, 3)]
)
@every
def test_other_shapes_and_numbers_of_classes_work(
    name: str, channels: int, height: int, width: int, num_classes: int
) -> None:
    labels = np.tile(np.arange(num_classes), 12)
    shape = (len(labels), channels, height, width)
    pixels = np.random.default_rng(0).integers(0, 60, shape)
    for label in range(num_classes):
        pixels[labels == label, :, 2 * label : 2 * label + 2] += 180
    data = LabeledImages(pixels.astype(np.uint8), labels)
    classifier = fit(name, data)
    assert classifier.predict_proba(data.images).shape == (len(labels), num_classes)
    assert accuracy(classifier, data) > 1.2 / num_classes


def negative(data: LabeledImages) -> LabeledImages:
    """The same drawings, black on white."""
    return replace(data, images=255 - data.images, background=(255,))


@every
def test_black_on_white_is_learned_as_well_as_white_on_black(
    name: str, split: Split, tmp_path: Any
) -> None:
    upright, inverted = fit(name, split[0]), fit(name, negative(split[0]))
    scores = [accuracy(upright, split[1]), accuracy(inverted, negative(split[1]))]
    assert scores[1] > scores[0] - 0.12
    check_round_trip(name, inverted, negative(split[1]), tmp_path / "weights")


@pytest.mark.parametrize("name", ["cnn", "cnn_textbook"])
def test_a_network_with_negative_weights_sees_in_negatives_what_the_first_one_sees(
    name: str, split: Split
) -> None:
    upright, inverted = fit(name, split[0], brief=True), build(name, BRIEF[name])
    assert isinstance(upright, CNN)
    assert isinstance(inverted, CNN)
    spec = negative(split[0]).spec()
    inverted.build(spec)
    names = inverted.network.state_dict().keys()
    state = dict(zip(names, upright.state().values(), strict=True))
    first = next(iter(state))
    inverted.load({**state, first: -state[first]}, spec)

    images = split[1].images
    for of_negatives, expected in (
        (inverted.predict_proba(255 - images), upright.predict_proba(images)),
        (inverted.embed(255 - images), upright.embed(images)),
    ):
        np.testing.assert_allclose(of_negatives, expected, atol=1e-4)


@every
def test_the_state_of_black_images_has_no_background(name: str, split: Split) -> None:
    as_before = fit(name, split[0], brief=True)
    three = replace(split[0], background=(0, 0, 0))
    assert fit(name, three, brief=True).digest() == as_before.digest()
    assert fit(name, three, brief=True).state().keys() == as_before.state().keys()
    assert not [key for key in as_before.state() if "level" in key]

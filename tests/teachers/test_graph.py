"""Hidden labels choose the features of the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from test_teachers import Halves, halves

from pipeline.data.images import BLACK, Background, LabeledImages
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers.calibration import assign_folds
from pipeline.teachers.features import affinity, principal_components, propagate_labels
from pipeline.teachers.graph import (
    FEATURES,
    GraphSettings,
    best_features,
    choose_features,
    distinct_features,
    is_better,
    predict_hidden,
    spread,
)

__all__ = ["halves"]  # a fixture
SETTINGS = GraphSettings(components=20, neighbors=5, alpha=0.9)


def test_a_hidden_label_is_predicted_by_the_other_folds_alone(halves: Halves) -> None:
    labeled, rest = halves
    folds = assign_folds(labeled.labels, 5, 0)
    images = np.concatenate([labeled.images, rest.images])
    links = affinity(principal_components(FEATURES["pixels"](images, BLACK), 10), 5)
    held_out = predict_hidden(links, labeled, folds, 0.9)

    # The same by hiding the labels of one fold and propagating the others.
    for fold in range(5):
        hidden = np.flatnonzero(folds == fold)
        labels = np.concatenate([labeled.labels, np.full(len(rest), -1)])
        labels[hidden] = -1
        expected = propagate_labels(links, labels, 3, 0.9)[hidden]
        np.testing.assert_allclose(held_out.probabilities[hidden], expected, atol=1e-6)


def test_the_only_label_of_a_class_is_not_hidden(halves: Halves) -> None:
    labeled, rest = halves
    few = labeled.take(np.append(np.flatnonzero(labeled.labels > 0), 0))
    folds = assign_folds(few.labels, 5, 0)
    held_out = choose_features(["hog", "pixels"], few, rest.images, folds, SETTINGS)[1]
    np.testing.assert_array_equal(held_out.labels, few.labels[few.labels > 0])
    assert held_out.probabilities.shape == (12, 3)


def test_without_a_second_label_the_first_features_are_taken(halves: Halves) -> None:
    labeled, rest = halves
    few = labeled.take(np.unique(labeled.labels, return_index=True)[1])
    folds = assign_folds(few.labels, 5, 0)
    name, held_out = choose_features(["hog", "pixels"], few, rest.images, folds, SETTINGS)
    assert name == "hog"
    assert held_out.probabilities.shape == (0, 3)


def test_a_fold_has_no_say_in_the_features_that_predict_it() -> None:
    losses = [np.array([1.0, 1.1, 3.0, 3.1]), np.array([1.5, 1.6, 0.1, 0.0])]
    fold = np.array([0, 0, 1, 1])
    assert best_features([values[fold == 1] for values in losses]) == 1
    assert best_features([values[fold == 0] for values in losses]) == 0
    assert best_features(losses) == 1


@pytest.mark.parametrize(
    ("background", "count"), [(BLACK, 4), ((255,), 4), (None, 2)], ids=["black", "white", "photo"]
)
def test_features_that_are_equal_for_photos_are_compared_once(
    background: Background, count: int, halves: Halves
) -> None:
    labeled, rest = halves
    names = distinct_features(list(FEATURES), background)
    assert len(names) == count
    assert names[-1] == "pixels"
    distances = [
        np.sort(pdist(FEATURES[name](labeled.images, background))).round(3).tobytes()
        for name in FEATURES
    ]
    assert len(set(distances)) == count

    # A photo's choice says what it is made of.
    photos = replace(labeled, background=background)
    folds = assign_folds(labeled.labels, 5, 0)
    name = choose_features(["hog_deslanted"], photos, rest.images, folds, SETTINGS)[0]
    assert name == ("hog" if background is None else "hog_deslanted")


def test_mass_is_what_the_labels_propagate(halves: Halves) -> None:
    labeled, rest = halves
    images = np.concatenate([labeled.images, rest.images])
    links = affinity(principal_components(FEATURES["pixels"](images, BLACK), 10), 5)
    labels = np.concatenate([labeled.labels, np.full(len(rest), -1)])
    start = np.zeros((len(labels), 3))
    start[np.arange(len(labeled)), labeled.labels] = 1
    mass = spread(links, start, 0.9)
    reached = mass.sum(axis=1) > 0
    rows = mass[reached] / mass[reached].sum(axis=1, keepdims=True)
    expected = propagate_labels(links, labels, 3, 0.9)
    np.testing.assert_allclose(rows, expected[reached], atol=1e-6)
    np.testing.assert_allclose(expected[~reached], 1 / 3)


def test_images_on_their_side_are_predicted_as_upright_ones() -> None:
    images = numpy_rng("strokes").integers(0, 2, (60, 1, 20, 16)).astype(np.uint8) * 255
    labels = np.arange(60) % 2
    images[labels == 1, :, 5:8] = 255
    accuracies = []
    for name, turned in (
        ("hog_deslanted", images),
        ("hog_deslanted_y", images.swapaxes(2, 3).copy()),
    ):
        labeled = LabeledImages(turned[:20], labels[:20])
        folds = assign_folds(labeled.labels, 5, 0)
        held_out = choose_features([name], labeled, turned[20:], folds, SETTINGS)[1]
        accuracies.append(held_out.accuracy())
    assert accuracies[0] == accuracies[1] > 0.8


def test_a_single_kind_of_features_is_taken(halves: Halves) -> None:
    labeled, rest = halves
    folds = assign_folds(labeled.labels, 5, 0)
    name, held_out = choose_features(["pixels"], labeled, rest.images, folds, SETTINGS)
    assert name == "pixels"
    assert len(held_out.labels) == len(labeled)


def test_a_later_choice_must_be_better_by_a_standard_error() -> None:
    losses = np.array([1.0, 1.2, 0.9, 1.1])
    assert not is_better(losses, losses)
    assert is_better(losses - 0.1, losses)
    assert not is_better(losses - np.array([1.0, -0.9, 0.9, -0.9]), losses)
    assert not is_better(losses[:1] - 0.5, losses[:1])

"""Hidden labels choose the features of the graph."""

from __future__ import annotations

import numpy as np
from test_teachers import Halves, halves

from pipeline.data.images import BLACK, LabeledImages
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers.features import affinity, principal_components, propagate_labels
from pipeline.teachers.graph import FEATURES, choose_features, is_better, predict_hidden, spread

__all__ = ["halves"]  # a fixture


def test_a_hidden_label_is_predicted_by_the_others_alone(halves: Halves) -> None:
    labeled, rest = halves
    images = np.concatenate([labeled.images, rest.images])
    links = affinity(principal_components(FEATURES["pixels"](images, BLACK), 10), 5)
    held_out = predict_hidden(links, labeled, 0.9)

    # The same by hiding one label and propagating the others.
    for position in (0, 7):
        labels = np.concatenate([labeled.labels, np.full(len(rest), -1)])
        labels[position] = -1
        expected = propagate_labels(links, labels, 3, 0.9)[position]
        np.testing.assert_allclose(held_out.probabilities[position], expected, atol=1e-6)


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
        held_out = choose_features([name], labeled, turned[20:], 20, 5, 0.9)[1]
        accuracies.append(held_out.accuracy())
    assert accuracies[0] == accuracies[1] > 0.8


def test_a_single_kind_of_features_is_taken(halves: Halves) -> None:
    labeled, rest = halves
    name, held_out = choose_features(["pixels"], labeled, rest.images, 20, 5, 0.9)
    assert name == "pixels"
    assert len(held_out.labels) == len(labeled)


def test_a_later_choice_must_be_better_by_a_standard_error() -> None:
    losses = np.array([1.0, 1.2, 0.9, 1.1])
    assert not is_better(losses, losses)
    assert is_better(losses - 0.1, losses)
    assert not is_better(losses - np.array([1.0, -0.9, 0.9, -0.9]), losses)
    assert not is_better(losses[:1] - 0.5, losses[:1])

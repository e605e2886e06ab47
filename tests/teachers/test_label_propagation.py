"""Features, propagation and pseudo-labels do what their sources say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from test_teachers import SECTIONS, Halves, brief, halves, taught

from pipeline.data.images import BLACK, Images, ImageSpec, LabeledImages, flat
from pipeline.nn.augment import AffineConfig
from pipeline.nn.hog import deslant, hog_features
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers import student as student_module
from pipeline.teachers.features import affinity, principal_components, propagate_labels
from pipeline.teachers.label_propagation import (
    LabelPropagation,
    LabelPropagationConfig,
    Round,
    most_confident,
)
from pipeline.teachers.student import (
    FixMatchConfig,
    Phase,
    Pool,
    Student,
    TeacherNetConfig,
    pseudo_labels,
    refuse_small,
)

__all__ = ["halves"]  # a fixture
SECTION = SECTIONS["label_propagation"]


@pytest.mark.parametrize(("per_class", "alpha"), [(2, 0.99), (20, 0.99), (100, 0.95), (2000, 0.5)])
def test_labels_propagate_less_far_where_there_are_more(per_class: int, alpha: float) -> None:
    config = LabelPropagationConfig(alpha=0.99, restart_per_label=0.0005)
    labels = np.repeat(np.arange(3), per_class)
    labeled = LabeledImages(np.zeros((len(labels), 1, 1, 1), dtype=np.uint8), labels)
    assert config.propagation_alpha(labeled) == pytest.approx(alpha)


@pytest.mark.parametrize(("labels", "steps"), [(10, 60), (24, 60), (26, 65), (100, 80)])
def test_more_labels_get_more_steps(labels: int, steps: int) -> None:
    config = Round(steps=60, steps_per_label=2.5, max_steps=80, batch_size=16)
    assert config.given(labels) == config.model_copy(update={"steps": steps})


@pytest.mark.parametrize(
    "changes",
    [{"max_steps": 80}, {"steps_per_label": 2.5}, {"steps_per_label": 2.5, "max_steps": 50}],
)
def test_steps_per_label_need_a_larger_maximum(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="max_steps"):
        Round.model_validate({"steps": 60, **changes})


def test_test_time_augmentation_is_for_images_below_the_threshold(halves: Halves) -> None:
    labeled, rest = halves
    teacher = taught("label_propagation", labeled, rest.images, **brief("label_propagation"))
    assert isinstance(teacher, LabelPropagation)
    plain, augmented, some = (
        probabilities(teacher, rest.images, threshold) for threshold in (0.0, 1.0, 0.6)
    )
    confident = plain.max(axis=1) >= 0.6
    assert 0 < confident.sum() < len(confident)
    assert (plain != augmented).any(axis=1).all()
    np.testing.assert_array_equal(some, np.where(confident[:, None], plain, augmented))


def probabilities(teacher: LabelPropagation, images: Images, threshold: float) -> np.ndarray:
    student = teacher.student
    student.config = student.config.model_copy(update={"tta_below": threshold})
    return student.probabilities(images)


def test_propagated_labels_solve_the_equation_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3)).astype(np.float32)
    links = affinity(rows, 6)
    labels = np.full(60, -1)
    labels[:4] = [0, 1, 0, 1]
    scale = 1 / np.sqrt(links.toarray().sum(axis=1))
    normalized = scale[:, None] * links.toarray() * scale
    start = np.zeros((60, 2))
    start[range(4), labels[:4]] = 1
    exact = np.linalg.solve(np.eye(60) - 0.9 * normalized, start)
    exact /= exact.sum(axis=1, keepdims=True)
    # The number of steps is finite, so some of the weight has not arrived.
    assert np.abs(propagate_labels(links, labels, 2, 0.9) - exact).mean() < 0.02


def test_affinities_are_symmetric_shares_between_neighbors() -> None:
    links = affinity(np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32), 5)
    dense = links.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    assert (np.diag(dense) == 0).all()
    assert (links.getnnz(axis=1) >= 5).all()
    assert 0 < links.data.min() <= links.data.max() <= 1


def test_a_row_that_no_label_reaches_has_equal_probabilities() -> None:
    rows = np.array([[0.0], [0.1], [0.2], [50.0], [50.1], [50.2]], dtype=np.float32)
    labels = np.array([0, 1, -1, -1, -1, -1])
    result = propagate_labels(affinity(rows, 1), labels, 2, 0.9)
    np.testing.assert_allclose(result[3:], 0.5)


def test_deslanting_undoes_a_slant_and_a_shift() -> None:
    image = np.zeros((1, 1, 28, 28), np.uint8)
    slanted = image.copy()
    for row in range(4, 24):
        image[0, 0, row, 13:15] = 255
        column = 13 + round((row - 14) * 0.4) + 3
        slanted[0, 0, row, column : column + 2] = 255
    difference = np.abs(deslant(image, BLACK) - deslant(slanted, BLACK)).mean()
    assert difference < 0.35 * np.abs(flat(image) - flat(slanted)).mean()


def test_components_have_a_mean_length_of_one_and_are_no_more_than_there_are() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 30)).astype(np.float32)
    result = principal_components(rows, 50)
    assert result.shape == (12, 12)
    assert np.linalg.norm(result, axis=1).mean() == pytest.approx(1, rel=1e-5)


def test_the_most_confident_have_the_largest_margin_of_every_class() -> None:
    rows = [[0.5, 0.5], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
    index = most_confident(np.array(rows, np.float32), 0.5, num_labeled=1)
    np.testing.assert_array_equal(np.sort(index), [0, 1, 3, 4])


def test_rows_that_no_label_reaches_are_never_among_the_most_confident() -> None:
    rows = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.1, 0.9]], np.float32)
    np.testing.assert_array_equal(most_confident(rows, 1.0, num_labeled=1), [0, 3])


def labeled_images(
    alignment_decay: float, shares: torch.Tensor, probabilities: torch.Tensor
) -> list[list[float]]:
    """The pseudo-labels of images whose first pixel is their number, as [number, label]."""
    still = AffineConfig(degrees=0, translate=0, scale=0, shear=0)
    student = SimpleNamespace(
        config=SimpleNamespace(weak=still),
        background=BLACK,
        average=None,
        scores=lambda *_: probabilities.log(),
    )
    images = torch.arange(len(probabilities)).float()[:, None, None, None].expand(-1, 1, 2, 2)
    section = FixMatchConfig(threshold=0.8, alignment_decay=alignment_decay)
    views = torch.Generator().manual_seed(0)
    kept, labels = pseudo_labels(cast("Any", student), images, section, shares, views)
    assert (labels.sum(dim=1) == 1).all()
    return torch.stack([kept[:, 0, 0, 0], labels.argmax(dim=1)], dim=1).tolist()


def test_pseudo_labels_are_confident_predictions_after_distribution_alignment() -> None:
    probabilities = torch.tensor([[0.85, 0.15], [0.9, 0.1], [0.3, 0.7], [0.95, 0.05]])
    shares = torch.full((2,), 0.5)
    assert labeled_images(1.0, shares, probabilities) == [[0, 0], [1, 0], [3, 0]]
    assert shares.tolist() == [0.5, 0.5]
    # The first class is predicted three times as often as the second, so its odds are divided by
    # three: 1.9, 3 and 6.3 for the first class, and 7 for the second.
    assert labeled_images(0.0, shares, probabilities) == [[2, 1], [3, 0]]
    torch.testing.assert_close(shares, torch.tensor([0.75, 0.25]))
    # One image of one class among many of the other: alignment does not change their class.
    rare = torch.tensor([[0.95, 0.05], *[[1 - 1e-6, 1e-6]] * 20])
    assert labeled_images(0.0, shares, rare) == [[number, 0] for number in range(1, 21)]
    assert labeled_images(0.5, torch.tensor([0.25, 0.75]), probabilities) == labeled_images(
        1.0, torch.full((2,), 0.5), probabilities
    )


def test_pseudo_labels_are_given_from_a_share_of_the_steps_on(halves: Halves) -> None:
    labeled, rest = halves
    config = LabelPropagationConfig.model_validate(SECTION)
    section = FixMatchConfig(batch_size=4, threshold=0.0, warmup_frac=0.3, alignment_decay=0.9)
    calls = []

    def spy(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(arguments)
        return pseudo_labels(*arguments)

    def weights(settings: FixMatchConfig | None) -> torch.Tensor:
        targets = np.eye(3, dtype=np.float32)[labeled.labels]
        given = (labeled.images, targets, np.ones(len(labeled), np.float32))
        phase = Phase(steps=10, batch_size=4, fixmatch=settings)
        with deterministic(), mock.patch.object(student_module, "pseudo_labels", spy):
            student = student_module.train(
                config.network, phase, given, Pool(rest.images), 1, BLACK
            )
        return torch.cat([value.flatten() for value in student.average.parameters()])

    with_pseudo_labels = weights(section)
    assert len(calls) == 7
    assert len({id(shares) for _, _, _, shares, *_ in calls}) == 1
    pool = {image.tobytes() for image in rest.images}
    for _, images, *_ in calls:
        pixels = (images * 255).round().to(torch.uint8).numpy()
        assert {np.ascontiguousarray(image).tobytes() for image in pixels} <= pool
    assert not torch.equal(with_pseudo_labels, weights(None))
    assert len(calls) == 7


def test_images_too_small_to_pool_twice_are_refused_and_oblong_ones_are_not() -> None:
    spec = ImageSpec(channels=1, height=7, width=28, num_classes=2)
    with pytest.raises(ParamsError, match="at least 8, found 7 x 28"):
        refuse_small(spec, "fixmatch")
    tall = numpy_rng("oblong").integers(0, 256, (3, 1, 30, 9)).astype(np.uint8)
    wide = tall.transpose(0, 1, 3, 2)
    assert hog_features(tall, BLACK).shape == hog_features(wide, BLACK).shape == (3, 8 * 10 * 9)


def test_features_of_a_drawing_and_of_its_negative_are_the_same() -> None:
    images = np.zeros((12, 1, 28, 28), np.uint8)
    places = numpy_rng("strokes").integers(5, 20, (12, 3, 2))
    for image, corners in zip(images, places, strict=True):
        for row, column in corners:
            image[0, row : row + 7, column : column + 2] = 220
    ink, negatives = deslant(images, BLACK), deslant(255 - images, (255,))
    np.testing.assert_allclose(negatives, 1 - ink, atol=1e-5)
    features = hog_features(images, BLACK)
    assert features.max() > 0.4
    np.testing.assert_allclose(hog_features(255 - images, (255,)), features, atol=0.01)

    # Any background: colors next to it are ink as well.
    colored = np.repeat(images, 3, axis=1) // 4 + np.array([90, 120, 20], np.uint8)[:, None, None]
    moved = deslant(colored, (90, 120, 20))
    np.testing.assert_allclose(
        moved - np.array([90, 120, 20])[:, None, None] / 255, ink.repeat(3, axis=1) / 4, atol=0.01
    )


def test_photos_are_not_deslanted() -> None:
    photos = numpy_rng("photos").integers(0, 256, (3, 3, 16, 12)).astype(np.uint8)
    np.testing.assert_array_equal((deslant(photos, None) * 255).round(), photos)


def test_a_student_sees_in_negatives_what_another_one_sees_in_drawings() -> None:
    images = numpy_rng("drawings").integers(0, 256, (20, 1, 16, 12)).astype(np.uint8)
    config = TeacherNetConfig(channels=8, tta_below=1.0, precision="float32")
    first, second = (
        Student(config, ImageSpec(1, 16, 12, 3, background), 0) for background in (BLACK, (255,))
    )
    weights = next(second.average.parameters())
    weights.copy_(-weights)
    np.testing.assert_allclose(
        second.probabilities(255 - images), first.probabilities(images), atol=1e-5
    )

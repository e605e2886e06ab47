"""FixMatch holds out labels, estimates class shares and recolors images with colors only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_teachers import SECTIONS, Halves, brief, halves, taught

from pipeline.config.validation import member_config
from pipeline.data.images import BLACK, Background, LabeledImages
from pipeline.nn.augment import ElasticConfig
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers.automatic import Automatic, AutomaticConfig
from pipeline.teachers.calibration import assign_folds
from pipeline.teachers.fixmatch import FixMatch, without_alignment
from pipeline.teachers.label_propagation import LabelPropagation
from pipeline.teachers.student import FixMatchConfig, Phase
from pipeline.teachers.views import recolored, strong_view

__all__ = ["halves"]  # a fixture
STILL = ElasticConfig()


def test_every_label_is_held_out_once(halves: Halves) -> None:
    labeled, rest = halves
    teacher = taught("fixmatch", labeled, rest.images, **brief("fixmatch"))
    assert teacher.held_out is not None
    np.testing.assert_array_equal(teacher.held_out.labels, labeled.labels)
    np.testing.assert_allclose(teacher.held_out.probabilities.sum(axis=1), 1, atol=1e-5)
    assert teacher.pool_shares is not None
    assert teacher.pool_shares.sum() == pytest.approx(1)


def test_a_single_label_of_a_class_holds_out_nothing(halves: Halves) -> None:
    labeled, rest = halves
    few = labeled.take(np.unique(labeled.labels, return_index=True)[1])
    teacher = taught("fixmatch", few, rest.images, **brief("fixmatch"))
    assert teacher.held_out is None
    assert teacher.pool_shares is not None
    np.testing.assert_allclose(teacher.pool_shares, 1 / 3, rtol=1e-6)
    assert teacher.min_probability(teacher.predict_proba(rest.images)) == 0.8


def test_without_folds_the_pool_has_the_shares_of_the_subset(halves: Halves) -> None:
    labeled, rest = halves
    few = labeled.take(np.append(np.flatnonzero(labeled.labels > 0), 0))
    changes = {**brief("fixmatch"), "folds": 0}
    teacher = taught("fixmatch", few, rest.images, **changes)
    assert teacher.held_out is None
    assert teacher.pool_shares is not None
    np.testing.assert_allclose(teacher.pool_shares, np.array([1, 6, 6]) / 13, rtol=1e-6)


@pytest.mark.parametrize("name", ["automatic", "fixmatch", "label_propagation"])
def test_the_only_label_of_a_class_is_never_held_out(name: str, halves: Halves) -> None:
    labeled, rest = halves
    few = labeled.take(np.append(np.flatnonzero(labeled.labels > 0), 0))
    teacher = taught(name, few, rest.images, **brief(name))
    assert teacher.held_out is not None
    assert set(teacher.held_out.labels) == {1, 2}


@pytest.mark.parametrize("name", ["automatic", "fixmatch", "label_propagation"])
def test_one_label_of_every_class_leaves_the_settings_as_they_are(
    name: str, halves: Halves
) -> None:
    labeled, rest = halves
    few = labeled.take(np.unique(labeled.labels, return_index=True)[1])
    teacher = taught(name, few, rest.images, **brief(name))
    assert teacher.held_out is None
    assert teacher.min_probability(teacher.predict_proba(rest.images)) == 0.8


def test_students_of_folds_learn_for_a_share_of_the_steps_without_alignment() -> None:
    phase = Phase(steps=10, batch_size=4, fixmatch=FixMatchConfig(alignment_decay=0.9))
    shorter = without_alignment(phase, 0.5)
    assert shorter.steps == 5
    assert shorter.fixmatch is not None
    assert shorter.fixmatch.alignment_decay == 1
    assert without_alignment(phase.model_copy(update={"fixmatch": None}), 0.1).steps == 2


def photos(channels: int, background: Background) -> torch.Tensor:
    images = torch.from_numpy(numpy_rng("recolored").random((6, channels, 9, 12), np.float32))
    if background is not None:
        images[:, :, :3] = torch.tensor(background).div(255)[:, None, None]
    return images


@pytest.mark.parametrize("background", [None, (0,), (255, 255, 255), (90, 120, 20)])
def test_colors_change_and_the_background_does_not(background: Background) -> None:
    images = photos(3, background)
    changed = recolored(images, 0.4, background, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed != images).flatten(1).any(dim=1).all()
    if background is not None:
        torch.testing.assert_close(changed[:, :, :3], images[:, :, :3])
    again = recolored(images, 0.4, background, torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)


@pytest.mark.parametrize(
    ("channels", "background", "strength", "changes"),
    [(1, BLACK, 0.4, False), (1, None, 0.4, True), (3, BLACK, 0.4, True), (3, None, 0.0, False)],
)
def test_drawings_in_gray_keep_their_levels(
    channels: int, background: Background, strength: float, changes: bool
) -> None:
    images = photos(channels, background)
    view = strong_view(STILL, strength, background)(images, torch.Generator().manual_seed(0))
    assert (not torch.allclose(view, images, atol=1e-5)) == changes


def test_the_better_start_on_held_out_labels_is_taken(halves: Halves) -> None:
    labeled, rest = halves
    teacher = taught("automatic", labeled, rest.images, **brief("automatic"))
    assert isinstance(teacher, Automatic)
    folds = assign_folds(labeled.labels, 2, teacher.seed)
    graph = teacher.config.label_propagation.choose_features(labeled, rest.images, folds)[1]
    network = teacher._learned(labeled, folds)
    np.testing.assert_array_equal(graph.labels, network.labels)
    family = LabelPropagation if graph.accuracy() >= network.accuracy() else FixMatch
    assert isinstance(teacher.teacher, family)
    assert teacher.held_out is teacher.teacher.held_out
    assert teacher.teacher.config.min_probability == SECTIONS["automatic"]["min_probability"]


@pytest.mark.parametrize("place", ["label_propagation", "fixmatch"])
@pytest.mark.parametrize(("key", "value"), [("min_probability", 0.5), ("keep_frac", 0.9)])
def test_settings_for_both_teachers_are_refused_inside_of_one(
    place: str, key: str, value: float
) -> None:
    with pytest.raises(ParamsError) as error:
        member_config(AutomaticConfig, {place: {key: value}}, "teachers.pool")
    expected = f"{place}.{key}: expected no value, since it is for both teachers, found {value}"
    assert f"teachers.pool: {expected}" in str(error.value)
    assert f"set it at teachers.<name>.{key}" in str(error.value)
    member_config(AutomaticConfig, {key: value, place: {}}, "teachers.pool")


def test_noise_that_a_graph_cannot_link_is_left_to_fixmatch() -> None:
    # The class is the level of one corner; the neighbors of an image are those of its noise.
    rng = numpy_rng("corners")
    images = rng.integers(0, 256, (240, 1, 12, 12)).astype(np.uint8)
    labels = np.arange(240) % 2
    images[:, 0, :4, :4] = np.where(labels, 255, 0)[:, None, None]
    labeled = LabeledImages(images[:40], labels[:40], background=None)
    changes = {**brief("automatic"), "start": {"steps": 60, "batch_size": 16}}
    teacher = taught("automatic", labeled, images[40:], **changes)
    assert isinstance(teacher, Automatic)
    folds = assign_folds(labeled.labels, 2, teacher.seed)
    graph = teacher.config.label_propagation.choose_features(labeled, images[40:], folds)[1]
    network = teacher._learned(labeled, folds)
    assert isinstance(teacher.teacher, FixMatch) == (network.accuracy() > graph.accuracy())


def test_no_class_of_an_unbalanced_pool_is_lost(halves: Halves) -> None:
    labeled, rest = halves
    rare = np.flatnonzero(rest.labels == 2)[:6]
    pool = rest.take(np.concatenate([np.flatnonzero(rest.labels != 2), rare]))
    teacher = taught("fixmatch", labeled, pool.images)
    assert teacher.pool_shares is not None
    assert teacher.pool_shares[2] < 0.2
    predicted = teacher.predict_proba(pool.images).argmax(axis=1)
    recalls = [(predicted[pool.labels == label] == label).mean() for label in range(3)]
    assert min(recalls) >= 0.8

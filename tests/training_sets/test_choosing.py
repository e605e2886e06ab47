"""A choice is made inside the subset, by whole groups, and `none` wins where evidence is weak."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transform_sections import SECTIONS

from pipeline.classifiers.base import TrainingSet
from pipeline.classifiers.lgbm import expanded
from pipeline.classifiers.table import copied
from pipeline.config.schema import Params
from pipeline.data.images import BLACK, LabeledImages
from pipeline.stages import tune_transforms
from pipeline.training_sets.choosing import (
    TransformSearch,
    best,
    calibrated_losses,
    choose_transform,
    folds_of,
)
from pipeline.training_sets.transforms.building import build_transform, named_spec
from pipeline.trials.layout import artifacts, choice
from pipeline.trials.specs import MemberSpec

AFFINE, FLIP = (named_spec(name, SECTIONS) for name in ("affine", "flip"))


class Oracle:
    """A classifier whose quality is given; remembers what it learned from."""

    def __init__(self, training_set: TrainingSet, skill: float) -> None:
        self.training_set, self.skill = training_set, skill

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        labels = images[:, 0, 0, 0].astype(int)  # the test data writes the label into a pixel
        return (1 - self.skill) / 3 + self.skill * np.eye(3)[labels]


def subset_of(per_class: int) -> LabeledImages:
    labels = np.repeat(np.arange(3), per_class)
    images = np.zeros((len(labels), 1, 4, 4), dtype=np.uint8)
    images[:, 0, 0, 0] = labels
    images[:, 0, 3, 3] = np.arange(len(labels))
    return LabeledImages(images, labels)


def search_of(*transforms: tuple[str, MemberSpec | None], num_settings: int = 1) -> TransformSearch:
    return TransformSearch(transforms, num_settings, folds=5, per_class=4)


def is_flip(training_set: TrainingSet) -> bool:
    transform = training_set.transform
    probe = torch.arange(16.0).reshape(1, 1, 4, 4).expand(40, 1, 4, 4) / 16
    if transform is None:
        return False
    moved = transform(probe, torch.Generator().manual_seed(0))
    return bool(torch.isin(moved, probe).all())


def test_the_better_transform_and_then_the_better_settings_are_chosen() -> None:
    def train(training_set: TrainingSet, settings: int, seed: int) -> Any:
        skill = 0.6 if is_flip(training_set) else 0.3 if training_set.transform else 0.1
        return Oracle(training_set, skill + (0.2 if settings == 1 else 0.0))

    search = search_of(("affine", AFFINE), ("none", None), ("flip", FLIP), num_settings=2)
    result = choose_transform(subset_of(5), search, train, 3)
    assert (result.transform, result.settings, result.folds) == ("flip", 1, 5)
    compared = [(row["transform"], row["settings"]) for row in result.candidates]
    assert compared == [("none", 0), ("affine", 0), ("flip", 0), ("flip", 0), ("flip", 1)]


def test_equal_candidates_share_folds_and_seeds_and_leave_none() -> None:
    seen: list[tuple[int, bytes]] = []

    def train(training_set: TrainingSet, settings: int, seed: int) -> Any:
        seen.append((seed, training_set.data.images.tobytes()))
        return Oracle(training_set, 0.5)

    search = search_of(("none", None), ("affine", AFFINE))
    assert choose_transform(subset_of(5), search, train, 3).transform == "none"
    assert seen[:5] == seen[5:]
    assert len(set(seen)) == 5


def test_no_classifier_sees_the_fold_that_it_predicts() -> None:
    subset = subset_of(6)
    groups = np.arange(18) // 2

    class Apart(Oracle):
        def predict_proba(self, images: np.ndarray) -> np.ndarray:
            numbers = images[:, 0, 3, 3]
            learned = self.training_set.data.images[:, 0, 3, 3]
            assert not np.isin(numbers // 2, learned // 2).any()
            return super().predict_proba(images)

    search = search_of(("none", None), ("flip", FLIP))
    choose_transform(subset, search, lambda data, settings, seed: Apart(data, 0.5), 3, groups)


def test_fewer_folds_or_none_where_labels_are_few() -> None:
    folds, reason = folds_of(subset_of(3), 5, 0, None)
    assert folds is not None
    assert (folds.max(), reason) == (2, "")
    folds, reason = folds_of(subset_of(1), 5, 0, None)
    assert folds is None
    expected = "no cross-validation: class 0 has 1 labeled image, and two folds need 2"
    assert reason == expected
    reason = folds_of(subset_of(2), 5, 0, np.arange(6) // 2)[1]
    assert reason == expected.replace("labeled image", "group of labeled images")

    def train(training_set: TrainingSet, settings: int, seed: int) -> Any:
        raise AssertionError("nothing may be trained")

    result = choose_transform(subset_of(1), search_of(("none", None), ("flip", FLIP)), train, 0)
    assert (result.transform, result.settings, result.folds) == ("none", 0, 0)
    assert result.reason == expected


def test_weak_evidence_leaves_the_first_candidate() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(100)
    better = first - 0.1 + 0.2 * rng.standard_normal(100)
    assert best([first, better]) == 1
    barely = first + 0.5 * rng.standard_normal(100)
    assert best([first, barely - barely.mean() + first.mean() - 0.01]) == 0
    assert best([first, first + 0.1]) == 0
    assert best([first, first]) == 0


def test_a_difference_by_chance_is_rarely_evidence() -> None:
    """Few images, and images that are alike within groups."""
    rng = np.random.default_rng(2)
    for count, per_group in ((4, 1), (10, 10)):
        groups = np.repeat(np.arange(count), per_group)
        by_group, by_image = [], []
        for _ in range(300):
            shared = rng.normal(size=(5, count))[:, groups]
            table = [np.zeros(len(groups)), *(shared + rng.normal(size=(5, len(groups))))]
            by_group.append(best(table, groups) > 0)
            by_image.append(best(table) > 0)
        assert np.mean(by_group) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 300)
        # As independent images, those of ten groups are evidence far too often.
        assert (np.mean(by_image) > 0.4) == (per_group > 1)


def test_confidence_alone_does_not_decide() -> None:
    subset = subset_of(4)
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(12, 3)) + 2 * np.eye(3)[subset.labels]
    for factor in (1.0, 4.0):
        scaled = np.exp(factor * logits)
        losses = calibrated_losses(subset, scaled / scaled.sum(axis=1, keepdims=True))
        if factor == 1:
            expected = losses.mean()
    assert losses.mean() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_keep_weights_and_are_moved_apart(copies: int) -> None:
    data = subset_of(2)
    extra = np.array([False, False, True, True, True, False])
    transform = build_transform(AFFINE, BLACK)
    training_set = TrainingSet(data, extra, np.linspace(0.5, 1.5, 6), 3, transform)
    result = copied(training_set, copies)
    assert len(result.data) == 3 + 3 * copies == len(result.extra) == len(result.weights)
    assert result.weights.sum() == pytest.approx(6)
    for row in range(6):
        same = result.data.images[:, 0, 3, 3] == row
        assert same.sum() == (copies if extra[row] else 1)
        assert result.weights[same].sum() == pytest.approx(training_set.weights[row])
    moved = expanded(result, 0)
    assert np.array_equal(moved[~result.extra], data.images[~extra])

    def still(images: Tensor, generator: torch.Generator) -> Tensor:
        return images

    assert copied(TrainingSet(data, extra, np.ones(6), 3, None), copies).data is data
    assert (
        len(copied(TrainingSet(data, extra, np.ones(6), 3, still), copies).data) == 3 + 3 * copies
    )


def test_arms_share_one_choice_per_replicate_and_classifier(tuned_study: Params) -> None:
    planned = [plan.artifact for plan in tune_transforms.plans(tuned_study)]
    expected = [a for a in artifacts(tuned_study) if a.stage == "tune_transforms"]
    assert planned == expected
    assert len({*planned}) == len(planned) == 2 * 4 * 2
    assert planned[0] == choice("tuned", planned[0].replicate, "cnn")


def test_nothing_is_tuned_without_such_a_transform(study: Params, tmp_path: Any) -> None:
    assert tune_transforms.plans(study) == []
    tune_transforms.run(study, tmp_path)
    assert list((tmp_path / "data/transforms").iterdir()) == []


def test_classifiers_of_tables_are_offered_no_mixed_labels(tuned_study: Params) -> None:
    sections = {
        **tuned_study.transforms,
        "mixup": SECTIONS["mixup"],
        "tuned": type(SECTIONS["tuned"])(choices=["none", "flip", "mixup"]),
    }
    params = tuned_study.model_copy(update={"transforms": sections})
    names = {
        classifier: [
            name for name, _ in tune_transforms.search_of(params, "tuned", classifier)[0].transforms
        ]
        for classifier in ("cnn", "lgbm")
    }
    assert names == {"cnn": ["none", "flip", "mixup"], "lgbm": ["none", "flip"]}

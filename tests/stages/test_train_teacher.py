"""Which images of the pool a teacher labels."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from test_teachers import SECTIONS, SMALL_CNN, Halves, halves

from pipeline.classifiers.cnn import CNN
from pipeline.data.images import Images
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import TrialError
from pipeline.runtime.files import write_npz
from pipeline.runtime.seeds import numpy_rng
from pipeline.stages.train_teacher import TrainTeacherSpec, train
from pipeline.teachers import TEACHERS
from pipeline.teachers.label_propagation import LabelPropagation
from pipeline.training_sets.filters import agreement
from pipeline.training_sets.teaching import TeacherSpec
from pipeline.trials.specs import MemberSpec

__all__ = ["halves"]  # a fixture


def labeled_pool(
    name: str,
    halves: Halves,
    folder: Path,
    pool: Images | None = None,
    groups: np.ndarray | None = None,
    **changes: object,
) -> dict[str, np.ndarray]:
    """The arrays that the stage leaves, of a pool that begins with the labeled subset."""
    subset, rest = halves
    write_npz(
        folder / "subset.npz",
        images=subset.images,
        labels=subset.labels,
        index=np.arange(len(subset)),
        **({} if groups is None else {"groups": groups}),
    )
    unlabeled = rest.images if pool is None else pool
    write_npz(folder / "pool.npz", images=np.concatenate([subset.images, unlabeled]))

    family = TEACHERS[name]
    config = family.Config.model_validate({**SECTIONS[name], **changes})
    classifier = MemberSpec(CNN, SMALL_CNN) if name == "supervised" else None
    spec = TrainTeacherSpec(3, TeacherSpec(MemberSpec(family, config), classifier))
    paths = {"subset": folder / "subset.npz", "pool": folder / "pool.npz"}
    with deterministic():
        result = train(spec, paths, folder)
    with np.load(io.BytesIO(result.files[".npz"])) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["label_propagation", "supervised"])
def test_images_with_the_highest_ood_scores_get_no_label(
    name: str, halves: Halves, tmp_path: Path
) -> None:
    arrays = labeled_pool(name, halves, tmp_path, keep_frac=0.25)
    keep = np.isin(arrays["unlabeled"], arrays["index"])
    assert keep.sum() == len(arrays["labels"]) == np.ceil(0.25 * len(halves[1]))
    score = arrays["ood_score"]
    assert np.ptp(score) > 0
    assert score[keep].max() <= score[~keep].min()
    assert arrays["min_probability"] >= 0.8


def test_only_a_supervised_teacher_accepts_any_pool(halves: Halves, tmp_path: Path) -> None:
    blank = np.zeros_like(halves[1].images[:1]).repeat(400, axis=0)
    assert np.isnan(labeled_pool("supervised", halves, tmp_path, blank)["distance_rank"])
    with pytest.raises(TrialError, match="like the labeled ones"):
        labeled_pool("label_propagation", halves, tmp_path, blank)


def test_images_that_no_label_reaches_get_none(halves: Halves, tmp_path: Path) -> None:
    fit = LabelPropagation.fit

    def leaving_out(self: LabelPropagation, *arguments: Any) -> LabelPropagation:
        teacher = fit(self, *arguments)
        assert teacher.reached is not None
        teacher.reached[:3] = False
        return teacher

    with mock.patch.object(LabelPropagation, "fit", leaving_out):
        arrays = labeled_pool("label_propagation", halves, tmp_path)
    left_out = np.setdiff1d(arrays["unlabeled"], arrays["index"])
    assert set(arrays["unlabeled"][:3]) <= set(left_out)
    assert len(arrays["ood_score"]) == len(arrays["unlabeled"])
    assert len(arrays["labels"]) == len(arrays["images"]) == len(arrays["index"])


@pytest.mark.parametrize("name", ["label_propagation", "fixmatch"])
def test_what_held_out_labels_say_is_written(name: str, halves: Halves, tmp_path: Path) -> None:
    arrays = labeled_pool(name, halves, tmp_path)
    assert arrays["min_probability"] >= 0.8
    assert arrays["trusted"] == (arrays["min_probability"] <= 1)
    assert arrays["held_out_probabilities"].shape == (len(arrays["held_out_labels"]), 3)
    assert arrays["pool_shares"].sum() == pytest.approx(1)
    assert bool(str(arrays["choice"])) == (name == "label_propagation")


def test_a_teacher_that_errs_on_held_out_labels_is_sure_of_none(
    halves: Halves, tmp_path: Path
) -> None:
    labeled, rest = halves
    shuffled = replace(labeled, labels=numpy_rng("shuffled").permutation(labeled.labels))
    arrays = labeled_pool("fixmatch", (shuffled, rest), tmp_path)
    assert not arrays["trusted"]
    kept = agreement(arrays["labels"], arrays["probabilities"], float(arrays["min_probability"]))
    assert not kept.any()


def test_a_supervised_teacher_holds_out_nothing(halves: Halves, tmp_path: Path) -> None:
    assert "trusted" not in labeled_pool("supervised", halves, tmp_path)


@pytest.mark.parametrize("name", ["label_propagation", "fixmatch"])
def test_groups_of_the_subset_are_held_out_together(
    name: str, halves: Halves, tmp_path: Path
) -> None:
    # All images of class 0 are one group: hidden together, nothing would be left of the class.
    groups = np.where(halves[0].labels == 0, 0, -1)
    arrays = labeled_pool(name, halves, tmp_path, groups=groups)
    assert set(arrays["held_out_labels"]) == {1, 2}

"""Which images of the pool a teacher labels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from test_teachers import SECTIONS, SMALL_CNN, Halves, halves

from pipeline.classifiers.cnn import CNN
from pipeline.data.images import Images
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import TrialError
from pipeline.runtime.files import write_npz
from pipeline.stages.train_teacher import TrainTeacherSpec, train
from pipeline.teachers import TEACHERS
from pipeline.training_sets.teaching import TeacherSpec
from pipeline.trials.specs import MemberSpec

__all__ = ["halves"]  # a fixture


def labeled_pool(
    name: str, halves: Halves, folder: Path, pool: Images | None = None, **changes: object
) -> dict[str, np.ndarray]:
    """The arrays that the stage leaves, of a pool that begins with the labeled subset."""
    subset, rest = halves
    write_npz(
        folder / "subset.npz",
        images=subset.images,
        labels=subset.labels,
        index=np.arange(len(subset)),
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
    assert arrays["min_probability"] == 0.8


def test_only_a_supervised_teacher_accepts_any_pool(halves: Halves, tmp_path: Path) -> None:
    blank = np.zeros_like(halves[1].images[:1]).repeat(400, axis=0)
    assert np.isnan(labeled_pool("supervised", halves, tmp_path, blank)["distance_rank"])
    with pytest.raises(TrialError, match="like the labeled ones"):
        labeled_pool("label_propagation", halves, tmp_path, blank)

"""A teacher for any images: a network that is trained on its own pseudo-labels of the pool.

Source: Sohn et al. (2020), "FixMatch"; see `student` for the network, the pseudo-labels and their
deviations. Deviation of the teacher: networks are first trained by cross-validation. Their
predictions of held-out labels say how far the teacher can be trusted, and their predictions of the
pool give its class shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.data.parts import Groups
from pipeline.nn.augment import ElasticConfig
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers.base import Teacher, TeacherConfig
from pipeline.teachers.calibration import (
    Folds,
    HeldOut,
    assign_folds,
    class_shares,
    label_shares,
)
from pipeline.teachers.student import (
    FixMatchConfig,
    Phase,
    Pool,
    Student,
    TeacherNetConfig,
    refuse_small,
    train,
)


def default_network() -> TeacherNetConfig:
    """More movement than after label propagation, since movement is all that this teacher knows."""
    strong = ElasticConfig(degrees=15.0, translate=0.1, scale=0.15, shear=10.0, cutout=0.3)
    return TeacherNetConfig(strong=strong, color=0.4)


class FixMatchTeacherConfig(TeacherConfig):
    """The defaults are for photos and drawings of 20 to 64 pixels with a few labels per class."""

    training: Phase = Phase(
        steps=1000, batch_size=32, fixmatch=FixMatchConfig(batch_size=96, warmup_frac=0.2)
    )
    # Students that learn without a part of the labels, each with this share of the steps. The only
    # label of a class is in no fold; without folds there are no such students.
    folds: int = Field(default=3, ge=0, le=20)
    fold_steps_frac: float = Field(default=0.5, gt=0, le=1)
    network: TeacherNetConfig = Field(default_factory=default_network)


class FixMatch(Teacher):
    """A network of strongly augmented labeled images and of its own confident labels of a pool."""

    Config = FixMatchTeacherConfig
    config: FixMatchTeacherConfig
    student: Student

    @override
    def build(self, spec: ImageSpec) -> None:
        refuse_small(spec, "fixmatch")
        self.student = Student(self.config.network, spec, self.seed)

    @override
    def fit(
        self,
        labeled: LabeledImages,
        unlabeled: Images,
        folder: Path,
        groups: Groups | None = None,
    ) -> Self:
        """Train from scratch and return self; no checkpoints are written to `folder`.

        Raises `ParamsError` for images smaller than 8 x 8.
        """
        refuse_small(labeled.spec(), "fixmatch")
        folds = assign_folds(labeled.labels, self.config.folds, self.seed, groups)
        self._cross_fit(labeled, unlabeled, folds)

        config, seed = self.config, derive_seed("student", self.seed)
        pool = Pool(unlabeled, self.pool_shares)
        self.student = train_student(config.network, config.training, labeled, pool, seed)
        return self

    def _cross_fit(self, labeled: LabeledImages, unlabeled: Images, folds: Folds) -> None:
        """Set `held_out`, unless there are no folds, and `pool_shares`: then those of the subset.

        The students of the folds learn without distribution alignment, since it assumes shares.
        """
        phase = without_alignment(self.config.training, self.config.fold_steps_frac)
        prior = label_shares(labeled.labels, labeled.num_classes)
        probabilities = np.zeros((len(labeled), labeled.num_classes), dtype=np.float32)
        pool = np.zeros((len(unlabeled), labeled.num_classes), dtype=np.float32)
        num_folds = int(folds.max()) + 1
        if num_folds == 0:
            self.pool_shares = prior.astype(np.float32)
            return

        for fold in range(num_folds):
            rest, hidden = labeled.take(folds != fold), labeled.images[folds == fold]
            both = Pool(np.concatenate([unlabeled, hidden]))
            seed = derive_seed("fold", self.seed, fold)
            student = train_student(self.config.network, phase, rest, both, seed)
            probabilities[folds == fold] = student.probabilities(hidden)
            pool += student.probabilities(unlabeled) / num_folds

        is_held_out = folds >= 0
        self.held_out = HeldOut(labeled.labels[is_held_out], probabilities[is_held_out])
        self.pool_shares = class_shares(pool, prior)

    @override
    def state(self) -> dict[str, Tensor]:
        return dict(self.student.average.state_dict())

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        self.build(spec)
        self.student.average.load_state_dict(dict(state))
        return self

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        return self.student.probabilities(images)


def train_student(
    network: TeacherNetConfig,
    phase: Phase,
    labeled: LabeledImages,
    pool: Pool,
    seed: int,
) -> Student:
    """A network trained on all labeled images, equally often; see `student.train`."""
    one_hot = np.eye(labeled.num_classes, dtype=np.float32)[labeled.labels]
    equal = np.ones(len(labeled), dtype=np.float32)
    given = (labeled.images, one_hot, equal)
    return train(network, phase, given, pool, seed, labeled.background)


def without_alignment(phase: Phase, frac: float) -> Phase:
    """`phase` with a share of its steps and without distribution alignment."""
    fixmatch = phase.fixmatch
    if fixmatch is not None:
        fixmatch = fixmatch.model_copy(update={"alignment_decay": 1.0})
    steps = max(2, round(phase.steps * frac))
    return phase.model_copy(update={"steps": steps, "fixmatch": fixmatch})

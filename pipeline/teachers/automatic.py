"""A teacher that chooses between label propagation and FixMatch on held-out labels of the subset.

Both start from labels of the pool that they improve later: label propagation from those of a graph,
FixMatch from those of a network trained on augmented labeled images. The better start decides. Both
are scored on the same folds of labels that they did not learn from; no label of the pool is read.
Whether any of its labels can be trusted is then up to the teacher itself
(`Teacher.min_probability`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.data.parts import Groups
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers.base import Teacher, TeacherConfig
from pipeline.teachers.calibration import Folds, HeldOut, assign_folds
from pipeline.teachers.fixmatch import FixMatch, FixMatchTeacherConfig, train_student
from pipeline.teachers.label_propagation import LabelPropagation, LabelPropagationConfig
from pipeline.teachers.student import Phase, Pool, refuse_small

CHOICE = "is_label_propagation"  # in the state, 0 or 1


class AutomaticConfig(TeacherConfig):
    """Both teachers, each with its own settings; `min_probability` and `keep_frac` are for both."""

    label_propagation: LabelPropagationConfig = Field(default_factory=LabelPropagationConfig)
    fixmatch: FixMatchTeacherConfig = Field(default_factory=FixMatchTeacherConfig)
    # Folds of the labels that both predict; a network per fold stands for the start of FixMatch.
    # With a single label of every class nothing is compared, and it is FixMatch.
    folds: int = Field(default=3, ge=2, le=20)
    start: Phase = Phase(steps=300, batch_size=32)

    @model_validator(mode="after")
    def _refuse_shared_settings_inside(self) -> Self:
        for place in ("label_propagation", "fixmatch"):
            section = getattr(self, place)
            for key, field in TeacherConfig.model_fields.items():
                value = getattr(section, key)
                # A section that was written out has its default.
                if value not in (field.default, getattr(self, key)):
                    raise ValueError(
                        f"{place}.{key}: expected no value, since it is for both teachers, found "
                        f"{value} (set it at teachers.<name>.{key})"
                    )
        return self


class Automatic(Teacher):
    """Label propagation or FixMatch, whichever starts with fewer errors on held-out labels."""

    Config = AutomaticConfig
    config: AutomaticConfig
    teacher: Teacher

    @override
    def build(self, spec: ImageSpec) -> None:
        refuse_small(spec, "automatic")
        for is_propagation in (True, False):
            self.member(is_propagation=is_propagation).build(spec)

    def member(self, *, is_propagation: bool) -> Teacher:
        """One of both teachers before `fit`, with the settings that are for both."""
        config = self.config
        shared = {name: getattr(config, name) for name in TeacherConfig.model_fields}
        if is_propagation:
            settings = config.label_propagation.model_copy(update=shared)
            return LabelPropagation(settings, self.seed)
        return FixMatch(config.fixmatch.model_copy(update=shared), self.seed)

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
        refuse_small(labeled.spec(), "automatic")
        folds = assign_folds(labeled.labels, self.config.folds, self.seed, groups)
        graph = self.config.label_propagation.choose_features(labeled, unlabeled, folds)[1]
        network = self._learned(labeled, folds)

        # Equal numbers of errors: the graph, since it reaches styles that the labels do not show.
        is_propagation = len(network.labels) > 0 and graph.accuracy() >= network.accuracy()
        self.teacher = self.member(is_propagation=is_propagation).fit(
            labeled, unlabeled, folder, groups
        )
        self.held_out, self.reached = self.teacher.held_out, self.teacher.reached
        self.pool_shares = self.teacher.pool_shares
        name = "label propagation" if is_propagation else "FixMatch"
        self.choice = " ".join(part for part in (name, self.teacher.choice) if part)
        return self

    def _learned(self, labeled: LabeledImages, folds: Folds) -> HeldOut:
        """Predictions of the images of every fold, by networks that learn from all others."""
        probabilities = np.zeros((len(labeled), labeled.num_classes), dtype=np.float32)
        for fold in range(int(folds.max()) + 1):
            rest, hidden = labeled.take(folds != fold), labeled.images[folds == fold]
            seed = derive_seed("start", self.seed, fold)
            network = self.config.fixmatch.network
            student = train_student(network, self.config.start, rest, Pool(hidden), seed)
            probabilities[folds == fold] = student.probabilities(hidden)
        is_held_out = folds >= 0
        return HeldOut(labeled.labels[is_held_out], probabilities[is_held_out])

    @override
    def state(self) -> dict[str, Tensor]:
        is_propagation = isinstance(self.teacher, LabelPropagation)
        return {**self.teacher.state(), CHOICE: torch.tensor(int(is_propagation))}

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        weights = {name: value for name, value in state.items() if name != CHOICE}
        is_propagation = bool(state[CHOICE])
        self.teacher = self.member(is_propagation=is_propagation).load(weights, spec)
        return self

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        return self.teacher.predict_proba(images)

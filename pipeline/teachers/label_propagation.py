"""A teacher that links unseen styles to their class through the pool, then learns from itself.

First labels spread over the graph of images with like strokes; a network learns from the surest of
them; its features give a better graph, and so on in rounds. Sources: see `neighborhood` and
`consistency`; Iscen et al. (2019) spread labels over learned features, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.config.validation import Count
from pipeline.data.images import UNLABELED, Images, ImageSpec, LabeledImages, Labels
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers.base import Teacher, TeacherConfig
from pipeline.teachers.features import (
    Rows,
    affinity,
    hog_features,
    normalize_mean_length,
    principal_components,
    propagate_labels,
)
from pipeline.teachers.fixmatch import Phase, Student, TeacherNetConfig, in_batches, train

MIN_ALPHA = 0.5  # two links
MIN_SIDE = 8


class Round(Phase):
    """Training on labels that were spread: `steps`, or more where the draw has many labels."""

    steps_per_label: float = Field(default=0.0, ge=0)
    max_steps: Count | None = None  # None: `steps`
    top_frac: float = Field(gt=0, le=1)  # of every class, by the margin of the first choice

    @model_validator(mode="after")
    def _has_a_range(self) -> Round:
        most = self.steps if self.max_steps is None else self.max_steps
        if self.steps > most or (most > self.steps) != (self.steps_per_label > 0):
            raise ValueError(
                f"max_steps: expected more than steps ({self.steps}) with steps_per_label, and "
                f"none without, found {self.max_steps} with {self.steps_per_label}"
            )
        return self

    def given(self, num_labels: int) -> Round:
        """The same with the steps that so many labels are worth: the more, the fewer are wrong."""
        steps = min(self.max_steps or self.steps, round(self.steps_per_label * num_labels))
        return self.model_copy(update={"steps": max(self.steps, steps)})


class LabelPropagationConfig(TeacherConfig):
    """presets/semi.yaml gives the values and reasons."""

    components: Count  # principal components of the strokes
    neighbors: Count
    alpha: float = Field(gt=0, lt=1)  # how far labels spread at most; 1: to the end of every path
    restart_per_label: float = Field(default=0.0, ge=0)  # the more labels per class, the less far
    hog_weight: float = Field(ge=0)  # weight of strokes beside learned features, in later graphs
    labeled_weight: float = Field(gt=0)  # an image of the draw is taken so often as one of the pool
    rounds: list[Round] = Field(min_length=1)
    network: TeacherNetConfig

    def propagation_alpha(self, subset: LabeledImages) -> float:
        """The alpha for a draw: a walk that goes 1 / (1 - alpha) links before it starts anew."""
        restart = self.restart_per_label * len(subset) / subset.num_classes
        return min(self.alpha, max(MIN_ALPHA, 1 - restart))


class LabelPropagation(Teacher):
    """See the module."""

    Config = LabelPropagationConfig
    config: LabelPropagationConfig

    def build(self, data: LabeledImages) -> None:
        """See `Teacher.build`."""
        refuse_small(data.spec())
        self.student = Student(self.config.network, data.spec(), self.seed)
        self.network = self.student.average

    def fit(self, subset: LabeledImages, unlabeled: Images) -> LabelPropagation:
        """See `Teacher.fit`."""
        config = self.config
        refuse_small(subset.spec())
        images = np.concatenate([subset.images, unlabeled])
        labels = np.concatenate([subset.labels, np.full(len(unlabeled), UNLABELED)])
        seen = principal_components(hog_features(images), config.components)
        # The sum over all graphs so far: they err on different images.
        probabilities = self._propagate(seen, labels, subset)
        for number, round_config in enumerate(config.rounds):
            if number > 0:
                features = normalize_mean_length(in_batches(images, self.student.embed))
                both = np.concatenate([features, config.hog_weight * seen], axis=1)
                probabilities = probabilities + self._propagate(both, labels, subset)
            index = most_confident(probabilities, round_config.top_frac, num_labeled=len(subset))
            targets = np.eye(subset.num_classes, dtype=np.float32)[probabilities.argmax(axis=1)]
            targets[: len(subset)] = np.eye(subset.num_classes, dtype=np.float32)[subset.labels]
            weights = np.where(np.arange(len(images)) < len(subset), config.labeled_weight, 1.0)
            seed = derive_seed("round", self.seed, number)
            labeled = images[index], targets[index], weights[index]
            phase = round_config.given(len(subset))
            self.student = train(config.network, phase, labeled, unlabeled, seed)
            self.network = self.student.average
        return self

    def _propagate(self, rows: Rows, labels: Labels, subset: LabeledImages) -> Rows:
        links = affinity(rows, self.config.neighbors)
        return propagate_labels(
            links, labels, subset.num_classes, self.config.propagation_alpha(subset)
        )

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Teacher.predict_proba`."""
        return self.student.probabilities(images)


def refuse_small(spec: ImageSpec) -> None:
    """Raise `ParamsError` for images that are too small for the network to pool twice."""
    if min(spec.height, spec.width) < MIN_SIDE:
        raise ParamsError(
            "teachers.graph",
            f"expected image sides of at least {MIN_SIDE}, found {spec.height} x {spec.width}",
            "pad the images, or use no teacher",
        )


def most_confident(probabilities: Rows, frac: float, num_labeled: int) -> NDArray[np.int64]:
    """Positions of the first `num_labeled` rows and of the surest share of every class among the rest.

    By the margin between the first and the second choice, at least one of a class. A row without a
    margin was reached by no label and is never among them.
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    choice = probabilities.argmax(axis=1)
    parts = [np.arange(num_labeled)]
    for label in np.unique(choice):
        members = num_labeled + np.flatnonzero(
            (choice == label)[num_labeled:] & (first > second)[num_labeled:]
        )
        margin = (first - second)[members]
        count = int(np.ceil(frac * len(members)))
        parts.append(members[np.argsort(-margin, kind="stable")[:count]])
    return np.concatenate(parts)

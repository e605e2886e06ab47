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
from pipeline.teachers.features import Rows, affinity, reduced, scaled, spread, strokes
from pipeline.teachers.fixmatch import ConsistencyConfig, Phase, Student, in_batches, train

LEAST_REACH = 0.5  # two links
LEAST_SIDE = 8


class Round(Phase):
    """Training on labels that were spread: `steps`, or more where the draw has many labels."""

    steps_per_label: float = Field(default=0.0, ge=0)
    most_steps: Count | None = None  # None: `steps`
    surest_frac: float = Field(gt=0, le=1)  # of every class, by the margin of the first choice

    @model_validator(mode="after")
    def _has_a_range(self) -> Round:
        most = self.steps if self.most_steps is None else self.most_steps
        if self.steps > most or (most > self.steps) != (self.steps_per_label > 0):
            raise ValueError(
                f"most_steps: expected more than steps ({self.steps}) with steps_per_label, and "
                f"none without, found {self.most_steps} with {self.steps_per_label}"
            )
        return self

    def given(self, num_labels: int) -> Round:
        """The same with the steps that so many labels are worth: the more, the fewer are wrong."""
        worth = min(self.most_steps or self.steps, round(self.steps_per_label * num_labels))
        return self.model_copy(update={"steps": max(self.steps, worth)})


class GraphConfig(TeacherConfig):
    """presets/semi.yaml gives the values and reasons."""

    components: Count  # principal components of the strokes
    neighbors: Count
    alpha: float = Field(gt=0, lt=1)  # how far labels spread at most; 1: to the end of every path
    restart_per_label: float = Field(default=0.0, ge=0)  # the more labels per class, the less far
    stroke_share: float = Field(ge=0)  # weight of strokes beside learned features, in later graphs
    draw_weight: float = Field(gt=0)  # an image of the draw is taken so often as one of the pool
    rounds: list[Round] = Field(min_length=1)
    network: ConsistencyConfig

    def reach(self, draw: LabeledImages) -> float:
        """The alpha for a draw: a walk that goes 1 / (1 - alpha) links before it starts anew."""
        restart = self.restart_per_label * len(draw) / draw.num_classes
        return min(self.alpha, max(LEAST_REACH, 1 - restart))


class GraphTeacher(Teacher):
    """See the module."""

    Config = GraphConfig
    config: GraphConfig

    def build(self, data: LabeledImages) -> None:
        """See `Teacher.build`."""
        refuse_small(data.spec())
        self.student = Student(self.config.network, data.spec(), self.seed)
        self.network = self.student.average

    def fit(self, draw: LabeledImages, unlabeled: Images) -> GraphTeacher:
        """See `Teacher.fit`."""
        config = self.config
        refuse_small(draw.spec())
        images = np.concatenate([draw.images, unlabeled])
        labels = np.concatenate([draw.labels, np.full(len(unlabeled), UNLABELED)])
        seen = reduced(strokes(images), config.components)
        # The sum over all graphs so far: they err on different images.
        opinion = self._spread(seen, labels, draw)
        for number, each in enumerate(config.rounds):
            if number > 0:
                features = scaled(in_batches(images, self.student.embed))
                both = np.concatenate([features, config.stroke_share * seen], axis=1)
                opinion = opinion + self._spread(both, labels, draw)
            chosen = surest(opinion, each.surest_frac, known=len(draw))
            targets = np.eye(draw.num_classes, dtype=np.float32)[opinion.argmax(axis=1)]
            targets[: len(draw)] = np.eye(draw.num_classes, dtype=np.float32)[draw.labels]
            weights = np.where(np.arange(len(images)) < len(draw), config.draw_weight, 1.0)
            seed = derive_seed("round", self.seed, number)
            labeled = images[chosen], targets[chosen], weights[chosen]
            phase = each.given(len(draw))
            self.student = train(config.network, phase, labeled, unlabeled, seed)
            self.network = self.student.average
        return self

    def _spread(self, rows: Rows, labels: Labels, draw: LabeledImages) -> Rows:
        links = affinity(rows, self.config.neighbors)
        return spread(links, labels, draw.num_classes, self.config.reach(draw))

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Teacher.predict_proba`."""
        return self.student.opinion(images)


def refuse_small(spec: ImageSpec) -> None:
    """Raise `ParamsError` for images that are too small for the network to pool twice."""
    if min(spec.height, spec.width) < LEAST_SIDE:
        raise ParamsError(
            "teachers.graph",
            f"expected image sides of at least {LEAST_SIDE}, found {spec.height} x {spec.width}",
            "pad the images, or use no teacher",
        )


def surest(opinion: Rows, frac: float, known: int) -> NDArray[np.int64]:
    """Positions of the first `known` rows and of the surest share of every class among the rest.

    By the margin between the first and the second choice, at least one of a class. A row without a
    margin was reached by no label and is never among them.
    """
    second, first = np.partition(opinion, -2, axis=1)[:, -2:].T
    choice = opinion.argmax(axis=1)
    parts = [np.arange(known)]
    for label in np.unique(choice):
        members = known + np.flatnonzero((choice == label)[known:] & (first > second)[known:])
        margin = (first - second)[members]
        count = int(np.ceil(frac * len(members)))
        parts.append(members[np.argsort(-margin, kind="stable")[:count]])
    return np.concatenate(parts)

"""A teacher that propagates labels over a graph of the pool and then learns from them.

Labels are propagated over a graph of similar images (HOG features or pixels, whichever predicts
hidden labels of the subset best). A network is trained on the most confident of them; its features
give a better graph; and so on in rounds.

Sources: see `features` and `graph` for the graph and the propagation, `student` for the network.
Iscen et al. (2019), "Label propagation for deep semi-supervised learning", propagate labels over
learned features, too. Deviation: the graph also has the first features, and the first one has
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from pipeline.config.validation import Count
from pipeline.data.images import UNLABELED, Images, ImageSpec, LabeledImages, Labels
from pipeline.data.parts import Groups
from pipeline.nn.hog import Rows
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers.base import Teacher, TeacherConfig, in_batches
from pipeline.teachers.calibration import (
    Folds,
    HeldOut,
    assign_folds,
    class_shares,
    label_shares,
)
from pipeline.teachers.features import (
    affinity,
    normalize_mean_length,
    principal_components,
    propagate_labels,
)
from pipeline.teachers.graph import (
    FEATURES,
    MAX_FOLDS,
    FeatureName,
    GraphSettings,
    choose_features,
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

MIN_ALPHA = 0.5  # a walk of two links


class Round(Phase):
    """Training on propagated labels: `steps`, or more where the labeled subset is large."""

    steps_per_label: float = Field(default=0.0, ge=0)
    max_steps: Count | None = None  # None: `steps`
    # Share of the images of every class that are learned from, by the margin of the first class.
    top_frac: float = Field(default=0.95, gt=0, le=1)

    @model_validator(mode="after")
    def _check_max_steps(self) -> Round:
        max_steps = self.steps if self.max_steps is None else self.max_steps
        if self.steps > max_steps or (max_steps > self.steps) != (self.steps_per_label > 0):
            raise ValueError(
                f"max_steps: expected more than steps ({self.steps}) with steps_per_label, and "
                f"none without, found {self.max_steps} with {self.steps_per_label}"
            )
        return self

    def given(self, num_labels: int) -> Round:
        """This round with the number of steps for a labeled subset of that size.

        With more labels, fewer propagated labels are wrong, and longer training pays.
        """
        steps = min(self.max_steps or self.steps, round(self.steps_per_label * num_labels))
        return self.model_copy(update={"steps": max(self.steps, steps)})


def default_rounds() -> list[Round]:
    """Two rounds; a third one between them gained nothing (LOG.md).

    With 100 labels, some of which are propagated wrongly, twice the steps gained nothing in the
    second round; with 1,000 they do. FixMatch pseudo-labels for the rest of the second round took
    0.92 % errors on held-out images to 0.85 (ten labeled subsets, LOG.md).
    """
    return [
        Round(steps=700),
        Round(
            steps=2200,
            steps_per_label=5.2,
            max_steps=5200,
            top_frac=0.98,
            fixmatch=FixMatchConfig(),
        ),
    ]


class LabelPropagationConfig(TeacherConfig):
    """The defaults are for MNIST with few labels."""

    # Of the first graph: the one that predicts hidden labels of the subset best; a later one must
    # be better than those before it by a standard error.
    features: list[FeatureName] = Field(
        default_factory=lambda: list(FEATURES), min_length=1, examples=["[hog_deslanted, pixels]"]
    )
    components: Count = 100  # principal components of these features; the rest is noise
    neighbors: Count = 10
    # How far labels propagate; 1 is without limit. Most styles are many links away.
    alpha: float = Field(default=0.99, gt=0, lt=1)
    # Restarts per label and class: with more than 20 labels per class, labels propagate less far,
    # with 100 as by an alpha of 0.95 (LOG.md).
    restart_per_label: float = Field(default=0.0005, ge=0)
    # Weight of the first features in graphs with learned features; not tuned.
    hog_weight: float = Field(default=0.3, ge=0)
    # Sampling weight of a labeled image relative to an image of the pool; not tuned.
    labeled_weight: float = Field(default=5.0, gt=0)
    rounds: list[Round] = Field(default_factory=default_rounds, min_length=1)
    network: TeacherNetConfig = TeacherNetConfig()

    def propagation_alpha(self, labeled: LabeledImages) -> float:
        """The alpha for a labeled subset.

        A random walk over the graph takes 1 / (1 - alpha) links on average before it restarts.
        """
        restart = self.restart_per_label * len(labeled) / labeled.num_classes
        return min(self.alpha, max(MIN_ALPHA, 1 - restart))

    def choose_features(
        self, labeled: LabeledImages, unlabeled: Images, folds: Folds
    ) -> tuple[FeatureName, HeldOut]:
        """The features of the first graph, and predictions of hidden labels; see `graph`."""
        alpha = self.propagation_alpha(labeled)
        settings = GraphSettings(self.components, self.neighbors, alpha)
        return choose_features(self.features, labeled, unlabeled, folds, settings)


class LabelPropagation(Teacher):
    """Rounds of label propagation and training; the network of the last round is the result."""

    Config = LabelPropagationConfig
    config: LabelPropagationConfig
    student: Student

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
        refuse_small(labeled.spec(), "label_propagation")
        config, num_labeled = self.config, len(labeled)
        folds = assign_folds(labeled.labels, MAX_FOLDS, self.seed, groups)
        images = np.concatenate([labeled.images, unlabeled])
        labels = np.concatenate([labeled.labels, np.full(len(unlabeled), UNLABELED)])
        one_hot = np.eye(labeled.num_classes, dtype=np.float32)
        weights = np.where(np.arange(len(images)) < num_labeled, config.labeled_weight, 1.0)

        # The sum over all graphs so far: they err on different images.
        first = self._first_features(images, labeled, unlabeled, folds)
        probabilities = self._propagate(first, labels, labeled)

        for number, round_config in enumerate(config.rounds):
            if number > 0:
                learned = normalize_mean_length(in_batches(images, self.student.embed))
                both = np.concatenate([learned, config.hog_weight * first], axis=1)
                probabilities = probabilities + self._propagate(both, labels, labeled)

            # An image that no label reached in any graph has equal probabilities.
            self.reached = np.ptp(probabilities[num_labeled:], axis=1) > 0
            prior = label_shares(labeled.labels, labeled.num_classes)
            self.pool_shares = class_shares(probabilities[num_labeled:][self.reached], prior)

            # The given labels are kept, whatever the propagation says.
            index = most_confident(probabilities, round_config.top_frac, num_labeled)
            targets = one_hot[probabilities.argmax(axis=1)]
            targets[:num_labeled] = one_hot[labeled.labels]

            self.student = train(
                config.network,
                round_config.given(num_labeled),
                (images[index], targets[index], weights[index]),
                Pool(unlabeled, self.pool_shares),
                derive_seed("round", self.seed, number),
                labeled.background,
            )
        return self

    def _first_features(
        self, images: Images, labeled: LabeledImages, unlabeled: Images, folds: Folds
    ) -> Rows:
        """Set `held_out` and return the features of all images that predict hidden labels best."""
        config = self.config
        name, held_out = config.choose_features(labeled, unlabeled, folds)
        self.choice, self.held_out = name, held_out if len(held_out.labels) else None
        return principal_components(FEATURES[name](images, labeled.background), config.components)

    def _propagate(self, rows: Rows, labels: Labels, labeled: LabeledImages) -> Rows:
        links = affinity(rows, self.config.neighbors)
        alpha = self.config.propagation_alpha(labeled)
        return propagate_labels(links, labels, labeled.num_classes, alpha)

    @override
    def state(self) -> dict[str, Tensor]:
        return dict(self.student.average.state_dict())

    @override
    def build(self, spec: ImageSpec) -> None:
        refuse_small(spec, "label_propagation")
        self.student = Student(self.config.network, spec, self.seed)

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        self.build(spec)
        self.student.average.load_state_dict(dict(state))
        return self

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        return self.student.probabilities(images)


def most_confident(probabilities: Rows, frac: float, num_labeled: int) -> NDArray[np.int64]:
    """Positions of the first `num_labeled` rows and of the most confident of the other rows.

    Of every class the share `frac` with the largest margin between the first and the second class,
    rounded up. A row with a margin of 0 was reached by no label and is left out.
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    margin = first - second
    predicted = probabilities.argmax(axis=1)
    is_candidate = (np.arange(len(probabilities)) >= num_labeled) & (margin > 0)

    parts = [np.arange(num_labeled)]
    for label in np.unique(predicted):
        members = np.flatnonzero(is_candidate & (predicted == label))
        count = int(np.ceil(frac * len(members)))
        parts.append(members[np.argsort(-margin[members], kind="stable")[:count]])
    return np.concatenate(parts)

"""A teacher of params.yaml as a spec: how it is resolved, built and restored.

A supervised teacher is a classifier of `classifiers`, with a transform; the other families need
neither. Knows no registry: the stages pass them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.config.design import teacher_transform_problem
from pipeline.config.schema import Params, family
from pipeline.config.validation import FILE, refuse_unknown
from pipeline.data.images import Background
from pipeline.runtime.errors import ParamsError
from pipeline.training_sets.transforms.building import build_transform, transform_spec
from pipeline.trials.specs import MemberSpec, member

if TYPE_CHECKING:
    from pipeline.teachers.base import Teacher

Registry = Mapping[str, type[Any]]


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher; `classifier` is that of a supervised one, `transform` is for its training."""

    teacher: MemberSpec
    classifier: MemberSpec | None = None
    transform: MemberSpec | None = None

    def build(self, seed: int, background: Background) -> Teacher:
        """The teacher before `fit` or `load`, for images with that background.

        Its classifier has the same seed.
        """
        if self.classifier is None:
            built: Teacher = self.teacher.family(self.teacher.config, seed)
            return built
        classifier = self.classifier.family(self.classifier.config, seed)
        transform = build_transform(self.transform, background)
        supervised: Teacher = self.teacher.family(self.teacher.config, seed, classifier, transform)
        return supervised


def teacher_spec(
    params: Params, name: str, teachers: Registry, classifiers: Registry
) -> TeacherSpec:
    """The teacher called `name`.

    Raises `ParamsError` when its settings do not fit its family, or when it names a classifier or
    transform that does not exist.
    """
    section = params.teachers[name]
    teacher = member(teachers, family(section, name), section.settings, f"teachers.{name}")
    classifier = getattr(teacher.config, "classifier", None)
    if classifier is None:
        return TeacherSpec(teacher)

    transform = getattr(teacher.config, "transform", "none")
    where = f"teachers.{name}"
    refuse_unknown(f"{FILE}: {where}.classifier", classifier, params.classifiers)
    for problem in teacher_transform_problem(params, f"{where}.transform", transform):
        raise ParamsError(FILE, problem, "use one of these names")
    return TeacherSpec(
        teacher,
        classifier_spec(params, classifier, classifiers),
        transform_spec(transform, params.transforms),
    )


def classifier_spec(params: Params, name: str, classifiers: Registry) -> MemberSpec:
    """The classifier called `name`; raises `ParamsError` as `teacher_spec` does."""
    section = params.classifiers[name]
    return member(classifiers, family(section, name), section.settings, f"classifiers.{name}")


def classifier_candidates(
    params: Params,
    name: str,
    classifiers: Registry,
    transform: str,
    spec: MemberSpec,
    in_folds: bool,
) -> tuple[MemberSpec, ...]:
    """The classifier called `name` with every candidate setting of a tuned transform.

    `spec` is that of the tuned `transform`; `in_folds`: as it is trained in the cross-validation.
    Raises `ParamsError` when settings do not fit the classifier's family.
    """
    section, config = params.classifiers[name], spec.config
    fold_settings = config.fold_settings.get(name, {}) if in_folds else {}
    # What is checked last is named: the candidates were checked without those of the folds.
    key = "fold_settings" if fold_settings else "classifier_settings"
    where = f"transforms.{transform}.{key}.{name}"
    return tuple(
        member(
            classifiers,
            family(section, name),
            {**section.settings, **change, **fold_settings},
            where,
        )
        for change in config.classifier_settings.get(name, [{}])
    )

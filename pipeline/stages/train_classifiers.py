"""train_classifiers@<arm>: every classifier, trained on the arm's training sets and scored once.

`results/<arm>/` gets one `.npz` per replicate and classifier: `probabilities` float32 (n, classes)
of the test images, their `labels` int64 (n,), `learned`, a digest of the fitted classifier, and the
counts of the training set. An arm of kind `teacher` scores the teacher in place of a classifier.
An arm whose transform is tuned uses what its replicate chose, in `data/transforms/`.
Any metric can be computed from these files later; no score is computed here. A trial whose
generator or teacher failed, or whose filter rejected every image, has a manifest only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classifiers import CLASSIFIERS
from pipeline.config.arms import BALANCE
from pipeline.config.design import is_tuned
from pipeline.config.schema import Params
from pipeline.data.images import read_images
from pipeline.evaluation.metrics import refuse_not_finite
from pipeline.nn.weights import read_weights
from pipeline.runtime.files import file_digest, read_json, read_npz, to_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers import TEACHERS
from pipeline.training_sets.arms import Recipe, assemble, recipe_of
from pipeline.training_sets.sources import added_files, read_added
from pipeline.training_sets.teaching import (
    TeacherSpec,
    classifier_candidates,
    classifier_spec,
    teacher_spec,
)
from pipeline.training_sets.transforms.building import find_choice
from pipeline.trials import layout
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import Trial, arm_replicates
from pipeline.trials.layout import result, subset, test_file
from pipeline.trials.specs import MemberSpec, Spec


@dataclass(frozen=True)
class ClassifierTrialSpec(Spec):
    """What decides a trained classifier.

    `candidates`: the classifier with each of its candidate settings, if the transform is tuned.
    """

    recipe: Recipe
    classifier: MemberSpec
    candidates: tuple[MemberSpec, ...] = ()


@dataclass(frozen=True)
class TeacherTrialSpec(Spec):
    """What decides the scores of a teacher."""

    teacher: TeacherSpec


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate and classifier."""
    arm, made = params.arms[name], []
    for replicate in arm_replicates(params, name):
        test = test_file(params, replicate.seed)
        inputs = {"test": test, "subset": subset(replicate), **added_files(arm, replicate)}
        for classifier in params.arm_classifiers(name):
            # No arm's name in the seed: an arm and its baseline share initial weights and order.
            seed = derive_seed("classifier", classifier, replicate.budget, replicate.seed)
            spec: Any
            if arm.teacher_itself:
                work: Any = score_teacher
                teacher = teacher_spec(params, str(arm.teacher), TEACHERS, CLASSIFIERS)
                spec = TeacherTrialSpec(seed, teacher)
            else:
                work, spec = score, score_spec(params, name, classifier, seed)
                if spec.candidates:
                    file = layout.choice(arm.transform, replicate, classifier).output(".json")
                    inputs = {**inputs, "choice": file}
            artifact = result(Trial(classifier, name, replicate))
            # Failed trials are scored as the baseline, so that one must not fail.
            required = name == params.report.baseline
            made.append(TrialPlan(artifact, work, spec, inputs, required))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `results/<name>/` for the arm `name`."""
    run_trials(params, root, plans(params, name))


def score_spec(params: Params, name: str, classifier: str, seed: int) -> ClassifierTrialSpec:
    """What decides a classifier that is trained on the arm `name`."""
    transform = params.arms[name].transform
    recipe = recipe_of(params.arms[name], params.transforms)
    spec = classifier_spec(params, classifier, CLASSIFIERS)
    if recipe.transform is None or not is_tuned(params, transform):
        return ClassifierTrialSpec(seed, recipe, spec)
    candidates = classifier_candidates(params, classifier, CLASSIFIERS, transform, recipe.transform)
    return ClassifierTrialSpec(seed, recipe, spec, candidates)


def resolved(spec: ClassifierTrialSpec, paths: Mapping[str, Path]) -> tuple[Recipe, MemberSpec]:
    """The recipe and the classifier, with what the replicate chose if the transform is tuned.

    Where that is no transform and the arm adds only its own images again, it adds none: with the
    first settings its classifier is that of the labeled subset alone, to the bit.
    """
    if "choice" not in paths or spec.recipe.transform is None:
        return spec.recipe, spec.classifier
    choice = read_json(paths["choice"])
    recipe = replace(spec.recipe, transform=find_choice(spec.recipe.transform, choice["transform"]))
    if recipe.transform is None and repeats_subset(recipe, paths):
        recipe = replace(recipe, per_class=0)
    return recipe, spec.candidates[choice["settings"]]


def repeats_subset(recipe: Recipe, paths: Mapping[str, Path]) -> bool:
    """Whether an arm adds only images of its labeled subset, as they are and in its proportions."""
    is_plain = recipe.real and not recipe.permute_labels and recipe.k_neighbors is None
    has_others = {"candidates", "fresh", "discriminator"} & paths.keys()
    return is_plain and recipe.per_class != BALANCE and not has_others


def score(spec: ClassifierTrialSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Train one classifier and predict the test images, which are read after its training."""
    recipe, member = resolved(spec, paths)
    arm_set = assemble(recipe, read_images(paths["subset"]), read_added(paths), spec.seed)
    classifier = member.family(member.config, spec.seed)
    if "discriminator" in paths:
        classifier.start_from(read_weights(paths["discriminator"]))
    classifier.fit(arm_set.training_set)
    learned = classifier.digest()

    test = read_images(paths["test"])
    probabilities = classifier.predict_proba(test.images)
    model = f"classifier {member.family.__name__}"
    advice = "lower that classifier's learning rate in params.yaml"
    refuse_not_finite(probabilities, model, advice)
    content = to_npz(
        probabilities=probabilities,
        labels=test.labels,
        learned=np.array(learned),
        num_train=np.array(len(arm_set.training_set.data)),
        num_made=np.array(arm_set.num_made),
        num_candidates=np.array(arm_set.num_candidates),
        num_rejected=np.array(arm_set.num_rejected),
    )
    return Result({".npz": content}, arm_set.real)


def score_teacher(spec: TeacherTrialSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Predict the test images with a teacher, in place of a classifier."""
    labeled, state = read_images(paths["subset"]), read_weights(paths["teacher"])
    teacher = spec.teacher.build(spec.seed, labeled.background)
    teacher.load(state, labeled.spec())
    num_unlabeled = len(read_npz(paths["candidates"])["unlabeled"])
    num_train = len(labeled) + (num_unlabeled if teacher.needs_unlabeled else 0)
    test = read_images(paths["test"])
    content = to_npz(
        probabilities=teacher.predict_proba(test.images),
        labels=test.labels,
        learned=np.array(file_digest(paths["teacher"])),
        num_train=np.array(num_train),
        num_made=np.array(0),
        num_candidates=np.array(0),
        num_rejected=np.array(0),
    )
    return Result({".npz": content}, labeled)

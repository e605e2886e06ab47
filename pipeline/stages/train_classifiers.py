"""train_classifiers@<arm>: every classifier on the arm's training sets, scored once on test.

`results/<arm>/` gets one `.npz` per replicate and classifier: `probabilities` float32 (n, classes)
of the test images, their `labels` int64 (n,), a digest of what the classifier learned, and how the
training set came about. An arm of a teacher itself scores that in the place of every classifier.
Any metric can be computed from these later; nothing here looks at a score. A trial whose generator
or teacher failed, or whose filter left nothing, has its manifest alone.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classifiers import CLASSIFIERS
from pipeline.config.schema import FRESH, SUBSETS, ArmParams, Params
from pipeline.config.validation import member_config
from pipeline.data.images import LabeledImages, read_images
from pipeline.nn.weights import read_weights
from pipeline.runtime.errors import DivergedError
from pipeline.runtime.files import file_digest, read_npz, require, write_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.arms import Candidates, assemble
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Trial, arm_replicates
from pipeline.trials.provenance import outputs_of, provenance, refuse_failed, trial_code

WEIGHTS = ".safetensors"  # of a teacher, beside the images it labeled, or of a generator
DISCRIMINATOR = ".discriminator.safetensors"  # of a generator: its discriminator's convolutions


def run(params: Params, root: Path, name: str) -> None:
    """Write `results/<name>/` for the arm `name`."""
    arm = params.arms[name]
    test = require(root / "data/splits/test.npz", "prepare")
    keys = [f"arms.{name}"]
    keys += [] if arm.transform == "none" else [f"transforms.{arm.transform}"]
    keys += [f"teachers.{arm.teacher}"] if arm.teacher_itself else []

    def task(trial: Trial) -> Task:
        classifier, replicate = trial.classifier, trial.replicate
        place = replicate.file(".npz")
        subset = require(root / SUBSETS / place, "prepare")
        added = root / arm.inputs / place
        files = [test, subset, *inputs_of(arm, added)]
        # No arm's name in the seed: an arm and its baseline share initial weights and order.
        seed = derive_seed("classifier", classifier, replicate.budget, replicate.seed)
        scored = teacher_of(arm) if arm.teacher_itself else CLASSIFIERS[classifier]
        code = trial_code(__file__, scored.__module__, "pipeline.training_sets.arms")
        work = score_teacher if arm.teacher_itself else score
        return Task(
            provenance=provenance(
                code, files, params, [*keys, f"classifiers.{classifier}"], seed, root
            ),
            work=functools.partial(work, params, trial, (test, subset, added), seed),
            outputs={"scored.npz": replicate.file(f".{classifier}.npz")},
            required=name == params.report.baseline,  # nothing is left to fall back on
            tags={
                "stage": "train_classifiers",
                "item": name,
                "classifier": classifier,
                **replicate.columns(),
            },
        )

    tasks = [
        task(Trial(classifier, name, replicate))
        for replicate in arm_replicates(params, name)
        for classifier in params.arm_classifiers(name)
    ]
    lay_out(root, Path("results") / name, tasks, compute(tasks, params.engine, root))


def teacher_of(arm: ArmParams) -> type[Any]:
    """The family of the teacher whose images `arm` adds."""
    from pipeline.teachers import TEACHERS  # slow to load, and most studies have none

    return TEACHERS[str(arm.teacher)]


def inputs_of(arm: ArmParams, added: Path) -> list[Path]:
    """The files that an arm adds to a draw, those of one replicate; `added` is the images' place.

    The manifest stands for the files of a trial that came to nothing.
    """
    if arm.discriminator_of is not None:
        paths = outputs_of(added.with_suffix(WEIGHTS), f"train_generator@{arm.discriminator_of}")
        return [path.with_name(path.name.replace(WEIGHTS, DISCRIMINATOR)) for path in paths]
    if arm.generator is not None:
        return outputs_of(added, f"synthesize@{arm.generator}")
    if arm.teacher is not None:
        stage = f"train_teacher@{arm.teacher}"
        return [*outputs_of(added, stage), *outputs_of(added.with_suffix(WEIGHTS), stage)]
    return [require(added, "prepare")] if arm.inputs == FRESH else []


def score(
    params: Params, trial: Trial, inputs: tuple[Path, Path, Path], seed: int, folder: Path
) -> LabeledImages:
    """Train one classifier on one training set and keep its probabilities of the test images.

    The test images are read after the classifier is trained.
    """
    test_path, subset_path, added_path = inputs
    arm = params.arms[trial.arm]
    arm_set = assemble(arm, read_images(subset_path), read_added(arm, added_path), params, seed)
    family, section = CLASSIFIERS[trial.classifier], params.classifiers[trial.classifier]
    classifier = family(
        member_config(family.Config, section, f"classifiers.{trial.classifier}"), seed
    )
    if arm.discriminator_of is not None:
        refuse_failed(added_path)
        classifier.start_from(read_weights(added_path.with_suffix(DISCRIMINATOR)))
    classifier.fit(arm_set.training_set)
    learned = classifier.digest()
    test = read_images(test_path)
    probabilities = classifier.predict_proba(test.images)
    if not np.isfinite(probabilities).all():
        raise DivergedError(
            f"classifiers.{trial.classifier}, {trial.replicate}",
            "expected finite class probabilities, found others",
            "lower that classifier's learning rate in params.yaml",
        )
    write_npz(
        folder / "scored.npz",
        probabilities=probabilities,
        labels=test.labels,
        learned=np.array(learned),
        num_train=np.array(len(arm_set.training_set.data)),
        num_made=np.array(arm_set.num_made),
        num_candidates=np.array(arm_set.num_candidates),
        num_rejected=np.array(arm_set.num_rejected),
    )
    return arm_set.real


def score_teacher(
    params: Params, trial: Trial, inputs: tuple[Path, Path, Path], seed: int, folder: Path
) -> LabeledImages:
    """Keep the probabilities of the teacher that the arm names, in the classifier's place."""
    test_path, subset_path, labeled_path = inputs
    refuse_failed(labeled_path)
    arm = params.arms[trial.arm]
    family, weights = teacher_of(arm), labeled_path.with_suffix(WEIGHTS)
    settings = params.teachers[str(arm.teacher)]
    config = member_config(family.Config, settings, f"teachers.{arm.teacher}")
    subset = read_images(subset_path)
    teacher = family(config, seed).restore(subset, weights)
    test = read_images(test_path)
    write_npz(
        folder / "scored.npz",
        probabilities=teacher.predict_proba(test.images),
        labels=test.labels,
        learned=np.array(file_digest(weights)),
        num_train=np.array(len(subset) + len(read_npz(labeled_path)["unlabeled"])),
        num_made=np.array(0),
        num_candidates=np.array(0),
        num_rejected=np.array(0),
    )
    return subset


def read_added(arm: ArmParams, path: Path) -> Candidates | LabeledImages | None:
    """The images an arm adds, or None where it adds at most those of the draw again."""
    if arm.generator or arm.teacher:
        refuse_failed(path)
        arrays = read_npz(path)
        return Candidates(read_images(path), arrays["teacher"], float(arrays["confidence"]))
    return read_images(path) if arm.inputs == FRESH else None

"""synthesize@<generator>: labeled images from every trained generator, and a teacher's opinion.

The teacher is a classifier trained on the replicate's own labels, or the one whose labels the
generator learned from; filters go by its class probabilities. `data/synthetic/<generator>/` gets
one `.npz` per replicate: `images` uint8 (n, c, h, w), `labels` int64 (n,), `teacher` float32
(n, classes); classes take turns. The numbers `latent_std`, with which they were drawn, and
`confidence`, which filters want, are those of params.yaml or what the replicate chose among them.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from pipeline.classifiers import CLASSIFIERS
from pipeline.classifiers.base import Classifier, TrainingSet, plain
from pipeline.config.schema import Params
from pipeline.config.validation import member_config
from pipeline.data.images import LabeledImages, read_images
from pipeline.evaluation.fidelity import collapsed_classes
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, create
from pipeline.generators.fit import fit
from pipeline.generators.sampling import sample_classes
from pipeline.nn.weights import read_weights
from pipeline.runtime.errors import CollapsedError
from pipeline.runtime.files import require, write_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers import TEACHERS
from pipeline.training_sets.transforms import build_transform
from pipeline.training_sets.tuning import Trainers, choose
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.provenance import outputs_of, provenance, refuse_failed, trial_code


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/synthetic/<name>/`."""
    generator, chosen = params.generators[name], params.synthesize.teacher
    keys = ["synthesize", "tune", f"generators.{name}"]
    if generator.teacher is not None:
        teaching = TEACHERS[generator.teacher].__module__
        keys += [f"teachers.{generator.teacher}"]
    else:
        teaching = CLASSIFIERS[chosen.classifier].__module__
        keys += [f"classifiers.{chosen.classifier}"]
        keys += [] if chosen.transform == "none" else [f"transforms.{chosen.transform}"]
    family = GENERATORS[params.family(name)].__module__
    code = trial_code(
        __file__, family, teaching, "pipeline.training_sets.tuning", "pipeline.evaluation.fidelity"
    )

    def task(replicate: Replicate) -> Task:
        subset = require(root / "data/splits/subsets" / replicate.file(".npz"), "prepare")
        weights = root / "models" / name / replicate.file(".safetensors")
        teacher_weights = root / generator.inputs / replicate.file(".safetensors")
        inputs = [subset, *outputs_of(weights, f"train_generator@{name}")]
        inputs += outputs_of(teacher_weights, "train_teacher") if generator.teacher else []
        files = (subset, weights, teacher_weights)
        seed = derive_seed("synthesize", name, replicate.budget, replicate.seed)
        return Task(
            provenance=provenance(code, inputs, params, keys, seed, root),
            work=functools.partial(synthesize, name, params, files, seed),
            outputs={"images.npz": replicate.file(".npz")},
            tags={"stage": "synthesize", "item": name, **replicate.columns()},
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("data/synthetic") / name, tasks, compute(tasks, params.engine, root))


def synthesize(
    name: str, params: Params, inputs: tuple[Path, Path, Path], seed: int, folder: Path
) -> LabeledImages:
    """Draw one replicate's images, each from a seed of its own, and ask the teacher about them.

    `inputs` are the draw, the generator's weights and those of the teacher it learned from, if any.
    Raises `CollapsedError` when a class has next to no variety, by the draw's measure: the user of
    such a generator would see it and do without.
    """
    subset_path, weights, teacher_weights = inputs
    refuse_failed(weights)
    subset = read_images(subset_path)
    trainers = Trainers(
        generator=functools.partial(fit_generator, name, params),
        classifier=functools.partial(fit_classifier, params),
    )
    choice = choose(subset, params, trainers, seed, folder)
    generator = untrained(name, params, subset, seed)
    generator.generator_net.load_state_dict(read_weights(weights))
    synthetic = sample_classes(generator, params.synthesize.per_class, seed, choice.latent_std)
    refuse_collapse(synthetic, subset)
    taught_by, confidence = params.generators[name].teacher, choice.min_probability
    if taught_by is not None:
        member, settings = TEACHERS[taught_by], params.teachers[taught_by]
        config = member_config(member.Config, settings, f"teachers.{taught_by}")
        learned = member(config, seed).restore(subset, teacher_weights)
        probabilities, confidence = learned.predict_proba(synthetic.images), config.min_probability
    else:
        probabilities = teacher(params, subset, seed).predict_proba(synthetic.images)
    write_npz(
        folder / "images.npz",
        images=synthetic.images,
        labels=synthetic.labels,
        teacher=probabilities,
        latent_std=np.array(choice.latent_std),
        confidence=np.array(confidence),
    )
    return subset


def refuse_collapse(synthetic: LabeledImages, subset: LabeledImages) -> None:
    """Raise `CollapsedError` naming the classes whose images are all alike."""
    classes = collapsed_classes(synthetic, subset)
    if classes:
        raise CollapsedError(
            f"{len(synthetic)} synthetic images",
            f"expected variety in every class, found next to none in {classes}",
            "train that generator longer, or change its settings in params.yaml",
        )


def teacher(params: Params, subset: LabeledImages, seed: int) -> Classifier:
    """A classifier trained on the draw alone, whose opinion filters go by."""
    transform = build_transform(params.synthesize.teacher.transform, params.transforms)
    return fit_classifier(params, plain(subset, transform), derive_seed("teacher", seed))


def fit_classifier(params: Params, training_set: TrainingSet, seed: int) -> Classifier:
    """A trained classifier of the teacher's kind."""
    name = params.synthesize.teacher.classifier
    family = CLASSIFIERS[name]
    config = member_config(family.Config, params.classifiers[name], f"classifiers.{name}")
    return family(config, seed).fit(training_set)


def fit_generator(
    name: str, params: Params, data: LabeledImages, seed: int, folder: Path
) -> Generator:
    """A generator trained like those that images are drawn from, on `data`."""
    generator = untrained(name, params, data, derive_seed("initial", seed))
    fit(generator, data, seed, folder)
    return generator


def untrained(name: str, params: Params, data: LabeledImages, seed: int) -> Generator:
    """A generator of images like `data`; `seed` decides its first weights."""
    family, settings = GENERATORS[params.family(name)], params.generators[name].settings
    config = member_config(family.Config, settings, f"generators.{name}")
    return create(family, config, data.spec(), seed)

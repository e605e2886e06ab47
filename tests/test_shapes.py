"""Every family, teacher and classifier runs on every shape of images and number of classes.

In every run each member gets one shape, so that all shapes and numbers of classes occur; the whole
product is for `make proofs`.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.classifiers import CLASSIFIERS, judge
from pipeline.classifiers.base import Classifier, plain
from pipeline.config.validation import Member
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.evaluation.audit import audit
from pipeline.evaluation.pool import split_pool
from pipeline.generators import GENERATORS, sampling
from pipeline.generators import fit as fitting
from pipeline.generators.base import Generator, create
from pipeline.generators.fit import fit
from pipeline.generators.sampling import sample_classes
from pipeline.generators.showcase import COLUMNS, showcase
from pipeline.nn.weights import read_weights, to_safetensors
from pipeline.runtime.determinism import deterministic
from pipeline.teachers import TEACHERS
from pipeline.teachers.base import Teacher
from pipeline.training_sets.filters import agreement

SIZES = ((8, 8), (28, 28), (32, 32), (64, 64), (40, 32), (15, 10), (64, 24))
SHAPES = [
    ImageSpec(channels, *size, num_classes)
    for size, channels, num_classes in itertools.product(SIZES, (1, 3), (2, 47))
]
LARGEST = ImageSpec(3, 128, 128, 100)
# More steps of the same kind would show nothing new.
TEACHER_SETTINGS: dict[str, Member] = {
    "label_propagation": {
        "rounds": [
            {"steps": 2, "batch_size": 4},
            {"steps": 2, "batch_size": 4, "fixmatch": {"batch_size": 4}},
        ]
    },
    "ssgan": {"steps": 2, "batch_size": 4},
}
CLASSIFIER_SETTINGS: dict[str, Member] = {
    "lgbm": {"num_trees": 2},
    "sklearn": {"estimator": "LogisticRegression"},
}
BRIEF: Member = {"steps": 2, "batch_size": 4}
LEARNING_TEACHERS = sorted(TEACHER_SETTINGS)


def assigned(names: list[str], first: int) -> list[Any]:
    """(name, spec) for every shape; all but one of each name are proofs.

    The shapes of successive names are three apart, which has no factor in common with their number.
    """
    return [
        pytest.param(
            name,
            spec,
            marks=() if spec == SHAPES[(first + 3 * place) % len(SHAPES)] else pytest.mark.proof,
            id=f"{name}-{spec.channels}x{spec.height}x{spec.width}-{spec.num_classes}",
        )
        for place, name in enumerate(names)
        for spec in SHAPES
    ]


FAMILIES = assigned(sorted(GENERATORS), 6)  # the slow ones get small images
OTHERS = assigned([*sorted(CLASSIFIERS), *LEARNING_TEACHERS, "judge"], 6 + 3 * len(GENERATORS))


def images_of(spec: ImageSpec, count: int) -> Images:
    rng = np.random.default_rng(0)
    shape = (count, spec.channels, spec.height, spec.width)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def labeled_images(spec: ImageSpec, per_class: int = 1) -> LabeledImages:
    """Noise: images of a study before anyone looked at them are no better for a network."""
    count = per_class * spec.num_classes
    return LabeledImages(images_of(spec, count), np.arange(count) % spec.num_classes)


@pytest.fixture
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches where networks only sample."""
    monkeypatch.setattr(sampling, "SNAPSHOT_PER_CLASS", 4)
    monkeypatch.setattr(sampling, "SAMPLE_BATCH", 50)
    monkeypatch.setattr(fitting, "RECALIBRATION_BATCH", 10)
    monkeypatch.setattr(fitting, "RECALIBRATION_BATCHES", 1)


def brief_generator(name: str, sections: dict[str, Member], spec: ImageSpec) -> Generator:
    section = {**sections[name], "steps": 1, "batch_size": 6}
    if "sampling_steps" in section:
        section["sampling_steps"] = 1
    if name == "wgan":
        section["batch_size"] = 2 * section["discriminator_steps"]
    return create(GENERATORS[name], GENERATORS[name].Config.model_validate(section), spec, 0)


def test_all_shapes_and_numbers_of_classes_occur_in_every_run() -> None:
    kept = [each.values[1] for each in [*FAMILIES, *OTHERS] if not each.marks]
    assert len(kept) == len(GENERATORS) + len(CLASSIFIERS) + len(LEARNING_TEACHERS) + 1
    assert {(spec.height, spec.width) for spec in kept} == set(SIZES)
    assert {(spec.channels, spec.num_classes) for spec in kept} == {
        (1, 2),
        (1, 47),
        (3, 2),
        (3, 47),
    }


@pytest.mark.usefixtures("_few_samples")
@pytest.mark.parametrize(("name", "spec"), FAMILIES)
def test_a_generator_trains_samples_and_is_shown(
    name: str, spec: ImageSpec, sections: dict[str, Member], tmp_path: Path
) -> None:
    data = labeled_images(spec)
    shape = (spec.channels, spec.height, spec.width)
    with deterministic():
        generator = brief_generator(name, sections, spec)
        history = fit(generator, data, 0, tmp_path)
        samples = sample_classes(generator, 1, 0)
    assert samples.images.shape == (spec.num_classes, *shape)
    for images in history.snapshots.values():
        assert images.shape == (spec.num_classes * sampling.SNAPSHOT_PER_CLASS, *shape)
    for images in showcase(generator, data, 0).values():
        assert images.shape[1:] == shape
        assert len(images) % COLUMNS == 0

    # What was written gives the same images again.
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_safetensors(generator.generator_net.state_dict()))
    other = brief_generator(name, sections, spec)
    other.generator_net.load_state_dict(read_weights(path))
    other.networks.eval()
    assert np.array_equal(sample_classes(other, 1, 0).images, samples.images)


@pytest.mark.parametrize(("name", "spec"), OTHERS)
def test_a_classifier_or_teacher_learns_and_predicts(
    name: str, spec: ImageSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "JUDGE", judge.JUDGE.model_copy(update=BRIEF))
    data, others = labeled_images(spec), images_of(spec, 20)
    with deterministic():
        predict, again = learned(name, spec, data, others, tmp_path)
        probabilities = predict.predict_proba(others)
        assert np.array_equal(again.predict_proba(others), probabilities)
    assert probabilities.shape == (20, spec.num_classes)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    if isinstance(predict, Teacher):
        assert predict.ood_score(others, probabilities).shape == (20,)


def learned(
    name: str, spec: ImageSpec, data: LabeledImages, unlabeled: Images, folder: Path
) -> tuple[Any, Any]:
    """The fitted member, and another one with its state."""
    if name == "judge":
        first = judge.fit_judge(data)
        return first, judge.load_judge(first.state(), spec)
    if name in TEACHER_SETTINGS:
        family = TEACHERS[name]
        config = family.Config.model_validate(TEACHER_SETTINGS[name])
        teacher = family(config, 0).fit(data, unlabeled, folder)
        return teacher, family(config, 1).load(teacher.state(), spec)
    config = CLASSIFIERS[name].Config.model_validate(CLASSIFIER_SETTINGS.get(name, BRIEF))
    classifier: Classifier = CLASSIFIERS[name](config, 0).fit(plain(data))
    return classifier, CLASSIFIERS[name](config, 1).load(classifier.state(), spec)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_the_largest_images_and_most_classes_have_networks(
    name: str, sections: dict[str, Member]
) -> None:
    generator = brief_generator(name, sections, LARGEST)
    generator.networks.eval()
    with torch.no_grad():
        images = generator.generator_net(generator.noise([1, 2]), torch.tensor([0, 99]))
    assert images.shape == (2, 3, 128, 128)


# --- budget 1, batches larger than the data, images without content ------------------------------


@pytest.mark.usefixtures("_few_samples")
@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_batch_may_be_larger_than_the_labeled_subset(
    name: str, sections: dict[str, Member], tmp_path: Path
) -> None:
    """Two images in all, and the batch of the preset."""
    data = labeled_images(ImageSpec(1, 8, 8, 2))
    size = GENERATORS[name].Config().batch_size
    section = {**sections[name], "steps": 1, "batch_size": size, "rare_oversampling": 3.0}
    config = GENERATORS[name].Config.model_validate(section)
    with deterministic():
        generator = create(GENERATORS[name], config, data.spec(), 0)
        fit(generator, data, 0, tmp_path)
    assert size > len(data)
    assert len(sample_classes(generator, 3, 0)) == 6


@pytest.mark.parametrize("name", [*sorted(CLASSIFIERS), *LEARNING_TEACHERS])
def test_one_image_per_class_and_one_without_label_suffice(name: str, tmp_path: Path) -> None:
    spec = ImageSpec(3, 12, 9, 2)
    with deterministic():
        member, _ = learned(name, spec, labeled_images(spec), images_of(spec, 1), tmp_path)
    assert member.predict_proba(images_of(spec, 3)).shape == (3, 2)


@pytest.mark.parametrize("kind", ["black", "one per class", "noise"])
@pytest.mark.parametrize("spec", [ImageSpec(3, 15, 10, 2), ImageSpec(1, 12, 12, 47)])
def test_useless_images_are_evaluated(
    kind: str, spec: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a generator has sampled after one step; a pool of few images."""
    monkeypatch.setattr(judge, "JUDGE", judge.JUDGE.model_copy(update=BRIEF))
    # A judge that can be trusted needs more images than there are here.
    monkeypatch.setattr("pipeline.evaluation.audit.why_unknown", lambda labels, correct: None)
    pool = labeled_images(spec, per_class=8)
    parts = split_pool(pool.images, pool.labels)
    synthetic = labeled_images(spec, per_class=3)
    if kind == "black":
        synthetic = LabeledImages(np.zeros_like(synthetic.images), synthetic.labels)
    elif kind == "one per class":
        synthetic = LabeledImages(synthetic.images[synthetic.labels], synthetic.labels)

    index = np.arange(spec.num_classes)
    subset, rng = pool.take(index), np.random.default_rng(0)
    judges = [judge.fit_judge(pool)] * len(parts.folds)
    report = audit(parts, judges, subset, index, synthetic, rng)
    assert len(report["classes"]) == spec.num_classes
    assert 0 <= report["label_fidelity"] <= 1
    numbers = [value for value in report.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    agreement(synthetic.labels, np.full((len(synthetic), spec.num_classes), 1 / 2), 0.5)

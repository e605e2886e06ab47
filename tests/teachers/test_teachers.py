"""Every teacher of the registry keeps the contract of `Teacher`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.classifiers.lgbm import LightGBM, LightGBMConfig
from pipeline.config.validation import Member, member_config
from pipeline.data.images import Images, LabeledImages
from pipeline.nn.augment import Transform
from pipeline.nn.weights import read_weights, write_weights
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import DivergedError, ParamsError
from pipeline.teachers import TEACHERS
from pipeline.teachers.base import Teacher
from pipeline.teachers.supervised import Supervised, SupervisedConfig, SupportsFit

NAMES = sorted(TEACHERS)
WITH_POOL = [name for name in NAMES if TEACHERS[name].needs_unlabeled]
WEAK = {"degrees": 2.0, "translate": 0.02, "scale": 0.02, "shear": 2.0}
SECTIONS: dict[str, Member] = {
    "label_propagation": {
        "min_probability": 0.8,
        "keep_frac": 1.0,
        "features": ["hog_deslanted"],
        "components": 20,
        "neighbors": 5,
        "alpha": 0.9,
        "restart_per_label": 0.0,
        "hog_weight": 0.3,
        "labeled_weight": 5.0,
        "rounds": [
            {"steps": 40, "batch_size": 16, "top_frac": 0.8},
            {
                "steps": 20,
                "steps_per_label": 4.0,
                "max_steps": 60,
                "batch_size": 16,
                "fixmatch": {
                    "batch_size": 16,
                    "threshold": 0.9,
                    "warmup_frac": 0.3,
                    "alignment_decay": 0.9,
                },
                "top_frac": 0.9,
            },
        ],
        "network": {
            "channels": 8,
            "features": 16,
            "dropout": 0.1,
            "learning_rate": 0.003,
            "weight_decay": 0.01,
            "ema_decay": 0.9,
            "num_tta": 2,
            "tta_below": 0.9,
            "weak": WEAK,
            "strong": {**WEAK, "translate": 0.1, "bend": 0.02, "cutout": 0.2},
            "precision": "float32",
        },
    },
    "fixmatch": {
        "min_probability": 0.8,
        "keep_frac": 1.0,
        "training": {
            "steps": 60,
            "batch_size": 16,
            "fixmatch": {
                "batch_size": 16,
                "threshold": 0.9,
                "warmup_frac": 0.4,
                "alignment_decay": 0.9,
            },
        },
        "folds": 2,
        "fold_steps_frac": 0.8,
    },
    "ssgan": {
        "min_probability": 0.8,
        "keep_frac": 1.0,
        "steps": 120,
        "batch_size": 16,
        "latent_dim": 8,
        "generator_channels": 8,
        "channels": 8,
        "features": 16,
        "noise_std": 0.1,
        "dropout": 0.1,
        "learning_rate": 0.003,
        "ema_decay": 0.9,
        "agreement": 1.0,
        "augmentation": WEAK,
        "precision": "float32",
    },
    "supervised": {"min_probability": 0.8, "keep_frac": 1.0, "classifier": "cnn"},
}
# The same network for all of them.
SECTIONS["fixmatch"]["network"] = SECTIONS["label_propagation"]["network"]
SHARED = ("min_probability", "keep_frac")  # of both teachers of `automatic`


def inside(section: Member) -> Member:
    """A section without the settings that `automatic` has for both of its teachers."""
    return {key: value for key, value in section.items() if key not in SHARED}


SECTIONS["automatic"] = {
    "min_probability": 0.8,
    "keep_frac": 1.0,
    "label_propagation": inside(SECTIONS["label_propagation"]),
    "fixmatch": inside(SECTIONS["fixmatch"]),
    "folds": 2,
    "start": {"steps": 40, "batch_size": 16},
}
# Members of a study by their own names, which enter the seeds.
MEMBERS: dict[str, Member] = {
    "graph": {"family": "label_propagation", **SECTIONS["label_propagation"]},
    "kplus1": {"family": "ssgan", **SECTIONS["ssgan"]},
}
SMALL_CNN = CNNConfig(steps=60, channels=8, features=16)
Halves = tuple[LabeledImages, LabeledImages]


def build(name: str, seed: int = 3, **changes: object) -> Teacher:
    """An untrained teacher with the section above, changed."""
    family = TEACHERS[name]
    config = family.Config.model_validate({**SECTIONS[name], **changes})
    if isinstance(config, SupervisedConfig):
        return Supervised(config, seed, CNN(SMALL_CNN, seed))
    return family(config, seed)


def taught(name: str, labeled: LabeledImages, unlabeled: Images, **changes: object) -> Teacher:
    """A trained teacher."""
    with deterministic(), tempfile.TemporaryDirectory() as folder:
        return build(name, **changes).fit(labeled, unlabeled, Path(folder))


def brief(name: str) -> dict[str, Any]:
    """Changes of a section with which training takes five steps."""
    rounds = [{**section, "steps": 5} for section in SECTIONS["label_propagation"]["rounds"]]
    training = {**SECTIONS["fixmatch"]["training"], "steps": 5}
    return {
        "label_propagation": {"rounds": rounds},
        "fixmatch": {"training": training},
        "automatic": {
            "label_propagation": {**inside(SECTIONS["label_propagation"]), "rounds": rounds},
            "fixmatch": {**inside(SECTIONS["fixmatch"]), "training": training},
            "start": {"steps": 5, "batch_size": 16},
        },
        "ssgan": {"steps": 5},
    }.get(name, {})


@pytest.fixture(scope="module")
def halves(bars: LabeledImages) -> Halves:
    """Six labeled bars of each class, and all others."""
    index = np.concatenate([np.flatnonzero(bars.labels == label)[:6] for label in range(3)])
    return bars.take(index), bars.take(np.setdiff1d(np.arange(len(bars)), index))


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest, halves: Halves) -> tuple[str, Teacher]:
    labeled, rest = halves
    return request.param, taught(request.param, labeled, rest.images)


def test_the_registry_has_a_section_here_for_every_family() -> None:
    assert sorted(SECTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_complete_and_unknown_settings_are_refused(name: str) -> None:
    config = TEACHERS[name].Config
    assert config() == config.model_validate(config().model_dump())
    with pytest.raises(ParamsError, match="unknown key depth"):
        member_config(config, {"depth": 3}, f"teachers.{name}")


def test_a_teacher_is_right_far_more_often_than_chance(
    trained: tuple[str, Teacher], halves: Halves
) -> None:
    rest = halves[1]
    predicted = trained[1].predict_proba(rest.images).argmax(axis=1)
    assert (predicted == rest.labels).mean() > 0.65


def test_probabilities_are_rows_that_sum_to_one(
    trained: tuple[str, Teacher], halves: Halves
) -> None:
    probabilities = trained[1].predict_proba(halves[1].images)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (len(halves[1]), 3)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_an_image_is_classified_alike_alone_and_among_others(
    trained: tuple[str, Teacher], halves: Halves
) -> None:
    images, (name, teacher) = halves[1].images, trained
    together, alone = teacher.predict_proba(images), teacher.predict_proba(images[5:7])
    # Where unlabeled images take part, batches are padded, and equal to the bit.
    tolerance = 0 if teacher.needs_unlabeled else 1e-5
    np.testing.assert_allclose(alone, together[5:7], rtol=0, atol=tolerance, err_msg=name)
    score = teacher.ood_score(images, together)
    assert score.shape == (len(images),)
    alone_score = teacher.ood_score(images[5:7], alone)
    np.testing.assert_allclose(alone_score, score[5:7], rtol=0, atol=tolerance)


def test_a_loaded_teacher_is_the_saved_one_to_the_bit(
    trained: tuple[str, Teacher], halves: Halves, tmp_path: Path
) -> None:
    name, teacher = trained
    labeled, rest = halves
    write_weights(tmp_path / "weights", teacher.state())
    before = torch.get_rng_state()
    loaded = build(name, seed=99).load(read_weights(tmp_path / "weights"), labeled.spec())
    assert torch.equal(before, torch.get_rng_state())

    expected = teacher.predict_proba(rest.images)
    assert loaded.predict_proba(rest.images).tobytes() == expected.tobytes()
    score = teacher.ood_score(rest.images, expected)
    assert loaded.ood_score(rest.images, expected).tobytes() == score.tobytes()
    assert loaded.state().keys() == teacher.state().keys()
    for key, value in teacher.state().items():
        assert torch.equal(value, loaded.state()[key])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_images_and_seed_give_the_same_bits_and_touch_nothing(
    name: str, halves: Halves
) -> None:
    labeled, rest = halves
    arrays = labeled.images, labeled.labels, rest.images
    copies = [array.copy() for array in arrays]
    results = []
    for global_seed in (1, 2):  # a new process starts from any state
        state = torch.manual_seed(global_seed).get_state()
        teacher = taught(name, labeled, rest.images, **brief(name))
        results.append(teacher.predict_proba(rest.images).tobytes())
        assert torch.equal(state, torch.get_rng_state())
    assert results[0] == results[1]
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", WITH_POOL)
def test_a_loss_that_is_not_finite_stops_the_training(name: str, halves: Halves) -> None:
    labeled, rest = halves
    changes: dict[str, Any] = {"learning_rate": 1e30}
    if name in ("label_propagation", "fixmatch"):
        changes = {"network": {**SECTIONS[name]["network"], **changes}}
    if name == "automatic":
        members = ("label_propagation", "fixmatch")
        network = {**SECTIONS["fixmatch"]["network"], **changes}
        changes = {member: {**inside(SECTIONS[member]), "network": network} for member in members}
    with pytest.raises(DivergedError, match=r"finite .* loss"):
        taught(name, labeled, rest.images, **changes)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_class_without_labels_have_a_high_ood_score(name: str, halves: Halves) -> None:
    labeled, rest = halves
    teacher = taught(name, labeled.take(labeled.labels != 2), rest.images)
    with deterministic():
        score = teacher.ood_score(rest.images, teacher.predict_proba(rest.images))
    assert roc_auc_score(rest.labels == 2, score) > 0.7


@pytest.mark.parametrize(
    "classifier",
    [CNN(SMALL_CNN, 7), LightGBM(LightGBMConfig(num_trees=20), 7)],
    ids=["cnn", "lgbm"],
)
@pytest.mark.parametrize("transform", [None, lambda images, generator: 1 - images])
def test_a_supervised_teacher_is_its_classifier_trained_on_labeled_images_alone(
    classifier: SupportsFit, transform: Transform | None, halves: Halves, tmp_path: Path
) -> None:
    labeled, rest = halves
    config = SupervisedConfig()
    assert (config.min_probability, config.keep_frac, config.transform) == (0.8, 1.0, "none")
    with deterministic():
        teacher = Supervised(config, 0, classifier, transform)
        without = teacher.fit(labeled, rest.images[:0], tmp_path).predict_proba(rest.images)
        with_pool = teacher.fit(labeled, rest.images, tmp_path).predict_proba(rest.images)
        same = type(classifier)(classifier.config, 7).fit(plain(labeled, transform))
    assert without.tobytes() == with_pool.tobytes()
    assert without.tobytes() == same.predict_proba(rest.images).tobytes()
    assert teacher.state().keys() == same.state().keys()
    assert not list(tmp_path.iterdir())

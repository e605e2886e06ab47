"""The report refuses whatever does not belong to the study, and names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import HoldOutParams, Params
from pipeline.data.images import read_images
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import read_json, read_npz, write_npz
from pipeline.stages import prepare
from pipeline.trials import layout
from pipeline.trials.grid import Replicate
from pipeline.trials.integrity import StudyRecord, check, check_images, read_study, verify
from pipeline.trials.layout import Artifact, artifacts, fresh, subset
from pipeline.trials.provenance import consumed, read_manifest, short_ids

REPLICATE = Replicate(2, 1)
TEACHER = Artifact("train_teacher", "supervised", REPLICATE)
MODEL = Artifact("train_generator", "dcgan", REPLICATE)
IMAGES = Artifact("synthesize", "dcgan", REPLICATE)
JUDGE = Artifact("train_judge", "judge")
SEED_JUDGE = Artifact("train_judge", "seed-01", pool_seed=1)
AUDIT = Artifact("evaluate_generator", "dcgan", REPLICATE)
RESULT = Artifact("train_classifiers", "dcgan", REPLICATE, "cnn")
FRESH_RESULT = Artifact("train_classifiers", "fresh_real", REPLICATE, "cnn")
EVERY = (TEACHER, MODEL, IMAGES, JUDGE, AUDIT, RESULT, FRESH_RESULT)
Check = Callable[..., str]


@pytest.fixture(scope="module")
def record(study: Params, finished_study: Path) -> StudyRecord:
    """The splits of the hand-made study, read once."""
    return read_study(study, finished_study)


@pytest.fixture
def refused(record: StudyRecord) -> Check:
    """The sentence that refuses an artifact with other values in its manifest."""

    def sentence(artifact: Artifact, **values: Any) -> str:
        anew = replace(record, digests=dict(record.digests), code={}, environment=None)
        manifest = read_manifest(record.root / artifact.manifest)
        check(anew, artifact, manifest)
        with pytest.raises(IntegrityError) as error:
            check(anew, artifact, manifest | values)
        assert artifact.manifest.as_posix() in str(error.value)
        return str(error.value)

    return sentence


def refused_study(params: Params, project: Path) -> str:
    with pytest.raises(IntegrityError) as error:
        verify(params, project)
    return str(error.value)


def test_an_honest_study_is_accepted(study: Params, finished_study: Path) -> None:
    verify(study, finished_study)


def test_every_expected_artifact_is_checked_once(study: Params) -> None:
    found = [artifact.manifest for artifact in artifacts(study)]
    assert len(set(found)) == len(found) == 2 * 8 + 1 + 4 * 8 + 2 * (8 * 8 + 4)


@pytest.mark.parametrize("artifact", EVERY)
def test_a_missing_or_damaged_manifest_is_refused(
    artifact: Artifact, study: Params, project: Path
) -> None:
    for content in ("", "{", "[]", '{"failure": null}'):
        (project / artifact.manifest).write_text(content)
        assert "damaged" in refused_study(study, project)
    (project / artifact.manifest).unlink()
    assert artifact.manifest.name in refused_study(study, project)


@pytest.mark.parametrize("artifact", [TEACHER, MODEL, IMAGES, RESULT])
def test_a_trial_that_learned_from_more_labels_than_its_budget_is_refused(
    artifact: Artifact, finished_study: Path, refused: Check
) -> None:
    larger = read_images(finished_study / subset(Replicate(4, 1)).path)
    text = refused(artifact, consumed=consumed(larger))
    assert "budget 2, seed 1" in text
    assert "6 images with labels beyond it" in text


def test_the_subset_of_another_seed_is_refused(finished_study: Path, refused: Check) -> None:
    other = read_images(finished_study / subset(Replicate(2, 0)).path)
    assert "labels beyond it" in refused(MODEL, consumed=consumed(other))


def test_a_wrong_label_is_refused_even_on_an_image_of_the_subset(
    finished_study: Path, refused: Check
) -> None:
    found = read_json(finished_study / MODEL.manifest)["consumed"]
    swapped = {"0": found["1"], "1": found["0"], "2": found["2"]}
    assert "4 images" in refused(MODEL, consumed=swapped)


def test_fresh_labels_are_for_the_arm_that_must_help_alone(
    record: StudyRecord, finished_study: Path, refused: Check
) -> None:
    labels = consumed(read_images(finished_study / fresh(REPLICATE).path))
    check(
        record,
        FRESH_RESULT,
        read_manifest(finished_study / FRESH_RESULT.manifest) | {"consumed": labels},
    )
    assert "labels beyond it" in refused(RESULT, consumed=labels)


@pytest.mark.parametrize("artifact", EVERY)
def test_a_test_image_is_refused_everywhere(
    artifact: Artifact, finished_study: Path, refused: Check
) -> None:
    test = read_images(finished_study / "data/splits/test/all.npz")
    text = refused(artifact, consumed=consumed(test.take(np.arange(2))))
    assert "expected no test image, found 2" in text


def test_a_subset_with_a_test_image_is_refused(study: Params, project: Path) -> None:
    test = read_images(project / "data/splits/test/all.npz")
    path = project / subset(REPLICATE).path
    labeled = read_npz(path)
    labeled["images"][0] = test.images[0]
    write_npz(path, **labeled)
    assert "expected no test image, found 1" in refused_study(study, project)


def test_a_subset_without_a_class_or_beyond_its_budget_is_refused(
    study: Params, project: Path
) -> None:
    path = project / subset(REPLICATE).path
    labeled = read_npz(path)
    for label in range(3):
        kept = labeled["labels"] != label
        write_npz(path, **{name: values[kept] for name, values in labeled.items()})
        assert "expected labels of each of 3 classes" in refused_study(study, project)
    write_npz(path, **read_npz(project / subset(Replicate(4, 1)).path))
    assert "expected at most 2 labels per class, found 4" in refused_study(study, project)


def test_a_planted_result_is_refused(study: Params, project: Path) -> None:
    other = project / "results/classical/budget-0002/seed-01.cnn.npz"
    shutil.copy(other, project / RESULT.path(".npz"))
    assert RESULT.manifest.as_posix() in refused_study(study, project)


def test_a_trial_made_from_another_version_of_its_input_is_refused(
    finished_study: Path, refused: Check
) -> None:
    inputs = dict.fromkeys(read_json(finished_study / MODEL.manifest)["inputs"], "0" * 64)
    assert "found another version" in refused(MODEL, inputs=inputs)


def test_the_test_set_must_be_the_same_for_all_without_being_read(
    study: Params, project: Path
) -> None:
    digest = read_json(project / "data/splits/manifest.json")["files"]["data/splits/test/all.npz"]
    (project / "data/splits/test/all.npz").unlink()
    record = read_study(study, project)
    manifest = read_manifest(project / RESULT.manifest)
    check(record, RESULT, manifest | {"inputs": {"data/splits/test/all.npz": digest}})
    with pytest.raises(IntegrityError, match=r"data/splits/test/all\.npz"):
        check(record, RESULT, manifest | {"inputs": {"data/splits/test/all.npz": "0" * 64}})


@pytest.mark.parametrize("file", ["pool/all.npz", "labels/all.npz"])
def test_an_audit_of_another_pool_is_refused(file: str, refused: Check) -> None:
    assert f"data/splits/{file}" in refused(AUDIT, inputs={f"data/splits/{file}": "0" * 64})


@pytest.mark.parametrize(
    ("artifact", "section"),
    [
        (RESULT, "arms.dcgan"),
        (RESULT, "classifiers.cnn"),
        (TEACHER, "teachers.supervised"),
        (TEACHER, "classifiers.cnn"),
        (MODEL, "generators.dcgan"),
        (IMAGES, "synthesize"),
        (IMAGES, "teachers.supervised"),
    ],
)
def test_other_settings_are_refused(
    artifact: Artifact, section: str, finished_study: Path, refused: Check
) -> None:
    settings = read_json(finished_study / artifact.manifest)["settings"]
    assert section in refused(artifact, settings=settings | {section: {"steps": 7}})
    missing = {key: settings[key] for key in settings if key != section}
    assert section in refused(artifact, settings=missing)


def test_settings_that_are_no_longer_there_are_refused(
    finished_study: Path, refused: Check
) -> None:
    settings = read_json(finished_study / RESULT.manifest)["settings"]
    assert "classifiers.svm" in refused(RESULT, settings=settings | {"classifiers.svm": {}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("item", "classical"),
        ("classifier", "lgbm"),
        ("budget", 4),
        ("seed", 0),
        ("stage", "evaluate_generator"),
    ],
)
def test_a_whole_trial_of_another_name_is_refused(
    name: str, value: str | int, finished_study: Path, refused: Check
) -> None:
    tags = read_json(finished_study / RESULT.manifest)["tags"] | {name: value}
    assert f"expected {name}" in refused(RESULT, tags=tags)


def test_a_whole_unknown_trial_is_refused_file_and_manifest(study: Params, project: Path) -> None:
    other = replace(RESULT, item="classical")
    shutil.copy(project / other.path(".npz"), project / RESULT.path(".npz"))
    shutil.copy(project / other.manifest, project / RESULT.manifest)
    assert "found item classical" in refused_study(study, project)


def test_results_of_two_versions_of_the_code_are_refused(refused: Check) -> None:
    assert "expected the same code as for" in refused(RESULT, code="other")


def test_results_of_two_versions_of_a_library_or_other_bits_are_refused(
    finished_study: Path, refused: Check
) -> None:
    environment = read_json(finished_study / RESULT.manifest)["environment"]
    other = refused(RESULT, environment=environment | {"torch": "1.0"})
    assert "another version of torch" in other
    assert "native bits" in refused(RESULT, environment=environment | {"bits": "native"})


def test_short_ids_tell_all_images_apart(finished_study: Path) -> None:
    data = read_images(finished_study / "data/splits/test/all.npz")
    assert len(set(short_ids(data))) == len(data)


@pytest.fixture(scope="module")
def per_seed(study: Params) -> Params:
    """The study with a test set per seed."""
    data = study.data.model_copy(
        update={"test_per_class": None, "test": HoldOutParams(frac=0.3, per_seed=True)}
    )
    return study.model_copy(update={"data": data})


@pytest.fixture
def splits(per_seed: Params, tmp_path: Path) -> Path:
    prepare.run(per_seed, tmp_path)
    return tmp_path


def only_tested_in(splits: Path, params: Params, seed: int, other: int) -> np.ndarray:
    """The first test image of a seed that is in the pool of another."""
    test, pool = (
        read_npz(splits / layout.ids_file(params, each).path)[part]
        for each, part in ((seed, "test"), (other, "pool"))
    )
    images = read_images(splits / layout.test_file(params, seed).path).images
    chosen: np.ndarray = images[np.isin(test, pool)][0]
    return chosen


@pytest.mark.parametrize("folder", [subset, fresh])
def test_a_test_image_of_its_own_seed_is_refused_and_of_another_one_is_not(
    folder: Callable[[Replicate], layout.File], per_seed: Params, splits: Path
) -> None:
    path = splits / folder(REPLICATE).path
    labeled = read_npz(path)
    labeled["images"][0] = only_tested_in(splits, per_seed, seed=0, other=1)
    write_npz(path, **labeled)
    read_study(per_seed, splits)
    labeled["images"][0] = only_tested_in(splits, per_seed, seed=1, other=0)
    write_npz(path, **labeled)
    with pytest.raises(IntegrityError, match="expected no test image, found 1"):
        read_study(per_seed, splits)


def test_a_pool_with_a_test_image_of_its_seed_is_refused(per_seed: Params, splits: Path) -> None:
    path = splits / layout.ids_file(per_seed, 2).path
    ids = read_npz(path)
    ids["pool"][3] = ids["test"][0]
    write_npz(path, **ids)
    with pytest.raises(IntegrityError, match="no test image in the pool, found 1") as refused:
        read_study(per_seed, splits)
    assert "ids/seed-02.npz" in str(refused.value)


@pytest.mark.parametrize(
    "artifact", [TEACHER, MODEL, layout.Artifact("train_judge", "seed-01", pool_seed=1)]
)
def test_a_trial_that_learned_from_a_test_image_of_its_seed_is_refused(
    artifact: Artifact, per_seed: Params, splits: Path
) -> None:
    record = read_study(per_seed, splits)
    test = read_images(splits / layout.test_file(per_seed, 1).path)
    with pytest.raises(IntegrityError, match="expected no test image, found 2"):
        check_images(record, artifact, {"consumed": consumed(test.take(np.arange(2)))})
    pool = read_images(splits / subset(REPLICATE).path)
    check_images(record, artifact, {"consumed": consumed(pool)})


def test_every_seed_has_a_judge_where_it_has_a_pool(study: Params, per_seed: Params) -> None:
    assert [artifact.item for artifact in layout.judges(study)] == ["judge"]
    judges = layout.judges(per_seed)
    assert [artifact.seed for artifact in judges] == per_seed.study.seeds
    paths = {artifact.path(".safetensors").as_posix() for artifact in judges}
    assert paths == {f"data/judge/seed-{seed:02d}.safetensors" for seed in range(4)}
    assert {artifact.title for artifact in judges} == {"train_judge"}
    assert judges[0].tags == {"stage": "train_judge", "item": "seed-03", "seed": 3}


def test_a_class_of_a_long_tail_has_no_more_labels_than_its_own_budget(
    study: Params, tmp_path: Path
) -> None:
    data = study.data.model_copy(update={"imbalance": 4.0})
    params = study.model_copy(update={"data": data})
    prepare.run(params, tmp_path)
    read_study(params, tmp_path)
    prepare.run(study, tmp_path / "balanced")
    path = subset(Replicate(4, 1)).path
    shutil.copy(tmp_path / "balanced" / path, tmp_path / path)
    with pytest.raises(IntegrityError, match="expected at most 1 labels per class, found 4"):
        read_study(params, tmp_path)

"""The report refuses whatever does not belong to the study, and names the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import FRESH, SUBSETS, Params
from pipeline.data.images import read_images
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import read_json, read_npz, write_json, write_npz
from pipeline.trials.grid import Replicate
from pipeline.trials.integrity import artifacts, verify
from pipeline.trials.provenance import consumed, short_ids

MODEL = Path("models/dcgan/budget-0002/seed-01.manifest.json")
RESULT = Path("results/dcgan/budget-0002/seed-01.cnn.manifest.json")
FRESH_RESULT = Path("results/fresh_real/budget-0002/seed-01.cnn.manifest.json")
AUDIT = Path("data/audit/dcgan/budget-0002/seed-01.manifest.json")
REPLICATE = Replicate(2, 1)


def change(project: Path, file: Path, **values: Any) -> None:
    write_json(project / file, read_json(project / file) | values)


def refused(params: Params, project: Path) -> str:
    with pytest.raises(IntegrityError) as error:
        verify(params, project)
    return str(error.value)


def test_an_honest_study_is_accepted(study: Params, project: Path) -> None:
    verify(study, project)


def test_every_expected_artifact_is_looked_at_once(study: Params) -> None:
    found = [each.path for each in artifacts(study)]
    assert len(set(found)) == len(found) == 3 * 8 + 2 * (8 * 8 + 4)


@pytest.mark.parametrize("file", [MODEL, RESULT, AUDIT])
def test_a_missing_manifest_is_refused(file: Path, study: Params, project: Path) -> None:
    (project / file).unlink()
    assert file.name in refused(study, project)


@pytest.mark.parametrize("file", [MODEL, RESULT])
def test_a_trial_that_learned_from_more_labels_than_its_budget_is_refused(
    file: Path, study: Params, project: Path
) -> None:
    larger = read_images(project / SUBSETS / Replicate(4, 1).file(".npz"))
    change(project, file, consumed=consumed(larger))
    text = refused(study, project)
    assert file.as_posix() in text
    assert "budget 2, seed 1" in text
    assert "6 images with labels beyond it" in text


def test_the_subset_of_another_seed_is_refused(study: Params, project: Path) -> None:
    other = read_images(project / SUBSETS / Replicate(2, 0).file(".npz"))
    change(project, MODEL, consumed=consumed(other))
    assert "labels beyond it" in refused(study, project)


def test_a_wrong_label_is_refused_even_on_an_image_of_the_subset(
    study: Params, project: Path
) -> None:
    found = read_json(project / MODEL)["consumed"]
    change(project, MODEL, consumed={"0": found["1"], "1": found["0"], "2": found["2"]})
    assert "4 images" in refused(study, project)


def test_fresh_labels_are_for_the_arm_that_must_help_alone(study: Params, project: Path) -> None:
    fresh = consumed(read_images(project / FRESH / REPLICATE.file(".npz")))
    change(project, FRESH_RESULT, consumed=fresh)
    verify(study, project)
    change(project, RESULT, consumed=fresh)
    assert RESULT.as_posix() in refused(study, project)


@pytest.mark.parametrize("file", [MODEL, RESULT, FRESH_RESULT, AUDIT])
def test_a_test_image_is_refused_everywhere(file: Path, study: Params, project: Path) -> None:
    test = read_images(project / "data/splits/test.npz")
    change(project, file, consumed=consumed(test.take(np.arange(2))))
    assert "expected no test image, found 2" in refused(study, project)


def test_a_subset_with_a_test_image_is_refused(study: Params, project: Path) -> None:
    test = read_images(project / "data/splits/test.npz")
    path = project / SUBSETS / REPLICATE.file(".npz")
    subset = read_npz(path)
    subset["images"][0] = test.images[0]
    write_npz(path, **subset)
    assert "expected no test image, found 1" in refused(study, project)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_subset_without_a_class_is_refused(label: int, study: Params, project: Path) -> None:
    path = project / SUBSETS / REPLICATE.file(".npz")
    drawn = read_npz(path)
    kept = drawn["labels"] != label
    write_npz(path, **{name: values[kept] for name, values in drawn.items()})
    assert "expected a label of each of 3 classes" in refused(study, project)


def test_a_subset_beyond_its_budget_is_refused(study: Params, project: Path) -> None:
    larger = read_npz(project / SUBSETS / Replicate(4, 1).file(".npz"))
    write_npz(project / SUBSETS / REPLICATE.file(".npz"), **larger)
    assert "expected at most 2 labels per class, found 4" in refused(study, project)


def test_a_planted_result_is_refused(study: Params, project: Path) -> None:
    other = project / "results/classical/budget-0002/seed-01.cnn.npz"
    shutil.copy(other, project / "results/dcgan/budget-0002/seed-01.cnn.npz")
    assert RESULT.as_posix() in refused(study, project)


def test_a_trial_made_from_another_version_of_its_input_is_refused(
    study: Params, project: Path
) -> None:
    inputs = dict.fromkeys(read_json(project / MODEL)["inputs"], "0" * 64)
    change(project, MODEL, inputs=inputs)
    assert "found another version" in refused(study, project)


def test_the_test_set_must_be_the_same_for_all_without_being_read(
    study: Params, project: Path
) -> None:
    known = read_json(project / "data/splits/manifest.json")["files"]["data/splits/test.npz"]
    (project / "data/splits/test.npz").unlink()
    change(project, RESULT, inputs={"data/splits/test.npz": known})
    verify(study, project)
    change(project, RESULT, inputs={"data/splits/test.npz": "0" * 64})
    assert "data/splits/test.npz" in refused(study, project)


def test_other_settings_are_refused(study: Params, project: Path) -> None:
    params = read_json(project / RESULT)["params"] | {"classifiers.cnn": {"steps": 7}}
    change(project, RESULT, params=params)
    assert "classifiers.cnn" in refused(study, project)


@pytest.mark.parametrize("section", ["arms.dcgan", "classifiers.cnn"])
def test_a_manifest_that_says_nothing_of_a_section_is_refused(
    section: str, study: Params, project: Path
) -> None:
    params = read_json(project / RESULT)["params"]
    change(project, RESULT, params={key: params[key] for key in params if key != section})
    assert section in refused(study, project)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arm", "classical"),
        ("classifier", "lgbm"),
        ("budget", 4),
        ("seed", 0),
        ("stage", "evaluate_generator"),
    ],
)
def test_a_whole_trial_of_another_name_is_refused(
    name: str, value: str | int, study: Params, project: Path
) -> None:
    name = "item" if name == "arm" else name
    labels = read_json(project / RESULT)["labels"] | {name: value}
    change(project, RESULT, labels=labels)
    assert f"expected {name}" in refused(study, project)


def test_a_whole_unknown_trial_is_refused_file_and_manifest(study: Params, project: Path) -> None:
    for suffix in (".npz", ".manifest.json"):
        name = f"budget-0002/seed-01.cnn{suffix}"
        shutil.copy(project / "results/classical" / name, project / "results/dcgan" / name)
    assert "found that it was made for classical" in refused(study, project)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"failure": null}'])
def test_a_damaged_manifest_is_explained(content: str, study: Params, project: Path) -> None:
    (project / RESULT).write_text(content)
    assert "damaged" in refused(study, project)


@pytest.mark.parametrize("file", ["pool.npz", "labels.npz"])
def test_an_audit_of_another_pool_is_refused(file: str, study: Params, project: Path) -> None:
    change(project, AUDIT, inputs={f"data/splits/{file}": "0" * 64})
    assert f"data/splits/{file}" in refused(study, project)


def test_settings_that_are_no_longer_there_are_refused(study: Params, project: Path) -> None:
    params = read_json(project / RESULT)["params"] | {"classifiers.svm": {}}
    change(project, RESULT, params=params)
    assert "classifiers.svm" in refused(study, project)


def test_results_of_two_versions_of_the_code_are_refused(study: Params, project: Path) -> None:
    change(project, RESULT, code="other")
    assert "expected the code that made" in refused(study, project)


def test_results_of_two_versions_of_a_library_are_refused(study: Params, project: Path) -> None:
    environment = read_json(project / RESULT)["environment"] | {"torch": "1.0"}
    change(project, RESULT, environment=environment)
    assert "another one of torch" in refused(study, project)


def test_short_ids_tell_all_images_apart(study: Params, project: Path) -> None:
    data = read_images(project / "data/splits/test.npz")
    assert len(set(short_ids(data))) == len(data)

"""`check` knows the shape of the images, or says what it assumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.image_shape import ASSUMED, KNOWN, described, image_spec
from pipeline.config.schema import DataParams, Params
from pipeline.data.datasets import DATASETS
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.toy import Toy
from pipeline.data.images import ImageSpec
from pipeline.runtime.files import write_json
from pipeline.stages import prepare
from pipeline.trials.layout import SUMMARY

RECORD = {"dataset": "mine", "shape": [3, 40, 32], "class_names": ["a", "b", "c"]}
PREPARED = ImageSpec(channels=3, height=40, width=32, num_classes=3)


class Photos(Toy):
    """Toy images at a path."""

    class Config(BuiltIn):
        path: str = ""


def data(**changes: Any) -> DataParams:
    section = {"name": "mine", "unknown_classes": {"classes": [], "frac": 0.0}, **changes}
    return DataParams.model_validate(section)


def leave(root: Path, **changes: Any) -> None:
    write_json(root / SUMMARY.path, {**RECORD, **changes})


@pytest.mark.parametrize("name", ["digits", "toy"])
def test_the_known_shapes_are_those_of_the_images(name: str, root: Path) -> None:
    raw = DATASETS[name](BuiltIn(), root).load()
    expected = raw.images.spec()
    assert (KNOWN[name].channels, KNOWN[name].height) == (expected.channels, expected.height)
    assert (KNOWN[name].width, KNOWN[name].num_classes) == (expected.width, len(raw.class_names))
    assert image_spec(data(name=name), root / "empty") == (KNOWN[name], f"as of {name}")


def test_the_splits_of_the_same_settings_tell_the_shape(tmp_path: Path) -> None:
    leave(tmp_path)
    assert image_spec(data(), tmp_path) == (PREPARED, "as in data/splits/manifest.json")
    assert image_spec(data(resize={"size": [40, 32], "policy": "pad"}), tmp_path)[0] == PREPARED
    names = {0: "a", 1: "b", 2: "c"}  # JSON has no numbers as keys
    leave(tmp_path, settings={"path": "photos", "class_names": {"0": "a", "1": "b", "2": "c"}})
    assert image_spec(data(path="photos", class_names=names), tmp_path)[0] == PREPARED


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"path": "elsewhere"}, {"resize": {"size": 24, "policy": "crop"}}],
)
def test_the_splits_of_other_settings_do_not(changes: dict[str, Any], tmp_path: Path) -> None:
    leave(tmp_path, settings={})
    spec, origin = image_spec(data(**changes), tmp_path)
    assert spec != PREPARED
    assert origin.startswith("assumed until")


def test_what_prepare_leaves_is_used_for_its_own_settings_only(
    study: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "photos", Photos)
    update = {"name": "photos", "settings": {"path": "small"}}
    section = study.data.model_copy(update=update)
    prepare.run(study.model_copy(update={"data": section}), tmp_path)
    assert image_spec(section, tmp_path)[1] == "as in data/splits/manifest.json"
    for other in ({"path": "large"}, {}):
        changed = section.model_copy(update={"settings": other})
        assert image_spec(changed, tmp_path)[1].startswith("assumed until")


def test_images_that_were_resized_do_not_tell_the_shape_of_those_that_are_not(
    tmp_path: Path,
) -> None:
    leave(tmp_path, resize={"size": [40, 32], "policy": "pad"})
    assert image_spec(data(resize={"size": [40, 32]}), tmp_path)[0] == PREPARED
    assert image_spec(data(), tmp_path)[0] == ASSUMED


@pytest.mark.parametrize("record", [{}, {"shape": [3, 40]}, {"shape": None}, {"class_names": 5}])
def test_a_record_that_cannot_be_read_is_ignored(record: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / SUMMARY.path, {**RECORD, **record} if record else record)
    assert image_spec(data(), tmp_path)[0] == ASSUMED


def test_the_settings_tell_size_and_classes_before_that(tmp_path: Path) -> None:
    resize = {"size": [64, 24], "policy": "pad"}
    spec, _ = image_spec(data(resize=resize, classes=["a", "b", "c", "d"]), tmp_path)
    assert described(spec) == "3 x 64 x 24 pixels and 4 classes"


def test_unknown_classes_are_not_counted(tmp_path: Path) -> None:
    section = data(name="digits", unknown_classes={"classes": [3, 7], "frac": 0.5})
    assert image_spec(section, tmp_path)[0].num_classes == 8

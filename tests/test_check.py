"""Every typo in params.yaml ends in one sentence: the key, what was expected, what was found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.check import check_params
from pipeline.classifiers import CLASSIFIERS
from pipeline.datasets import DATASETS
from pipeline.engine import ENGINES
from pipeline.errors import ParamsError
from pipeline.filters import FILTERS
from pipeline.generators import GENERATORS
from pipeline.params import FILE, Section
from pipeline.transforms import TRANSFORMS

CONFIGS: dict[str, type[Section]] = {
    **{f"generators.{name}": each.Config for name, each in GENERATORS.items()},
    **{f"classifiers.{name}": each.Config for name, each in CLASSIFIERS.items()},
    **{f"transforms.{name}": config for name, (config, _) in TRANSFORMS.items()},
    **{f"filters.{name}": config for name, (config, _) in FILTERS.items()},
}
MEMBER_KEYS = [
    f"{place}.{name}" for place, config in CONFIGS.items() for name in config.model_fields
]
WHOLE = [key for key in MEMBER_KEYS
         if CONFIGS[key.rpartition(".")[0]].model_fields[key.rpartition(".")[2]].annotation
         is int]  # fmt: skip


def edited(root: Path, folder: Path, place: str, value: Any, name: str | None = None) -> Path:
    """A copy of the shipped file in which `place` is `value`, and called `name` if given."""
    yaml = YAML(typ="safe", pure=True)
    document = yaml.load(root / FILE)
    *above, last = place.split(".")
    section = document
    for key in above:
        section = section[key]
    section.pop(last, None)
    section[name or last] = value
    with (folder / FILE).open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(ParamsError) as error:
        check_params(folder)
    text = str(error.value)
    assert text.startswith(f"{FILE}: ")
    assert "\n" not in text
    return text


def test_the_shipped_file_passes(root: Path) -> None:
    assert check_params(root).study.seeds


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("data.name", "mnsit", list(DATASETS)),
        ("data.test_per_class", "100", ["integer"]),
        ("study.budgets", 10, ["list"]),
        ("study.budgets", [10, 10, 50], ["study.budgets", "different values"]),
        ("study.seeds", [], ["at least 1"]),
        ("study.seeds", [0, 1.5], ["integer"]),
        ("synthesize.per_class", 0, ["greater than 0"]),
        ("synthesize.teacher.classifier", "cnm", list(CLASSIFIERS)),
        ("arms.real.inputs", "data/raw", ["data/splits/draws"]),
        ("arms.dcgan.filter", "agree", list(FILTERS)),
        ("arms.classical.transform", "rotate", list(TRANSFORMS)),
        ("arms.dcgan.real", "yes", ["boolean"]),
        ("report.primary.budget", 11, ["study.budgets"]),
        ("report.confidence", 95, ["less than 1"]),
        ("engine.kind", "process", list(ENGINES)),
        ("engine.workers", -1, ["greater than or equal to 0"]),
        ("generators.dcgan.steps", -5, ["greater than 0"]),
        ("generators.dcgan.ema_decay", 1, ["less than 1"]),
        ("filters.agreement.confidence", 1.5, ["less than 1"]),
        ("transforms.affine.degrees", 200, ["less than or equal to 180"]),
        ("classifiers.lgbm.colsample_frac", 0, ["greater than 0"]),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected_and_found(
    place: str, value: object, expected: list[str], root: Path, tmp_path: Path
) -> None:
    text = refused(edited(root, tmp_path, place, value))
    assert place.rpartition(".")[0] in text
    assert place.rpartition(".")[2] in text
    assert all(word in text for word in expected)
    if isinstance(value, list):
        value = [each for each in value if value.count(each) > 1][:1] or value[-1:]
    assert str(value).strip("[]") in text


@pytest.mark.parametrize("place", MEMBER_KEYS)
def test_a_misspelled_key_of_a_member_is_refused_and_the_right_one_suggested(
    place: str, root: Path, tmp_path: Path
) -> None:
    section, _, name = place.rpartition(".")
    text = refused(edited(root, tmp_path, place, 1, name=name[:2] + name[1:]))
    assert section in text
    assert f"unknown key {name[:2] + name[1:]}" in text
    assert f"did you mean {name}?" in text


@pytest.mark.parametrize("value", ["5", None, [5], math.inf, math.nan])
@pytest.mark.parametrize("place", MEMBER_KEYS)
def test_settings_of_members_are_finite_numbers(
    place: str, value: object, root: Path, tmp_path: Path
) -> None:
    section, _, name = place.rpartition(".")
    text = refused(edited(root, tmp_path, place, value))
    assert f"{section}: {name}" in text
    assert repr(value) in text


@pytest.mark.parametrize("value", [True, 2.5])
@pytest.mark.parametrize("place", WHOLE)
def test_counts_of_members_are_whole_numbers(
    place: str, value: object, root: Path, tmp_path: Path
) -> None:
    assert f"found {value!r}" in refused(edited(root, tmp_path, place, value))


@pytest.mark.parametrize("place", [*WHOLE, "synthesize.per_class"])
def test_sizes_that_no_machine_can_hold_are_refused_before_anything_runs(
    place: str, root: Path, tmp_path: Path
) -> None:
    value = 10**12
    text = refused(edited(root, tmp_path, place, value))
    assert place.rpartition(".")[2] in text
    assert str(value) in text


@pytest.mark.parametrize("family", ["generators", "classifiers", "transforms", "filters"])
def test_a_member_that_does_not_exist_is_refused_with_the_choices(
    family: str, root: Path, tmp_path: Path
) -> None:
    text = refused(edited(root, tmp_path, f"{family}.unheard-of", {}))
    assert f"{FILE}: {family}: " in text
    assert "'unheard-of'" in text
    choices = [place.partition(".")[2] for place in CONFIGS if place.startswith(family)]
    assert all(choice in text for choice in choices)

"""Presets change values, keep comments, and never leave an invalid file behind."""

from __future__ import annotations

import copy
import functools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands import presets
from pipeline.commands.check import check_params
from pipeline.config.schema import load_params
from pipeline.config.validation import FILE, parse_yaml
from pipeline.data.datasets import DATASETS
from pipeline.runtime.errors import ParamsError

NAMES = presets.names()


@pytest.fixture(scope="module", autouse=True)
def parsed_once() -> Iterator[None]:
    """Parse equal texts once: every preset is laid upon a file by what all of them say."""
    parsed = functools.cache(presets.parse_yaml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "parse_yaml", lambda *text: copy.deepcopy(parsed(*text)))
        yield


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the shipped file."""
    shutil.copy(root / FILE, tmp_path)
    return tmp_path


def comments(text: str) -> list[str]:
    return re.findall(r"(?:^|(?<=\s))#.*$", text, flags=re.MULTILINE)


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def values(folder: Path) -> dict[str, Any]:
    return leaves(parse_yaml((folder / FILE).read_text(encoding="utf-8"), FILE))


def brought(name: str) -> set[str]:
    """The members that a preset brings along as a whole."""
    layer = parse_yaml((presets.FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name)
    shipped = parse_yaml((presets.FOLDER / "default.yaml").read_text(encoding="utf-8"), "default")
    members = presets.whole_members([layer], shipped)
    return {f"{family}.{member}" for family, member, _ in members}


def key_lines(text: str, without: set[str]) -> list[str]:
    """Every line up to its colon, without those of the members named."""
    for name in without:
        text = presets.without(text, *name.split("."))
    return [line.partition(":")[0] for line in text.splitlines()]


def wanted(name: str) -> dict[str, Any]:
    return leaves(parse_yaml((presets.FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name))


def test_there_are_the_presets_that_the_documents_name() -> None:
    assert {"default", "mnist", "smoke"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_sets_what_it_names_and_nothing_else(name: str, folder: Path) -> None:
    before = values(folder)
    changed = presets.apply(name, folder)
    after = values(folder)
    assert after == before | wanted(name)
    differing = {key for key in after if after[key] != before.get(key, ...)}
    assert all(any(key.startswith(each) for each in changed) for key in differing)
    assert all(any(key.startswith(each) for key in differing) for each in changed)


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_valid_to_the_last_member(name: str, folder: Path) -> None:
    presets.apply(name, folder)
    assert check_params(folder) == load_params(folder)


@pytest.mark.parametrize("name", NAMES)
def test_comments_survive_in_their_places(name: str, folder: Path) -> None:
    before = (folder / FILE).read_text(encoding="utf-8")
    presets.apply(name, folder)
    after = (folder / FILE).read_text(encoding="utf-8")
    assert comments(after) == comments(before)
    assert key_lines(after, brought(name)) == key_lines(before, set())


@pytest.mark.parametrize("name", NAMES)
def test_applying_a_preset_twice_changes_nothing(name: str, folder: Path) -> None:
    presets.apply(name, folder)
    once = (folder / FILE).read_bytes()
    assert presets.apply(name, folder) == []
    assert (folder / FILE).read_bytes() == once


@pytest.mark.parametrize("name", NAMES)
def test_default_brings_back_what_any_preset_touched(name: str, folder: Path) -> None:
    presets.apply("default", folder)
    shipped = values(folder)
    presets.apply(name, folder)
    presets.apply("default", folder)
    assert values(folder) == shipped


def test_the_shipped_file_is_the_default(folder: Path, root: Path) -> None:
    assert presets.apply("default", folder) == []
    assert (folder / FILE).read_bytes() == (root / FILE).read_bytes()


@pytest.mark.parametrize("name", ["smok", "", "../presets/smoke", "smoke.yaml", "SMOKE"])
def test_an_unknown_preset_is_refused_and_the_file_untouched(name: str, folder: Path) -> None:
    before = (folder / FILE).read_bytes()
    with pytest.raises(ParamsError) as refused:
        presets.apply(name, folder)
    assert all(known in str(refused.value) for known in NAMES)
    assert (folder / FILE).read_bytes() == before


def test_a_preset_that_does_not_fit_is_refused_and_the_file_untouched(folder: Path) -> None:
    text = (folder / FILE).read_text(encoding="utf-8")
    mine = "  mine: {inputs: data/synthetic/dcgan, per_class: 200}\n"
    (folder / FILE).write_text(text.replace("arms:\n", f"arms:\n{mine}"), encoding="utf-8")
    before = (folder / FILE).read_bytes()
    with pytest.raises(ParamsError, match=r"arms\.mine\.per_class"):
        presets.apply("smoke", folder)
    assert (folder / FILE).read_bytes() == before


@pytest.mark.parametrize("content", [b"a: [1\n", b"a: 1\na: 2\n", b"- 1\n", b"", b"a: \xe9\n"])
def test_a_broken_file_is_refused_and_untouched(content: bytes, folder: Path) -> None:
    (folder / FILE).write_bytes(content)
    with pytest.raises(ParamsError, match=FILE):
        presets.apply("smoke", folder)
    assert (folder / FILE).read_bytes() == content


def test_without_the_file_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=FILE):
        presets.apply("smoke", tmp_path)


def test_a_byte_order_mark_does_not_matter(folder: Path) -> None:
    text = (folder / FILE).read_text(encoding="utf-8")
    (folder / FILE).write_text("\ufeff" + text, encoding="utf-8")
    presets.apply("smoke", folder)
    assert load_params(folder).data.name == wanted("smoke")["data.name"]


@pytest.fixture(scope="module")
def applied(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The file after presets, one after another, upon the shipped one; made once for each."""

    @functools.cache
    def text(*names: str) -> str:
        folder = tmp_path_factory.mktemp("applied")
        if not names:
            return (root / FILE).read_text("utf-8")
        (folder / FILE).write_text(text(*names[:-1]), "utf-8")
        presets.apply(names[-1], folder)
        return (folder / FILE).read_text("utf-8")

    return text


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_what_came_before_a_preset_leaves_no_trace(
    first: str, second: str, applied: Callable[..., str]
) -> None:
    expected = applied("default", second)
    assert applied("default", second, first, second) == expected


def test_members_that_a_preset_brings_go_with_it(folder: Path) -> None:
    presets.apply("semi", folder)
    params = load_params(folder)
    assert brought("semi") == {
        *(f"teachers.{name}" for name in params.teachers),
        *(f"generators.{name}" for name in params.generators if name != "dcgan"),
        *(f"arms.{name}" for name in params.arms if params.regime(name) != "labeled"),
    }
    presets.apply("smoke", folder)
    params = load_params(folder)
    assert not params.teachers
    assert list(params.generators) == ["dcgan"]
    assert all(params.regime(name) == "labeled" for name in params.arms)


def test_a_member_of_the_users_own_is_left_alone(folder: Path) -> None:
    text = (folder / FILE).read_text("utf-8")
    mine = "  mine: {inputs: data/splits/subsets, per_class: 10}\n"
    (folder / FILE).write_text(text.replace("arms:\n", f"arms:\n{mine}"), encoding="utf-8")
    presets.apply("semi", folder)
    presets.apply("default", folder)
    assert "mine" in load_params(folder).arms


@pytest.mark.parametrize("family", ["arms", "generators"])
@pytest.mark.parametrize("line", ["\n", "# mine\n", "  # mine\n"])
def test_a_line_of_ones_own_below_a_heading_does_no_harm(
    family: str, line: str, folder: Path
) -> None:
    text = (folder / FILE).read_text("utf-8")
    (folder / FILE).write_text(text.replace(f"\n{family}:\n", f"\n{family}:\n{line}"))
    presets.apply("semi", folder)
    presets.apply("default", folder)
    assert load_params(folder).arms.keys() == load_params(presets.FOLDER.parent).arms.keys()


def test_a_member_at_the_end_of_a_file_leaves_an_empty_family() -> None:
    assert presets.without("a: 1\narms:\n  mine:\n    x: 1\n", "arms", "mine") == (
        "a: 1\narms: {}\n"
    )


def test_an_arm_that_was_taken_out_stays_out(root: Path, tmp_path: Path) -> None:
    text = (root / FILE).read_text("utf-8")
    (tmp_path / FILE).write_text(re.sub(r"\n  oversample: .*", "", text), encoding="utf-8")
    presets.apply("smoke", tmp_path)
    assert "oversample" not in load_params(tmp_path).arms


@pytest.mark.parametrize("name", NAMES)
def test_the_learning_curve_goes_beyond_the_budgets_of_the_grid(name: str, folder: Path) -> None:
    presets.apply(name, folder)
    study = load_params(folder).study
    assert max(study.curve_budgets) >= 2 * max(study.budgets)


@pytest.mark.parametrize("name", ["default", "smoke"])  # the others want files of their own
def test_the_pool_has_fresh_labels_for_every_budget(
    name: str, folder: Path, tmp_path: Path
) -> None:
    presets.apply(name, folder)
    params = load_params(folder)
    labels = DATASETS[params.data.name](params.data, tmp_path).images.labels
    least = np.bincount(labels).min() - params.data.test_per_class
    assert least >= max(2 * max(params.study.budgets), *params.study.curve_budgets)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_leaves_every_arm_its_role(name: str, folder: Path) -> None:
    before = {arm: each.role for arm, each in load_params(folder).arms.items()}
    presets.apply(name, folder)
    after = {arm: each.role for arm, each in load_params(folder).arms.items()}
    assert {arm: after[arm] for arm in before} == before
    assert {f"arms.{arm}" for arm in after.keys() - before.keys()} <= brought(name)


def test_the_shipped_study_has_a_control_of_every_kind(folder: Path) -> None:
    roles = [each.role for each in load_params(folder).arms.values()]
    assert {"must_not_differ", "must_not_help", "must_help", "measure", "claim"} == set(roles)

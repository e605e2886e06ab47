"""A preset is a whole, valid file, and applying one never loses the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.classifiers import CLASSIFIERS
from pipeline.commands import presets
from pipeline.commands.check import check_params
from pipeline.config.schema import Params, family, load_params
from pipeline.config.validation import FILE
from pipeline.data.datasets import load_dataset
from pipeline.generators import GENERATORS
from pipeline.runtime.errors import ParamsError
from pipeline.teachers import TEACHERS

NAMES = presets.names()
BACKUP = f"{FILE}.bak"


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Params]:
    """The params of every preset, checked to the last network."""
    params = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        presets.apply(name, folder)
        params[name] = check_params(folder)
    return params


def test_the_shipped_file_is_the_default(root: Path) -> None:
    assert (root / FILE).read_bytes() == (presets.FOLDER / "default.yaml").read_bytes()


def test_every_preset_passes_the_check(applied: dict[str, Params]) -> None:
    assert set(applied) == {"default", "mnist", "semi", "smoke", "textbook", "zoo"}


def test_a_section_names_no_default_at_length(applied: dict[str, Params]) -> None:
    # A key or two that repeats a default shows the reader what is usually changed.
    for name, params in applied.items():
        for members, registry in (
            (params.generators, GENERATORS),
            (params.teachers, TEACHERS),
            (params.classifiers, CLASSIFIERS),
        ):
            for member, section in members.items():
                config = registry[family(section, member)].Config
                defaults = {key: field.default for key, field in config.model_fields.items()}
                repeated = [
                    key for key, value in section.settings.items() if value == defaults[key]
                ]
                assert len(repeated) <= 2, f"{name}: {member} repeats {repeated}"


def test_zoo_has_every_generator_and_every_classifier_is_in_a_preset(
    applied: dict[str, Params],
) -> None:
    assert {applied["zoo"].family(name) for name in applied["zoo"].generators} == set(GENERATORS)
    used = {
        family(section, name)
        for params in applied.values()
        for name, section in params.classifiers.items()
    }
    assert used == set(CLASSIFIERS)


def test_the_learning_curve_goes_beyond_the_budgets_of_the_grid(
    applied: dict[str, Params],
) -> None:
    for params in applied.values():
        assert max(params.study.curve_budgets) >= 2 * max(params.study.budgets)


def test_the_pool_has_fresh_labels_for_every_budget(
    applied: dict[str, Params], tmp_path: Path
) -> None:
    for name in ("default", "smoke"):  # the others need files of their own
        params = applied[name]
        labels = load_dataset(params.data, tmp_path).images.labels
        least = np.bincount(labels).min() - (params.data.test_per_class or 0)
        assert least >= max(2 * max(params.study.budgets), *params.study.curve_budgets)


def test_every_preset_has_the_arms_and_controls_of_the_shipped_study(
    applied: dict[str, Params],
) -> None:
    shipped = {name: arm.role for name, arm in applied["default"].arms.items()}
    assert set(shipped.values()) == {
        "claim",
        "measure",
        "must_not_differ",
        "must_not_help",
        "must_help",
    }
    for params in applied.values():
        assert shipped.items() <= {name: arm.role for name, arm in params.arms.items()}.items()


def test_a_file_of_ones_own_is_kept(tmp_path: Path) -> None:
    mine = "# mine\n" + (presets.FOLDER / "default.yaml").read_text("utf-8")
    for number in ("", "1"):
        (tmp_path / FILE).write_text(mine + number, encoding="utf-8")
        assert presets.apply("smoke", tmp_path) == tmp_path / f"{BACKUP}{number}"
        assert (tmp_path / f"{BACKUP}{number}").read_text("utf-8") == mine + number
    assert load_params(tmp_path).data.name == "digits"


def test_a_broken_file_of_ones_own_is_kept_as_well(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"a: \xe9 [\n")
    assert presets.apply("smoke", tmp_path) == tmp_path / BACKUP
    assert (tmp_path / BACKUP).read_bytes() == b"a: \xe9 [\n"


def test_a_file_that_is_a_preset_needs_no_backup(tmp_path: Path) -> None:
    for name in (*NAMES, "default"):
        assert presets.apply(name, tmp_path) is None
        assert (tmp_path / FILE).read_bytes() == (presets.FOLDER / f"{name}.yaml").read_bytes()
        text = (tmp_path / FILE).read_text("utf-8")
        (tmp_path / FILE).write_bytes(text.replace("\n", "\r\n").encode())
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]


def test_an_unknown_preset_is_refused_and_the_file_untouched(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("mine", encoding="utf-8")
    for name in ("smok", "", "../presets/smoke", "smoke.yaml", "SMOKE"):
        with pytest.raises(ParamsError) as refused:
            presets.apply(name, tmp_path)
        assert all(preset in str(refused.value) for preset in NAMES)
    assert (tmp_path / FILE).read_text("utf-8") == "mine"


def test_the_command_says_where_the_old_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / FILE).write_text("mine", encoding="utf-8")
    assert BACKUP in CliRunner().invoke(app, ["preset", "smoke"]).output
    output = CliRunner().invoke(app, ["preset", "default"]).output
    assert output == "params.yaml is now preset default\n"

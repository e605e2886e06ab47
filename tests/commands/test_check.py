"""Every typo in params.yaml ends in one sentence: the key, what was expected, what was found."""

from __future__ import annotations

import copy
import functools
import math
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.classifiers import CLASSIFIERS
from pipeline.commands.check import check_params, summary
from pipeline.config.schema import SUBSETS, Params, load_params
from pipeline.config.validation import FILE, Section
from pipeline.data.datasets import DATASETS
from pipeline.generators import GENERATORS
from pipeline.runtime.errors import ParamsError
from pipeline.training_sets.filters import FILTERS
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.trials.engine import ENGINES
from pipeline.trials.grid import expected_trials, replicates

SHIPPED = load_params(Path(__file__).resolve().parents[2])
CONFIGS: dict[str, type[Section]] = {
    **{f"generators.{name}": GENERATORS[name].Config for name in SHIPPED.generators},
    **{f"classifiers.{name}": CLASSIFIERS[name].Config for name in SHIPPED.classifiers},
    **{f"transforms.{name}": config for name, (config, _) in TRANSFORMS.items()},
}
MEMBER_KEYS = [
    f"{place}.{name}" for place, config in CONFIGS.items() for name in config.model_fields
]
WHOLE = [
    key
    for key in MEMBER_KEYS
    if CONFIGS[key.rpartition(".")[0]].model_fields[key.rpartition(".")[2]].annotation is int
]


@functools.cache
def parsed(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def edited(root: Path, folder: Path, place: str, value: Any, name: str | None = None) -> Path:
    """A copy of the shipped file in which `place` is `value`, and called `name` if given."""
    yaml = YAML(typ="safe", pure=True)
    document = copy.deepcopy(parsed(root / FILE))
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
        ("study.curve_budgets", [20, 10], ["study.budgets and study.curve_budgets", "different"]),
        ("study.curve_budgets", [20, 0], ["greater than 0"]),
        ("study.seeds", [], ["at least 1"]),
        ("study.seeds", [0, 1.5], ["integer"]),
        ("synthesize.per_class", 0, ["greater than 0"]),
        ("synthesize.teacher.classifier", "cnm", list(SHIPPED.classifiers)),
        ("arms.real.inputs", "data/raw", ["data/splits/subsets"]),
        ("arms.dcgan.filter", "agree", list(FILTERS)),
        ("arms.classical.transform", "rotate", list(TRANSFORMS)),
        ("arms.dcgan.real", "yes", ["boolean"]),
        ("arms.shuffled.permute_labels", 1, ["boolean"]),
        ("arms.shuffled.role", "must_nothelp", ["must_not_help", "must_not_differ", "must_help"]),
        ("arms.fresh_real.role", "claim", ["must_help", "beyond the budget"]),
        ("report.primary.budget", 11, ["study.budgets"]),
        ("report.confidence_level", 95, ["less than 1"]),
        ("engine.kind", "process", list(ENGINES)),
        ("engine.workers", -1, ["greater than or equal to 0"]),
        ("generators.dcgan.steps", -5, ["greater than 0"]),
        ("generators.dcgan.ema_decay", 1, ["less than 1"]),
        ("tune.min_probability", [0.5, 1.5], ["less than 1"]),
        ("tune.latent_std", [0, 1.5, 2.5], ["less than or equal to 2"]),
        ("tune.latent_std", [], ["at least 1"]),
        ("tune.folds", 1, ["greater than or equal to 2"]),
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


def numbers(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"\b\d+\b", text.partition(";")[0])]


def with_study(params: Params, **changes: list[int]) -> Params:
    return params.model_copy(update={"study": params.study.model_copy(update=changes)})


@pytest.mark.parametrize("curve", [[20], [20, 40, 80]])
def test_the_summary_counts_every_trial_of_the_learning_curve(curve: list[int], root: Path) -> None:
    params = with_study(check_params(root), curve_budgets=curve)
    assert len(expected_trials(params)) in numbers(summary(params))


def test_the_summary_counts_every_trial_of_the_grid(root: Path) -> None:
    params = with_study(check_params(root), curve_budgets=[], budgets=[10, 30])
    num_replicates = len(replicates(params.study))
    expected = [
        len(params.generators) * num_replicates,
        len(expected_trials(params)),
        num_replicates,
    ]
    assert numbers(summary(params)) == expected


def test_the_summary_tells_what_tuning_costs(root: Path) -> None:
    shipped = check_params(root)
    assert "tune" not in summary(shipped)
    tune = shipped.tune.model_copy(update={"latent_std": [1.0, 1.5], "min_probability": [0.5, 0.8]})
    told = summary(shipped.model_copy(update={"tune": tune})).partition("to tune")[2]
    assert numbers(told) == [2, 2 * (1 + 2 * 2)]


def test_a_study_whose_verdicts_are_settled_beforehand_is_warned_of(root: Path) -> None:
    shipped = check_params(root)
    assert "add seeds" not in summary(shipped)
    assert "add seeds" in summary(with_study(shipped, budgets=[10, *range(11, 40)]))
    assert "add seeds" not in summary(with_study(shipped, seeds=[0], budgets=[10, *range(11, 40)]))


@pytest.mark.parametrize("role", ["measure", "must_not_help"])
def test_arms_that_claim_nothing_do_not_settle_a_study(role: str, root: Path) -> None:
    shipped = check_params(root)
    more = {
        f"more-{k}": shipped.arms["shuffled"].model_copy(update={"role": role}) for k in range(40)
    }
    params = shipped.model_copy(update={"arms": {**shipped.arms, **more}})
    assert "add seeds" not in summary(params)
    claims = {name: arm.model_copy(update={"role": "claim"}) for name, arm in more.items()}
    params = shipped.model_copy(update={"arms": {**shipped.arms, **claims}})
    assert "add seeds" in summary(params)


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


@pytest.mark.parametrize("family", ["generators", "classifiers", "transforms"])
def test_a_member_that_does_not_exist_is_refused_with_the_choices(
    family: str, root: Path, tmp_path: Path
) -> None:
    section = {"inputs": SUBSETS} if family == "generators" else {}
    text = refused(edited(root, tmp_path, f"{family}.unheard-of", section))
    place = f"{family}.unheard-of: family" if family == "generators" else family
    assert f"{FILE}: {place}: " in text
    assert "'unheard-of'" in text
    choices = [place.partition(".")[2] for place in CONFIGS if place.startswith(family)]
    assert all(choice in text for choice in choices)

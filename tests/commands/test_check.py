"""`check` names every wrong setting of every member, and every network that cannot be built."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.classifiers import CLASSIFIERS
from pipeline.commands.check import check_params, summary
from pipeline.config import design
from pipeline.config.schema import Params, load_params
from pipeline.config.validation import FILE, Section, member_config, parse_yaml, validate
from pipeline.data.datasets import DATASETS
from pipeline.data.images import ImageSpec
from pipeline.generators import GENERATORS
from pipeline.runtime.errors import ParamsError
from pipeline.teachers import TEACHERS
from pipeline.training_sets.filters import FILTERS
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.trials import grid
from pipeline.trials.engine import ENGINES
from pipeline.trials.grid import expected_trials, replicates

CONFIGS: dict[str, type[Section]] = {
    **{f"generators.{name}": member.Config for name, member in GENERATORS.items()},
    **{f"teachers.{name}": member.Config for name, member in TEACHERS.items()},
    **{f"classifiers.{name}": member.Config for name, member in CLASSIFIERS.items()},
    **{f"transforms.{name}": config for name, (config, _) in TRANSFORMS.items()},
}


@pytest.fixture
def values(root: Path) -> dict[str, Any]:
    """The shipped settings."""
    return parse_yaml((root / FILE).read_text("utf-8"), FILE)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, root: Path) -> Any:
    """`check_params` of values in memory."""

    def checked(values: dict[str, Any]) -> Params:
        monkeypatch.setattr(
            "pipeline.commands.check.load_params", lambda _: validate(Params, values, FILE)
        )
        return check_params(root)

    return checked


def refused(check: Any, values: dict[str, Any]) -> str:
    with pytest.raises(ParamsError) as error:
        check(values)
    text = str(error.value)
    assert text.startswith(f"{FILE}: ")
    assert "\n" not in text
    return text


def changed(values: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    copied = section = copy.deepcopy(values)
    *above, last = place.split(".")
    for key in above:
        section = section[key]
    section[last] = value
    return copied


def refused_member(place: str, section: dict[str, Any]) -> str:
    with pytest.raises(ParamsError, match=f"^{FILE}: {place}: ") as error:
        member_config(CONFIGS[place], section, place)
    return str(error.value)


def test_the_shipped_file_passes(root: Path) -> None:
    assert check_params(root) == load_params(root)


def test_a_wrong_value_is_named_with_what_was_expected_and_found(
    check: Any, values: dict[str, Any]
) -> None:
    for place, value, expected in (
        ("data.name", "mnsit", list(DATASETS)),
        ("engine.kind", "process", list(ENGINES)),
        ("arms.dcgan.filter", "agree", list(FILTERS)),
        ("arms.classical.transform", "rotate", ["affine"]),
        ("generators.dcgan.family", "dcgn", list(GENERATORS)),
        ("teachers.supervised.classifier", "cnm", ["cnn, lgbm"]),
        ("teachers.supervised.transform", "afine", ["none, affine, elastic"]),
        ("classifiers.cnn.family", "critic", ["renamed to discriminator_cnn"]),
        ("generators.dcgan.steps", -5, ["greater than 0"]),
        ("generators.dcgan.view", {}, ["renamed to augmentation"]),
        ("transforms.affine.degrees", 200, ["less than or equal to 180"]),
        ("classifiers.lgbm.colsample_frac", 0, ["greater than 0"]),
    ):
        text = refused(check, changed(values, place, value))
        assert place.rpartition(".")[0] in text
        assert place.rpartition(".")[2] in text
        assert all(word in text for word in expected)
        assert str(value) in text or "unknown key" in text


def test_a_member_of_an_unknown_family_is_refused(check: Any, values: dict[str, Any]) -> None:
    for key, section, choices in (
        ("generators", {"inputs": "data/splits/subsets"}, GENERATORS),
        ("teachers", {}, TEACHERS),
        ("classifiers", {}, CLASSIFIERS),
        ("transforms", {}, TRANSFORMS),
    ):
        text = refused(check, changed(values, f"{key}.unheard-of", section))
        assert f"{key}.unheard-of.family: expected one of " in text
        assert all(choice in text for choice in choices)


def test_several_unknown_names_are_reported_together(check: Any, values: dict[str, Any]) -> None:
    values = changed(values, "data.name", "mnsit")
    values = changed(values, "engine.kind", "process")
    text = refused(check, values)
    assert "data.name" in text
    assert "engine.kind" in text


# --- the settings of every family ----------------------------------------------------------------


def test_a_misspelled_setting_is_refused_with_a_suggestion() -> None:
    for place, config in CONFIGS.items():
        for name in config.model_fields:
            typo = name[:2] + name[1:]
            text = refused_member(place, {typo: 1})
            assert f"unknown key {typo} " in text
            assert f"did you mean {name}?" in text


def test_settings_are_finite_numbers_and_counts_are_whole() -> None:
    for place, config in CONFIGS.items():
        for name, field in config.model_fields.items():
            is_number = field.annotation in (int, float)
            values = ["5", None, [5], math.inf, math.nan] if is_number else [math.inf, math.nan]
            values += [True, 2.5, 10**12] if field.annotation is int else []
            for value in values:
                text = refused_member(place, {name: value})
                assert name in text
                assert repr(value) in text


# --- networks ------------------------------------------------------------------------------------


def test_a_network_that_cannot_be_built_is_refused(check: Any, values: dict[str, Any]) -> None:
    diffusion = {"inputs": "data/splits/subsets", "channels": 12}
    text = refused(check, changed(values, "generators.diffusion", diffusion))
    assert "generators.diffusion: expected settings that a network can have, found " in text
    assert "divisible" in text


def test_every_teacher_and_classifier_is_built(
    check: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, spec: ImageSpec) -> None:
        raise RuntimeError(f"no room in {spec.height} x {spec.width}")

    for member in (*TEACHERS.values(), *CLASSIFIERS.values()):
        monkeypatch.setattr(member, "build", fail)
    for name in TEACHERS.keys() - {design.SUPERVISED}:
        values["teachers"][f"mine-{name}"] = {"family": name}
    for name in CLASSIFIERS:
        estimator = {"estimator": "SVC"} if name == "sklearn" else {}
        values["classifiers"][f"mine-{name}"] = {"family": name, **estimator}
    text = refused(check, values)
    expected = len(TEACHERS) - 1 + len(values["classifiers"])
    assert text.count("found 'no room in 28 x 28'") == expected

    small = changed(values, "data.name", "digits")
    assert "found 'no room in 8 x 8'" in refused(check, small)
    assert "models are built for images of 1 x 8 x 8 pixels and 10 classes, as of digits" in (
        refused(check, small)
    )


def test_models_are_built_for_the_shape_of_the_splits(
    check: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, spec: ImageSpec) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(CLASSIFIERS["cnn"], "build", fail)
    spec = ImageSpec(channels=3, height=40, width=32, num_classes=5)
    monkeypatch.setattr("pipeline.commands.check.image_spec", lambda *_: (spec, "as prepared"))
    text = refused(check, values)
    assert "classifiers.cnn: expected settings that a network can have, found 'no room'" in text
    assert text.count("images of 3 x 40 x 32 pixels and 5 classes, as prepared") == 1


def test_a_family_that_needs_larger_images_says_so(
    check: Any, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ImageSpec(channels=3, height=40, width=6, num_classes=2)
    monkeypatch.setattr("pipeline.commands.check.image_spec", lambda *_: (small, "as prepared"))
    for name in TEACHERS.keys() - {design.SUPERVISED}:
        values["teachers"][f"mine-{name}"] = {"family": name}
    text = refused(check, values)
    assert text.count("expected image sides of at least 8, found 40 x 6") == len(TEACHERS)
    assert "resize" in text


def test_only_the_family_of_filters_learns_from_labeled_images_alone() -> None:
    alone = [name for name, member in TEACHERS.items() if not member.needs_unlabeled]
    assert alone == [design.SUPERVISED]


def test_a_warm_start_fits_the_discriminator(check: Any, values: dict[str, Any]) -> None:
    values["generators"]["plain_dcgan"] = {"inputs": "data/splits/subsets"}
    values["classifiers"]["critic"] = {"family": "discriminator_cnn"}
    arm = {
        "kind": "warm_start",
        "inputs": "models/plain_dcgan",
        "per_class": 0,
        "classifiers": ["critic"],
        "role": "measure",
    }
    values["arms"]["warm"] = arm
    check(values)

    text = refused(check, changed(values, "arms.warm.classifiers", ["lgbm"]))
    assert "arms.warm with classifiers.lgbm: expected " in text
    text = refused(check, changed(values, "classifiers.critic.channels", 31))
    assert "arms.warm with classifiers.critic: expected " in text


# --- the summary ---------------------------------------------------------------------------------


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\b\d+\b", text.partition(";")[0])]


def with_study(params: Params, **changes: list[int]) -> Params:
    return params.model_copy(update={"study": params.study.model_copy(update=changes)})


def test_the_summary_counts_what_is_trained(root: Path) -> None:
    shipped = load_params(root)
    for changes in ({"budgets": [10, 30], "curve_budgets": []}, {"curve_budgets": [20, 40, 80]}):
        params = with_study(shipped, **changes)
        subsets = len(replicates(params.study))
        assert numbers(summary(params)) == [
            len(params.generators) * subsets,
            len(params.teachers) * subsets,
            len(expected_trials(params)),
            subsets,
        ]


def test_the_summary_says_what_tuning_costs(root: Path) -> None:
    shipped = load_params(root)
    assert "tuning" not in summary(shipped)
    tune = shipped.tune.model_copy(update={"latent_std": [1.0, 1.5], "min_probability": [0.5, 0.8]})
    cost = summary(shipped.model_copy(update={"tune": tune})).partition("tuning trains")[2]
    assert numbers(cost) == [2, 2 * (1 + 2 * 2)]


def test_the_summary_counts_cross_validations(root: Path) -> None:
    shipped = load_params(root)
    count = len(grid.choices(shipped))
    assert f"; {count} cross-validations of transforms" in summary(shipped)


def test_the_summary_warns_if_no_comparison_can_be_significant(root: Path) -> None:
    shipped = load_params(root)
    many = [10, *range(11, 40)]
    assert "add seeds" not in summary(shipped)
    assert "add seeds" in summary(with_study(shipped, budgets=many))
    assert "add seeds" not in summary(with_study(shipped, seeds=[0], budgets=many))

    # Arms that claim nothing are not corrected for.
    for role, is_warned in (("measure", False), ("must_not_help", False), ("claim", True)):
        arm = shipped.arms["shuffled"].model_copy(update={"role": role})
        more = shipped.arms | {f"more-{number}": arm for number in range(40)}
        params = shipped.model_copy(update={"arms": more})
        assert ("add seeds" in summary(params)) == is_warned


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "image_folder", "path": "gone"}, "data.path: expected .* found nothing at gone"),
        ({"name": "image_folder", "path": ".", "classes": ["plain"]}, "data.classes: .*two.*plain"),
    ],
)
def test_a_path_with_nothing_there_and_a_single_class(
    check: Any, values: dict[str, Any], keys: dict[str, Any], words: str
) -> None:
    values["data"] |= keys
    assert re.search(words, refused(check, values))


# --- transforms ----------------------------------------------------------------------------------


def test_transforms_are_checked_with_their_parts_and_classifiers(
    check: Any, values: dict[str, Any]
) -> None:
    for place, value, expected in (
        ("transforms.mixed", {"family": "sequence", "of": ["affne"]}, "did you mean affine"),
        (
            "transforms.tuned.choices",
            ["affine", "elastic"],
            "choices: expected `none` as one of the choices, found affine, elastic (add it)",
        ),
        (
            "transforms.tuned.choices",
            ["none", "tuned"],
            "transforms.tuned.choices: expected transforms that are not tuned, found tuned",
        ),
        ("transforms.tuned.classifier_settings", {"lgb": [{}]}, "did you mean lgbm"),
        (
            "transforms.tuned.classifier_settings",
            {"lgbm": [{"copy": 2}]},
            "transforms.tuned.classifier_settings.lgbm: unknown key copy",
        ),
        ("transforms.tuned.classifier_settings", {"lgbm": []}, "at least one candidate such as {}"),
        ("transforms.tuned.fold_settings", {"cnn": {"steps": 0}}, "fold_settings.cnn: steps: "),
        (
            "teachers.supervised.transform",
            "tuned",
            "expected one of none, affine, elastic, found 'tuned' (a tuned transform is for arms",
        ),
    ):
        assert expected in refused(check, changed(values, place, value))


@pytest.mark.parametrize("classifier", ["cnn", "lgbm"])
def test_a_teacher_learns_from_mixed_labels_if_its_classifier_can(
    check: Any, values: dict[str, Any], classifier: str
) -> None:
    mixing = changed(values, "transforms.mixup", {})
    mixing["teachers"]["supervised"] = {"classifier": classifier, "transform": "mixup"}
    if classifier == "cnn":
        check(mixing)
        return
    text = refused(check, mixing)
    assert "teachers.supervised.transform: expected a transform that keeps labels" in text
    assert "for classifier lgbm" in text
    assert "found mixup" in text


def test_errors_name_the_page_that_lists_the_keys(check: Any, values: dict[str, Any]) -> None:
    for place in ("data.name", "transforms.affine.degrees"):
        assert "docs/settings.md" in refused(check, changed(values, place, "unknown"))


def test_mixed_labels_are_refused_for_classifiers_of_tables(
    check: Any, values: dict[str, Any]
) -> None:
    mixing = changed(values, "transforms.mixup", {})
    mixing = changed(mixing, "arms.classical.transform", "mixup")
    text = refused(check, mixing)
    assert "arms.classical.transform: expected a transform that keeps labels" in text
    assert "classifier lgbm" in text
    assert "classifier cnn" not in text

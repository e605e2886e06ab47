"""params.yaml is read as DVC reads it, and whatever cannot be is one sentence."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.config.schema import ArmParams, Params, Role, load_params
from pipeline.config.validation import FILE, MAX_BYTES, Section, member_config, parse_yaml, validate
from pipeline.report import verdicts
from pipeline.runtime.errors import ParamsError

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def values(study: Params) -> dict[str, Any]:
    return copy.deepcopy(study.model_dump())


def refused(values: dict[str, Any]) -> str:
    with pytest.raises(ParamsError) as error:
        validate(Params, values, FILE)
    return str(error.value)


def put(values: dict[str, Any], place: str, value: object) -> None:
    *above, last = place.split(".")
    for key in above:
        values = values[key]
    values[last] = value


def fields(config: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted keys of all declared fields below `config`."""
    found = []
    for name, field in config.model_fields.items():
        found.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += fields(field.annotation, f"{prefix}{name}.")
    return found


ROLES = get_args(Role)
KEYS = [*fields(Params), *(f"arms.dcgan.{name}" for name in ArmParams.model_fields)]


def test_what_was_dumped_is_read_back_as_the_same_params(study: Params) -> None:
    assert validate(Params, study.model_dump(), FILE) == study


def test_the_shipped_file_is_valid(root: Path) -> None:
    assert load_params(root).arms


def test_params_cannot_be_changed_after_they_were_read(study: Params) -> None:
    with pytest.raises(ValueError, match="frozen"):
        study.report.confidence_level = 0.5


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null", "- 1\n- 2\n", "3", "word"])
def test_anything_but_keys_and_values_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match="expected keys and values, found"):
        parse_yaml(text, FILE)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb:\n\t- 1\n", 3),
        ("a: 1\nb: [1, 2\n", 2),
        ("a: 1\nb: 'open\n", 2),
        ("a: 1\nb: *nowhere\n", 2),
        ("a: 1\nb: c: d\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
    ],
)
def test_a_syntax_error_names_file_and_line(text: str, line: int) -> None:
    with pytest.raises(ParamsError) as error:
        parse_yaml(text, FILE)
    assert str(error.value).startswith(f"{FILE}: ")
    assert f"line {line}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(ParamsError, match=r"line 1.*line 3") as error:
        parse_yaml("seeds: 1\nother: 2\nseeds: 3\n", FILE)
    assert "'seeds'" in str(error.value)


def test_a_tag_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(ParamsError):
        parse_yaml(f"a: !!python/object/apply:os.system ['touch {canary}']", FILE)
    assert not canary.exists()


def test_a_file_that_is_far_too_long_is_refused() -> None:
    with pytest.raises(ParamsError, match="at most"):
        parse_yaml("#" * (MAX_BYTES + 1), FILE)


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_bottomless_nesting_is_refused(opening: str) -> None:
    with pytest.raises(ParamsError):
        parse_yaml("a: " + opening * 3000, FILE)


def test_a_value_that_unfolds_to_a_million_words_gives_a_short_message(
    values: dict[str, Any],
) -> None:
    lines = ["a0: &a0 [word, word, word, word, word, word, word, word]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 5)]
    put(values, "data.name", parse_yaml("\n".join(lines), FILE)["a4"])
    assert len(refused(values)) < 2000


@pytest.mark.parametrize(
    "spelling",
    [
        "1e-4",
        "1E-4",
        "0.0001",
        "1_000",
        "017",
        "0o17",
        "12:30:45",
        "no",
        "yes",
        "on",
        "~",
        "'5'",
        "+3",
        ".5",
        "1.",
        "0x10",
        "2020-01-01",
        ".inf",
        "-.inf",
        "1e400",
    ],
)
def test_every_spelling_means_what_it_means_to_dvc(spelling: str) -> None:
    from dvc.utils.serialize import parse_yaml as dvc_parse_yaml

    text = f"key: {spelling}\n"
    ours, theirs = parse_yaml(text, FILE)["key"], dvc_parse_yaml(text, FILE)["key"]
    assert (type(ours), ours) == (type(theirs), theirs)


def test_a_learning_rate_in_powers_of_ten_is_a_number() -> None:
    assert parse_yaml("rate: 1e-4", FILE)["rate"] == 0.0001


def load_bytes(folder: Path, content: bytes) -> Params:
    (folder / FILE).write_bytes(content)
    return load_params(folder)


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(
    change: Callable[[str], str], project: Path, study: Params
) -> None:
    text = (project / FILE).read_text(encoding="utf-8")
    assert load_bytes(project, change(text).encode()) == study


@pytest.mark.parametrize(
    "content", [b"a: caf\xe9\n", "a: 1\n".encode("utf-16"), b"a: \x00\n", b"\xff\xfe"]
)
def test_other_encodings_and_control_characters_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=FILE):
        load_bytes(tmp_path, content)


def test_a_missing_file_is_refused_with_the_folder_looked_in(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as error:
        load_params(tmp_path)
    assert FILE in str(error.value)
    assert str(tmp_path) in str(error.value)


def misspelled(name: str) -> list[str]:
    """`name` with its second letter left out, doubled and exchanged with the third."""
    typos = {name[:1] + name[2:], name[:2] + name[1:], name[:1] + name[2] + name[1] + name[3:]}
    return sorted(typos - {name})


@pytest.mark.parametrize("place", [key for key in KEYS if len(key.split(".")[-1]) > 3])
def test_a_misspelled_key_is_refused_and_the_right_one_suggested(
    place: str, values: dict[str, Any]
) -> None:
    *above, name = place.split(".")
    for typo in misspelled(name):
        edited = copy.deepcopy(values)
        section = edited
        for key in above:
            section = section[key]
        section[typo] = section.pop(name)
        text = refused(edited)
        assert "unknown key " + ".".join([*above, typo]) in text
        assert f"did you mean {name}?" in text


@pytest.mark.parametrize("place", [key for key in KEYS if "." in key])
@pytest.mark.parametrize("value", [{"a": 1}, [["a"]], math.nan])
def test_a_value_of_another_kind_is_refused_by_name(
    place: str, value: object, values: dict[str, Any]
) -> None:
    put(values, place, value)
    assert place in refused(values)


@pytest.mark.parametrize("value", [True, "20", 64.5, 2.0, None, [2]])
@pytest.mark.parametrize("place", ["data.test_per_class", "synthesize.per_class", "engine.workers"])
def test_whole_numbers_are_not_made_from_other_things(
    place: str, value: object, values: dict[str, Any]
) -> None:
    put(values, place, value)
    text = refused(values)
    assert place in text
    assert repr(value) in text


@pytest.mark.parametrize("value", [True, "0.9", math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["report.confidence_level", "report.smallest_effect"])
def test_shares_are_finite_numbers(place: str, value: object, values: dict[str, Any]) -> None:
    put(values, place, value)
    assert place in refused(values)


@pytest.mark.parametrize(
    ("place", "outside", "inside"),
    [
        ("data.test_per_class", [-1, 0], [1]),
        ("synthesize.per_class", [-1, 0, 5], [6, 7]),
        ("study.budgets", [[], [0, 2], [-1, 2]], [[2]]),
        ("study.curve_budgets", [[0], [-1, 8], [True], [8.0]], [[], [1], [30, 8]]),
        ("study.seeds", [[], [-1]], [[0], [2**40]]),
        ("arms.dcgan.per_class", [-1, 7], [0, 6]),
        ("arms.dcgan.real_share", [0, 1, -0.1, 1.5], [0.01, 0.99]),
        ("report.confidence_level", [0.5, 1, 1.5, -0.5], [0.51, 0.999]),
        ("tune.latent_std", [[], [0], [-1.0], [1, 2.1], [True], ["1"], 1.0], [[0.1, 1, 2]]),
        ("tune.min_probability", [[], [1], [-0.1], [None], 0.8], [[0, 0.99]]),
        ("tune.folds", [-1, 0, 1, 11, 2.0], [2, 10]),
        ("report.smallest_effect", [-0.1, 1], [0, 0.99]),
        ("engine.workers", [-1, 1025], [0, 1024]),
    ],
)
def test_ranges_end_where_they_say(
    place: str, outside: list[object], inside: list[object], values: dict[str, Any]
) -> None:
    for value in outside:
        put(values, place, value)
        assert place in refused(values)
    for value in inside:
        put(values, place, value)
        assert validate(Params, values, FILE)


def test_only_where_nothing_is_tuned_may_a_subset_be_smaller_than_the_folds(
    values: dict[str, Any],
) -> None:
    put(values, "tune.folds", 3)
    assert validate(Params, values, FILE)
    for place in ("tune.latent_std", "tune.min_probability"):
        changed = copy.deepcopy(values)
        put(changed, place, [0.5, 0.9])
        text = refused(changed)
        assert "tune.folds: expected at most the smallest of study.budgets (2)" in text
        assert "found 3" in text
        assert "to mend it" in text
        put(changed, "tune.folds", 2)
        assert validate(Params, changed, FILE)


@pytest.mark.parametrize("place", ["study.seeds", "study.budgets"])
def test_a_repeated_replicate_is_refused(place: str, values: dict[str, Any]) -> None:
    put(values, place, [2, 3, 2])
    text = refused(values)
    assert place.split(".")[1] in text
    assert "[2] more than once" in text


@pytest.mark.parametrize(
    ("budgets", "curve", "repeated"),
    [([2, 4], [8, 4], [4]), ([2, 4], [8, 8], [8]), ([2, 4, 2], [8, 4], [2, 4])],
)
def test_a_budget_is_in_the_grid_or_in_the_curve_and_once(
    budgets: list[int], curve: list[int], repeated: list[int], values: dict[str, Any]
) -> None:
    put(values, "study.budgets", budgets)
    put(values, "study.curve_budgets", curve)
    text = refused(values)
    assert "study.budgets and study.curve_budgets" in text
    assert f"{repeated} more than once" in text


def test_a_study_may_do_without_a_learning_curve(values: dict[str, Any]) -> None:
    del values["study"]["curve_budgets"]
    assert validate(Params, values, FILE).study.curve_budgets == []


@pytest.mark.parametrize("value", ["mst_help", "control", "", None, True, 1, ["claim"]])
def test_a_role_is_one_of_five_words(value: object, values: dict[str, Any]) -> None:
    put(values, "arms.dcgan_only.role", value)
    text = refused(values)
    assert "arms.dcgan_only.role" in text
    assert all(role in text for role in ROLES)


@pytest.mark.parametrize("role", ["claim", "measure"])
def test_an_arm_that_is_in_no_comparison_may_claim_or_measure(
    role: str, values: dict[str, Any]
) -> None:
    put(values, "arms.dcgan_only.role", role)
    arm = validate(Params, values, FILE).arms["dcgan_only"]
    assert arm.role == role
    assert not arm.is_control


def test_controls_are_the_arms_whose_outcome_is_known(values: dict[str, Any]) -> None:
    arms = validate(Params, values, FILE).arms
    controls = {name for name, arm in arms.items() if arm.is_control}
    assert controls == {"oversample", "shuffled", "fresh_real"}


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        ("arms.oversample.inputs", "data/synthetic/dcgan", "inputs: data/splits/subsets"),
        ("arms.oversample.transform", "affine", "transform: none"),
        ("arms.oversample.permute_labels", True, "permute_labels: false"),
        ("arms.oversample.per_class", 3, "the largest budget (4)"),
        ("arms.oversample.real", False, "real: true"),
        ("arms.fresh_real.inputs", "data/splits/subsets", "inputs: data/splits/fresh"),
        ("arms.fresh_real.transform", "affine", "transform: none"),
        ("arms.fresh_real.per_class", 3, "the largest budget (4)"),
        ("arms.fresh_real.real", False, "real: true"),
        ("arms.shuffled.permute_labels", False, "permute_labels: true"),
        ("arms.dcgan.permute_labels", True, "permute_labels: false"),
    ],
)
def test_a_control_must_be_what_its_outcome_is_known_for(
    place: str, value: object, word: str, values: dict[str, Any]
) -> None:
    put(values, place, value)
    text = refused(values)
    assert place.rpartition(".")[0] in text
    assert word in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"inputs": "data/splits/subsets"},
            ["arms.started.start_from_discriminator", "models/<generator>"],
        ),
        ({"inputs": "models/gan"}, ["arms.started.inputs", "dcgan", "gan"]),
        ({"real": False, "per_class": 6}, ["arms.started.start_from_discriminator", "real: true"]),
        ({"classifiers": ["forest"]}, ["arms.started.classifiers", "cnn, lgbm", "forest"]),
        ({"classifiers": []}, ["arms.started.classifiers"]),
    ],
)
def test_an_arm_that_starts_from_a_discriminator_says_whose_and_for_whom(
    changes: dict[str, Any], words: list[str], values: dict[str, Any]
) -> None:
    arm = {
        "inputs": "models/dcgan",
        "per_class": 0,
        "start_from_discriminator": True,
        "role": "measure",
    }
    values["arms"]["started"] = arm
    params = validate(Params, values, FILE)
    assert params.arms["started"].discriminator_of == "dcgan"
    assert params.arms["started"].teacher is None
    assert params.regime("started") == "labeled"
    values["arms"]["started"] = arm | changes
    text = refused(values)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("arm", ["real", "classical", "dcgan"])
def test_an_arm_that_others_are_held_against_is_for_their_classifiers(
    arm: str, values: dict[str, Any]
) -> None:
    values["arms"][arm]["classifiers"] = ["lgbm"]
    text = refused(values)
    assert f"arms.{arm}.classifiers" in text
    assert "cnn" in text


def test_an_arm_that_a_start_from_a_discriminator_is_held_against_has_its_classifiers(
    values: dict[str, Any],
) -> None:
    values["report"]["reference"] = None  # `classical` is held against nothing else
    values["arms"]["classical"]["classifiers"] = ["lgbm"]
    assert validate(Params, values, FILE)
    values["arms"]["warm"] = values["arms"]["classical"] | {
        "inputs": "models/dcgan",
        "start_from_discriminator": True,
        "role": "measure",
        "classifiers": ["cnn"],
    }
    assert "arms.classical.classifiers: expected those of arm warm" in refused(values)


def test_controls_follow_the_transform_of_the_baseline(values: dict[str, Any]) -> None:
    put(values, "report.baseline", "classical")
    assert "transform: affine for an arm with role must_not_differ" in refused(values)
    for arm in ("oversample", "fresh_real"):
        put(values, f"arms.{arm}.transform", "affine")
    assert validate(Params, values, FILE)


def test_an_arm_without_a_role_makes_a_claim(values: dict[str, Any]) -> None:
    del values["arms"]["dcgan"]["role"]
    assert validate(Params, values, FILE).arms["dcgan"].role == "claim"


def test_the_key_that_roles_replaced_is_unknown(values: dict[str, Any]) -> None:
    put(values, "arms.oversample.control", True)
    assert "unknown key arms.oversample.control" in refused(values)


def test_every_role_but_those_of_arms_that_claim_nothing_has_words_for_its_control() -> None:
    assert set(verdicts.ROLES) == {role for role in ROLES if role not in ("claim", "measure")}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "must_help"])
def test_labels_beyond_the_budget_are_for_arms_that_must_help_alone(
    role: str, values: dict[str, Any]
) -> None:
    put(values, "arms.fresh_real.role", role)
    text = refused(values)
    assert "arms.fresh_real" in text
    assert f"role {role}" in text or f"found {role}" in text
    del values["arms"]["fresh_real"]["role"]
    assert "expected must_help" in refused(values)


def test_fresh_images_are_real_ones_that_no_filter_judges(values: dict[str, Any]) -> None:
    put(values, "arms.fresh_real.filter", "agreement")
    assert "arms.fresh_real.filter" in refused(values)
    put(values, "arms.fresh_real.filter", "none")
    assert validate(Params, values, FILE).arms["fresh_real"].generator is None


@pytest.mark.parametrize("per_class", [7, 1000])
def test_real_images_may_be_repeated_more_often_than_synthetic_ones_are_made(
    per_class: int, values: dict[str, Any]
) -> None:
    for arm in ("oversample", "fresh_real"):
        put(values, f"arms.{arm}.per_class", per_class)
    assert validate(Params, values, FILE)
    put(values, "arms.shuffled.per_class", per_class)
    assert "arms.shuffled.per_class" in refused(values)


@pytest.mark.parametrize(
    ("place", "arm"),
    [
        ("report.baseline", "real"),
        ("report.reference", "classical"),
        ("report.primary.arm", "dcgan"),
    ],
)
def test_what_a_claim_is_about_makes_a_claim_itself(
    place: str, arm: str, values: dict[str, Any]
) -> None:
    put(values, f"arms.{arm}.role", "measure")
    text = refused(values)
    assert place in text
    assert f"found {arm!r}" in text


@pytest.mark.parametrize("arm", ["dcgan", "fresh_real"])
def test_the_baseline_has_no_images_but_those_of_the_subset(
    arm: str, values: dict[str, Any]
) -> None:
    put(values, "report.baseline", arm)
    text = refused(values)
    assert "report.baseline: expected one of real, classical" in text
    assert f"found {arm!r}" in text


def test_the_primary_comparison_is_not_one_of_the_baseline_with_itself(
    values: dict[str, Any],
) -> None:
    put(values, "report.primary.arm", "real")
    assert "report.primary.arm" in refused(values)


def test_the_primary_comparison_is_not_one_of_the_learning_curve(values: dict[str, Any]) -> None:
    put(values, "report.primary.budget", 8)
    assert "report.primary.budget: expected one of study.budgets [4, 2]" in refused(values)


@pytest.mark.parametrize(
    ("inputs", "generator"),
    [("data/splits/subsets", None), ("data/splits/fresh", None), ("data/synthetic/dcgan", "dcgan")],
)
def test_the_generator_of_an_arm_is_that_of_its_inputs(inputs: str, generator: str | None) -> None:
    assert ArmParams(inputs=inputs, per_class=1).generator == generator


def test_a_section_of_an_arm_is_all_of_it_but_its_role_and_classifiers(study: Params) -> None:
    for name, arm in study.arms.items():
        expected = arm.model_dump(exclude={"role", "classifiers"})
        assert study.section(f"arms.{name}") == expected
        assert set(expected) == set(ArmParams.model_fields) - {"role", "classifiers"}


def test_a_section_says_the_same_of_a_default_written_out_and_left_out(
    values: dict[str, Any],
) -> None:
    written = validate(Params, values, FILE)
    values["arms"]["dcgan"] = {
        key: value
        for key, value in values["arms"]["dcgan"].items()
        if key in ("inputs", "per_class", "filter")
    }
    assert validate(Params, values, FILE).section("arms.dcgan") == written.section("arms.dcgan")


@pytest.mark.parametrize("key", ["classifiers.cnn", "generators.dcgan", "transforms.affine"])
def test_a_section_of_a_member_is_its_plain_values(key: str, study: Params) -> None:
    family, _, name = key.partition(".")
    member = getattr(study, family)[name]
    plain = member.model_dump() if isinstance(member, Section) else member
    assert study.section(key) == plain


def test_a_section_of_the_whole_is_its_plain_values(study: Params) -> None:
    assert study.section("synthesize") == {
        "per_class": 6,
        "teacher": {"classifier": "cnn", "transform": "none"},
    }
    assert study.section("study") == study.study.model_dump()


@pytest.mark.parametrize("name", ["dcgan.v2", "per_class.steps", "2nd", "001", "_x"])
@pytest.mark.parametrize("family", ["arms", "generators", "classifiers", "transforms", "teachers"])
def test_names_that_dvc_cannot_address_are_refused(
    family: str, name: str, values: dict[str, Any]
) -> None:
    values[family][name] = next(iter(values[family].values()), {})
    text = refused(values)
    assert f"{family}.'{name}': expected a name that begins with a lowercase letter" in text


@pytest.mark.parametrize("name", ["nan", "null", "na1", "a", "x-ray_2", "a" * 64])
def test_any_other_name_is_taken_as_it_is(name: str, values: dict[str, Any]) -> None:
    values["arms"][name] = values["arms"]["dcgan"]
    assert name in validate(Params, values, FILE).arms


def test_bits_are_portable_unless_settings_say_otherwise(values: dict[str, Any]) -> None:
    assert validate(Params, values | {"bits": "native"}, FILE).section("bits") == "native"
    del values["bits"]
    assert validate(Params, values, FILE).bits == "portable"
    assert "bits: input should be 'portable' or 'native'" in refused(values | {"bits": "fast"})


@pytest.mark.parametrize("key", ["nothing", "arms.nothing", "classifiers.nothing"])
def test_a_section_that_is_not_there_is_not_made_up(key: str, study: Params) -> None:
    with pytest.raises((AttributeError, KeyError), match="nothing"):
        study.section(key)


@pytest.mark.parametrize(
    ("place", "value", "choice"),
    [
        ("arms.dcgan.inputs", "data/synthetic/dcgann", "dcgan"),
        ("arms.dcgan.inputs", "data/synthetic/", "dcgan"),
        ("arms.dcgan.inputs", "data/synthetic/../../etc", "dcgan"),
        ("arms.dcgan.inputs", "/data/splits/subsets", "data/splits/subsets"),
        ("arms.classical.transform", "afine", "affine"),
        ("synthesize.teacher.classifier", "cnnn", "cnn"),
        ("synthesize.teacher.transform", "rotate", "affine"),
        ("arms.fresh_real.inputs", "data/splits/frsh", "data/splits/fresh"),
        ("report.baseline", "reel", "real"),
        ("report.reference", "clasical", "classical"),
        ("report.primary.arm", "gan", "dcgan"),
        ("report.primary.classifier", "svm", "cnn"),
        ("report.primary.budget", 3, "[4, 2]"),
    ],
)
def test_a_name_that_nothing_bears_is_refused_with_the_choices(
    place: str, value: object, choice: str, values: dict[str, Any]
) -> None:
    put(values, place, value)
    text = refused(values)
    assert place in text
    assert choice in text
    assert str(value).removeprefix("data/synthetic/") in text


def test_an_arm_without_any_image_is_refused(values: dict[str, Any]) -> None:
    values["arms"]["nothing"] = {"inputs": "data/splits/subsets", "per_class": 0, "real": False}
    assert "arms.nothing" in refused(values)


def test_a_filter_on_real_images_is_refused(values: dict[str, Any]) -> None:
    put(values, "arms.classical.filter", "agreement")
    assert "arms.classical.filter" in refused(values)


def test_the_reference_may_be_left_out(values: dict[str, Any]) -> None:
    put(values, "report.reference", None)
    assert validate(Params, values, FILE).report.reference is None


@pytest.mark.parametrize("name", ["../up", "a/b", "a b", "", "A", "-rf", "x\n", "$(x)", "a" * 65])
@pytest.mark.parametrize("family", ["arms", "generators", "classifiers", "transforms"])
def test_names_that_could_leave_a_folder_or_a_shell_word_are_refused(
    family: str, name: str, values: dict[str, Any]
) -> None:
    values[family][name] = next(iter(values[family].values()))
    assert f"{family}." in refused(values)


def test_all_problems_are_told_at_once(values: dict[str, Any]) -> None:
    put(values, "data.test_per_class", "many")
    put(values, "report.confidnce", 0.9)
    del values["engine"]["kind"]
    text = refused(values)
    for place in ("data.test_per_class", "report.confidnce", "engine.kind is missing"):
        assert place in text
    assert "\n" not in text


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )
)
def test_no_value_whatever_ends_in_anything_but_a_sentence(value: object) -> None:
    for section in Params.model_fields:
        with pytest.raises(ParamsError) as error:
            validate(Params, {section: value}, FILE)
        assert str(error.value).startswith(f"{FILE}: ")


def test_a_member_section_is_refused_under_its_place(study: Params) -> None:
    with pytest.raises(ParamsError) as error:
        member_config(ArmParams, {"inputs": 3, "perclass": 1}, "arms.mine")
    text = str(error.value)
    assert text.startswith(f"{FILE}: arms.mine: ")
    assert "did you mean per_class?" in text

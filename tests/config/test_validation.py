"""params.yaml is read as DVC reads it, and every problem is one sentence."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from edits import SEMI, Values, changed, read, refused, with_unlabeled, written_out
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.classifiers import CLASSIFIERS
from pipeline.config.arms import ArmParams, SyntheticArm
from pipeline.config.schema import Params, load_params
from pipeline.config.validation import (
    FILE,
    MAX_BYTES,
    MAX_WIDTH,
    RENAMED_KEYS,
    RENAMED_VALUES,
    member_config,
    parse_yaml,
    renamed_key,
    unknown_name,
    validate,
)
from pipeline.generators import GENERATORS
from pipeline.runtime.errors import ParamsError
from pipeline.teachers import TEACHERS

SYNTAX_ERRORS = {
    "a: 1\nb:\n\t- 1\n": 3,
    "a: 1\nb: [1, 2\n": 2,
    "a: 1\nb: 'open\n": 2,
    "a: 1\nb: *nowhere\n": 2,
    "a: 1\nb: c: d\n": 2,
    "a: 1\n---\nb: 2\n": 2,
}
SPELLINGS = (
    "1e-4 1E-4 0.0001 1_000 017 0o17 12:30:45 no yes on ~ '5' +3 .5 1. 0x10 2020-01-01 .inf -.inf "
    "1e400"
)


@pytest.fixture
def values(study: Params) -> Values:
    return written_out(study)


@pytest.fixture
def semi(study: Params) -> Values:
    return with_unlabeled(study)


def test_only_a_mapping_is_accepted() -> None:
    for text in ("", "# only a comment\n", "null", "- 1\n- 2\n", "3", "word"):
        with pytest.raises(ParamsError, match="expected keys and values, found"):
            parse_yaml(text, FILE)


def test_a_syntax_error_names_file_and_line() -> None:
    for text, line in SYNTAX_ERRORS.items():
        with pytest.raises(ParamsError, match=rf"line {line}") as error:
            parse_yaml(text, FILE)
        assert str(error.value).startswith(f"{FILE}: ")
        assert "\n" not in str(error.value)


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    with pytest.raises(ParamsError, match=r"'seeds' in line 1 and line 3"):
        parse_yaml("seeds: 1\nother: 2\nseeds: 3\n", FILE)


def test_a_tag_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(ParamsError):
        parse_yaml(f"a: !!python/object/apply:os.system ['touch {canary}']", FILE)
    assert not canary.exists()


def test_sizes_that_would_exhaust_memory_are_refused(values: Values) -> None:
    for text in ("#" * (MAX_BYTES + 1), "a: " + "[" * 3000):
        with pytest.raises(ParamsError):
            parse_yaml(text, FILE)

    # Aliases that expand to a million words: the message stays short.
    lines = ["a0: &a0 [word, word, word, word, word, word, word, word]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 5)]
    bomb = parse_yaml("\n".join(lines), FILE)["a4"]
    assert len(refused(changed(values, "data.name", bomb))) < 2000


def test_every_spelling_means_what_it_means_to_dvc() -> None:
    from dvc.utils.serialize import parse_yaml as dvc_parse_yaml

    for spelling in SPELLINGS.split():
        text = f"key: {spelling}\n"
        ours, theirs = parse_yaml(text, FILE)["key"], dvc_parse_yaml(text, FILE)["key"]
        assert (type(ours), ours) == (type(theirs), theirs), spelling
    assert parse_yaml("rate: 1e-4", FILE)["rate"] == 0.0001


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(root: Path, tmp_path: Path) -> None:
    text = (root / FILE).read_text(encoding="utf-8")
    for variant in ("\ufeff" + text, text.replace("\n", "\r\n")):
        (tmp_path / FILE).write_bytes(variant.encode())
        assert load_params(tmp_path) == load_params(root)


def test_other_encodings_and_control_characters_are_refused(tmp_path: Path) -> None:
    for content in (b"a: caf\xe9\n", "a: 1\n".encode("utf-16"), b"a: \x00\n", b"\xff\xfe"):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(ParamsError, match=FILE):
            load_params(tmp_path)


def test_a_missing_file_is_refused_with_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=FILE) as error:
        load_params(tmp_path)
    assert str(tmp_path) in str(error.value)


def fields(config: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted keys of all declared fields below `config`."""
    for name, field in config.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")


def typos(name: str) -> set[str]:
    """`name` with its second letter left out, doubled and exchanged with the third."""
    return {name[:1] + name[2:], name[:2] + name[1:], name[:1] + name[2] + name[1] + name[3:]} - {
        name
    }


def test_a_misspelled_key_is_refused_with_a_suggestion(values: Values) -> None:
    keys = [*fields(Params), *(f"arms.dcgan.{name}" for name in SyntheticArm.model_fields)]
    long_enough = [key for key in keys if len(key.split(".")[-1]) > 4]
    assert len(long_enough) > 30
    for place in long_enough:
        *above, name = place.split(".")
        for typo in typos(name):
            edited = section = copy.deepcopy(values)
            for key in above:
                section = section[key]
            section[typo] = section.pop(name)
            text = refused(edited)
            assert f"unknown key {'.'.join([*above, typo])} " in text
            assert f"did you mean {name}?" in text


def test_a_value_of_another_type_is_refused_by_name(values: Values) -> None:
    arms = (f"arms.dcgan.{name}" for name in SyntheticArm.model_fields)
    # What fits no other key of `data` is a setting of its dataset.
    keys = [key for key in fields(Params) if "." in key and key != "data.settings"]
    for place in [*keys, *arms]:
        for value in ({"a": 1}, [["a"]], math.nan):
            assert place in refused(changed(values, place, value))


@pytest.mark.parametrize("registry", [CLASSIFIERS, GENERATORS, TEACHERS])
def test_a_width_that_would_exhaust_memory_is_refused(registry: dict[str, Any]) -> None:
    widths = ("channels", "features", "width", "latent_dim", "_channels", "_widths", "_dim")
    found = 0
    for name, member in registry.items():
        for key, field in member.Config.model_fields.items():
            default = field.get_default(call_default_factory=True)
            size = len(default) if isinstance(default, list) else 0
            # Features of tables and of graphs are names.
            is_named = size and isinstance(default[0], str)
            if not key.endswith(widths) or is_named:
                continue
            for value in (MAX_WIDTH + 1, 1_000_000):
                wrong = [value] * size if size else value
                with pytest.raises(ParamsError, match=rf"mine: .*{key}.*4096|mine: code_dim"):
                    member_config(member.Config, {key: wrong}, f"{name}.mine")
            found += 1
    assert found >= 4


def test_numbers_are_never_converted(values: Values) -> None:
    for place in ("data.test_per_class", "synthesize.per_class", "engine.workers"):
        # A test set per class is optional.
        wrong = (True, "20", 64.5, 2.0, [2]) + (() if place.startswith("data.") else (None,))
        for whole in wrong:
            text = refused(changed(values, place, whole))
            assert place in text
            assert repr(whole) in text
    for place in ("report.confidence_level", "report.smallest_effect"):
        for share in (True, "0.9", math.nan, math.inf, -math.inf):
            assert place in refused(changed(values, place, share))


def test_all_problems_are_named_at_once(values: Values) -> None:
    values["data"]["test_per_class"] = "many"
    values["report"]["confidnce"] = 0.9
    del values["engine"]["kind"]
    values["arms"]["dcgan"]["rael"] = True
    values["arms"]["classical"]["per_class"] = -1
    text = refused(values)
    for problem in (
        "data.test_per_class: ",
        "unknown key report.confidnce",
        "engine.kind is missing",
        "unknown key arms.dcgan.rael",
        "arms.classical.per_class: ",
    ):
        assert problem in text


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )
)
def test_any_value_ends_in_a_sentence(value: object) -> None:
    for section in Params.model_fields:
        with pytest.raises(ParamsError) as error:
            validate(Params, {section: value}, FILE)
        assert str(error.value).startswith(f"{FILE}: ")


def test_a_member_is_refused_under_its_place() -> None:
    with pytest.raises(ParamsError, match=f"^{FILE}: arms.mine: ") as error:
        member_config(SyntheticArm, {"inputs": 3, "perclass": 1}, "arms.mine")
    assert "did you mean per_class?" in str(error.value)


def test_names_that_a_path_or_dvc_cannot_hold_are_refused(values: Values) -> None:
    unsafe = ("../up", "a/b", "a b", "", "A", "-rf", "x\n", "$(x)", "a" * 65)
    dotted = ("dcgan.v2", "per_class.steps", "2nd", "001", "_x")
    for section in ("arms", "generators", "classifiers", "transforms", "teachers"):
        member = next(iter(values[section].values()))
        for name in (*unsafe, *dotted):
            text = refused(values | {section: values[section] | {name: member}})
            assert f"{section}." in text
            assert "expected a name of lowercase letters" in text
    for name in ("nan", "null", "na1", "a", "x-ray_2", "a" * 64):
        assert name in read(changed(values, f"arms.{name}", values["arms"]["dcgan"])).arms


# --- names of earlier versions -------------------------------------------------------------------


def test_every_renamed_key_is_answered_with_its_new_name() -> None:
    for old, new in RENAMED_KEYS.items():
        place = old.replace("rounds.*", "rounds.0").replace("*", "mine")
        assert renamed_key(place) == new
        assert renamed_key(f"{place}_") is None
        assert renamed_key(f"other.{place}") is None


def test_a_renamed_key_is_found_in_every_section(values: Values) -> None:
    for place, value, answer in (
        ("data.foreign", {}, "unknown key data.foreign, it was renamed to unknown_classes"),
        ("tune.confidence", [0.8], "it was renamed to min_probability"),
        ("report.rival", "classical", "it was renamed to reference"),
        ("report.confidence", 0.95, "it was renamed to confidence_level"),
        ("arms.dcgan.start_from_critic", True, "it was replaced by kind: warm_start"),
        ("arms.dcgan.teacher_itself", True, "it was replaced by kind: teacher"),
    ):
        assert answer in refused(changed(values, place, value))


def test_a_renamed_key_of_a_member_is_found_at_any_depth() -> None:
    config = TEACHERS["label_propagation"].Config
    old = {"confidence": 0.9, "network": {"sure": 0.9}, "rounds": [{"steps": 5, "most_steps": 9}]}
    with pytest.raises(ParamsError) as error:
        member_config(config, old, "teachers.graph")
    for answer in (
        "unknown key confidence, it was renamed to min_probability",
        "unknown key network.sure, it was renamed to tta_below",
        "unknown key rounds.0.most_steps, it was renamed to max_steps",
    ):
        assert answer in str(error.value)


def test_every_renamed_value_is_answered_with_its_new_name() -> None:
    choices = ["data/splits/subsets", *TEACHERS, *CLASSIFIERS]
    for old, new in RENAMED_VALUES.items():
        assert new in choices
        assert unknown_name("x", old, choices)[0].endswith(f"found {old!r} (renamed to {new})")
    assert unknown_name("x", "data/splits/subsets", choices) == []


def test_an_arm_without_a_kind_is_answered_with_the_likely_one(semi: Values) -> None:
    for name, arm in semi["arms"].items():
        kind = arm["kind"] if arm["kind"] in ("real", "synthetic", "pseudo") else None
        if kind is not None:
            missing = {key: value for key, value in arm.items() if key != "kind"}
            text = refused(changed(semi, f"arms.{name}", missing))
            assert f"arms.{name}.kind: expected one of real, synthetic, " in text
            assert f"(did you mean {kind}?)" in text

    for flag, kind in (("teacher_itself", "teacher"), ("start_from_critic", "warm_start")):
        old = {"inputs": "models/dcgan", "per_class": 0, flag: True}
        assert f"(did you mean {kind}?)" in refused(changed(semi, "arms.old", old))


def test_the_teacher_section_of_synthesize_is_answered_with_its_new_place(
    values: Values,
) -> None:
    text = refused(changed(values, "synthesize.teacher", {"classifier": "cnn"}))
    assert "synthesize.teacher: expected the name of a teacher, found a section" in text
    assert "teachers.supervised" in text


def test_every_kind_of_arm_is_tested() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(ArmParams)}
    assert kinds == {"real"} | {arm["kind"] for arm in SEMI["arms"].values()}

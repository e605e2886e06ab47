"""Ranges, defaults and sections of params.yaml."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import get_args

import pytest
from edits import Values, changed, read, refused, with_unlabeled, written_out
from pydantic import BaseModel

from pipeline.config.arms import ArmParams, Role, SyntheticArm, TeacherArm
from pipeline.config.schema import GeneratorParams, Params, family, load_params
from pipeline.config.validation import Section, parse_yaml
from pipeline.report import verdicts

# Place: values outside the range, values inside.
RANGES: dict[str, tuple[list[object], list[object]]] = {
    "data.test_per_class": ([-1, 0], [1]),
    "synthesize.per_class": ([-1, 0, 5], [6, 7]),
    "study.budgets": ([[], [0, 2], [-1, 2]], [[2]]),
    "study.curve_budgets": ([[0], [-1, 8], [True], [8.0]], [[], [1], [30, 8]]),
    "study.seeds": ([[], [-1]], [[0], [2**40]]),
    "arms.dcgan.per_class": ([-1, 7], [0, 6]),
    "arms.dcgan.real_share": ([0, 1, -0.1, 1.5], [0.01, 0.99]),
    "report.confidence_level": ([0.5, 1, 1.5, -0.5], [0.51, 0.999]),
    "report.smallest_effect": ([-0.1, 1], [0, 0.99]),
    "tune.latent_std": ([[], [0], [-1.0], [1, 2.1], [True], ["1"], 1.0], [[0.1, 1, 2]]),
    "tune.min_probability": ([[], [1], [-0.1], [None], 0.8], [[0, 0.99]]),
    "tune.folds": ([-1, 0, 1, 11, 2.0], [2, 10]),
    "engine.workers": ([-1, 1025], [0, 1024]),
}


@pytest.fixture
def values(study: Params) -> Values:
    return written_out(study)


@pytest.fixture
def semi(study: Params) -> Values:
    return with_unlabeled(study)


def test_dumped_params_are_read_back_equal(study: Params, semi: Values) -> None:
    assert read(study.model_dump()) == study
    params = read(semi)
    assert read(params.model_dump()) == params


def test_the_shipped_file_is_valid(root: Path) -> None:
    assert load_params(root).arms


def test_params_cannot_be_changed(study: Params) -> None:
    with pytest.raises(ValueError, match="frozen"):
        study.report.confidence_level = 0.5


def test_ranges_end_where_they_say(values: Values) -> None:
    for place, (outside, inside) in RANGES.items():
        for value in outside:
            assert place in refused(changed(values, place, value))
        for value in inside:
            read(changed(values, place, value))


def test_budgets_and_seeds_are_not_repeated(values: Values) -> None:
    for place, value, repeated in (
        ("study.seeds", [2, 3, 2], 2),
        ("study.budgets", [2, 4, 2], 2),
        ("study.curve_budgets", [8, 4], 4),  # 4 is a budget of the grid
        ("study.curve_budgets", [8, 8], 8),
    ):
        text = refused(changed(values, place, value))
        assert "study." in text
        assert f"found {repeated} twice" in text


@pytest.mark.parametrize(
    ("place", "example"),
    [
        ("generators.dcgan", "{inputs: data/splits/subsets}"),
        ("teachers.supervised", "{family: automatic}"),
        ("classifiers.cnn", "{family: cnn, steps: 500}"),
        ("transforms.color", "{family: color, brightness: 0.3}"),
    ],
)
def test_an_empty_section_is_refused_with_an_example(
    values: Values, place: str, example: str
) -> None:
    text = refused(changed(values, place, None))
    assert f"{place}: expected a section such as {example}, found nothing" in text


def test_no_transform_is_called_none(values: Values) -> None:
    text = refused(changed(values, "transforms.none", {"family": "affine"}))
    assert "transforms.none: expected another name, since none means no transform" in text


def test_defaults_are_filled_in(values: Values) -> None:
    del values["study"]["curve_budgets"]
    del values["arms"]["dcgan"]["role"]
    params = read(values | {"report": values["report"] | {"reference": None}})
    assert params.study.curve_budgets == []
    assert params.arms["dcgan"].role == "claim"
    assert params.report.reference is None


def test_candidates_and_classes_are_not_repeated(values: Values) -> None:
    for place, value, repeated in (
        ("tune.latent_std", [1.0, 0.5, 1.0], 1.0),
        ("tune.min_probability", [0.5, 0.9, 0.5], 0.5),
        ("data.unknown_classes", {"classes": [7, 8, 7], "frac": 0.1}, 7),
    ):
        text = refused(changed(values, place, value))
        assert place in text
        assert f"expected different values, found {repeated} twice" in text


def test_a_key_that_dvc_needs_has_no_default(values: Values) -> None:
    for place, answer in (
        ("bits", "the key bits is missing; add `bits: portable`"),
        (
            "teachers",
            "the key teachers is missing; add `teachers: {supervised: {classifier: cnn}}`",
        ),
        (
            "data.unknown_classes",
            "the key data.unknown_classes is missing; add `unknown_classes: {classes: [], frac: "
            "0.0}`",
        ),
        ("synthesize.teacher", "the key synthesize.teacher is missing; add `teacher: supervised`"),
    ):
        edited = section = copy.deepcopy(values)
        *above, key = place.split(".")
        for name in above:
            section = section[name]
        del section[key]
        assert answer in refused(edited)


def required(section: type[BaseModel], place: list[str]) -> bool:
    """Whether every key on the way `place` is required."""
    field = section.model_fields[place[0]]
    inner = field.annotation
    is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
    return field.is_required() and (not is_section or len(place) == 1 or required(inner, place[1:]))


def test_every_key_that_dvc_names_is_required(root: Path) -> None:
    stages = parse_yaml((root / "dvc.yaml").read_text("utf-8"), "dvc.yaml")["stages"]
    members = {"arms": get_args(ArmParams), "generators": [GeneratorParams]}
    named: set[str] = set()
    for stage in stages.values():
        body = stage.get("do", stage)
        named |= {key.partition(".$")[0] for key in body["params"]}

        templates = set(re.findall(r"\$\{([\w.]+)\}", str(stage))) - {"key"}
        of_item = {name for name in templates if name.startswith("item.")}
        named |= templates - of_item
        for name in of_item:
            group = stage["foreach"].strip("${}")
            for member in members[group]:
                assert member.model_fields[name.removeprefix("item.")].is_required(), name

    assert {"bits", "data.unknown_classes", "synthesize.teacher", "teachers"} <= named
    for place in sorted(named):
        assert required(Params, place.split(".")), place


def test_bits_are_portable_or_native(values: Values) -> None:
    assert read(values | {"bits": "native"}).section("bits") == "native"
    assert "bits: input should be 'portable' or 'native'" in refused(values | {"bits": "fast"})


def test_unknown_classes_need_classes_to_take_a_share_from(values: Values) -> None:
    text = refused(changed(values, "data.unknown_classes", {"frac": 0.5}))
    assert "data.unknown_classes.classes: expected at least one with frac 0.5" in text


def test_a_role_is_one_of_five_words(values: Values) -> None:
    roles = get_args(Role)
    for value in ("mst_help", "control", "", None, True, 1, ["claim"]):
        text = refused(changed(values, "arms.dcgan_only.role", value))
        assert "arms.dcgan_only.role" in text
        assert all(role in text for role in roles)
    assert set(verdicts.ROLES) == {role for role in roles if role.startswith("must")}


def test_a_family_is_the_members_own_name_unless_it_names_one(semi: Values) -> None:
    params = read(semi)
    assert params.family("dcgan") == "dcgan"
    assert params.family("ss_dcgan") == "dcgan"
    assert family(params.teachers["graph"], "graph") == "label_propagation"
    assert params.teachers["graph"].settings == {}
    assert params.teachers["supervised"].settings == {"classifier": "cnn"}


def test_every_kind_answers_the_same_questions(semi: Values) -> None:
    params = read(semi)
    questions = (
        "kind inputs classifiers per_class real real_share filter transform permute_labels role "
        "is_control adds_made_images teacher_itself"
    )
    for arm in params.arms.values():
        for question in questions.split():
            getattr(arm, question)

    origins = {
        name: (arm.generator, arm.teacher, arm.discriminator_of)
        for name, arm in params.arms.items()
    }
    assert origins["classical"] == (None, None, None)
    assert origins["ss_dcgan"] == ("ss_dcgan", None, None)
    assert origins["pseudo"] == (None, "graph", None)
    assert origins["teacher"] == (None, "graph", None)
    assert origins["warm"] == (None, None, "dcgan")


def test_a_kind_has_no_settings_of_another(semi: Values) -> None:
    for place, value in (
        ("classical.filter", "agreement"),
        ("teacher.per_class", 0),
        ("teacher.role", "claim"),
        ("warm.real", False),
        ("warm.permute_labels", True),
        ("pseudo.start", True),
    ):
        assert f"unknown key arms.{place}" in refused(changed(semi, f"arms.{place}", value))


def test_an_arm_without_images_is_refused(values: Values) -> None:
    arm = {"kind": "real", "inputs": "data/splits/subsets", "per_class": 0, "real": False}
    assert "arms.nothing.per_class: " in refused(changed(values, "arms.nothing", arm))


def test_controls_are_the_arms_with_a_known_outcome(values: Values) -> None:
    arms = read(values).arms
    controls = {name for name, arm in arms.items() if arm.is_control}
    assert controls == {"oversample", "shuffled", "fresh_real"}


# --- sections ------------------------------------------------------------------------------------


def test_the_section_of_an_arm_leaves_out_role_and_classifiers(study: Params) -> None:
    for name, arm in study.arms.items():
        assert study.section(f"arms.{name}") == arm.model_dump(exclude={"role", "classifiers"})
    keys = set(study.section("arms.dcgan"))
    assert keys == set(SyntheticArm.model_fields) - {"role", "classifiers"}
    assert set(TeacherArm.model_fields) == {"kind", "inputs", "classifiers"}


def test_a_default_may_be_written_out(values: Values) -> None:
    brief = {key: values["arms"]["dcgan"][key] for key in ("kind", "inputs", "per_class", "filter")}
    section = read(changed(values, "arms.dcgan", brief)).section("arms.dcgan")
    assert section == read(values).section("arms.dcgan")


def test_sections_are_plain_values(study: Params) -> None:
    for key in ("classifiers.cnn", "generators.dcgan", "transforms.affine", "teachers.supervised"):
        group, _, name = key.partition(".")
        member = getattr(study, group)[name]
        plain = member.model_dump() if isinstance(member, Section) else member
        assert study.section(key) == plain
    assert study.section("synthesize") == {"per_class": 6, "teacher": "supervised"}
    assert study.section("study") == study.study.model_dump()


def test_a_section_that_does_not_exist_is_an_error(study: Params) -> None:
    for key in ("nothing", "arms.nothing", "classifiers.nothing"):
        with pytest.raises((AttributeError, KeyError), match="nothing"):
            study.section(key)

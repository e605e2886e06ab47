"""What is compared with what, and what contradicts it."""

from __future__ import annotations

import pytest
from edits import Values, changed, read, refused, with_unlabeled, written_out

from pipeline.config import design
from pipeline.config.schema import Params


@pytest.fixture
def values(study: Params) -> Values:
    return written_out(study)


@pytest.fixture
def semi(study: Params) -> Values:
    return with_unlabeled(study)


# --- names ---------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_choices(semi: Values) -> None:
    for place, value, choice in (
        ("generators.dcgan.inputs", "models/grph", "models/graph"),
        ("arms.dcgan.inputs", "data/synthetic/dcgann", "data/synthetic/dcgan"),
        ("arms.dcgan.inputs", "data/synthetic/", "data/synthetic/dcgan"),
        ("arms.dcgan.inputs", "data/synthetic/../../etc", "data/synthetic/dcgan"),
        ("arms.classical.inputs", "/data/splits/subsets", "data/splits/subsets"),
        ("arms.classical.inputs", "data/splits/draws", "renamed to data/splits/subsets"),
        ("arms.fresh_real.inputs", "data/splits/frsh", "data/splits/fresh"),
        ("arms.pseudo.inputs", "models/dcgan", "models/graph"),
        ("arms.teacher.inputs", "models/ss_dcgan", "models/supervised"),
        ("arms.warm.inputs", "models/graph", "models/ss_dcgan"),
        ("arms.classical.transform", "afine", "affine"),
        ("arms.dcgan.classifiers", ["forest"], "cnn, lgbm"),
        ("synthesize.teacher", "supervise", "did you mean supervised?"),
        ("report.baseline", "reel", "real"),
        ("report.reference", "clasical", "classical"),
        ("report.primary.arm", "gan", "dcgan"),
        ("report.primary.classifier", "svm", "cnn"),
        ("report.primary.budget", 3, "[4, 2]"),
    ):
        text = refused(changed(semi, place, value))
        assert place in text
        assert choice in text
        assert str(value).strip("[]'") in text


def test_several_unknown_names_are_reported_together(values: Values) -> None:
    values = changed(values, "arms.dcgan.inputs", "data/synthetic/none")
    values = changed(values, "report.primary.classifier", "svm")
    text = refused(values)
    assert "arms.dcgan.inputs" in text
    assert "report.primary.classifier" in text


def test_a_teacher_and_a_generator_do_not_share_a_name(semi: Values) -> None:
    assert "teachers.dcgan: expected a name" in refused(changed(semi, "teachers.dcgan", {}))


# --- the teacher of filters ----------------------------------------------------------------------


def test_the_teacher_of_filters_exists_and_sees_no_unlabeled_images(semi: Values) -> None:
    text = refused(changed(semi, "synthesize.teacher", "graph"))
    assert "synthesize.teacher: expected a teacher of family supervised" in text

    text = refused(changed(semi, "synthesize.teacher", None))
    assert "synthesize.teacher: expected the name of a teacher of family supervised" in text

    renamed = changed(semi, "teachers.lenet", {"family": "supervised"})
    read(changed(renamed, "synthesize.teacher", "lenet"))


# --- arms and their roles ------------------------------------------------------------------------


def test_a_control_is_built_so_that_its_outcome_is_known(values: Values) -> None:
    for place, value, expected in (
        ("arms.oversample.inputs", "data/splits/fresh", "inputs: data/splits/subsets"),
        ("arms.oversample.transform", "affine", "transform: none"),
        ("arms.oversample.permute_labels", True, "permute_labels: false"),
        ("arms.oversample.per_class", 3, "the largest budget (4)"),
        ("arms.oversample.real", False, "real: true"),
        ("arms.fresh_real.inputs", "data/splits/subsets", "inputs: data/splits/fresh"),
        ("arms.fresh_real.transform", "affine", "transform: none"),
        ("arms.fresh_real.per_class", 3, "the largest budget (4)"),
        ("arms.fresh_real.real", False, "real: true"),
        ("arms.shuffled.permute_labels", False, "permute_labels: true"),
        ("arms.shuffled.per_class", 0, "per_class: expected at least the largest budget (4)"),
        ("arms.shuffled.per_class", 3, "per_class: expected at least the largest budget (4)"),
        ("arms.dcgan.permute_labels", True, "permute_labels: false"),
    ):
        text = refused(changed(values, place, value))
        assert place.rpartition(".")[0] in text
        assert expected in text


def test_controls_follow_the_transform_of_the_baseline(values: Values) -> None:
    values["report"]["baseline"] = "classical"
    assert "expected transform: affine with role must_not_differ" in refused(values)
    for arm in ("oversample", "fresh_real"):
        values["arms"][arm]["transform"] = "affine"
    read(values)


def test_labels_beyond_the_budget_are_for_must_help_only(values: Values) -> None:
    for role in ("claim", "measure", "must_not_differ", "must_not_help"):
        text = refused(changed(values, "arms.fresh_real.role", role))
        assert "arms.fresh_real.role: expected must_help" in text


def test_only_generated_images_are_limited_in_number(values: Values) -> None:
    for per_class in (7, 1000):
        for arm in ("oversample", "fresh_real"):
            read(changed(values, f"arms.{arm}.per_class", per_class))
        text = refused(changed(values, "arms.shuffled.per_class", per_class))
        assert "arms.shuffled.per_class: expected at most synthesize.per_class (6)" in text


# --- classes of different sizes ------------------------------------------------------------------


def unequal(values: Values) -> Values:
    """The same with labeled subsets of unequal classes and arms that balance them."""
    changed_values = changed(values, "data.imbalance", 10.0)
    for name, inputs in (
        ("real", "data/splits/subsets"),
        ("synthetic", "data/synthetic/dcgan"),
        ("smote", "data/splits/subsets"),
    ):
        arm = {"kind": name, "inputs": inputs, "per_class": "balance"}
        changed_values["arms"][f"{name}_balance"] = arm
    return changed_values


def test_classes_of_different_sizes_can_be_balanced(values: Values) -> None:
    params = read(unequal(values))
    assert params.arms["real_balance"].balances
    assert params.arms["synthetic_balance"].adds_made_images
    assert not params.arms["smote_balance"].adds_made_images
    assert params.regime("smote_balance") == "labeled"
    read(changed(unequal(values), "arms.real.class_weights", "none"))
    weighted = unequal(values)
    for name in ("real", "oversample", "shuffled", "fresh_real"):
        weighted["arms"][name]["class_weights"] = "balanced"
    read(weighted)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("data.imbalance", 1.0, "arms.real_balance.per_class: expected no balance with data.imb"),
        ("arms.real_balance.real", False, "real: expected true with per_class: balance"),
        ("arms.real_balance.real_share", 0.5, "real_share: expected none with per_class: balance"),
        ("arms.real_balance.per_class", "even", "a number of images from 0 to 1000000 or balance"),
        ("arms.real_balance.per_class", True, "a number of images from 0 to 1000000 or balance"),
        ("arms.oversample.per_class", "balance", "expected a number with role must_not_differ"),
        ("arms.shuffled.per_class", "balance", "expected a number with role must_not_help"),
        ("arms.fresh_real.per_class", "balance", "expected a number with role must_help"),
        ("arms.oversample.class_weights", "balanced", "expected class_weights: none with role"),
        ("arms.shuffled.class_weights", "balanced", "expected class_weights: none with role"),
        ("arms.smote_balance.role", "must_not_differ", "expected kind: real with role"),
        ("arms.smote_balance.inputs", "data/splits/fresh", "expected one of data/splits/subsets"),
        ("arms.smote_balance.k_neighbors", 0, "k_neighbors"),
        ("study.budgets", [8, 2], "synthesize.per_class: expected at least 7, the largest budget"),
    ],
)
def test_what_cannot_be_balanced_is_refused(
    place: str, value: object, expected: str, values: Values
) -> None:
    values["study"]["curve_budgets"] = []
    edited = unequal(values)
    for name in ("oversample", "shuffled", "fresh_real"):
        del edited["arms"][name]["real_share"]
    assert expected in refused(changed(edited, place, value))


def test_class_weights_need_classes_of_different_sizes(values: Values) -> None:
    text = refused(changed(values, "arms.classical.class_weights", "balanced"))
    assert "arms.classical.class_weights: expected no balanced with data.imbalance 1.0" in text


# --- the report ----------------------------------------------------------------------------------


def test_what_a_claim_is_about_is_itself_a_claim(values: Values) -> None:
    for place, arm in (
        ("report.baseline", "real"),
        ("report.reference", "classical"),
        ("report.primary.arm", "dcgan"),
    ):
        text = refused(changed(values, f"arms.{arm}.role", "measure"))
        assert place in text
        assert f"found {arm!r}" in text


def test_the_baseline_uses_the_labeled_subset_alone(values: Values) -> None:
    for arm in ("dcgan", "fresh_real"):
        text = refused(changed(values, "report.baseline", arm))
        assert "report.baseline: expected one of real, classical, found" in text


def test_the_primary_comparison_is_one_of_the_grid(values: Values) -> None:
    assert "report.primary.arm" in refused(changed(values, "report.primary.arm", "real"))
    text = refused(changed(values, "report.primary.budget", 8))
    assert "report.primary.budget: expected one of study.budgets [4, 2], found 8" in text


def test_the_reference_uses_labeled_images_alone(semi: Values) -> None:
    for arm in ("pseudo", "ss_dcgan"):
        text = refused(changed(semi, "report.reference", arm))
        assert "report.reference: expected an arm of labeled images alone" in text
        assert f"found {arm}" in text


def test_a_compared_arm_has_the_classifiers_of_the_other(values: Values) -> None:
    for arm in ("real", "classical", "dcgan"):
        text = refused(changed(values, f"arms.{arm}.classifiers", ["lgbm"]))
        assert f"arms.{arm}.classifiers: expected" in text
        assert "cnn" in text

    # The warm start is compared with `classical`, which nothing else needs here.
    values["report"]["reference"] = None
    values["arms"]["classical"]["classifiers"] = ["lgbm"]
    read(values)
    values["arms"]["warm"] = {
        "kind": "warm_start",
        "inputs": "models/dcgan",
        "per_class": 6,
        "transform": "affine",
        "classifiers": ["cnn"],
        "role": "measure",
    }
    assert "arms.classical.classifiers: expected those of arm warm" in refused(values)


# --- tuning --------------------------------------------------------------------------------------


def test_folds_fit_the_smallest_budget_unless_nothing_is_tuned(values: Values) -> None:
    values = changed(values, "tune.folds", 3)
    read(values)
    for place in ("tune.latent_std", "tune.min_probability"):
        several = changed(values, place, [0.5, 0.9])
        text = refused(several)
        assert "tune.folds: expected at most the smallest of study.budgets (2)" in text
        assert "found 3" in text
        read(changed(several, "tune.folds", 2))


def test_a_generator_of_a_teachers_labels_is_not_tuned(semi: Values) -> None:
    text = refused(changed(semi, "tune.latent_std", [1.0, 1.5]))
    assert "since generators.ss_dcgan learns from labels" in text


# --- what is compared with what ------------------------------------------------------------------


def test_the_regime_says_whether_unlabeled_images_took_part(semi: Values) -> None:
    params = read(
        changed(semi, "arms.warmer", semi["arms"]["warm"] | {"inputs": "models/ss_dcgan"})
    )
    unlabeled = {name for name in params.arms if params.regime(name) == "labeled+unlabeled"}
    assert unlabeled == {"pseudo", "ss_dcgan", "teacher", "warmer"}
    assert params.marked("pseudo") == "pseudo*"
    assert params.marked("supervised") == "supervised"


def test_the_reference_has_the_regime_of_the_arm(semi: Values) -> None:
    params = read(semi)
    references = {name: params.reference(name) for name in params.arms if params.reference(name)}
    assert references == {
        "shuffled": "classical",
        "dcgan": "classical",
        "dcgan_classical": "classical",
        "dcgan_only": "classical",
        "ss_dcgan": "pseudo",  # the labels that its generator learned from
        "warm": "real",  # the same without the warm start
    }
    for place, value in (("filter", "agreement"), ("per_class", 5), ("transform", "affine")):
        assert read(changed(semi, f"arms.ss_dcgan.{place}", value)).reference("ss_dcgan") is None


def test_arms_are_compared_with_the_baseline_and_their_reference(semi: Values) -> None:
    params = read(semi)
    pairs = design.pairs(params)
    assert pairs[: len(params.arms)] == [(name, "real") for name in params.arms]
    assert pairs[len(params.arms) :] == [
        ("dcgan", "classical"),
        ("dcgan_classical", "classical"),
        ("ss_dcgan", "pseudo"),
    ]


def test_the_baseline_has_the_budgets_of_the_learning_curve(study: Params) -> None:
    assert design.arm_budgets(study, "real") == [4, 2, 8]
    assert design.arm_budgets(study, "dcgan") == [4, 2]


def test_the_classifiers_of_an_arm_are_in_the_order_of_the_file(values: Values) -> None:
    params = read(changed(values, "arms.dcgan_only.classifiers", ["lgbm", "cnn"]))
    assert params.arm_classifiers("dcgan_only") == ["cnn", "lgbm"]
    assert params.arm_classifiers("dcgan") == ["cnn", "lgbm"]

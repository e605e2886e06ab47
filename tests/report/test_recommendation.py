"""The recommendation on hand-made tables: the right sentences for every case."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.arms import PseudoArm, RealArm
from pipeline.config.schema import Params, TeacherParams
from pipeline.report.recipes import cost, describe
from pipeline.report.recommendation import Recommendation, Tables, recommend

KEYS = ["classifier", "arm", "baseline", "budget"]
NO_TIMINGS = pd.DataFrame(columns=["stage", "item", "budget", "seconds"])


def row(arm: str, baseline: str = "real", verdict: str = "gain", **changes: Any) -> dict[str, Any]:
    """A comparison of accuracies; the mean of the arm follows from `delta`."""
    delta = changes.pop("delta", 0.05)
    mean_baseline = changes.pop("mean_baseline", 0.8)
    plain = {
        "classifier": "cnn",
        "arm": arm,
        "baseline": baseline,
        "budget": 2,
        "metric": "accuracy",
        "regime": "labeled",
        "n": 10,
        "num_failed": 0,
        "num_without_images": 0,
        "num_unusable": 0,
        "mean_baseline": mean_baseline,
        "mean_arm": mean_baseline + delta,
        "delta": delta,
        "ci_low": delta - 0.005,
        "ci_high": delta + 0.006,
        "verdict": verdict,
        "failed_controls": "",
        "seeds_to_decide": 10,
        "seeds_for_power": 4.0,
    }
    return plain | changes


REAL = row("real", verdict="baseline", delta=0.0)
CLASSICAL = row("classical", delta=0.07)
BOTH = row("dcgan_classical", delta=0.08)
BOTH_OVER = row("dcgan_classical", "classical", delta=0.0103, mean_baseline=0.87)
FRESH = row("fresh_real", verdict="passed", delta=0.0528)


def tables(
    rows: list[dict[str, Any]],
    equivalents: list[dict[str, Any]] | None = None,
    curve: dict[int, float] | None = None,
    timings: pd.DataFrame = NO_TIMINGS,
) -> Tables:
    table = pd.DataFrame(rows)
    needed = ["seeds_to_decide", "seeds_for_power"]
    trials = [
        {"classifier": "cnn", "arm": "real", "budget": budget, "seed": 0, "accuracy": accuracy}
        for budget, accuracy in (curve or {}).items()
    ]
    return Tables(
        deltas=table.drop(columns=needed),
        diagnostics=table[[*KEYS, *needed]],
        label_equivalents=pd.DataFrame(equivalents or []),
        trials=pd.DataFrame(trials, columns=["classifier", "arm", "budget", "seed", "accuracy"]),
        timings=timings,
    )


def only(study: Params, *rows: dict[str, Any], **more: Any) -> Recommendation:
    """The recommendation of a study with one classifier and budget."""
    (recommendation,) = recommend(tables([REAL, *rows], **more), study)
    return recommendation


def seconds(*rows: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"stage": stage, "item": item, "budget": 2, "seconds": value}
            for stage, item, value in rows
        ]
    )


def test_a_generator_that_beats_its_reference_is_recommended_with_its_part_and_cost(
    study: Params,
) -> None:
    timings = seconds(
        ("train_generator", "dcgan", 20.0),
        ("train_generator", "dcgan", 26.0),
        ("train_generator", "dcgan", 99.0),
        ("synthesize", "dcgan", 2.0),
        ("evaluate_generator", "dcgan", 50.0),
    )
    found = only(study, CLASSICAL, BOTH, BOTH_OVER, FRESH, timings=timings)
    assert found.arm == "dcgan_classical"
    assert found.sentences == (
        "cnn with 2 labels per class: use dcgan_classical (affine augmentation plus images of "
        "dcgan), 80.0 to 88.0 %, +8.0 [+7.5, +8.6] points.",
        "Of this, the synthetic images contribute +1.0 [+0.5, +1.6] points over classical for 28 s "
        "per replicate.",
        "Instead, 2 more labels per class would give +5.3 [+4.8, +5.9] points.",
    )


def test_without_timings_no_seconds_are_named(study: Params) -> None:
    text = str(only(study, CLASSICAL, BOTH, BOTH_OVER))
    assert "over classical." in text
    assert "replicate" not in text


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("no evidence", "dcgan_classical is not shown to differ from classical"),
        ("harm", "dcgan_classical is worse than classical"),
        ("equivalent", "dcgan_classical makes no difference that matters compared with classical"),
    ],
)
def test_a_generator_that_does_not_beat_its_reference_is_not_recommended(
    verdict: str, words: str, study: Params
) -> None:
    found = only(study, CLASSICAL, BOTH, {**BOTH_OVER, "verdict": verdict})
    assert found.arm == "classical"
    assert found.sentences == (
        "cnn with 2 labels per class: use classical (affine augmentation), 80.0 to 87.0 %, +7.0 "
        "[+6.5, +7.6] points.",
        f"Synthetic images are not shown to improve this: {words} (+1.0 [+0.5, +1.6] points).",
    )


def test_a_weaker_arm_that_helps_is_named(study: Params) -> None:
    weaker = row("dcgan", delta=0.03)
    over = row("dcgan", "classical", delta=0.01)
    found = only(study, CLASSICAL, weaker, over)
    assert found.sentences[1] == "dcgan helps as well, but less: 80.0 to 83.0 %."


@pytest.mark.parametrize(
    ("verdict", "accuracy", "words"),
    [
        ("harm", 0.8, "classical (80.0 %) is itself worse than doing nothing (86.6 %)"),
        (
            "equivalent",
            0.8656,
            "classical (86.6 %) is itself no better than doing nothing (86.6 %)",
        ),
    ],
)
def test_a_reference_below_the_baseline_blocks_no_gain(
    verdict: str, accuracy: float, words: str, study: Params
) -> None:
    base = {"mean_baseline": 0.866}
    rows = [
        row("real", verdict="baseline", delta=0.0, **base),
        row("classical", verdict=verdict, delta=accuracy - 0.866, **base),
    ]
    for arm, mean in (("dcgan", 0.946), ("dcgan_classical", 0.95)):
        rows.append(row(arm, delta=mean - 0.866, **base))
        delta = mean - accuracy
        over = row(arm, "classical", "weak reference", delta=delta, mean_baseline=accuracy)
        rows.append(over)
    (found,) = recommend(tables(rows), study)
    assert found.arm == "dcgan_classical"
    change = "+15.0 [+14.5, +15.6] points" if verdict == "harm" else "+8.4 [+7.9, +9.0] points"
    assert found.sentences == (
        "cnn with 2 labels per class: use dcgan_classical (affine augmentation plus images of "
        "dcgan), 86.6 to 95.0 %, +8.4 [+7.9, +9.0] points.",
        f"Its reference {words}, so to be better than it ({change}) is no evidence for the "
        "synthetic images; the gain over real is.",
    )


def test_an_arm_with_another_transform_is_better_than_its_reference_as_a_whole(
    study: Params,
) -> None:
    timings = seconds(
        ("train_generator", "dcgan", 20.0),
        ("synthesize", "dcgan", 2.0),
        ("train_teacher", "supervised", 5.0),
    )
    over = row("dcgan", "classical", delta=0.0103, mean_baseline=0.87)
    found = only(study, CLASSICAL, row("dcgan", delta=0.08), over, timings=timings)
    assert found.arm == "dcgan"
    assert found.sentences[1] == (
        "This is +1.0 [+0.5, +1.6] points better than classical for 27 s per replicate."
    )


def test_a_reference_that_failed_is_named_with_its_seeds(study: Params) -> None:
    over = {**BOTH_OVER, "verdict": "not judged", "num_failed": 9, "num_unusable": 9}
    found = only(study, BOTH, over)
    assert found.arm is None
    assert found.sentences[1] == (
        "The most accurate arm: dcgan_classical against classical is not judged, since 9 of 10 "
        "seeds failed."
    )


@pytest.mark.parametrize("verdict", ["no evidence", "exploratory", "not judged"])
def test_few_seeds_can_not_show_anything_yet(verdict: str, study: Params) -> None:
    lost = {"num_failed": 7, "num_unusable": 7} if verdict == "not judged" else {}
    claims = [
        row(arm, verdict=verdict, n=9, seeds_to_decide=needed, **lost)
        for arm, needed in (("classical", 12), ("dcgan", 11))
    ]
    found = recommend(tables([{**REAL, "n": 9}, *claims]), study)[0]
    assert found.arm is None
    assert found.sentences[0] == (
        "cnn with 2 labels per class: 9 seeds are too few to show that an arm helps, at least 11 "
        "are needed; keep real (80.0 %) for now."
    )


def test_an_arm_whose_controls_failed_is_never_recommended(study: Params) -> None:
    broken = {"verdict": "invalid", "failed_controls": "shuffled must not be better"}
    found = only(study, CLASSICAL, {**BOTH, **broken}, {**BOTH_OVER, **broken})
    assert found.arm == "classical"
    assert found.sentences[-1] == (
        "Not considered, because a control failed: dcgan_classical (shuffled must not be better)."
    )
    found = only(study, {**CLASSICAL, **broken})
    assert found.arm is None
    assert found.sentences == (
        "cnn with 2 labels per class: no arm is shown to help; keep real (80.0 %).",
        "Not considered, because a control failed: classical (shuffled must not be better).",
    )


def test_few_seeds_are_exploratory_and_say_how_many_decide(study: Params) -> None:
    few = row(
        "dcgan",
        verdict="exploratory",
        n=6,
        delta=0.206,
        ci_low=0.169,
        ci_high=0.243,
        seeds_to_decide=11,
        seeds_for_power=3.0,
    )
    found = recommend(tables([{**REAL, "n": 6}, few]), study)[0]
    assert found.arm is None
    assert found.sentences[0] == (
        "cnn with 2 labels per class: 6 seeds are too few to show that an arm helps, at least 11 "
        "are needed; keep real (80.0 %) for now."
    )
    assert found.sentences[1] == (
        "The most accurate arm: dcgan against real, +20.6 [+16.9, +24.3] points over 6 seeds, is "
        "exploratory, and at least 11 seeds are needed to decide."
    )
    assert "at least 25 seeds" in str(only(study, {**few, "seeds_for_power": 25.0}))
    assert "at least 11 seeds" in str(only(study, {**few, "seeds_for_power": math.inf}))
    one = {**few, "n": 1, "ci_low": math.nan, "ci_high": math.nan, "seeds_for_power": math.nan}
    assert "dcgan against real, +20.6 points over 1 seed, is exploratory" in str(only(study, one))


def test_an_arm_without_images_is_not_judged(study: Params) -> None:
    lost = {"verdict": "not judged", "num_without_images": 7, "num_unusable": 7}
    found = only(study, CLASSICAL, {**BOTH, **lost}, {**BOTH_OVER, **lost})
    assert found.sentences[1] == (
        "Synthetic images are not shown to improve this: dcgan_classical against real is not "
        "judged, since no synthetic image was used in 7 of 10 seeds."
    )


def test_what_measures_and_controls_are_never_recommended(study: Params) -> None:
    found = only(study, row("dcgan_only", verdict="measure", delta=0.2), FRESH)
    assert found.arm is None
    assert "dcgan_only" not in str(found)


def test_without_any_generator_there_is_no_word_on_images(study: Params) -> None:
    found = only(study, CLASSICAL)
    assert found.sentences == (
        "cnn with 2 labels per class: use classical (affine augmentation), 80.0 to 87.0 %, +7.0 "
        "[+6.5, +7.6] points.",
    )


def test_without_a_reference_the_part_of_the_images_is_unknown(study: Params) -> None:
    report = study.report.model_copy(update={"reference": None})
    params = study.model_copy(update={"report": report})
    timings = seconds(("train_generator", "dcgan", 270.0), ("train_teacher", "supervised", 30.0))
    found = only(params, row("dcgan"), timings=timings)
    assert found.arm == "dcgan"
    assert found.sentences[1:] == (
        "It has no reference, so what the synthetic images contribute is unknown.",
        "It takes 5.0 min per replicate.",
    )


def test_arms_with_unlabeled_images_are_marked_and_the_best_without_follows(
    study: Params,
) -> None:
    params = semi(study)
    poor = row("taught", verdict="no evidence", regime="labeled+unlabeled")
    assert only(params, CLASSICAL, poor).sentences[1].startswith("Pseudo-labeled images are not")
    taught = row("taught", delta=0.15, regime="labeled+unlabeled")
    found = only(params, CLASSICAL, taught)
    assert found.arm == "taught"
    assert "images with pseudo-labels of graph, using unlabeled images" in found.sentences[0]
    assert found.sentences[-1] == (
        "Without unlabeled images: use classical (affine augmentation), 80.0 to 87.0 %, +7.0 "
        "[+6.5, +7.6] points."
    )
    alone = only(params, taught)
    assert alone.sentences[-1] == "Without unlabeled images, no arm is shown to help."


def semi(study: Params) -> Params:
    """The study with a teacher and an arm of its pseudo-labels."""
    taught = PseudoArm(inputs="models/graph", per_class=6)
    teachers = study.teachers | {"graph": TeacherParams(family="label_propagation")}
    return study.model_copy(update={"arms": study.arms | {"taught": taught}, "teachers": teachers})


def test_every_budget_and_classifier_has_its_own(study: Params) -> None:
    rows = [
        {**found, "classifier": classifier, "budget": budget}
        for classifier in ("lgbm", "cnn")
        for budget in (4, 2)
        for found in (REAL, CLASSICAL)
    ]
    rows[-1]["verdict"] = "no evidence"
    found = recommend(tables(rows), study)
    assert [(each.budget, each.classifier) for each in found] == [
        (2, "cnn"),
        (2, "lgbm"),
        (4, "cnn"),
        (4, "lgbm"),
    ]
    assert [each.arm for each in found] == [None, "classical", "classical", "classical"]


def test_the_label_equivalent_of_the_recommended_arm_is_named(study: Params) -> None:
    equivalent = {
        "classifier": "cnn",
        "arm": "classical",
        "budget": 2,
        "label_equivalent": 6.4,
        "low": 5.0,
        "high": math.inf,
        "least": 2,
        "most": 8,
        "verdict": "gain",
    }
    other = {**equivalent, "arm": "dcgan", "label_equivalent": 3.0}
    found = only(study, CLASSICAL, equivalents=[other, equivalent])
    assert found.sentences[1] == (
        "That is the accuracy of 6.4 [5.0, more than 8] labels per class alone."
    )


def test_without_fresh_labels_the_learning_curve_says_what_labels_give(study: Params) -> None:
    found = only(study, CLASSICAL, curve={2: 0.8, 4: 0.85, 8: 0.9})
    assert found.sentences[-1] == (
        "Instead, 2 more labels per class would give +5.0 points, by the learning curve."
    )
    assert "Instead" not in str(only(study, CLASSICAL, curve={2: 0.8}))
    failed = {**FRESH, "verdict": "failed"}
    assert "by the learning curve" in str(only(study, CLASSICAL, failed, curve={2: 0.8, 4: 0.9}))


def test_failed_seeds_of_the_recommended_arm_are_counted(study: Params) -> None:
    found = only(study, {**CLASSICAL, "num_failed": 2})
    assert found.sentences[0].endswith("points (2 of 10 seeds failed).")


def test_numbers_are_rounded_as_in_the_files(study: Params) -> None:
    exact = row("classical", delta=0.0105)
    inexact = row("classical", delta=0.0105 - 1e-12)
    assert only(study, exact).sentences == only(study, inexact).sentences


def test_an_arm_is_described_by_what_it_trains_on(study: Params) -> None:
    assert {arm: describe(arm, study) for arm in study.arms} == {
        "real": "the labeled images alone",
        "oversample": "repeated images",
        "shuffled": "images of dcgan",
        "fresh_real": "repeated images",
        "classical": "affine augmentation",
        "dcgan": "images of dcgan",
        "dcgan_classical": "affine augmentation plus images of dcgan",
        "dcgan_only": "images of dcgan, without the labeled images",
    }


def test_the_cost_is_unknown_unless_every_model_was_timed(study: Params) -> None:
    timings = seconds(
        ("train_teacher", "supervised", 5.0),
        ("synthesize", "dcgan", 2.0),
        ("train_generator", "dcgan", 20.0),
    )
    assert cost("dcgan", 2, timings, study) == 27
    assert cost("dcgan_only", 2, timings, study) == 22  # no filter, so no teacher
    assert math.isnan(cost("dcgan", 2, timings[1:], study))
    assert math.isnan(cost("dcgan", 2, timings[:2], study))
    assert math.isnan(cost("dcgan", 4, timings, study))
    assert math.isnan(cost("classical", 2, timings, study))
    assert math.isnan(cost("taught", 2, timings, semi(study)))


def scored(**accuracies: float) -> pd.DataFrame:
    """Trials of ten seeds with these mean accuracies and a little noise."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {
                "classifier": "cnn",
                "arm": arm,
                "budget": 2,
                "seed": seed,
                "accuracy": accuracy + rng.normal(0, 0.002),
                "num_made": 6,
                "failed": False,
            }
            for arm, accuracy in accuracies.items()
            for seed in range(10)
        ]
    )


def with_tuned(study: Params) -> Params:
    """The study with another arm of labeled images alone."""
    tuned = RealArm(inputs="data/splits/subsets", per_class=6, transform="affine")
    return study.model_copy(update={"arms": study.arms | {"tuned": tuned}})


def recommended(params: Params, rows: list[dict[str, Any]], **accuracies: float) -> Recommendation:
    """The recommendation where the trials of all arms are known."""
    plain = tables(rows)
    found = replace(
        plain, trials=scored(**accuracies), diagnostics=plain.diagnostics.assign(overlap=0.0)
    )
    (recommendation,) = recommend(found, params)
    return recommendation


def test_an_arm_has_to_beat_the_best_arm_of_labeled_images_alone(study: Params) -> None:
    params, means = with_tuned(study), {"real": 0.8, "classical": 0.83}
    dcgan, over = row("dcgan", delta=0.1), row("dcgan", "classical", delta=0.07)
    for accuracy, arm in ((0.87, "dcgan"), (0.8995, "tuned"), (0.95, "tuned")):
        rows = [REAL, row("classical", delta=0.03), row("tuned", delta=accuracy - 0.8), dcgan, over]
        found = recommended(params, rows, **means, tuned=accuracy, dcgan=0.9)
        assert found.arm == arm
        assert "The reference classical is not the best" in str(found)
        assert ("better than tuned" in str(found)) == (arm == "dcgan")
    assert "dcgan is worse than tuned" in str(found)


def test_pseudo_labels_have_to_beat_augmentation(study: Params) -> None:
    params, means = semi(study), {"real": 0.8, "classical": 0.87}
    taught = {"regime": "labeled+unlabeled"}
    for delta, arm in ((0.15, "taught"), (0.0705, "classical"), (0.04, "classical")):
        rows = [REAL, CLASSICAL, row("taught", delta=delta, **taught)]
        found = recommended(params, rows, **means, taught=0.8 + delta)
        assert found.arm == arm
        assert "is not the best" not in str(found)
    assert "taught is worse than classical" in str(found)


def test_to_be_better_than_a_reference_that_harms_is_said_as_just_that(study: Params) -> None:
    base = {"mean_baseline": 0.717}
    rows = [
        row("real", verdict="baseline", delta=0.0, **base),
        row("classical", verdict="harm", delta=-0.026, **base),
        row("dcgan", verdict="no evidence", delta=-0.003, **base),
        row("dcgan", "classical", "weak reference", delta=0.023, mean_baseline=0.691),
    ]
    found = recommended(study, rows, real=0.717, classical=0.691, dcgan=0.714)
    assert found.arm is None
    assert found.sentences[1:] == (
        "The most accurate arm: dcgan is not shown to differ from real (-0.3 [-0.8, +0.3] points).",
        "That dcgan is better than classical (+2.3 [+1.8, +2.9] points) shows only that classical "
        "harms: with 69.1 % it is itself worse than real (71.7 %).",
    )


@pytest.mark.parametrize("delta", [0.15, 0.01])
def test_labels_that_must_not_be_trusted_are_named(delta: float, study: Params) -> None:
    verdict = "gain" if delta > 0.1 else "no evidence"
    taught = row("taught", delta=delta, verdict=verdict, regime="labeled+unlabeled")
    teacher = {"teacher": "graph", "budget": 2, "num_unlabeled": 90, "label_accuracy": 0.8}
    confident = {"confident_accuracy": 0.7, "confident_low": 0.6, "confident_high": 0.8}
    teachers = pd.DataFrame(
        [
            {**teacher, **confident, "seed": seed, "flags": "confident_labels" if seed else ""}
            for seed in range(10)
        ]
    )
    found = replace(tables([REAL, CLASSICAL, taught]), teachers=teachers)
    (recommendation,) = recommend(found, semi(study))
    assert (
        "The labels of graph with 2 labels per class must not be trusted (9 of 10 seeds): of the "
        "confident ones 70.0 % [60.0, 80.0] are right in 9 seeds, where 90 % is the least."
    ) in recommendation.sentences

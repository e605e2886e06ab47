"""Recall per class: planted harm and gain are found, no effect seldom is, sentences name them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Params
from pipeline.report import class_words, comparisons, tables
from pipeline.report.class_views import class_recalls, class_sentences
from pipeline.report.classes import COLUMNS, Classes, recall_table
from pipeline.report.recommendation import harmed_classes
from pipeline.trials.grid import Trial, expected_trials

NAMES = ["cat", "dog", "<b>"]
CLASSES = Classes(NAMES, {2: np.array([4.0, 3.0, 1.0])})
OVERLAPS = {2: 0.0}
LABELS = np.repeat(np.arange(3), [200, 100, 50])


@pytest.fixture(scope="module")
def params(study: Params) -> Params:
    """Three arms without controls, one budget, ten seeds, both classifiers."""
    arms = {name: study.arms[name] for name in ("real", "classical", "dcgan")}
    section = study.study.model_copy(
        update={"budgets": [2], "curve_budgets": [], "seeds": list(range(10))}
    )
    report = study.report.model_copy(update={"reference": None})
    return study.model_copy(update={"arms": arms, "study": section, "report": report})


def scored(
    params: Params, effects: dict[str, list[float]], seed: int = 0, labels: np.ndarray = LABELS
) -> tables.ScoredTrials:
    """Trials whose recall is 0.7 plus the effect of the arm on each class."""
    rng = np.random.default_rng(seed)
    found = []
    for trial in expected_trials(params):
        recall = 0.7 + np.array(effects.get(trial.arm, [0.0] * 3))
        is_right = rng.random(len(labels)) < recall[labels]
        predicted = np.where(is_right, labels, (labels + 1) % 3)
        arrays = {
            "labels": labels,
            "probabilities": np.eye(3, dtype=np.float32)[predicted],
            **{name: np.array(60) for name in ("num_train", "num_made", "num_candidates")},
            "failed": np.array(False),
        }
        found.append((trial, arrays))
    return found


def judged(
    params: Params, trials: tables.ScoredTrials, overlaps: comparisons.Overlaps = OVERLAPS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of deltas and that of classes."""
    table = tables.trials_table("toy", trials, params.report.metric)
    deltas = comparisons.deltas_table(table, params, overlaps)
    return deltas, recall_table(trials, deltas, params, overlaps, CLASSES)


@pytest.fixture(scope="module")
def planted(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """dcgan gains on the two large classes and harms the smallest."""
    return judged(params, scored(params, {"dcgan": [0.2, 0.2, -0.25]}))


def test_harm_on_one_class_is_found_though_the_arm_is_a_gain(
    planted: tuple[pd.DataFrame, pd.DataFrame], params: Params
) -> None:
    deltas, classes = planted
    assert list(classes.columns) == COLUMNS
    main = comparisons.main_rows(deltas, params).set_index(["classifier", "arm"])
    assert main.loc[("cnn", "dcgan"), "verdict"] == "gain"
    rows = classes[(classes["classifier"] == "cnn") & (classes["arm"] == "dcgan")]
    assert rows["class"].tolist()[0] == 2
    assert rows["verdict"].tolist() == ["harm", "gain", "gain"]
    assert not {"gain", "harm"} & {*classes[classes["arm"] == "classical"]["verdict"]}
    assert (rows["n"] == 10).all()
    assert rows.set_index("class")["num_test"].to_dict() == {0: 200, 1: 100, 2: 50}
    assert rows.set_index("class")["num_labeled"].to_dict() == {0: 4, 1: 3, 2: 1}
    assert rows["delta"].to_numpy() == pytest.approx(rows["recall_arm"] - rows["recall_baseline"])


def test_p_values_are_corrected_over_all_classes_arms_and_classifiers(
    planted: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    classes = planted[1]
    assert len(classes) == 2 * 2 * 3
    assert (classes["p_adjusted"] >= classes["p_value"] - 1e-12).all()
    assert classes["p_adjusted"].min() == pytest.approx(2 / 2**10)


def test_overlap_raises_the_p_values_of_classes(
    planted: tuple[pd.DataFrame, pd.DataFrame], params: Params
) -> None:
    keys = ["classifier", "arm", "class"]
    trials = scored(params, {"dcgan": [0.2, 0.2, -0.25]})
    small, large = (judged(params, trials, {2: rho})[1] for rho in (0.09, 0.3))
    pd.testing.assert_frame_equal(small, planted[1])
    both = planted[1].merge(large, on=keys, suffixes=("", "_raised"))
    for name in ("p_value", "p_adjusted"):
        assert (both[f"{name}_raised"] >= both[name]).all()
        assert (both[f"{name}_raised"] > both[name]).any()
    claims = large["verdict"].isin(("gain", "harm"))
    assert 0 < claims.sum() < len(large)
    assert (large["p_adjusted"][claims] <= 0.05).all()
    assert (large["p_adjusted"] >= large["p_value"] - 1e-12).all()


def test_without_an_effect_few_studies_have_any_verdict(params: Params) -> None:
    """What the table takes from that of deltas is the same for all: no seed failed."""
    num_studies, alarms = 60, 0
    one = params.model_copy(update={"classifiers": {"cnn": params.classifiers["cnn"]}})
    deltas, _ = judged(one, scored(one, {}))
    for seed in range(num_studies):
        trials = scored(one, {}, seed=seed)
        classes = recall_table(trials, deltas, one, OVERLAPS, CLASSES)
        alarms += classes["verdict"].isin(("gain", "harm")).any()
    assert alarms / num_studies <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / num_studies)


@pytest.mark.parametrize(("seeds", "verdict"), [(5, "exploratory"), (9, "exploratory")])
def test_few_seeds_decide_nothing(seeds: int, verdict: str, params: Params) -> None:
    section = params.study.model_copy(update={"seeds": list(range(seeds))})
    few = params.model_copy(update={"study": section})
    _, classes = judged(few, scored(few, {"dcgan": [0.2, 0.2, -0.25]}))
    assert classes[(classes["arm"] == "dcgan")]["verdict"].tolist()[0] == verdict
    assert not {"gain", "harm"} & {*classes["verdict"]}


def test_an_arm_that_always_failed_has_no_judged_class(params: Params) -> None:
    trials = scored(params, {})
    for trial, arrays in trials:
        if trial.arm == "dcgan":
            baseline = Trial(trial.classifier, "real", trial.replicate)
            own = next(each for other, each in trials if other == baseline)
            arrays |= {"failed": np.array(True), "probabilities": own["probabilities"]}
    _, classes = judged(params, trials)
    assert set(classes[classes["arm"] == "dcgan"]["verdict"]) == {"not judged"}
    assert (classes[classes["arm"] == "dcgan"]["delta"] == 0).all()


def test_seeds_whose_test_set_lacks_a_class_are_left_out(params: Params) -> None:
    trials = scored(params, {"dcgan": [0.2, 0.2, -0.25]})
    for trial, arrays in trials:
        if trial.replicate.seed in (3, 4):
            kept = arrays["labels"] != 2
            arrays |= {name: arrays[name][kept] for name in ("labels", "probabilities")}
    _, classes = judged(params, trials)
    rows = classes[classes["class"] == 2]
    assert (rows["n"] == 8).all()
    assert not {"gain", "harm"} & {*rows["verdict"]}
    assert rows["num_test"].tolist() == [40] * 4


def test_a_failed_control_makes_the_verdicts_on_classes_invalid(
    params: Params, study: Params
) -> None:
    arms = params.arms | {"oversample": study.arms["oversample"]}
    controlled = params.model_copy(update={"arms": arms})
    effects = {"oversample": [0.2] * 3, "dcgan": [0.2] * 3}
    _, classes = judged(controlled, scored(controlled, effects))
    assert set(classes["arm"]) == {"classical", "dcgan"}
    assert set(classes["verdict"]) == {"invalid"}


def test_sentences_name_the_worst_class_first(
    planted: tuple[pd.DataFrame, pd.DataFrame], params: Params
) -> None:
    classes = planted[1]
    text = class_words.sentence(classes, "cnn", "dcgan", 2)
    assert text.startswith("dcgan, cnn, 2 labels per class: worse on class <b> (-")
    assert "; better on class " in text
    text = class_words.sentence(classes, "cnn", "classical", 2)
    assert "no class is shown to gain or lose; lowest delta: class " in text
    line = class_words.summary(classes, params)
    assert "dcgan (cnn) worse on 1, better on 2" in line
    assert "classical" not in line
    assert "\n" not in line
    assert class_words.summary(pd.DataFrame(), params) == ""

    row: dict[Any, Any] = {"classifier": "cnn", "budget": 2}
    (harm,) = harmed_classes(classes, row | {"arm": "dcgan"})
    assert harm.startswith("But it is worse on class <b> (-")
    assert harmed_classes(classes, row | {"arm": "classical"}) == []
    assert harmed_classes(pd.DataFrame(), row | {"arm": "dcgan"}) == []


def test_the_page_has_every_class_of_the_primary_budget_rare_ones_first(
    planted: tuple[pd.DataFrame, pd.DataFrame], params: Params
) -> None:
    class Results:
        classes = planted[1]

    assert len(class_sentences(Results, params)) == 2 * 2
    views = class_recalls(Results, params)
    assert len(views) == 2 * 2
    assert [row["class_name"] for row in views[0].rows] == ["<b>", "dog", "cat"]

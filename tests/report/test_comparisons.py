"""Comparisons from hand-made trials: paired by seed, corrected, judged, controls with their say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.arms import WarmStartArm
from pipeline.config.schema import HoldOutParams, Params
from pipeline.evaluation import statistics
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.statistics import holm, paired_p, sign_flip_p, t_interval
from pipeline.report import comparisons, tables
from pipeline.report.diagnostics import diagnostics_table
from pipeline.report.label_equivalents import label_equivalent_table
from pipeline.report.verdicts import ROLES, explanation, sentence
from pipeline.trials.grid import Trial, pairs

NO_OVERLAP = {2: 0.0, 4: 0.0, 8: 0.0}
# The classes of the test set have the same size, so that balanced accuracy is left out.
METRICS_SHOWN = METRICS.keys() - {"balanced_accuracy"}
CLAIMS = {"classical", "dcgan", "dcgan_classical"}
NULL_ROLES = {"oversample", "shuffled"}


@pytest.fixture(scope="module")
def found(finished_study: Path, study: Params) -> tables.ScoredTrials:
    return list(tables.read_trials(study, finished_study))


@pytest.fixture(scope="module")
def trials(found: tables.ScoredTrials) -> pd.DataFrame:
    return tables.trials_table("toy", found)


@pytest.fixture(scope="module")
def deltas(trials: pd.DataFrame, study: Params) -> pd.DataFrame:
    return comparisons.deltas_table(trials, study, NO_OVERLAP)


def without(params: Params, **changes: Any) -> Params:
    return params.model_copy(update={"report": params.report.model_copy(update=changes)})


def test_every_comparison_is_there_once(deltas: pd.DataFrame, study: Params) -> None:
    keys = deltas[comparisons.COMPARISON]
    assert not keys.duplicated().any()
    against_baseline = deltas[deltas["baseline"] == "real"]
    assert len(against_baseline) == len(METRICS_SHOWN) * 2 * 2 * len(study.arms)
    against_reference = deltas[deltas["baseline"] == "classical"]
    assert set(against_reference["arm"]) == {"dcgan", "dcgan_classical"}
    assert len(against_reference) == len(METRICS_SHOWN) * 2 * 2 * 2


def test_deltas_are_paired_by_seed(deltas: pd.DataFrame, trials: pd.DataFrame) -> None:
    for _, row in deltas.iterrows():
        scores = [
            {
                each["seed"]: each[row["metric"]]
                for _, each in trials.iterrows()
                if (each["classifier"], each["arm"], each["budget"])
                == (row["classifier"], arm, row["budget"])
            }
            for arm in (row["arm"], row["baseline"])
        ]
        differences = np.array([scores[0][seed] - scores[1][seed] for seed in sorted(scores[0])])
        interval = t_interval(differences, 0.95)
        assert row["n"] == 4
        assert row["delta"] == pytest.approx(interval.mean)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
        assert row["p_value"] == pytest.approx(sign_flip_p(differences))
        assert row["delta"] == pytest.approx(row["mean_arm"] - row["mean_baseline"])


def test_the_order_of_rows_changes_nothing(
    trials: pd.DataFrame, deltas: pd.DataFrame, study: Params
) -> None:
    shuffled = trials.sample(frac=1, random_state=3)
    again = comparisons.deltas_table(shuffled, study, NO_OVERLAP)
    pd.testing.assert_frame_equal(again, deltas)


def test_exchanging_arm_and_baseline_flips_every_sign(trials: pd.DataFrame, study: Params) -> None:
    table, mirrored = (
        comparisons.deltas_table(trials, without(study, baseline=name, reference=None), NO_OVERLAP)
        for name in ("real", "classical")
    )
    one = table[table["arm"] == "classical"].set_index(["classifier", "budget", "metric"])
    other = mirrored[mirrored["arm"] == "real"].set_index(["classifier", "budget", "metric"])
    pd.testing.assert_series_equal(one["delta"], -other["delta"])
    pd.testing.assert_series_equal(one["ci_low"], -other["ci_high"], check_names=False)
    pd.testing.assert_series_equal(one["p_value"], other["p_value"])


def test_overlapping_subsets_widen_intervals(
    trials: pd.DataFrame, deltas: pd.DataFrame, study: Params
) -> None:
    wider = comparisons.deltas_table(trials, study, NO_OVERLAP | {2: 0.3})
    compared = deltas["arm"] != deltas["baseline"]
    widths, more = (each["ci_high"] - each["ci_low"] for each in (deltas, wider))
    assert (more > widths)[compared & (deltas["budget"] == 2)].all()
    assert (more == widths)[deltas["budget"] == 4].all()


def test_overlapping_subsets_raise_p_values_before_they_are_corrected(
    trials: pd.DataFrame, deltas: pd.DataFrame, study: Params
) -> None:
    raised = comparisons.deltas_table(trials, study, NO_OVERLAP | {2: 0.3})
    same = deltas["budget"] == 4
    pd.testing.assert_series_equal(raised["p_value"][same], deltas["p_value"][same])
    assert (raised["p_value"] >= deltas["p_value"]).all()
    assert (raised["p_value"] > deltas["p_value"])[~same].any()
    assert (raised["p_holm"].fillna(1) >= raised["p_value"] - 1e-12).all()

    # Without any overlap that matters, no number changes.
    small_overlap = comparisons.deltas_table(trials, study, dict.fromkeys(NO_OVERLAP, 0.09))
    pd.testing.assert_frame_equal(small_overlap, deltas)

    row = comparisons.rows_of(comparisons.main_rows(raised, study))[5]
    scores = trials[(trials["classifier"] == row["classifier"]) & (trials["budget"] == 2)]
    arm, baseline = (
        scores[scores["arm"] == row[side]].sort_values("seed")["accuracy"].to_numpy()
        for side in ("arm", "baseline")
    )
    assert row["budget"] == 2
    assert row["p_value"] == pytest.approx(paired_p(arm - baseline, 0.3))


def test_baseline_rows_are_zero(deltas: pd.DataFrame) -> None:
    rows = deltas[deltas["arm"] == deltas["baseline"]]
    assert len(rows) == len(METRICS_SHOWN) * 2 * 2
    assert (rows[["delta", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert set(rows["verdict"]) == {"baseline"}


def is_primary(deltas: pd.DataFrame) -> pd.Series:
    return (
        (deltas["classifier"] == "cnn")
        & (deltas["arm"] == "dcgan")
        & (deltas["budget"] == 2)
        & (deltas["baseline"] == "real")
        & (deltas["metric"] == "accuracy")
    )


@pytest.mark.parametrize("metric", sorted(METRICS_SHOWN))
@pytest.mark.parametrize(
    ("baseline", "arms", "size"),
    [("real", CLAIMS, 12), ("classical", CLAIMS, 8), ("real", NULL_ROLES, 8)],
    ids=["claims", "reference", "controls"],
)
def test_holm_runs_over_each_family(
    baseline: str, arms: set[str], size: int, metric: str, deltas: pd.DataFrame
) -> None:
    rows = deltas[(deltas["baseline"] == baseline) & (deltas["metric"] == metric)]
    rows = rows[rows["arm"].isin(arms) & ~is_primary(rows)]
    if arms == CLAIMS and baseline == "real" and metric == "accuracy":
        size -= 1
    assert len(rows) == size
    assert rows["p_holm"].tolist() == pytest.approx(holm(rows["p_value"].tolist()))


def test_the_primary_comparison_and_the_control_that_must_help_keep_their_p(
    deltas: pd.DataFrame,
) -> None:
    for rows in (deltas[is_primary(deltas)], deltas[deltas["arm"] == "fresh_real"]):
        assert len(rows)
        assert (rows["p_holm"] == rows["p_value"]).all()


def test_what_only_measures_has_no_corrected_p_and_no_verdict(deltas: pd.DataFrame) -> None:
    rows = deltas[deltas["arm"] == "dcgan_only"]
    assert rows["p_holm"].isna().all()
    assert set(rows["verdict"]) == {"measure"}
    assert deltas["p_holm"].notna().sum() == len(deltas) - len(rows)


def with_arms(params: Params, **changes: dict[str, Any]) -> Params:
    """The same with arms changed or, by the settings of `dcgan`, added."""
    arms = {
        name: params.arms.get(name, params.arms["dcgan"]).model_copy(update=change)
        for name, change in changes.items()
    }
    return params.model_copy(update={"arms": params.arms | arms})


def test_an_arm_that_measures_what_it_adds_is_held_against_its_reference(
    trials: pd.DataFrame, deltas: pd.DataFrame, study: Params
) -> None:
    measured = with_arms(study, dcgan_classical={"role": "measure"})
    table = comparisons.deltas_table(trials, measured, NO_OVERLAP)
    assert pairs(measured) == pairs(study)
    rows, claimed = (each[each["arm"] == "dcgan_classical"] for each in (table, deltas))
    assert set(rows["baseline"]) == {"real", "classical"}
    assert set(rows["verdict"]) == {"measure"}
    assert rows["p_holm"].isna().all()
    numbers = ["delta", "ci_low", "ci_high", "p_value"]
    pd.testing.assert_frame_equal(rows[numbers], claimed[numbers])
    others = table[(table["arm"] == "dcgan") & (table["baseline"] == "classical")]
    first = others[others["metric"] == "accuracy"]
    assert first["p_holm"].tolist() == pytest.approx(holm(first["p_value"].tolist()))


@pytest.mark.parametrize(
    ("change", "reference"),
    [
        ({"transform": "affine"}, "classical"),
        ({"transform": "affine", "per_class": 1}, None),
        ({"per_class": 0, "transform": "none"}, None),  # `real`, the baseline itself
    ],
)
def test_the_reference_of_a_start_from_a_discriminator_is_the_same_without_it(
    change: dict[str, Any], reference: str | None, study: Params
) -> None:
    plain = {"inputs": "models/dcgan", "per_class": study.arms["classical"].per_class}
    warm = WarmStartArm.model_validate({**plain, "role": "measure", **change})
    params = study.model_copy(update={"arms": study.arms | {"warm": warm}})
    assert [other for arm, other in pairs(params) if arm == "warm"] == [
        "real",
        *([reference] if reference else []),
    ]


@pytest.mark.parametrize("reference", [None, "real"])
def test_without_a_reference_there_is_one_baseline(
    reference: str | None, trials: pd.DataFrame, study: Params
) -> None:
    table = comparisons.deltas_table(trials, without(study, reference=reference), NO_OVERLAP)
    assert set(table["baseline"]) == {"real"}
    assert not table[comparisons.COMPARISON].duplicated().any()


def rigged(trials: pd.DataFrame, gaps: dict[str, float], seeds: int = 12) -> pd.DataFrame:
    """Many seeds in which arms differ from `real` by about their gap in every metric."""
    rows = trials[trials["seed"] == 0]
    grown = pd.concat([rows.assign(seed=seed) for seed in range(seeds)], ignore_index=True)
    noise = np.random.default_rng(0).normal(0, 0.001, len(grown))
    for metric in METRICS_SHOWN:
        grown[metric] = 0.5 + grown["arm"].map(gaps).fillna(0.0) + noise
    return grown


@pytest.mark.parametrize(
    ("gap", "if_higher_is_better", "if_lower_is_better"),
    [(0.1, "gain", "harm"), (-0.1, "harm", "gain")],
)
def test_verdicts_know_the_direction_of_each_metric(
    gap: float,
    if_higher_is_better: str,
    if_lower_is_better: str,
    trials: pd.DataFrame,
    study: Params,
) -> None:
    table = comparisons.deltas_table(rigged(trials, {"dcgan": gap}), small(study), NO_OVERLAP)
    for _, row in table[table["arm"] == "dcgan"].iterrows():
        higher = METRICS[row["metric"]].higher_is_better
        assert row["verdict"] == (if_higher_is_better if higher else if_lower_is_better)


def test_only_shares_can_be_too_small_to_matter(trials: pd.DataFrame, study: Params) -> None:
    table = comparisons.deltas_table(rigged(trials, {}), small(study), NO_OVERLAP)
    for _, row in table[table["arm"] == "dcgan"].iterrows():
        share = METRICS[row["metric"]].is_share
        assert row["verdict"] == ("equivalent" if share else "no evidence")


def small(params: Params, *controls: str) -> Params:
    """The part of the study around its primary comparison, and `controls`."""
    names = ("real", "classical", "dcgan", *controls)
    return params.model_copy(
        update={
            "arms": {name: params.arms[name] for name in names},
            "classifiers": {"cnn": params.classifiers["cnn"]},
            "study": params.study.model_copy(update={"budgets": [2], "curve_budgets": []}),
            "report": params.report.model_copy(update={"reference": None}),
        }
    )


def judged(trials: pd.DataFrame, params: Params, metric: str = "accuracy") -> dict[str, str]:
    """The verdict of every arm in one metric."""
    table = comparisons.deltas_table(trials, params, NO_OVERLAP)
    rows = table[table["metric"] == metric]
    return dict(zip(rows["arm"], rows["verdict"], strict=True))


HONEST = {"dcgan": 0.1, "classical": 0.1, "fresh_real": 0.2}


@pytest.mark.parametrize(
    ("control", "gap", "outcome", "invalid"),
    [
        ("oversample", 0.0, "passed", set()),
        ("oversample", 0.003, "passed", set()),  # too small to matter
        ("oversample", 0.1, "failed", {"dcgan", "classical"}),
        ("oversample", -0.1, "failed", {"dcgan", "classical"}),
        ("shuffled", 0.0, "passed", set()),
        ("shuffled", -0.3, "passed", set()),
        ("shuffled", 0.1, "failed", {"dcgan"}),  # speaks for its own generator's arms
        ("fresh_real", 0.2, "passed", set()),
        ("fresh_real", 0.0, "failed", {"dcgan", "classical"}),
        ("fresh_real", -0.2, "failed", {"dcgan", "classical"}),
    ],
)
def test_a_failed_control_makes_the_verdicts_it_speaks_for_invalid(
    control: str,
    gap: float,
    outcome: str,
    invalid: set[str],
    trials: pd.DataFrame,
    study: Params,
) -> None:
    params = small(study, control)
    found = judged(rigged(trials, HONEST | {control: gap}), params)
    assert found[control] == outcome
    for arm in ("dcgan", "classical"):
        assert found[arm] == ("invalid" if arm in invalid else "gain")


def test_a_failed_control_is_named_and_speaks_for_every_metric(
    trials: pd.DataFrame, study: Params
) -> None:
    gaps = HONEST | {"oversample": 0.1, "shuffled": 0.1}
    params = small(study, "oversample", "shuffled", "fresh_real")
    table = comparisons.deltas_table(rigged(trials, gaps), params, NO_OVERLAP)
    rows = table[table["arm"] == "dcgan"]
    assert len(rows) == len(METRICS_SHOWN)
    assert set(rows["verdict"]) == {"invalid"}
    named = {"oversample " + ROLES["must_not_differ"] + "; shuffled " + ROLES["must_not_help"]}
    assert set(rows["failed_controls"]) == named
    failed_controls = set(table[table["arm"] == "classical"]["failed_controls"])
    assert failed_controls == {"oversample " + ROLES["must_not_differ"]}
    assert set(table[table["arm"] == "real"]["verdict"]) == {"baseline"}


def test_a_control_speaks_for_its_own_classifier_and_budget_alone(
    trials: pd.DataFrame, study: Params
) -> None:
    rows = rigged(trials, HONEST)
    spoiled = (rows["arm"] == "oversample") & (rows["classifier"] == "cnn") & (rows["budget"] == 2)
    rows.loc[spoiled, list(METRICS_SHOWN)] += 0.1
    table = comparisons.deltas_table(rows, study, NO_OVERLAP)
    invalid = table[table["verdict"] == "invalid"]
    assert set(zip(invalid["classifier"], invalid["budget"], strict=True)) == {("cnn", 2)}
    assert set(invalid["arm"]) == CLAIMS


@pytest.mark.parametrize("seeds", [2, 6, 9])
def test_too_few_seeds_judge_no_control(seeds: int, trials: pd.DataFrame, study: Params) -> None:
    params = small(study, "oversample", "fresh_real")
    found = judged(rigged(trials, HONEST | {"oversample": 0.1}, seeds), params)
    assert found["oversample"] == found["fresh_real"] == "not judged"
    assert found["dcgan"] == "exploratory"


@pytest.mark.parametrize(("score", "outcome"), [(1.0, "not judged"), (0.99, "failed")])
def test_more_labels_need_not_help_a_perfect_baseline(
    score: float, outcome: str, trials: pd.DataFrame, study: Params
) -> None:
    rows = rigged(trials, HONEST)
    rows[list(METRICS_SHOWN)] = score
    verdicts = judged(rows, small(study, "fresh_real"))
    assert verdicts["fresh_real"] == outcome
    assert (verdicts["dcgan"] == "invalid") == (outcome == "failed")


@pytest.mark.parametrize(("how_many", "outcome"), [(6, "passed"), (7, "not judged")])
def test_a_control_without_its_images_does_not_pass(
    how_many: int, outcome: str, trials: pd.DataFrame, study: Params
) -> None:
    rows = failed(rigged(trials, HONEST), "shuffled", list(range(how_many)))
    assert judged(rows, small(study, "shuffled"))["shuffled"] == outcome


def failed(trials: pd.DataFrame, arm: str, seeds: list[int]) -> pd.DataFrame:
    """`trials` with the baseline's score in those seeds of `arm`, flagged, as the reader does."""
    rows = trials.copy()
    for seed in seeds:
        here = (rows["arm"] == arm) & (rows["seed"] == seed)
        keys = ["classifier", "budget"]
        base = rows[(rows["arm"] == "real") & (rows["seed"] == seed)].set_index(keys)
        for position in rows[here].index:
            row = rows.loc[position]
            for metric in METRICS_SHOWN:
                rows.loc[position, metric] = base.loc[(row["classifier"], row["budget"]), metric]
        rows.loc[here, "failed"] = True
    return rows


def test_a_failed_trial_is_counted_and_never_raises_the_mean(
    trials: pd.DataFrame, study: Params
) -> None:
    honest = rigged(trials, {"dcgan": 0.1})
    tables_found = [
        comparisons.deltas_table(rows, small(study), NO_OVERLAP)
        for rows in (honest, failed(honest, "dcgan", [1, 4, 7]))
    ]
    before, after = (
        table[(table["arm"] == "dcgan") & (table["metric"] == "accuracy")].iloc[0]
        for table in tables_found
    )
    assert (before["num_failed"], after["num_failed"]) == (0, 3)
    assert before["n"] == after["n"] == 12
    assert after["delta"] == pytest.approx(0.75 * before["delta"], abs=1e-3)


def imageless(trials: pd.DataFrame, arm: str, seeds: list[int]) -> pd.DataFrame:
    """`trials` without a made image in those seeds of `arm`, whose scores stay."""
    rows = trials.copy()
    rows.loc[(rows["arm"] == arm) & rows["seed"].isin(seeds), "num_made"] = 0
    return rows


def against_reference(params: Params, *controls: str) -> Params:
    return without(small(params, *controls), reference="classical")


def compared(table: pd.DataFrame, baseline: str, metric: str = "accuracy") -> pd.Series:
    """The row of `dcgan` against `baseline`."""
    rows = table[(table["arm"] == "dcgan") & (table["baseline"] == baseline)]
    return rows[rows["metric"] == metric].iloc[0]


@pytest.mark.parametrize("lose", [failed, imageless])
@pytest.mark.parametrize("lost", [4, 5, 10])
def test_an_arm_without_images_in_too_many_seeds_is_not_judged(
    lose: Callable[[pd.DataFrame, str, list[int]], pd.DataFrame],
    lost: int,
    trials: pd.DataFrame,
    study: Params,
) -> None:
    rows = rigged(trials, {"classical": -0.2, "dcgan": 0.1, "fresh_real": 0.2}, seeds=10)
    for arm in ("dcgan", "shuffled"):
        rows = lose(rows, arm, list(range(lost)))
    params = against_reference(study, "shuffled", "fresh_real")
    table = comparisons.deltas_table(rows, params, NO_OVERLAP)
    made = table["arm"].isin(["dcgan", "shuffled"])
    assert set(table[made]["num_without_images"]) == {lost}
    assert set(table[~made]["num_without_images"]) == {0}
    assert list(table.columns[-2:]) == ["num_without_images", "num_unusable"]
    accuracy = table[(table["metric"] == "accuracy") & made]
    assert len(accuracy) == 3
    if lost > 4:
        assert set(accuracy["verdict"]) == {"not judged"}
        words = f"not judged: no synthetic image was used in {lost} of 10 seeds"
        if lose is failed:
            words = f"not judged: {lost} of 10 seeds failed"
        for row in comparisons.rows_of(accuracy):
            assert words in sentence(row, 0.95)
            assert words in explanation(row, 0.005)
    else:
        assert "not judged" not in set(accuracy["verdict"])
    judged_still = table[(table["metric"] == "accuracy") & ~made].set_index("arm")["verdict"]
    assert dict(judged_still) == {"real": "baseline", "classical": "harm", "fresh_real": "passed"}


@pytest.mark.parametrize(("lost", "verdict"), [(4, "gain"), (5, "not judged"), (9, "not judged")])
def test_a_reference_that_failed_in_too_many_seeds_gives_no_gain_over_it(
    lost: int, verdict: str, trials: pd.DataFrame, study: Params
) -> None:
    rows = rigged(trials, {"classical": 0.05, "dcgan": 0.3}, seeds=10)
    rows = failed(rows, "classical", list(range(lost)))
    row = compared(
        comparisons.deltas_table(rows, against_reference(study), NO_OVERLAP), "classical"
    )
    assert (row["num_failed"], row["num_without_images"], row["num_unusable"]) == (lost, 0, lost)
    assert row["verdict"] == verdict
    if verdict == "not judged":
        text = sentence(dict(row), 0.95)
        assert f"is not judged: {lost} of 10 seeds failed" in text


def test_failed_seeds_and_seeds_without_images_count_once(
    trials: pd.DataFrame, study: Params
) -> None:
    rows = rigged(trials, {"classical": 0.05, "dcgan": 0.3}, seeds=10)
    rows = imageless(failed(rows, "classical", [0, 1, 2]), "dcgan", [2, 3, 4])
    row = compared(
        comparisons.deltas_table(rows, against_reference(study), NO_OVERLAP), "classical"
    )
    assert (row["num_failed"], row["num_without_images"], row["num_unusable"]) == (3, 3, 5)
    assert row["verdict"] == "not judged"
    assert "5 of 10 seeds failed or had no synthetic image" in sentence(dict(row), 0.95)


@pytest.mark.parametrize(
    ("lost", "verdict"), [(4, "no evidence"), (5, "not judged"), (10, "not judged")]
)
def test_a_warm_start_whose_generator_failed_is_not_judged(
    lost: int, verdict: str, trials: pd.DataFrame, study: Params
) -> None:
    per_class = study.arms["classical"].per_class
    warm = WarmStartArm.model_validate({"inputs": "models/dcgan", "per_class": per_class})
    params = small(study)
    params = params.model_copy(update={"arms": params.arms | {"warm": warm}})
    added = trials[trials["arm"] == "classical"].assign(arm="warm")
    rows = rigged(pd.concat([trials, added], ignore_index=True), {"warm": 0.3}, seeds=10)
    assert judged(failed(rows, "warm", list(range(lost))), params)["warm"] == verdict


def test_an_arm_that_measures_stays_a_measure_without_images(
    trials: pd.DataFrame, study: Params
) -> None:
    measured = with_arms(against_reference(study), dcgan={"role": "measure"})
    rows = imageless(rigged(trials, {"dcgan": 0.1}, seeds=10), "dcgan", list(range(10)))
    table = comparisons.deltas_table(rows, measured, NO_OVERLAP)
    assert set(table[table["arm"] == "dcgan"]["verdict"]) == {"measure"}
    assert set(table[table["arm"] == "dcgan"]["num_without_images"]) == {10}


def test_with_too_few_seeds_for_a_test_an_arm_without_images_is_exploratory(
    trials: pd.DataFrame, study: Params
) -> None:
    rows = imageless(rigged(trials, {}, seeds=5), "dcgan", list(range(5)))
    assert judged(rows, small(study))["dcgan"] == "exploratory"


@pytest.mark.parametrize("lose", [failed, imageless])
@pytest.mark.parametrize(("gap", "counted"), [(-0.2, 0.0), (0.1, -0.1)])
def test_a_seed_that_gave_nothing_never_counts_in_favor_against_the_reference(
    lose: Callable[[pd.DataFrame, str, list[int]], pd.DataFrame],
    gap: float,
    counted: float,
    trials: pd.DataFrame,
    study: Params,
) -> None:
    rows = rigged(trials, {"dcgan": 0.3, "classical": gap}, seeds=10)
    for metric in ("accuracy", "log_loss"):
        rows.loc[:, metric] = rows[metric].round(1)  # without noise
    lost = lose(rows, "dcgan", [0, 1, 2])
    table = comparisons.deltas_table(lost, against_reference(study), NO_OVERLAP)
    row = compared(table, "classical")
    assert row["delta"] == pytest.approx((3 * counted + 7 * (0.3 - gap)) / 10)
    assert row["num_without_images"] == 3
    # Of a loss the reference that harms is the one with less of it: what is lower is better.
    mirrored = {-0.2: 0.2, 0.1: 0.0}[gap]
    loss = compared(table, "classical", "log_loss")
    assert loss["delta"] == pytest.approx((3 * mirrored + 7 * (0.3 - gap)) / 10)
    # Against the baseline nothing is limited: a failed seed is no difference.
    kept = 0.0 if lose is failed else 0.3
    assert compared(table, "real")["delta"] == pytest.approx((3 * kept + 7 * 0.3) / 10)


@pytest.mark.parametrize(
    ("reference", "arm", "verdict"),
    [(-0.1, 0.0, "weak reference"), (-0.1, -0.2, "harm"), (0.1, 0.2, "gain"), (0.0, 0.1, "gain")],
)
def test_a_gain_over_a_reference_below_the_baseline_is_none(
    reference: float, arm: float, verdict: str, trials: pd.DataFrame, study: Params
) -> None:
    rows = rigged(trials, {"dcgan": arm, "classical": reference}, seeds=10)
    if reference == 0.0:
        seeds = rows["arm"].eq("classical")
        real = rows[rows["arm"].eq("real")].set_index(["classifier", "budget", "seed"])["accuracy"]
        keys = [tuple(key) for key in rows.loc[seeds, ["classifier", "budget", "seed"]].to_numpy()]
        rows.loc[seeds, "accuracy"] = [real[key] for key in keys]
    table = comparisons.deltas_table(rows, against_reference(study), NO_OVERLAP)
    row = compared(table, "classical")
    assert row["verdict"] == verdict
    assert row["p_holm"] == holm([row["p_value"]])[0]
    if verdict == "weak reference":
        text = sentence(dict(row), 0.95)
        assert "dcgan is better than classical, which is itself worse than the baseline" in text
        assert "this is no evidence for the generated images" in text
        # A lower loss is better: here the arm has the higher one.
        lower = compared(table, "classical", "log_loss")
        assert (lower["delta"] > 0, lower["verdict"]) == (True, "harm")


def rights(rows: pd.DataFrame) -> dict[Trial, np.ndarray]:
    """Made-up rights of 50 test images for every trial of `rows`."""
    from pipeline.trials.grid import Replicate

    rng = np.random.default_rng(1)
    return {
        Trial(row["classifier"], row["arm"], Replicate(row["budget"], row["seed"])): rng.random(50)
        < row["accuracy"]
        for _, row in rows.iterrows()
    }


def test_the_sensitivity_line_leaves_failed_seeds_out(trials: pd.DataFrame, study: Params) -> None:
    rows = failed(rigged(trials, {"dcgan": 0.1}), "dcgan", [1, 4, 7])
    params = small(study)
    params = params.model_copy(
        update={"study": params.study.model_copy(update={"seeds": list(range(12))})}
    )
    table = diagnostics_table(rows, rights(rows), params, NO_OVERLAP)
    row = table[table["arm"] == "dcgan"].iloc[0]
    assert row["completed_n"] == 9
    assert row["completed_delta"] == pytest.approx(0.1, abs=2e-3)
    assert row["completed_low"] < row["completed_delta"] < row["completed_high"]
    assert table[table["arm"] == "classical"].iloc[0]["completed_n"] == 12


def test_when_every_seed_failed_nothing_is_left_and_nothing_breaks(
    trials: pd.DataFrame, study: Params
) -> None:
    rows = failed(rigged(trials, {}), "dcgan", list(range(12)))
    params = small(study)
    params = params.model_copy(
        update={"study": params.study.model_copy(update={"seeds": list(range(12))})}
    )
    table = diagnostics_table(rows, rights(rows), params, NO_OVERLAP)
    row = table[table["arm"] == "dcgan"].iloc[0]
    assert row["completed_n"] == 0
    assert np.isnan(row["completed_delta"])
    assert judged(rows, params)["dcgan"] == "not judged"


def test_diagnostics_agree_with_the_functions_they_come_from(
    found: tables.ScoredTrials, trials: pd.DataFrame, study: Params
) -> None:
    correct = tables.correct_mask(found)
    table = diagnostics_table(trials, correct, study, NO_OVERLAP | {2: 0.25})
    assert len(table) == 2 * 2 * (7 + 2)
    for _, row in table.iterrows():
        arm, baseline = (
            np.stack(
                [
                    correct[trial]
                    for trial in sorted(correct, key=lambda each: each.replicate.seed)
                    if (trial.classifier, trial.arm, trial.replicate.budget)
                    == (row["classifier"], row[side], row["budget"])
                ]
            )
            for side in ("arm", "baseline")
        )
        overlap = 0.25 if row["budget"] == 2 else 0.0
        interval = statistics.two_level_interval(arm.astype(int) - baseline, 0.95, overlap)
        found_ends = (row["new_images_low"], row["new_images_high"])
        assert found_ends == pytest.approx((interval.low, interval.high), rel=0.1, abs=1e-3)
        significant = [
            statistics.mcnemar_p(*pair) <= 0.05 for pair in zip(arm, baseline, strict=True)
        ]
        assert row["mcnemar_better"] + row["mcnemar_worse"] == sum(significant)
        assert row["overlap"] == overlap


def test_an_arm_is_worth_the_labels_that_give_its_accuracy(
    trials: pd.DataFrame, study: Params
) -> None:
    rows = trials.copy()
    slope = 0.1 * np.log2(rows["budget"])
    noise = np.random.default_rng(0).normal(0, 1e-4, len(rows))
    rows["accuracy"] = 0.5 + slope + 0.05 * (rows["arm"] == "dcgan") + noise
    rows.loc[rows["arm"] == "classical", "accuracy"] = 0.95 + noise[rows["arm"] == "classical"]
    deltas = comparisons.deltas_table(rows, study, NO_OVERLAP)
    table = label_equivalent_table(rows, deltas, study, NO_OVERLAP)
    assert set(table["arm"]) == CLAIMS
    assert set(table["verdict"]) == {"exploratory"}
    assert set(table["least"]) == {2}
    assert set(table["most"]) == {8}
    pd.testing.assert_series_equal(table["worth"], table["label_equivalent"], check_names=False)
    by_arm = table[table["budget"] == 2].groupby("arm")["label_equivalent"].mean()
    assert by_arm["dcgan"] == pytest.approx(2 * np.sqrt(2), rel=0.02)
    assert by_arm["classical"] == np.inf
    finite = table[np.isfinite(table["worth"])]
    assert finite["worth"].between(2, 8).all()


def test_few_seeds_without_a_difference_are_no_evidence(
    trials: pd.DataFrame, study: Params
) -> None:
    rows = rigged(trials, {}, seeds=6)
    rows["accuracy"] += np.random.default_rng(3).normal(0, 0.02, len(rows))
    assert judged(rows, small(study))["dcgan"] == "no evidence"


def test_diagnostics_name_the_seeds_that_decide(
    found: tables.ScoredTrials, trials: pd.DataFrame, study: Params
) -> None:
    table = diagnostics_table(trials, tables.correct_mask(found), study, NO_OVERLAP)
    sizes = {"real": 12 - 1, "classical": 8}  # claims of a family, without the primary one
    for row in comparisons.rows_of(table):
        size = 1
        if row["arm"] in CLAIMS:
            size = sizes[row["baseline"]]
        elif row["arm"] in NULL_ROLES:
            size = 8
        if (row["classifier"], row["arm"], row["budget"]) == ("cnn", "dcgan", 2):
            size = 1 if row["baseline"] == "real" else size
        assert row["seeds_to_decide"] == statistics.seeds_for_sign_test(0.05, size)
        scores = trials[(trials["classifier"] == row["classifier"])]
        arm, baseline = (
            scores[(scores["arm"] == row[side]) & (scores["budget"] == row["budget"])]
            .sort_values("seed")["accuracy"]
            .to_numpy()
            for side in ("arm", "baseline")
        )
        expected = statistics.seeds_for_power(arm - baseline, 1 - 0.95)
        assert row["seeds_for_power"] == pytest.approx(expected, nan_ok=True)


def test_one_budget_alone_has_no_curve_and_no_worth(trials: pd.DataFrame, study: Params) -> None:
    params = small(study)
    deltas = comparisons.deltas_table(trials, params, NO_OVERLAP)
    assert label_equivalent_table(trials, deltas, params, NO_OVERLAP).empty


def test_the_headline_has_the_accuracy_of_every_arm(deltas: pd.DataFrame, study: Params) -> None:
    numbers = comparisons.headline(deltas, study)
    assert set(numbers) == {"cnn", "lgbm"}
    for classifier in numbers.values():
        assert set(classifier) == {"budget_2", "budget_4"}
        for arms in classifier.values():
            assert set(arms) == set(study.arms)
    rows = comparisons.main_rows(deltas, study)
    row = rows[(rows["classifier"] == "cnn") & (rows["arm"] == "dcgan") & (rows["budget"] == 2)]
    shown = numbers["cnn"]["budget_2"]["dcgan"]
    assert shown["accuracy"] == pytest.approx(row["mean_arm"].item(), abs=1e-6)
    assert shown["delta"] == pytest.approx(row["delta"].item(), abs=1e-6)


def test_the_headline_of_one_seed_has_no_interval(trials: pd.DataFrame, study: Params) -> None:
    table = comparisons.deltas_table(trials[trials["seed"] == 0], study, NO_OVERLAP)
    assert set(table["n"]) == {1}
    headline = comparisons.headline(table, study)
    assert set(headline["cnn"]["budget_2"]["dcgan"]) == {"accuracy", "delta"}


def test_the_least_adjusted_p_is_what_holm_leaves_of_unanimous_seeds(study: Params) -> None:
    grid = study.study.model_copy(update={"seeds": list(range(10))})
    family = 3 * 2 * 2 - 1
    unanimous = [sign_flip_p(np.linspace(0.01, 0.02, 10))] * family
    least = comparisons.least_adjusted_p(study.model_copy(update={"study": grid}))
    assert least == pytest.approx(holm(unanimous)[0])


def test_with_a_test_set_per_seed_there_is_no_interval_over_new_images(
    found: tables.ScoredTrials, trials: pd.DataFrame, study: Params
) -> None:
    test = HoldOutParams(frac=0.3, per_seed=True)
    data = study.data.model_copy(update={"test_per_class": None, "test": test})
    params = study.model_copy(update={"data": data})
    # Test sets of different sizes, as groups give them.
    correct = {
        trial: mask[: len(mask) - trial.replicate.seed]
        for trial, mask in tables.correct_mask(found).items()
    }
    table = diagnostics_table(trials, correct, params, NO_OVERLAP)
    assert table[["new_images_low", "new_images_high"]].isna().all(axis=None)
    shared = diagnostics_table(trials, tables.correct_mask(found), study, NO_OVERLAP)
    assert list(table) == list(shared)
    assert table["completed_low"].equals(shared["completed_low"])
    assert table[["mcnemar_better", "mcnemar_worse"]].notna().all(axis=None)

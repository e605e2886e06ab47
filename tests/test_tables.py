"""Tables from hand-made results: complete, paired by seed, corrected over the declared family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import tables
from pipeline.errors import IntegrityError
from pipeline.metrics import METRICS
from pipeline.params import Params
from pipeline.stats import holm, sign_flip_p, t_interval
from pipeline.store import write_npz
from pipeline.trials import Trial, expected_trials

Found = list[tuple[Trial, dict[str, np.ndarray]]]


@pytest.fixture(scope="module")
def found(finished_study: Path, study: Params) -> Found:
    return list(tables.read_trials(study, finished_study))


@pytest.fixture(scope="module")
def trials(found: Found) -> pd.DataFrame:
    return tables.trials_table("toy", found)


@pytest.fixture(scope="module")
def deltas(trials: pd.DataFrame, study: Params) -> pd.DataFrame:
    return tables.deltas_table(trials, study)


def without(params: Params, **changes: Any) -> Params:
    return params.model_copy(update={"report": params.report.model_copy(update=changes)})


def test_exactly_the_expected_trials_are_read(found: Found, study: Params) -> None:
    assert [trial for trial, _ in found] == expected_trials(study)


@pytest.mark.parametrize("position", [0, 17, -1])
def test_a_missing_trial_stops_the_report_by_name(
    position: int, project: Path, study: Params
) -> None:
    missing = expected_trials(study)[position]
    (project / "results" / missing.file()).unlink()
    with pytest.raises(IntegrityError) as refused:
        list(tables.read_trials(study, project))
    text = str(refused.value)
    assert f"results/{missing.file().as_posix()}" in text
    assert "expected 96 trials, found 95" in text


def test_stray_results_are_ignored(project: Path, study: Params, trials: pd.DataFrame) -> None:
    arrays = {"labels": np.zeros(60, dtype=np.int64), "probabilities": np.ones((60, 3)) / 3}
    for place in (
        "real/budget-0002/seed-77.cnn.npz",
        "real/budget-0099/seed-00.cnn.npz",
        "former_arm/budget-0002/seed-00.cnn.npz",
        "real/budget-0002/seed-00.svm.npz",
    ):
        write_npz(project / "results" / place, **arrays)
    (project / "results/notes.txt").write_text("mine")
    again = tables.trials_table("toy", list(tables.read_trials(study, project)))
    pd.testing.assert_frame_equal(again, trials)


def test_every_trial_has_a_row_with_its_metrics_and_sizes(
    trials: pd.DataFrame, found: Found
) -> None:
    assert len(trials) == len(found)
    for (_, row), (trial, arrays) in zip(trials.iterrows(), found, strict=True):
        assert (row["classifier"], row["arm"]) == (trial.classifier, trial.arm)
        assert (row["budget"], row["seed"]) == (trial.replicate.budget, trial.replicate.seed)
        for name, metric in METRICS.items():
            assert row[name] == metric.compute(arrays["labels"], arrays["probabilities"])
        assert row["num_train"] == arrays["num_train"]


def test_filters_are_counted_once_per_arm_and_replicate(found: Found, study: Params) -> None:
    counted = tables.filters_table(found)
    assert len(counted) == 3 * 2 * 4
    assert set(counted["arm"]) == {"dcgan", "dcgan_classical", "dcgan_only"}
    filtered = counted[counted["arm"] == "dcgan"]
    assert (filtered["num_rejected"] == filtered["seed"]).all()
    assert (counted[counted["arm"] != "dcgan"]["num_rejected"] == 0).all()


def test_without_synthetic_images_the_table_of_filters_is_empty(found: Found) -> None:
    table = tables.filters_table([each for each in found if each[0].arm == "real"])
    assert table.empty
    assert "num_rejected" in table


def test_every_comparison_is_there_once(deltas: pd.DataFrame, study: Params) -> None:
    keys = deltas[tables.COMPARISON]
    assert not keys.duplicated().any()
    against_baseline = deltas[deltas["baseline"] == "real"]
    assert len(against_baseline) == len(METRICS) * 2 * 2 * len(study.arms)
    against_rival = deltas[deltas["baseline"] == "classical"]
    assert set(against_rival["arm"]) == {"dcgan", "dcgan_classical"}
    assert len(against_rival) == len(METRICS) * 2 * 2 * 2


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
    pd.testing.assert_frame_equal(tables.deltas_table(shuffled, study), deltas)


def test_baseline_rows_are_zero(deltas: pd.DataFrame) -> None:
    rows = deltas[deltas["arm"] == deltas["baseline"]]
    assert len(rows) == len(METRICS) * 2 * 2
    assert (rows[["delta", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (rows[["p_value", "p_holm"]] == 1).all(axis=None)
    assert set(rows["verdict"]) == {"baseline"}
    assert "baseline" not in set(deltas[deltas["arm"] != deltas["baseline"]]["verdict"])


def family(deltas: pd.DataFrame, baseline: str, metric: str) -> pd.DataFrame:
    """Rows that claim something: no control, not the baseline itself, not the primary one."""
    rows = deltas[(deltas["baseline"] == baseline) & (deltas["metric"] == metric)]
    rows = rows[~rows["arm"].isin(["oversample", "dcgan_only", baseline])]
    primary = (rows["classifier"] == "cnn") & (rows["arm"] == "dcgan") & (rows["budget"] == 2)
    return rows[~primary] if (baseline, metric) == ("real", "accuracy") else rows


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("baseline", "size"), [("real", 12), ("classical", 8)])
def test_holm_runs_over_what_claims_something(
    baseline: str, size: int, metric: str, deltas: pd.DataFrame
) -> None:
    rows = family(deltas, baseline, metric)
    assert len(rows) == size - ((baseline, metric) == ("real", "accuracy"))
    assert rows["p_holm"].tolist() == pytest.approx(holm(rows["p_value"].tolist()))


def test_the_primary_comparison_keeps_its_p_value_and_controls_claim_nothing(
    deltas: pd.DataFrame,
) -> None:
    corrected = {
        index
        for baseline in ("real", "classical")
        for metric in METRICS
        for index in family(deltas, baseline, metric).index
    }
    control = deltas["arm"].isin(["oversample", "dcgan_only"])
    assert deltas.loc[control, "p_holm"].isna().all()
    assert set(deltas.loc[control, "verdict"]) == {"control"}
    kept = deltas[~deltas.index.isin(corrected) & ~control]
    assert (kept["p_holm"] == kept["p_value"]).all()
    primary = kept[(kept["arm"] == "dcgan") & (kept["metric"] == "accuracy")]
    assert primary[["classifier", "budget"]].to_numpy().tolist() == [["cnn", 2]]


@pytest.mark.parametrize("rival", [None, "real"])
def test_without_a_rival_there_is_one_baseline(
    rival: str | None, trials: pd.DataFrame, study: Params
) -> None:
    table = tables.deltas_table(trials, without(study, rival=rival))
    assert set(table["baseline"]) == {"real"}
    assert not table[tables.COMPARISON].duplicated().any()


def rigged(trials: pd.DataFrame, gap: float) -> pd.DataFrame:
    """Twelve seeds in which `dcgan` differs from `real` by about `gap` in every metric."""
    rows = trials[trials["seed"] == 0]
    grown = pd.concat([rows.assign(seed=seed) for seed in range(12)], ignore_index=True)
    noise = np.random.default_rng(0).normal(0, 0.001, len(grown))
    for metric in METRICS:
        grown[metric] = 0.5 + gap * (grown["arm"] == "dcgan") + noise
    return grown


@pytest.mark.parametrize(
    ("gap", "if_higher_is_better", "if_lower_is_better"),
    [(0.1, "gain", "harm"), (-0.1, "harm", "gain")],
)
def test_verdicts_know_the_direction_of_each_metric(
    gap: float, if_higher_is_better: str, if_lower_is_better: str,
    trials: pd.DataFrame, study: Params,
) -> None:  # fmt: skip
    table = tables.deltas_table(rigged(trials, gap), small(study))
    for _, row in table[table["arm"] == "dcgan"].iterrows():
        higher = METRICS[row["metric"]].higher_is_better
        assert row["verdict"] == (if_higher_is_better if higher else if_lower_is_better)


def test_only_shares_can_be_too_small_to_matter(trials: pd.DataFrame, study: Params) -> None:
    table = tables.deltas_table(rigged(trials, 0.0), small(study))
    for _, row in table[table["arm"] == "dcgan"].iterrows():
        share = METRICS[row["metric"]].is_share
        assert row["verdict"] == ("equivalent" if share else "no evidence")


def small(params: Params) -> Params:
    """The part of the study around its primary comparison."""
    return params.model_copy(
        update={
            "arms": {name: params.arms[name] for name in ("real", "dcgan")},
            "classifiers": {"cnn": params.classifiers["cnn"]},
            "study": params.study.model_copy(update={"budgets": [2]}),
            "report": params.report.model_copy(update={"rival": None}),
        }
    )


def test_the_headline_has_the_accuracy_of_every_arm(deltas: pd.DataFrame, study: Params) -> None:
    numbers = tables.headline(deltas, study)
    assert set(numbers) == {"cnn", "lgbm"}
    for classifier in numbers.values():
        assert set(classifier) == {"budget_2", "budget_4"}
        for arms in classifier.values():
            assert set(arms) == set(study.arms)
    rows = tables.main_rows(deltas, study)
    row = rows[(rows["classifier"] == "cnn") & (rows["arm"] == "dcgan") & (rows["budget"] == 2)]
    shown = numbers["cnn"]["budget_2"]["dcgan"]
    assert shown["accuracy"] == pytest.approx(row["mean_arm"].item(), abs=1e-6)
    assert shown["delta"] == pytest.approx(row["delta"].item(), abs=1e-6)


def test_the_headline_of_one_seed_has_no_interval(trials: pd.DataFrame, study: Params) -> None:
    table = tables.deltas_table(trials[trials["seed"] == 0], study)
    assert set(table["n"]) == {1}
    assert set(tables.headline(table, study)["cnn"]["budget_2"]["dcgan"]) == {"accuracy", "delta"}


def test_the_score_of_synthetic_images_alone_comes_from_the_arm_that_has_it(
    project: Path, study: Params, trials: pd.DataFrame
) -> None:
    table = tables.fidelity_table(study, project, trials)
    assert len(table) == 8
    only = trials[(trials["arm"] == "dcgan_only") & (trials["classifier"] == "cnn")]
    for _, row in table.iterrows():
        chosen = only[(only["budget"] == row["budget"]) & (only["seed"] == row["seed"])]
        assert row["cas"] == chosen["accuracy"].item()


def test_without_an_arm_of_synthetic_images_alone_the_score_is_empty(
    project: Path, study: Params, trials: pd.DataFrame
) -> None:
    arms = {name: arm for name, arm in study.arms.items() if name != "dcgan_only"}
    table = tables.fidelity_table(study.model_copy(update={"arms": arms}), project, trials)
    assert table["cas"].isna().all()
    assert table["frechet"].notna().all()


def test_confusions_are_summed_over_seeds(found: Found) -> None:
    sums = tables.confusions(found, 2)
    assert set(sums) == {(trial.classifier, trial.arm) for trial, _ in found}
    for counts in sums.values():
        np.testing.assert_array_equal(counts.sum(axis=1), [4 * 20] * 3)
    assert tables.confusions(found, 99) == {}


def test_seconds_become_images_per_second_for_generators(project: Path, study: Params) -> None:
    table = tables.timings_table(study, project)
    assert len(table) == 8
    np.testing.assert_allclose(table["images_per_s"] * table["seconds"], 5 * 4)


def test_seconds_of_outputs_that_came_from_elsewhere_are_left_out(
    project: Path, study: Params
) -> None:
    file = next((project / "models").rglob("*.safetensors"))
    file.write_bytes(b"restored from another run")
    assert len(tables.timings_table(study, project)) == 7


def test_without_recorded_seconds_the_table_is_empty(study: Params, tmp_path: Path) -> None:
    assert tables.timings_table(study, tmp_path).empty


def test_the_least_adjusted_p_is_what_holm_leaves_of_unanimous_seeds(study: Params) -> None:
    grid = study.study.model_copy(update={"seeds": list(range(10))})
    comparisons = 3 * 2 * 2 - 1
    unanimous = [sign_flip_p(np.linspace(0.01, 0.02, 10))] * comparisons
    least = tables.least_adjusted_p(study.model_copy(update={"study": grid}))
    assert least == pytest.approx(holm(unanimous)[0])

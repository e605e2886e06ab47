"""The ranking is in order, its intervals hold their means, and what is unknown is blank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Params, load_params
from pipeline.report import comparisons, ranking, tables
from pipeline.runtime.files import read_json, write_json
from pipeline.trials.provenance import manifest_of


def ranked(root: Path, params: Params, trials: pd.DataFrame | None = None) -> pd.DataFrame:
    if trials is None:
        trials = tables.trials_table("toy", list(tables.read_trials(params, root)))
    overlaps = {2: 0.0, 4: 0.0, 8: 0.0}
    deltas = comparisons.deltas_table(trials, params, overlaps)
    fidelity = tables.fidelity_table(params, root, trials)
    return ranking.ranking_table(trials, deltas, fidelity, params, overlaps)


@pytest.fixture(scope="module")
def params(finished_zoo: Path) -> Params:
    return load_params(finished_zoo)


@pytest.fixture(scope="module")
def table(finished_zoo: Path, params: Params) -> pd.DataFrame:
    return ranked(finished_zoo, params)


def test_every_generator_has_a_row_per_budget_the_best_first(table: pd.DataFrame) -> None:
    assert len(table) == len(table.drop_duplicates(["generator", "budget"])) == 3 * 2
    assert table["budget"].is_monotonic_increasing
    for _, rows in table.groupby("budget"):
        assert rows["cas"].dropna().is_monotonic_decreasing
        assert rows["generator"].iloc[-1] == "acgan"  # without a score


def test_intervals_hold_their_means(table: pd.DataFrame, params: Params) -> None:
    scored = table.dropna(subset="cas")
    assert len(scored) == 2 * 2
    assert scored["cas"].between(scored["cas_low"], scored["cas_high"]).all()
    for name in params.classifiers:
        low, high = scored[f"ci_low_{name}"], scored[f"ci_high_{name}"]
        assert scored[f"delta_{name}"].between(low, high).all()


def test_deltas_are_those_of_the_arm_that_adds_the_images(
    table: pd.DataFrame, finished_zoo: Path, params: Params
) -> None:
    trials = tables.trials_table("toy", list(tables.read_trials(params, finished_zoo)))
    means = trials.groupby(["classifier", "arm", "budget"])["accuracy"].mean()
    for _, row in table[table["generator"] != "acgan"].iterrows():
        for name in params.classifiers:
            expected = means[name, row["generator"], row["budget"]]
            expected -= means[name, "real", row["budget"]]
            assert row[f"delta_{name}"] == pytest.approx(expected)


def test_without_arms_score_and_delta_are_blank(table: pd.DataFrame) -> None:
    rows = table[table["generator"] == "acgan"]
    cells = [name for name in table if name.startswith(("cas", "delta", "ci_", "arm"))]
    assert rows[cells].isna().all(axis=None)
    assert rows["label_fidelity"].notna().all()
    assert (rows["num_failed"] == 0).all()


def test_arms_are_found_by_what_they_add(params: Params) -> None:
    assert ranking.only_arm(params, "dcgan") == "dcgan_only"
    assert ranking.adding_arm(params, "dcgan") == "dcgan"
    assert ranking.only_arm(params, "acgan") is ranking.adding_arm(params, "acgan") is None
    moved = {name: arm for name, arm in params.arms.items() if name != "dcgan"}
    others = params.model_copy(update={"arms": moved})
    assert ranking.adding_arm(others, "dcgan") == "dcgan_classical"


def test_seeds_that_came_to_nothing_are_counted_once(zoo: Path, params: Params) -> None:
    files = [
        "results/cvae_only/budget-0002/seed-01.cnn.npz",
        "results/cvae/budget-0002/seed-01.cnn.npz",
        "results/cvae/budget-0002/seed-02.lgbm.npz",
        "data/audit/cvae/budget-0002/seed-01.json",
    ]
    for path in (zoo / file for file in files):
        write_json(manifest_of(path), read_json(manifest_of(path)) | {"failure": ["a", "b", "c"]})
        path.unlink()
    table = ranked(zoo, params).set_index(["generator", "budget"])
    assert table.loc[("cvae", 2), "num_failed"] == 2
    assert table["num_failed"].sum() == 2
    assert (table["n"] == 4).all()
    assert np.isfinite(table.loc[("cvae", 2), "cas"])


def test_one_seed_has_a_score_without_an_interval(zoo: Path, params: Params) -> None:
    one = params.model_copy(update={"study": params.study.model_copy(update={"seeds": [3]})})
    rows = ranked(zoo, one).dropna(subset="cas")
    assert len(rows) == 2 * 2
    assert rows[["cas_low", "cas_high", "ci_low_cnn"]].isna().all(axis=None)


def test_places_are_within_a_budget_and_seconds_are_medians(
    table: pd.DataFrame, finished_zoo: Path, params: Params
) -> None:
    timings = tables.timings_table(params, finished_zoo)
    found = ranking.with_places(table, timings, params)
    for _, rows in found.groupby("budget"):
        assert rows["cas_place"].tolist()[:2] == [1, 2]
        best = rows.loc[rows["delta_cnn"].idxmax()]
        assert best["delta_place"] == 1
        assert rows["delta_place"].notna().sum() == 2
    assert (found["seconds"] == 2.5).all()  # of 1, 2, 3 and 4
    none = ranking.with_places(table, timings[:0], params)
    assert none["seconds"].isna().all()


def test_a_generator_of_which_a_seed_failed_has_no_place(
    table: pd.DataFrame, params: Params
) -> None:
    lost = table.assign(num_failed=table["num_failed"].where(table["generator"] != "dcgan", 1))
    timings = pd.DataFrame(columns=tables.TIMING_COLUMNS)
    found = ranking.with_places(lost, timings, params).set_index("generator")
    assert found.loc["dcgan", ["cas_place", "delta_place"]].isna().all(axis=None)
    assert (found.loc["cvae", ["cas_place", "delta_place"]] == 1).all(axis=None)


def test_equal_scores_share_a_place(table: pd.DataFrame, params: Params) -> None:
    equal = table.assign(cas=0.5)
    timings = pd.DataFrame(columns=tables.TIMING_COLUMNS)
    assert (ranking.with_places(equal, timings, params)["cas_place"] == 1).all()


def test_the_best_of_every_kind_is_chosen_if_there_are_two(table: pd.DataFrame) -> None:
    kinds = {"dcgan": "adversarial", "acgan": "adversarial", "cvae": "autoencoder"}
    best = ranking.champions(table, kinds, 2)
    assert best == {"adversarial": "dcgan", "autoencoder": "cvae"}
    assert list(best.values()) == table[table["budget"] == 2]["generator"].tolist()[:2]
    assert ranking.champions(table, kinds | {"cvae": "adversarial"}, 2) == {}
    assert ranking.champions(table, {"acgan": "adversarial", "cvae": "autoencoder"}, 2) == {}
    assert ranking.champions(table, kinds, 99) == {}


def test_arms_for_some_classifiers_are_blank_for_the_others(zoo: Path, params: Params) -> None:
    arms = {
        name: arm.model_copy(update={"classifiers": ["cnn"]}) if arm.generator == "cvae" else arm
        for name, arm in params.arms.items()
    }
    arms["acgan"] = arms["dcgan"].model_copy(update={"inputs": "data/synthetic/acgan"})
    some = params.model_copy(update={"arms": arms})
    trials = tables.trials_table("toy", list(tables.read_trials(params, zoo)))
    trials = pd.concat([trials, trials[trials["arm"] == "dcgan"].assign(arm="acgan")])
    table = ranked(zoo, some, trials).set_index("generator")
    assert table.loc["cvae", "delta_cnn"].notna().all()
    assert table.loc["cvae", "delta_lgbm"].isna().all()
    assert table.loc["dcgan", "delta_lgbm"].notna().all()
    assert ranking.learners(some) == ["cnn", "lgbm"]


def test_classifiers_that_no_images_were_added_for_have_no_columns(params: Params) -> None:
    arms = {
        name: arm.model_copy(update={"classifiers": ["lgbm"]}) if arm.generator else arm
        for name, arm in params.arms.items()
    }
    others = params.model_copy(update={"arms": arms})
    assert ranking.learners(others) == ["lgbm"]
    assert ranking.only_arm(others, "dcgan") is None
    assert ranking.adding_arm(others, "dcgan") == "dcgan"
    real = {name: arm for name, arm in params.arms.items() if not arm.generator}
    assert ranking.learners(params.model_copy(update={"arms": real})) == []


def test_a_classifier_of_one_generator_among_several_ranks_nothing(params: Params) -> None:
    arms = {
        name: arm.model_copy(update={"classifiers": ["cnn"]}) if arm.generator == "cvae" else arm
        for name, arm in params.arms.items()
    }
    assert ranking.learners(params.model_copy(update={"arms": arms})) == ["cnn"]
    alone = {name: arm for name, arm in arms.items() if arm.generator != "cvae"}
    assert ranking.learners(params.model_copy(update={"arms": alone})) == ["cnn", "lgbm"]


def test_without_any_delta_there_is_no_place_by_it(table: pd.DataFrame, params: Params) -> None:
    real = {name: arm for name, arm in params.arms.items() if not arm.generator}
    bare = params.model_copy(update={"arms": real})
    timings = pd.DataFrame(columns=tables.TIMING_COLUMNS)
    assert ranking.with_places(table, timings, bare)["delta_place"].isna().all()

"""Tables from hand-made results: complete, failures in their place, audits averaged by nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import HoldOutParams, Params, TeacherParams, load_params
from pipeline.evaluation.metrics import METRICS
from pipeline.report import comparisons, families, ranking, tables, teachers
from pipeline.runtime.errors import DivergedError, IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz, write_json, write_npz
from pipeline.stages import prepare
from pipeline.trials.grid import Replicate, Trial, expected_trials, replicates
from pipeline.trials.provenance import manifest_of
from pipeline.trials.store import TIMINGS

FAILED = Trial("cnn", "dcgan", Replicate(2, 1))


@pytest.fixture(scope="module")
def found(finished_study: Path, study: Params) -> tables.ScoredTrials:
    return list(tables.read_trials(study, finished_study))


@pytest.fixture(scope="module")
def trials(found: tables.ScoredTrials) -> pd.DataFrame:
    return tables.trials_table("toy", found)


def test_exactly_the_expected_trials_are_read(found: tables.ScoredTrials, study: Params) -> None:
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
    assert "expected 136 trials, found 135" in text


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
    trials: pd.DataFrame, found: tables.ScoredTrials
) -> None:
    assert len(trials) == len(found)
    for (_, row), (trial, arrays) in zip(trials.iterrows(), found, strict=True):
        assert (row["classifier"], row["arm"]) == (trial.classifier, trial.arm)
        assert (row["budget"], row["seed"]) == (trial.replicate.budget, trial.replicate.seed)
        for name in METRICS.keys() & trials.columns:
            score = METRICS[name].compute(arrays["labels"], arrays["probabilities"])
            assert row[name] == score
        assert row["num_train"] == arrays["num_train"]


def test_filters_are_counted_once_per_arm_and_replicate(
    found: tables.ScoredTrials, study: Params
) -> None:
    counted = tables.filters_table(found)
    assert len(counted) == 4 * 2 * 4
    assert set(counted["arm"]) == {"dcgan", "dcgan_classical", "dcgan_only", "shuffled"}
    filtered = counted[counted["arm"] == "dcgan"]
    assert (filtered["num_rejected"] == filtered["seed"]).all()
    assert (counted[counted["arm"] != "dcgan"]["num_rejected"] == 0).all()


def test_what_was_fixed_or_chosen_is_told_of_every_replicate_with_images(
    project: Path, study: Params
) -> None:
    path = project / "data/synthetic/dcgan/budget-0002/seed-01.npz"
    write_npz(
        path, **read_npz(path) | {"latent_std": np.array(1.5), "min_probability": np.array(0.9)}
    )
    failed = manifest_of(project / "data/synthetic/dcgan/budget-0004/seed-00.npz")
    write_json(failed, read_json(failed) | {"failure": ["where", "what", "fix"]})
    table = tables.tuning_table(study, project)
    names = ["generator", "budget", "seed", "latent_std", "confidence", "min_probability"]
    assert list(table.columns) == names
    assert len(table) == 8 - 1
    other = table[(table["budget"] == 2) & (table["seed"] == 1)]
    assert other[["latent_std", "confidence"]].to_numpy().tolist() == [[1.5, 0.9]]
    rest = table.drop(other.index)
    assert set(rest["latent_std"]) == {1.0}
    assert set(rest["confidence"]) == {0.5}
    assert (table["min_probability"] == table["confidence"]).all()


def test_without_synthetic_images_the_table_of_filters_is_empty(found: tables.ScoredTrials) -> None:
    table = tables.filters_table([each for each in found if each[0].arm == "real"])
    assert table.empty
    assert "num_rejected" in table


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


def test_confusions_are_summed_over_seeds(found: tables.ScoredTrials) -> None:
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
    file = next((project / "models/dcgan").rglob("*.manifest.json"))
    file.write_bytes(b"restored from another run")
    assert len(tables.timings_table(study, project)) == 7


def test_the_seconds_of_the_judge_are_there(project: Path, study: Params) -> None:
    before = tables.timings_table(study, project)
    file = project / "data/judge/judge.manifest.json"
    write_json(file, {})
    row = {"stage": "train_judge", "item": "judge", "seconds": 3.0, "sha256": file_digest(file)}
    write_json(
        project / TIMINGS / "train_judge.json", [row | {"file": "data/judge/judge.manifest.json"}]
    )
    table = tables.timings_table(study, project)
    assert len(table) == len(before) + 1
    judge = table[table["item"] == "judge"].iloc[0]
    assert (judge["stage"], judge["seconds"]) == ("train_judge", 3.0)
    assert judge[["budget", "seed"]].isna().all()
    others = table[table["item"] != "judge"]
    assert set(others["budget"]) == set(before["budget"])
    assert str(table["budget"].dtype) == "Int64"  # whole numbers in the file


def test_without_recorded_seconds_the_table_is_empty(study: Params, tmp_path: Path) -> None:
    assert tables.timings_table(study, tmp_path).empty


def fail(project: Path, trial: Trial) -> None:
    """Leave what a failed trial leaves: a manifest with the reason, and no result."""
    path = project / "results" / trial.file()
    error = DivergedError("step 3 of 5", "expected a finite loss, found nan", "lower the rate")
    record = read_json(manifest_of(path)) | {"failure": list(error.args), "outputs": {}}
    write_json(manifest_of(path), record | {"consumed": {}})
    path.unlink()


def test_a_failed_trial_keeps_its_place_with_the_score_of_the_baseline(
    project: Path, study: Params, trials: pd.DataFrame
) -> None:
    fail(project, FAILED)
    table = tables.trials_table("toy", list(tables.read_trials(study, project)))
    assert len(table) == len(trials)
    names = ["classifier", "arm", "budget", "seed"]
    rows = table.set_index(names).sort_index()
    assert rows["failed"].sum() == 1
    fallen, baseline = rows.loc[("cnn", "dcgan", 2, 1)], rows.loc[("cnn", "real", 2, 1)]
    assert fallen["failed"]
    for metric in METRICS.keys() & rows.columns:
        assert fallen[metric] == baseline[metric]
    assert fallen["num_made"] == 0
    others = rows.drop(("cnn", "dcgan", 2, 1))
    pd.testing.assert_frame_equal(
        others, trials.set_index(names).sort_index().drop(("cnn", "dcgan", 2, 1))
    )


def test_a_failed_trial_is_listed_with_its_reason(project: Path, study: Params) -> None:
    assert tables.failures_table(study, project).empty
    fail(project, FAILED)
    table = tables.failures_table(study, project)
    assert len(table) == 1
    assert table.loc[0, "reason"] == "step 3 of 5: expected a finite loss, found nan"
    assert (table.loc[0, "budget"], table.loc[0, "seed"]) == (2, 1)


def test_a_failed_baseline_stops_the_report_when_it_is_needed(project: Path, study: Params) -> None:
    fail(project, Trial("cnn", "real", Replicate(2, 1)))
    with pytest.raises(IntegrityError, match="a trial of the baseline that did not fail"):
        list(tables.read_trials(study, project))


def test_a_failed_generator_has_no_audit_and_no_cas(project: Path, study: Params) -> None:
    fail(project, Trial("cnn", "dcgan_only", Replicate(2, 1)))
    audit = project / "data/audit/dcgan/budget-0002/seed-01.json"
    record = read_json(manifest_of(audit)) | {"failure": ["a", "b", "c"]}
    write_json(manifest_of(audit), record)
    audit.unlink()
    trials = tables.trials_table("toy", list(tables.read_trials(study, project)))
    table = tables.fidelity_table(study, project, trials)
    assert len(table) == 8
    row = table[(table["budget"] == 2) & (table["seed"] == 1)].iloc[0]
    assert np.isnan(row["label_fidelity"])
    assert np.isnan(row["cas"])
    assert row["flags"] == ""
    assert len(tables.classes_table(study, project)) == 7 * 3


def test_overlap_of_subsets_is_the_share_of_common_images(project: Path, study: Params) -> None:
    overlaps = tables.subset_overlaps(study, project)
    assert set(overlaps) == {2, 4, 8}
    subsets = [
        set(np.load(project / f"data/splits/subsets/budget-0008/seed-{seed:02d}.npz")["index"])
        for seed in range(4)
    ]
    shares = [len(one & other) / 24 for k, one in enumerate(subsets) for other in subsets[:k]]
    assert overlaps[8] == pytest.approx(np.mean(shares))


def test_overlap_of_test_sets_counts_where_it_is_larger(study: Params, tmp_path: Path) -> None:
    test = HoldOutParams(frac=0.4, per_seed=True)
    data = study.data.model_copy(update={"test_per_class": None, "test": test})
    params = study.model_copy(update={"data": data})
    prepare.run(params, tmp_path)
    ids = [np.load(tmp_path / f"data/splits/ids/seed-{seed:02d}.npz") for seed in range(4)]
    tests = [set(each["test"].tolist()) for each in ids]
    shares = [len(one & other) / 72 for k, one in enumerate(tests) for other in tests[:k]]
    # The budgets of 2 to 8 of 36 images per class have less in common.
    overlaps = tables.subset_overlaps(params, tmp_path)
    assert overlaps == pytest.approx(dict.fromkeys((2, 4, 8), np.mean(shares)))
    # Nadeau and Bengio (2003): n_test / (n_test + n_train).
    assert np.mean(shares) == pytest.approx(0.4, abs=0.05)


def test_every_class_of_every_generator_is_listed(project: Path, study: Params) -> None:
    table = tables.classes_table(study, project)
    assert len(table) == 8 * 3
    assert {"label_fidelity", "label_fidelity_low", "coverage", "spread", "diversity"} <= set(table)


def test_every_replicate_has_diagnostics_of_its_training(project: Path, study: Params) -> None:
    failed = manifest_of(project / "models/dcgan/budget-0004/seed-00.npz")
    write_json(failed, read_json(failed) | {"failure": ["where", "what", "fix"]})
    table = families.health_table(study, project).set_index(["budget", "seed"])
    assert list(table.reset_index()[families.HEALTH_COLUMNS]) == families.HEALTH_COLUMNS
    assert len(table) == 8
    assert np.isnan(table.loc[(4, 0), "accuracy"])
    assert (table.drop((4, 0))["accuracy"] == 0.75).all()
    assert (table["warnings"] == "").all()
    classes = tables.classes_table(study, project)
    least = classes.groupby(["budget", "seed"])["diversity"].min()
    for name in ("min_diversity", "least_spread"):
        pd.testing.assert_series_equal(table[name].sort_index(), least, check_names=False)


def test_a_renamed_column_stands_under_both_names() -> None:
    for names in (tables.ALIASES.items(), ((new, old) for old, new in tables.ALIASES.items())):
        for name, other in names:
            table = tables.with_aliases(pd.DataFrame({"a": ["x"], name: [0.5]}))
            assert list(table) == ["a", name, other]
            assert table[other].tolist() == [0.5]
            assert tables.with_aliases(table).equals(table)


def test_a_teacher_is_read_under_either_name(project: Path, study: Params) -> None:
    params = study.model_copy(update={"teachers": {"graph": TeacherParams()}})
    numbers = dict.fromkeys(teachers.TEACHER_COLUMNS[3:], 0.5) | {"strangeness_auroc": None}
    renamed = {tables.ALIASES.get(name, name): value for name, value in numbers.items()}
    honest = read_json(next((project / "models/dcgan").rglob("*.manifest.json")))
    seen = []
    for report in (numbers, renamed):
        for replicate in replicates(study.study):
            path = project / "data/audit/graph" / replicate.file(".json")
            write_json(path, report)
            write_json(manifest_of(path), honest)
        seen.append(teachers.teachers_table(params, project))
    pd.testing.assert_frame_equal(*seen)
    assert len(seen[0]) == 8
    assert list(seen[0])[: len(teachers.TEACHER_COLUMNS)] == teachers.TEACHER_COLUMNS
    assert (seen[0]["distance_rank"] == 0.5).all()
    assert seen[0]["ood_auroc"].isna().all()


def test_a_family_says_what_it_is_in_its_manifest() -> None:
    tags = {"stage": "train_generator", "kind": "gan", "loss": "wasserstein"}
    ranges = {"degrees": 10.0}
    spec = {"generator": {"config": {"augmentation": ranges}}}
    manifest = {"tags": tags, "spec": spec}
    assert families.family_facts(manifest) == families.Family("gan", "wasserstein", ranges)


def test_families_are_those_of_finished_generators(zoo: Path) -> None:
    params = load_params(zoo)
    for path in (zoo / "models/acgan").rglob("*.manifest.json"):
        write_json(path, read_json(path) | {"failure": ["a", "b", "c"]})
    first = manifest_of(zoo / "models/dcgan/budget-0002/seed-03.npz")
    write_json(first, read_json(first) | {"failure": ["a", "b", "c"]})
    kinds = {name: family.kind for name, family in families.families(params, zoo).items()}
    assert kinds == {"dcgan": "gan", "cvae": "variational autoencoder"}


def test_a_distance_is_not_judged_by_its_height(zoo: Path) -> None:
    params = load_params(zoo)
    history = zoo / "models/dcgan/budget-0002/seed-03.history.csv"
    history.write_text(history.read_text("utf-8").replace("0.75", "1.0"), "utf-8")
    health = families.health_table(params, zoo).set_index(["generator", "budget", "seed"])
    assert health.loc[("dcgan", 2, 3), "warnings"] == "discriminator_wins"
    manifest = manifest_of(zoo / "models/dcgan/budget-0002/seed-03.npz")
    record = read_json(manifest)
    record["tags"]["loss"] = "wasserstein"
    write_json(manifest, record)
    health = families.health_table(params, zoo).set_index(["generator", "budget", "seed"])
    assert health.loc[("dcgan", 2, 3), "warnings"] == ""


def test_histories_of_finished_replicates_are_joined_the_primary_budget_first(
    project: Path, study: Params
) -> None:
    failed = manifest_of(project / "models/dcgan/budget-0002/seed-01.npz")
    write_json(failed, read_json(failed) | {"failure": ["where", "what", "fix"]})
    losses = tables.read_losses("dcgan", study, project)
    assert losses["budget"].tolist() == [2] * 3 + [4] * 4
    assert 1 not in losses[losses["budget"] == 2]["seed"].tolist()


def test_a_judge_that_is_unknown_is_a_column_and_no_failure(project: Path, study: Params) -> None:
    trials = tables.trials_table("toy", list(tables.read_trials(study, project)))
    assert "unknown" not in tables.fidelity_table(study, project, trials)
    path = project / "data/audit/dcgan/budget-0002/seed-01.json"
    blank = dict.fromkeys(("label_fidelity", "frechet"))
    write_json(path, read_json(path) | blank | {"unknown": "the pool leaves 3 images"})
    table = tables.fidelity_table(study, project, trials)
    assert table.columns[-1] == "unknown"
    found = table.set_index(["budget", "seed"]).loc[(2, 1)]
    assert found["unknown"] == "the pool leaves 3 images"
    assert np.isnan(found["label_fidelity"])

    overlaps = {2: 0.0, 4: 0.0, 8: 0.0}
    deltas = comparisons.deltas_table(trials, study, overlaps)
    ranked = ranking.ranking_table(trials, deltas, table, study, overlaps)
    assert not ranked["num_failed"].any()

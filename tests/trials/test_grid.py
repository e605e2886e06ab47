"""The grid is complete, without repeats, and every trial has a file of its own."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Params, StudyParams
from pipeline.trials.grid import (
    Replicate,
    Trial,
    arm_replicates,
    curve_replicates,
    expected_trials,
    replicates,
)

GRID = st.lists(
    st.tuples(st.integers(1, 30_000), st.integers(0, 2**40)), min_size=2, max_size=20, unique=True
)


def test_every_budget_meets_every_seed_once(study: Params) -> None:
    grid = [(each.budget, each.seed) for each in replicates(study.study)]
    assert sorted(grid) == sorted(itertools.product(study.study.budgets, study.study.seeds))
    assert len(set(grid)) == len(grid)


def test_budgets_go_up_and_seeds_keep_the_order_of_the_params(study: Params) -> None:
    grid = replicates(study.study)
    assert [each.budget for each in grid] == sorted(each.budget for each in grid)
    assert [each.seed for each in grid if each.budget == 2] == study.study.seeds


def test_an_arm_meets_the_classifiers_it_is_for(study: Params) -> None:
    only = study.arms["classical"].model_copy(update={"classifiers": ["lgbm"]})
    chosen = study.model_copy(update={"arms": study.arms | {"classical": only}})
    missing = set(expected_trials(study)) - set(expected_trials(chosen))
    assert {(trial.classifier, trial.arm) for trial in missing} == {("cnn", "classical")}
    assert len(missing) == len(replicates(study.study))


def test_every_classifier_meets_every_arm_in_every_replicate(study: Params) -> None:
    trials = expected_trials(study)
    assert len(set(trials)) == len(trials) == 2 * 8 * 2 * 4 + 2 * 1 * 4
    for classifier, arm, replicate in itertools.product(
        study.classifiers, study.arms, replicates(study.study)
    ):
        assert Trial(classifier, arm, replicate) in trials
    assert {trial.arm for trial in trials} == set(study.arms)
    assert {trial.classifier for trial in trials} == set(study.classifiers)


def test_the_baseline_alone_has_the_budgets_of_the_learning_curve(study: Params) -> None:
    inside, curve = set(study.study.budgets), set(study.study.curve_budgets)
    for arm in study.arms:
        own = {trial.replicate for trial in expected_trials(study) if trial.arm == arm}
        wanted = inside | curve if arm == study.report.baseline else inside
        assert {each.budget for each in own} == wanted
        assert own == set(arm_replicates(study, arm))
        for budget in wanted:
            assert {each.seed for each in own if each.budget == budget} == set(study.study.seeds)


def test_another_baseline_takes_the_learning_curve_with_it(study: Params) -> None:
    report = study.report.model_copy(update={"baseline": "classical"})
    other = study.model_copy(update={"report": report})
    assert len(arm_replicates(other, "classical")) > len(arm_replicates(other, "real"))


def test_the_curve_is_in_order_and_holds_the_grid(study: Params) -> None:
    grid = curve_replicates(study.study)
    assert [each.budget for each in grid] == [2] * 4 + [4] * 4 + [8] * 4
    assert [each for each in grid if each.budget != 8] == replicates(study.study)
    assert [each.seed for each in grid if each.budget == 8] == study.study.seeds


@given(
    budgets=st.lists(st.integers(1, 50), min_size=2, max_size=8, unique=True),
    cut=st.integers(1, 8),
)
def test_where_a_budget_is_declared_does_not_change_its_replicates(
    budgets: list[int], cut: int
) -> None:
    study = StudyParams(budgets=budgets[:cut], curve_budgets=budgets[cut:], seeds=[4, 2])
    alone = StudyParams(budgets=budgets, seeds=[4, 2])
    assert curve_replicates(study) == curve_replicates(alone) == replicates(alone)
    assert len(replicates(study)) == 2 * len(budgets[:cut])


def test_no_two_trials_share_a_file(study: Params) -> None:
    trials = expected_trials(study)
    assert len({trial.file() for trial in trials}) == len(trials)


@given(grid=GRID)
def test_no_two_replicates_share_a_file_whatever_their_size(grid: list[tuple[int, int]]) -> None:
    files = {Replicate(budget, seed).file(".npz") for budget, seed in grid}
    assert len(files) == len(grid)


def test_files_stay_below_the_folder_of_their_arm() -> None:
    file = Trial("cnn", "real", Replicate(10, 3)).file()
    assert not file.is_absolute()
    assert file.parts[0] == "real"
    assert file.suffixes[-2:] == [".cnn", ".npz"]


def test_files_of_small_grids_sort_like_their_numbers() -> None:
    grid = [Replicate(budget, seed) for budget in (2, 10, 500) for seed in (0, 9, 10, 99)]
    assert sorted(grid, key=lambda each: each.file("").as_posix()) == sorted(grid)


def test_labels_name_the_replicate() -> None:
    assert Replicate(10, 3).columns() == {"budget": 10, "seed": 3}
    assert str(Replicate(10, 3)) == "budget 10, seed 3"

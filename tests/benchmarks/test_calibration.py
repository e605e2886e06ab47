"""The shortcuts of the calibration equal the functions of the pipeline."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks import calibration, holdouts
from benchmarks.wording import markdown
from pipeline.config.schema import Params, load_params
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.digits import Digits
from pipeline.data.images import LabeledImages
from pipeline.evaluation import statistics


def some_deltas(noise: str, n: int, num_studies: int = 3) -> np.ndarray:
    rng = np.random.default_rng(n)
    return calibration.null_deltas(calibration.NOISES[noise], n, True, num_studies, rng)


def test_vectorized_intervals_equal_those_of_the_pipeline() -> None:
    for noise, n in itertools.product(calibration.NOISES, calibration.NUM_SEEDS):
        deltas = some_deltas(noise, n)
        low, high = calibration.t_ends(deltas)
        for at in np.ndindex(low.shape):
            expected = statistics.t_interval(deltas[at], calibration.RULES.confidence_level)
            assert (low[at], high[at]) == pytest.approx((expected.low, expected.high), abs=1e-15)


@pytest.mark.parametrize("overlap", [0.05, 0.3])
def test_vectorized_intervals_account_for_overlap(overlap: float) -> None:
    deltas = some_deltas("normal", 10)[0]
    low, high = calibration.t_ends(deltas, overlap)
    for row, *ends in zip(deltas, low, high, strict=True):
        expected = statistics.t_interval(row, calibration.RULES.confidence_level, overlap)
        assert ends == pytest.approx([expected.low, expected.high], abs=1e-15)


def test_noise_has_mean_zero_and_its_shape() -> None:
    rng = np.random.default_rng(0)
    samples = {name: noise(rng, (200_000,)) for name, noise in calibration.NOISES.items()}
    for values in samples.values():
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert len(np.unique(samples["tied"])) < 15
    third = {name: np.mean((values / values.std()) ** 3) for name, values in samples.items()}
    assert third["skewed"] == pytest.approx(-2, abs=0.2)
    assert abs(third["normal"]) < 0.05


@pytest.mark.parametrize("exchangeable", [True, False])
def test_crossed_tables_have_no_mean_difference(exchangeable: bool) -> None:
    rng = np.random.default_rng(0)
    means = []
    for _ in range(300):
        table = calibration.null_table(calibration.NOISES["skewed"], 6, exchangeable, rng)
        assert set(np.unique(table)) <= {-1, 0, 1}
        means.append(table.mean())
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(len(means))


def test_all_but_the_primary_comparison_are_corrected_by_holm() -> None:
    gain = np.linspace(0.01, 0.02, 10)
    deltas = np.stack([gain, gain, gain - 0.013])
    low, high = calibration.t_ends(deltas)
    assert calibration.judge(deltas, low, high, np.array([0.05, 0.02, 0.5])) == [
        "gain",
        "gain",
        "no evidence",
    ]
    assert calibration.judge(deltas, low, high, np.array([0.05, 0.03, 0.5]))[1] == "no evidence"


@pytest.mark.parametrize(("exchangeable", "name"), [(True, "tied"), (False, "tied, arm only")])
def test_a_tiny_simulation_gives_a_row(exchangeable: bool, name: str) -> None:
    row = calibration.simulate("tied", 10, exchangeable, num_studies=20)
    assert row["deltas"] == name
    assert row["promise"] in (("kept", "BROKEN") if exchangeable else ("none made",))
    assert 80 <= float(row["t covers"]) <= 100
    table = markdown([row, row]).splitlines()
    assert len(table) == 4
    assert {line.count("|") for line in table} == {len(row) + 1}


@pytest.fixture
def digits(monkeypatch) -> tuple[LabeledImages, Params]:
    """The inputs of a replicate, after it was made tiny."""
    monkeypatch.setattr(calibration, "STUDY_SEEDS", 2)
    monkeypatch.setitem(calibration.SECTIONS["cnn"], "steps", 3)
    monkeypatch.setitem(calibration.SECTIONS["lgbm"], "num_trees", 2)
    data = calibration.ordered(Digits(BuiltIn(), calibration.ROOT).load().images)
    return data, load_params(calibration.ROOT)


def test_studies_of_digits_give_rows(digits: tuple[LabeledImages, Params], monkeypatch) -> None:
    with_fresh, without = (calibration.replicate(number, *digits) for number in (0, 1))
    assert {arm for _, arm in with_fresh} - {arm for _, arm in without} == {"fresh"}
    for scores in with_fresh.values():
        assert scores.shape == (2,)
        assert np.all((scores > 0) & (scores < 1))
    row = calibration.outcome("lgbm", "oversample", [with_fresh, without])
    assert (row["studies"], row["gain"], row["harm"], row["promise"]) == ("2", "0.0", "0.0", "kept")
    row = calibration.outcome("lgbm", "fresh", [with_fresh, without])
    assert (row["studies"], row["promise"]) == ("1", "BROKEN")  # two seeds can show no gain


def test_the_report_has_both_tables(
    digits: tuple[LabeledImages, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        calibration, "digit_studies", lambda *_: [calibration.replicate(0, *digits)]
    )
    text = calibration.report(num_studies=2, num_replicates=1, workers=1)
    assert "confidence 95.0 %" in text
    assert "| skewed, arm only |" in text
    assert "| lgbm | fresh |" in text


def test_a_replicate_can_be_repeated(digits: tuple[LabeledImages, Params]) -> None:
    one, other, third = (calibration.replicate(number, *digits) for number in (3, 3, 5))
    assert {key: one[key].tolist() for key in one} == {key: other[key].tolist() for key in other}
    assert any(one[key].tolist() != third[key].tolist() for key in one)


def test_the_committed_report_keeps_all_promises() -> None:
    text = calibration.OUTPUT.read_text(encoding="utf-8")
    assert "| kept |" in text
    assert "BROKEN" not in text


def test_overlapping_test_sets_make_uncorrected_intervals_too_narrow() -> None:
    row = holdouts.simulate_holdouts(100, 0.3, 10, is_fixed=True, num_studies=100)
    assert float(row["uncorrected covers"]) < 80
    assert float(row["t covers"]) > 85
    assert row["promise"] == "kept"


def test_deltas_of_holdouts_share_test_images_and_have_no_mean() -> None:
    rng = np.random.default_rng(0)
    studies = [holdouts.null_holdouts(100, 0.3, 10, True, rng) for _ in range(300)]
    accuracies, recalls, overlaps = (np.array(part) for part in zip(*studies, strict=True))
    assert accuracies.shape == (300, 10, 10)
    assert recalls.shape == (300, 100, 10)
    assert overlaps == pytest.approx(0.3, abs=0.05)
    # Classes are balanced, so that accuracy is their mean recall.
    by_class = recalls.reshape(300, 10, 10, 10).mean(axis=2)
    assert accuracies == pytest.approx(by_class)
    means = accuracies.mean(axis=(1, 2))
    assert abs(means.mean()) < 4 * means.std() / np.sqrt(len(means))
    # Correctness depends on the image alone, so that two seeds correlate by their common images.
    correlation = np.corrcoef(accuracies.reshape(-1, 10).T)[np.triu_indices(10, 1)].mean()
    assert correlation == pytest.approx(0.3, abs=0.05)


def test_families_that_ignore_common_test_images_err_often() -> None:
    row = holdouts.simulate_families(400, 0.3, 10, is_fixed=True, num_studies=60)
    assert float(row["arms, uncorrected"]) > 15
    assert float(row["classes, uncorrected"]) > 80
    assert float(row["arms"]) < 15
    assert float(row["classes"]) < 15
    assert row["promise"] in ("kept", "BROKEN")

"""Every verdict has its sentence, and numbers are written for people."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipeline.wording import VERDICTS, labels, percent, points, sentence


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "classifier": "cnn", "arm": "dcgan", "baseline": "real", "budget": 10, "n": 10,
        "mean_arm": 0.925, "mean_baseline": 0.9, "delta": 0.025, "ci_low": 0.01, "ci_high": 0.04,
        "verdict": "gain",
    }  # fmt: skip
    return plain | changes


@pytest.mark.parametrize("verdict", [name for name in VERDICTS if name != "baseline"])
def test_every_verdict_has_a_sentence_with_all_its_numbers(verdict: str) -> None:
    text = sentence(row(verdict=verdict), 0.95)
    for part in ("cnn", "10 labels per class", "dcgan", "real", "90.0 % to 92.5 %",
                 "+2.50 points", "95 % interval +1.00 to +4.00", "10 seeds"):  # fmt: skip
        assert part in text
    assert text.endswith(".")
    assert "\n" not in text


def test_no_two_verdicts_read_alike() -> None:
    texts = {sentence(row(verdict=name), 0.95) for name in VERDICTS if name != "baseline"}
    assert len(texts) == len(VERDICTS) - 1
    assert len(set(VERDICTS.values())) == len(VERDICTS)


def test_a_verdict_without_words_is_a_defect_and_raises() -> None:
    with pytest.raises(KeyError):
        sentence(row(verdict="splendid"), 0.95)


def test_only_a_gain_is_called_better_and_only_a_harm_worse() -> None:
    for name in VERDICTS:
        if name != "baseline":
            text = sentence(row(verdict=name), 0.95)
            assert ("better" in text) == (name == "gain")
            assert ("worse" in text) == (name == "harm")


def test_an_interval_that_does_not_exist_is_not_printed_as_a_number() -> None:
    ends = {"ci_low": math.nan, "ci_high": math.nan}
    assert "nan" not in sentence(row(n=1, verdict="exploratory", **ends), 0.95)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0125, "+1.25"), (-0.0125, "-1.25"), (0, "+0.00"), (1, "+100.00")]
)
def test_points_carry_their_sign(share: float, expected: str) -> None:
    assert points(share) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.934, "93.4 %"), (1, "100.0 %"), (0, "0.0 %")])
def test_percentages_have_one_decimal(share: float, expected: str) -> None:
    assert percent(share) == expected


@pytest.mark.parametrize(
    ("budget", "expected"), [(1, "1 label per class"), (2, "2 labels per class")]
)
def test_one_label_is_not_several(budget: int, expected: str) -> None:
    assert labels(budget) == expected


@pytest.mark.parametrize(("confidence", "expected"), [(0.9, "90 %"), (0.999, "99.9 %")])
def test_the_confidence_is_named(confidence: float, expected: str) -> None:
    assert f"{expected} interval" in sentence(row(), confidence)

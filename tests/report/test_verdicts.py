"""Every verdict has its sentences, and numbers are written for people."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Role
from pipeline.evaluation.decisions import DECISIONS
from pipeline.report.captions import FLAGS
from pipeline.report.formatting import (
    format_budget,
    format_seconds,
    interval,
    percent,
    points,
)
from pipeline.report.verdicts import (
    ROLES,
    VERDICTS,
    answer,
    beyond,
    css_class,
    explanation,
    label_equivalent,
    label_equivalent_sentence,
    markdown,
    needed_seeds,
    sentence,
)

COMPARED = [name for name in VERDICTS if name != "baseline"]
NO_INTERVAL = {"ci_low": math.nan, "ci_high": math.nan, "smallest_detectable": math.nan}
JARGON = re.compile(
    r"p-value|\bp\b|holm|\bnull\b|hypothes|significan|confidence|interval|t-test|variance|"
    r"correct(ed|ion)|equivalen|degenerate|paired|delta|bootstrap|power\b|NaN|\bnan\b|\binf\b",
    re.IGNORECASE,
)


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "classifier": "cnn",
        "arm": "dcgan",
        "baseline": "real",
        "budget": 10,
        "n": 10,
        "mean_arm": 0.925,
        "mean_baseline": 0.9,
        "delta": 0.025,
        "ci_low": 0.01,
        "ci_high": 0.04,
        "smallest_detectable": 0.02,
        "failed_controls": "",
        "verdict": "gain",
    }
    return plain | changes


def of_verdict(verdict: str) -> dict[str, Any]:
    """A row as the table of deltas has it for `verdict`."""
    special: dict[str, dict[str, Any]] = {
        "harm": {"mean_arm": 0.875, "delta": -0.025, "ci_low": -0.04, "ci_high": -0.01},
        "equivalent": {"mean_arm": 0.901, "delta": 0.001, "ci_low": -0.001, "ci_high": 0.003},
        "no evidence": {"ci_low": -0.01, "ci_high": 0.06},
        "exploratory": {"n": 1, **NO_INTERVAL},
        "degenerate": {"ci_low": 0.025, "ci_high": 0.025, "smallest_detectable": 0.0},
        "invalid": {"failed_controls": "oversample; shuffled"},
        "not judged": {"n": 2},
    }
    return row(verdict=verdict, **special.get(verdict, {}))


def sentences(text: str) -> list[str]:
    """`text` cut behind every full stop before a space."""
    found = re.split(r"(?<=[.!?])\s+", text)
    assert all(each.endswith(".") for each in found)
    return found


@pytest.mark.parametrize("verdict", COMPARED)
def test_every_verdict_has_a_sentence_with_all_its_numbers(verdict: str) -> None:
    text = sentence(row(verdict=verdict), 0.95)
    for part in (
        "cnn",
        "10 labels per class",
        "dcgan",
        "real",
        "90.0 % to 92.5 %",
        "+2.50 points",
        "95 % interval +1.00 to +4.00",
        "10 seeds",
    ):
        assert part in text
    assert text.endswith(".")
    assert "\n" not in text


def test_no_two_verdicts_read_alike() -> None:
    texts = {sentence(row(verdict=name), 0.95) for name in COMPARED}
    assert len(texts) == len(VERDICTS) - 1
    for key in ("meaning", "relation", "explanation"):
        texts = [getattr(verdict, key) for verdict in VERDICTS.values()]
        same = {"gain", "weak reference"} if key == "relation" else set()
        assert len(set(texts)) == len(texts) - bool(same)
    assert len({explanation(row(verdict=name), 0.005) for name in COMPARED}) == len(COMPARED)


def test_a_verdict_without_words_is_a_defect_and_raises() -> None:
    for words in (answer, lambda each: sentence(each, 0.95), lambda each: explanation(each, 0.005)):
        with pytest.raises(KeyError):
            words(row(verdict="splendid"))


def test_every_decision_has_words() -> None:
    assert {word for word, _ in DECISIONS} <= set(COMPARED)


def test_the_table_of_verdicts_is_complete_and_has_one_home(root: Path) -> None:
    for name, verdict in VERDICTS.items():
        assert not verdict.meaning.endswith(".")
        assert verdict.explanation[0] in "{" or verdict.explanation[0].isupper()
        for color in (verdict.color.light, verdict.color.dark):
            assert re.fullmatch("#[0-9a-f]{6}", color)
        assert re.fullmatch("[a-z-]+", css_class(name))
        assert f"| {name} | {verdict.meaning} |" in markdown()
    assert {word for word, _ in DECISIONS} < set(VERDICTS)
    home = root / "pipeline/report/verdicts.py"
    for file in sorted((root / "pipeline").rglob("*")):
        if file.suffix in (".py", ".j2") and file != home:
            text = " ".join(file.read_text("utf-8").split())
            assert not [name for name in VERDICTS if VERDICTS[name].meaning in text], file
            assert "is not shown to differ from" not in text, file


def test_every_control_has_words_for_what_must_hold() -> None:
    assert set(ROLES) == {role for role in get_args(Role) if role.startswith("must")}
    assert len(set(ROLES.values())) == len(ROLES)
    assert {"passed", "failed", "not judged", "measure"} <= set(VERDICTS)
    assert set(FLAGS) == {"copies", "wrong_labels", "collapsed"}


def test_only_a_gain_is_called_better_and_only_a_harm_worse() -> None:
    for name in COMPARED:
        text = sentence(row(verdict=name), 0.95)
        assert ("better" in text) == (name in ("gain", "weak reference"))
        assert ("worse" in text) == (name in ("harm", "weak reference"))
        assert ("no evidence for the generated images" in text) == (name == "weak reference")


def test_an_interval_that_does_not_exist_is_not_printed_as_a_number() -> None:
    ends = {"ci_low": math.nan, "ci_high": math.nan}
    assert "nan" not in sentence(row(n=1, verdict="exploratory", **ends), 0.95)
    assert interval(row(**ends)) == "none"
    assert interval(row(low=0.0, high=0.01), "low", "high") == "+0.00 to +1.00"


@pytest.mark.parametrize("verdict", COMPARED)
def test_an_explanation_is_two_sentences_with_what_was_measured(verdict: str) -> None:
    chosen = of_verdict(verdict)
    found = sentences(explanation(chosen, 0.005))
    assert len(found) == 2
    for part in (
        "10 labels per class",
        "cnn",
        "dcgan",
        "real",
        "90.0 %",
        percent(chosen["mean_arm"]),
        points(chosen["delta"])[1:],
    ):
        assert part in found[0]


@pytest.mark.parametrize("verdict", COMPARED)
def test_an_explanation_needs_no_statistics_to_be_read(verdict: str) -> None:
    text = explanation(of_verdict(verdict), 0.005)
    assert JARGON.search(text) is None
    assert "()" not in text
    assert "  " not in text


# One seed, or draws that are all alike, leave no interval.
WITHOUT_INTERVAL = [
    "exploratory",
    "invalid",
    "passed",
    "failed",
    "not judged",
    "measure",
    "no evidence",
]


@pytest.mark.parametrize("verdict", WITHOUT_INTERVAL)
def test_an_explanation_without_an_interval_has_no_number_for_it(verdict: str) -> None:
    text = explanation(of_verdict(verdict) | NO_INTERVAL, 0.005)
    assert "nan" not in text
    assert len(sentences(text)) == 2


@pytest.mark.parametrize(
    ("verdict", "parts"),
    [
        ("gain", ["All 10 seeds", "+1.00", "+4.00", "above zero"]),
        ("weak reference", ["All 10 seeds", "real is itself worse than the baseline"]),
        ("harm", ["All 10 seeds", "-4.00", "-1.00", "below zero"]),
        ("equivalent", ["-0.10", "+0.30", "0.50 points that would matter"]),
        ("no evidence", ["-1.00", "+6.00", "2.00 points would have been detected"]),
        ("exploratory", ["With 1 seed that", "at least 10 seeds"]),
        ("degenerate", ["Every seed"]),
        ("invalid", ["oversample; shuffled"]),
        ("not judged", ["10 seeds are needed"]),
        ("measure", ["most likely lies between", "makes no claim"]),
    ],
)
def test_the_second_sentence_says_how_far_to_trust_the_first(
    verdict: str, parts: list[str]
) -> None:
    second = sentences(explanation(of_verdict(verdict), 0.005))[1]
    assert all(part in second for part in parts)


def test_a_difference_in_few_seeds_names_how_many_decide() -> None:
    few = row(verdict="exploratory", n=6, delta=0.206, ci_low=0.169, ci_high=0.243)
    second = sentences(explanation(few, 0.005))[1]
    assert second == (
        "The true difference most likely lies between +16.90 and +24.30 points, but 6 seeds are "
        "too few for a claim, so run at least 10 seeds before relying on it."
    )
    more = explanation({**few, "seeds_to_decide": 12, "seeds_for_power": 31.0}, 0.005)
    assert "at least 31 seeds" in more


@pytest.mark.parametrize(
    ("decide", "power", "expected"),
    [(10, 3.0, 10), (12, 3.0, 12), (10, 25.0, 25), (11, math.nan, 11), (11, math.inf, 11)],
)
def test_the_seeds_needed_are_the_larger_number(decide: int, power: float, expected: int) -> None:
    assert needed_seeds({"seeds_to_decide": decide, "seeds_for_power": power}) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "less than 1 s"), (28.4, "28 s"), (119, "119 s"), (270, "4.5 min"), (7560, "2.1 h")],
)
def test_durations_have_a_unit_that_fits(seconds: float, expected: str) -> None:
    assert format_seconds(seconds) == expected


@pytest.mark.parametrize("ends", [(0.001, 0.05), (-0.05, -0.001)])
def test_a_difference_lost_to_many_comparisons_is_explained_as_such(
    ends: tuple[float, float],
) -> None:
    found = sentences(
        explanation(row(verdict="no evidence", ci_low=ends[0], ci_high=ends[1]), 0.005)
    )
    assert len(found) == 2
    assert "among so many comparisons" in found[1]
    assert "rule it out" not in found[1]


@pytest.mark.parametrize("verdict", COMPARED)
@given(arm=st.floats(0, 1), baseline=st.floats(0, 1), wide=st.floats(0, 0.5))
def test_an_explanation_says_better_or_worse_as_the_numbers_do(
    verdict: str, arm: float, baseline: float, wide: float
) -> None:
    delta = arm - baseline
    chosen = row(
        mean_arm=arm,
        mean_baseline=baseline,
        delta=delta,
        ci_low=delta - wide,
        ci_high=delta + wide,
        verdict=verdict,
    )
    found = sentences(explanation(chosen, 0.005))
    assert len(found) == 2
    assert (": better on average" in found[0]) == (arm > baseline)
    assert (": worse on average" in found[0]) == (arm < baseline)
    assert ("no difference" in found[0]) == (arm == baseline)
    assert JARGON.search(" ".join(found)) is None


@pytest.mark.parametrize("verdict", COMPARED)
def test_an_answer_names_both_sides_and_holds_no_number_but_the_budget(verdict: str) -> None:
    text = answer(of_verdict(verdict))
    assert all(part in text for part in ("dcgan", "real", "cnn", "10 labels per class"))
    assert re.findall(r"\d+", text) == ["10"]


def worth_row(**changes: Any) -> dict[str, Any]:
    plain = {
        "classifier": "cnn",
        "arm": "classical",
        "budget": 10,
        "label_equivalent": 36.4,
        "low": 29.7,
        "high": 44.0,
        "least": 10,
        "most": 80,
        "verdict": "gain",
    }
    return plain | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "36 [30, 44]"),
        ({"high": math.inf}, "36 [30, more than 80]"),
        ({"low": -math.inf}, "36 [fewer than 10, 44]"),
        ({"low": -math.inf, "high": math.inf}, "36 [fewer than 10, more than 80]"),
        (
            {"label_equivalent": math.inf, "low": 61.0, "high": math.inf},
            "more than 80 [61, more than 80]",
        ),
        (
            {"label_equivalent": -math.inf, "low": -math.inf, "high": 12.0},
            "fewer than 10 [fewer than 10, 12]",
        ),
        ({"label_equivalent": 2.34, "low": 1.0, "high": 9.94, "least": 1}, "2.3 [1.0, 9.9]"),
    ],
)
def test_worth_is_written_as_a_number_or_as_the_side_on_which_it_lies(
    changes: dict[str, float], expected: str
) -> None:
    assert label_equivalent(worth_row(**changes)) == expected
    assert label_equivalent_sentence(worth_row(**changes)) == (
        f"For cnn, 10 labels per class with classical perform like {expected} labels per class "
        "alone."
    )


def test_three_equal_sides_are_written_once() -> None:
    beyond_all = {"label_equivalent": math.inf, "low": math.inf, "high": math.inf}
    assert label_equivalent(worth_row(**beyond_all)) == "more than 80"


def test_there_is_no_label_equivalent_where_a_control_failed() -> None:
    text = label_equivalent_sentence(worth_row(verdict="invalid"))
    assert "36" not in text
    assert "a control failed" in text


EXTENDED = st.sampled_from([-math.inf, math.inf]) | st.floats(1, 10_000)


@given(values=st.lists(EXTENDED, min_size=3, max_size=3))
def test_no_worth_is_written_with_words_that_are_no_number(values: list[float]) -> None:
    low, mean, high = sorted(values)
    text = label_equivalent_sentence(
        worth_row(label_equivalent=mean, low=low, high=high, least=1, most=10_000)
    )
    assert len(sentences(text)) == 1
    assert not re.search(r"\b(nan|inf)\b", text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(9.94, "9.9"), (10.0, "10"), (80.0, "80"), (79.6, "80"), (1.0, "1.0"), (1234.5, "1234")],
)
def test_small_numbers_of_labels_have_a_decimal(value: float, expected: str) -> None:
    assert beyond(value, worth_row()) == expected


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
    assert format_budget(budget) == expected


@pytest.mark.parametrize(("confidence", "expected"), [(0.9, "90 %"), (0.999, "99.9 %")])
def test_the_confidence_is_named(confidence: float, expected: str) -> None:
    assert f"{expected} interval" in sentence(row(), confidence)

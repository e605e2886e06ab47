"""Warnings on hand-made histories: every rule just above and just below its threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation import gan_diagnostics
from pipeline.report.captions import WARNINGS, warning

ROWS = 60
HALVES = np.repeat([0.7, 0.8], ROWS // 2)


def history(**changes: Any) -> pd.DataFrame:
    """A history without warnings; `changes` are numbers or columns (60,)."""
    columns = {"generator": 0.8, "discriminator": 0.6, "accuracy": 0.75} | changes
    table = pd.DataFrame(columns, index=range(ROWS))
    return table.assign(step=15 * np.arange(1, ROWS + 1), generator_learning_rate=0.1)


def last(usual: float, end: float, rows: int = ROWS // 5) -> np.ndarray:
    """A column that is `usual`, and `end` in its last rows."""
    return np.r_[np.full(ROWS - rows, usual), np.full(rows, end)]


def test_a_balanced_game_has_no_warnings() -> None:
    assert gan_diagnostics.warnings(history()) == []
    assert gan_diagnostics.warnings(history(accuracy=HALVES)) == []


@pytest.mark.parametrize(
    ("word", "columns"),
    [
        ("discriminator_wins", {"accuracy": last(0.8, 0.995)}),
        ("discriminator_falls_fast", {"accuracy": np.r_[np.ones(6), np.full(ROWS - 6, 0.8)]}),
        ("generator_collapses", {"generator": last(2.0, 0.1), "accuracy": last(0.8, 0.4)}),
        ("discriminator_blind", {"accuracy": last(0.9, 0.51, ROWS // 2)}),
    ],
)
def test_a_history_above_the_threshold_has_the_warning(word: str, columns: dict[str, Any]) -> None:
    assert gan_diagnostics.warnings(history(**columns)) == [word]


@pytest.mark.parametrize(
    "columns",
    [
        {"accuracy": last(0.8, 0.985)},
        {"accuracy": last(0.8, 1.0, 1)},
        {"accuracy": np.r_[np.full(6, 0.95), np.full(ROWS - 6, 0.8)]},
        {"accuracy": np.r_[np.full(6, 0.8), np.ones(10), np.full(ROWS - 16, 0.8)]},
        {"generator": last(2.0, 0.1)},
        {"generator": last(-2.0, -9.0), "accuracy": last(0.8, 0.4)},
        {"accuracy": last(0.5, 0.6)},
        {"accuracy": last(0.9, 0.45, ROWS // 2)},
    ],
)
def test_a_history_below_the_threshold_has_none(columns: dict[str, Any]) -> None:
    assert gan_diagnostics.warnings(history(**columns)) == []


def test_a_critic_of_a_distance_may_win_but_not_be_at_chance() -> None:
    distance = {"discriminator": np.linspace(-9.0, -0.1, ROWS), "generator": last(2.0, 0.0)}
    sure = history(**distance, accuracy=1.0)
    assert gan_diagnostics.warnings(sure, "wasserstein") == []
    assert gan_diagnostics.warnings(sure, "hinge") != []
    assert gan_diagnostics.warnings(history(**distance, accuracy=0.5), "wasserstein") == [
        "discriminator_blind"
    ]


@pytest.mark.parametrize(
    ("k", "words"),
    [
        (0.4, []),
        (last(0.4, 0.0), ["balance_never_held"]),
        (last(0.4, 0.0, 8), []),
        (last(0.4, 1.0), ["balance_lost"]),
        (last(1.0, 0.9, 1), []),
    ],
)
def test_k_shows_the_balance(k: Any, words: list[str]) -> None:
    table = history(k=k, convergence=0.1).drop(columns="accuracy")
    assert gan_diagnostics.warnings(table) == words
    assert list(gan_diagnostics.at_the_end(table)) == ["k"]


def test_a_second_game_is_judged_by_itself() -> None:
    second = {"doubling_generator": -1.0, "doubling_discriminator": 0.5, "doubling_accuracy": 1.0}
    table = history(**second, doubling_psnr=20.0)
    words = ["doubling: discriminator_wins", "doubling: discriminator_falls_fast"]
    assert gan_diagnostics.warnings(table) == words
    assert gan_diagnostics.warnings(table, "wasserstein") == words
    assert gan_diagnostics.at_the_end(table) == {"accuracy": 0.75, "doubling_accuracy": 1.0}
    assert warning(words[0]) == f"doubling: {WARNINGS['discriminator_wins'][0]}"
    alone = table.drop(columns=["generator", "discriminator", "accuracy"])
    assert gan_diagnostics.warnings(alone) == words


def test_without_a_discriminator_there_is_no_warning() -> None:
    plain = history().drop(columns=["accuracy", "discriminator"])
    for table in (plain, pd.DataFrame()):
        assert gan_diagnostics.warnings(table) == []
        assert gan_diagnostics.at_the_end(table) == {}


def test_the_final_accuracy_is_that_of_the_last_fifth() -> None:
    assert gan_diagnostics.at_the_end(history(accuracy=last(0.2, 0.9)))[
        "accuracy"
    ] == pytest.approx(0.9)
    assert gan_diagnostics.at_the_end(history()[:1]) == {"accuracy": 0.75}


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_short_training_can_be_read(rows: int) -> None:
    assert set(gan_diagnostics.warnings(history(accuracy=1.0)[:rows])) == {"discriminator_wins"}


def test_every_warning_has_words_with_its_threshold() -> None:
    texts = {word: text for word, (_, text) in WARNINGS.items()}
    assert f"above {100 * gan_diagnostics.SATURATED:.0f} %" in texts["discriminator_wins"]
    assert f"above {100 * gan_diagnostics.SATURATED:.0f} %" in texts["discriminator_falls_fast"]
    low, high = (
        100 * (gan_diagnostics.CHANCE + sign * gan_diagnostics.NEAR_CHANCE) for sign in (-1, 1)
    )
    assert f"{low:.0f} to {high:.0f} %" in texts["discriminator_blind"]
    assert f"at most {gan_diagnostics.NEAR_END:g}" in texts["balance_never_held"]
    assert f"at least {1 - gan_diagnostics.NEAR_END:g}" in texts["balance_lost"]
    words: set[str] = set()
    for columns in (
        {"accuracy": 1.0},
        {"accuracy": 0.5, "generator": last(2.0, 0.1)},
        {"k": 0.0},
        {"k": 1.0},
    ):
        words |= set(gan_diagnostics.warnings(history(**columns)))
    assert words == set(WARNINGS)

"""Progress counts trials on stderr and never disturbs the output."""

from __future__ import annotations

import itertools

import pytest

from pipeline.runtime import progress
from pipeline.runtime.progress import LINE_EVERY_S, Progress, duration


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (60, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7200, "120 min 00 s"),
    ],
)
def test_seconds_are_written_for_people(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def run(total: int, reused: int) -> Progress:
    with Progress("train@x", total, reused) as shown:
        for _ in range(total):
            shown.advance()
    return shown


def test_the_first_line_says_what_is_to_do_and_what_is_reused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(3, 7).done == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0] == "train@x: 3 trials to compute, 7 reused"
    assert lines[-1].startswith("train@x: done in ")
    assert len(lines) == 2


def test_a_stage_without_work_has_nothing_to_finish(capsys: pytest.CaptureFixture[str]) -> None:
    run(0, 7)
    assert capsys.readouterr().err == "train@x: 0 trials to compute, 7 reused\n"


def test_a_failed_stage_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), Progress("train@x", 3, 0):
        raise ZeroDivisionError
    assert "done" not in capsys.readouterr().err


def test_slow_stages_tell_how_far_they_are_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, LINE_EVERY_S)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    run(4, 0)
    lines = capsys.readouterr().err.splitlines()[1:-1]
    assert lines == [
        "train@x: 1 of 4, about 45 s left",
        "train@x: 2 of 4, about 30 s left",
        "train@x: 3 of 4, about 15 s left",
    ]


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(3, 0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "3/3" in printed.err

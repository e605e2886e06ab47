"""Errors are sentences with an exit code, and survive the way from a worker process."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Iterator

import pytest

from pipeline.runtime.errors import (
    CollapsedError,
    DivergedError,
    MachineError,
    PipelineError,
    TrialError,
    exit_on_error,
    from_os_error,
)


def kinds(kind: type[PipelineError] = PipelineError) -> Iterator[type[PipelineError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


KINDS = [kind for kind in kinds() if kind.__module__ == "pipeline.runtime.errors"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_one_sentence_of_where_what_and_fix(kind: type[PipelineError]) -> None:
    text = str(kind("file.txt", "expected 2 rows, found 1", "add a row"))
    assert text == "file.txt: expected 2 rows, found 1. Fix: add a row."


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling(kind: type[PipelineError]) -> None:
    error = kind("a", "b", "c")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is kind
    assert (copy.args, str(copy), copy.exit_code) == (error.args, str(error), error.exit_code)


def test_every_kind_has_an_exit_code_of_its_own_but_trials_that_come_to_nothing_share_one() -> None:
    trials = list(kinds(TrialError))
    codes = [kind.exit_code for kind in KINDS if kind not in trials] + [TrialError.exit_code]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 128 for code in codes)
    assert {kind.exit_code for kind in trials} == {TrialError.exit_code}


def test_what_may_happen_to_a_user_is_a_trial_that_came_to_nothing_and_nothing_else_is() -> None:
    assert set(kinds(TrialError)) == {TrialError, DivergedError, CollapsedError}


@pytest.mark.parametrize("kind", KINDS)
def test_the_border_prints_one_line_and_leaves_with_the_code(
    kind: type[PipelineError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("a", "b", "c")
    with pytest.raises(SystemExit) as left, exit_on_error():
        raise error
    printed = capsys.readouterr()
    assert left.value.code == kind.exit_code
    assert (printed.out, printed.err) == ("", f"error: {error}\n")


@pytest.mark.parametrize(
    ("raised", "code", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 4, "disk space"),
        (OSError(errno.EDQUOT, "Quota exceeded", "/x"), 4, "disk space"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 4, "permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 5, "dvc repro"),
        (MemoryError(), 4, "engine.workers"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_of_the_machine_are_explained(
    raised: BaseException, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, exit_on_error():
        raise raised
    message = capsys.readouterr().err
    assert left.value.code == code
    assert word in message
    assert message.count("\n") == 1
    assert ("/x" in message) == isinstance(raised, OSError)


def test_an_operating_system_error_without_a_file_still_has_a_place_and_a_reason() -> None:
    explained = from_os_error(OSError("the socket is gone"))
    assert isinstance(explained, MachineError)
    assert "operating system" in str(explained)
    assert "the socket is gone" in str(explained)


@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyError, AssertionError])
def test_a_defect_of_the_project_keeps_its_traceback(raised: type[Exception]) -> None:
    with pytest.raises(raised), exit_on_error():
        raise raised


def test_success_passes_through_the_border(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_on_error():
        pass
    assert capsys.readouterr() == ("", "")

"""Every failure a user can meet, as one sentence: where, expected versus found, how to mend it.

Knows nothing of the rest of the project. `exit_on_error` turns these errors into an exit code at
the border (a stage's or the command line's `main`); nothing else catches them.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class PipelineError(Exception):
    """A failure that is explained, not traced.

    `where` names the file and key, `what` says what was expected and found, `fix` what to do.
    All three are kept as `args`, so that the error survives the trip from a worker process.
    """

    exit_code = 1

    def __init__(self, where: str, what: str, fix: str) -> None:
        super().__init__(where, what, fix)

    def __str__(self) -> str:
        where, what, fix = self.args
        return f"{where}: {what}; to mend it, {fix}."


class ParamsError(PipelineError):
    """params.yaml, a preset or the command line asks for something that cannot be."""

    exit_code = 2


class DataError(PipelineError):
    """Input images or labels are missing, damaged or contradictory."""

    exit_code = 3


class MachineError(PipelineError):
    """The machine ran out of disk or memory, or a permission is missing."""

    exit_code = 4


class IntegrityError(PipelineError):
    """Outputs of earlier stages are missing, or do not belong together."""

    exit_code = 5


class TrialError(PipelineError):
    """A trial came to nothing, as it may for a user: it is recorded and keeps its place."""

    exit_code = 6


class DivergedError(TrialError):
    """A training run produced a loss that is not a finite number."""


class CollapsedError(TrialError):
    """A generator makes next to the same image over and over."""


def from_os_error(error: OSError) -> PipelineError:
    """Explain an operating-system failure; `error` is one that no code closer by understood."""
    where = str(error.filename or "operating system")
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MachineError(where, f"no space left to write ({reason})", "free disk space, rerun")
    if isinstance(error, FileNotFoundError):
        return IntegrityError(where, "expected this file, found none", "run `dvc repro` to make it")
    return MachineError(where, reason, "check the permissions of that path, then rerun")


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print an explained failure as one line on stderr and leave with its exit code.

    Anything that is not a `PipelineError`, an `OSError`, a `MemoryError` or Ctrl-C is a defect of
    this project and keeps its traceback.
    """
    try:
        yield
    except PipelineError as error:
        failure = error
    except OSError as error:
        failure = from_os_error(error)
    except MemoryError:
        failure = MachineError("memory", "the machine has too little", "lower engine.workers to 1")
    except KeyboardInterrupt:
        print("interrupted: finished trials are kept, run again to go on", file=sys.stderr)
        raise SystemExit(130) from None
    else:
        return
    print(f"error: {failure}", file=sys.stderr, flush=True)
    raise SystemExit(failure.exit_code)

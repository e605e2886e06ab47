"""The errors that a user can meet, in one line: place, what was expected and found, a fix.

`exit_on_error` turns them into exit codes in the `main` of stages and of the command line; nothing
else catches them, except for `TrialError`. Knows nothing of the rest of the project.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class PipelineError(Exception):
    """An error that is explained in one line, without a traceback.

    `where` names the file and key, `what` says what was expected and found, `fix` what to do. All
    three are kept as `args`, so the error can be pickled by a worker process.
    """

    exit_code = 1

    def __init__(self, where: str, what: str, fix: str) -> None:
        super().__init__(where, what, fix)

    def __str__(self) -> str:
        where, what, fix = self.args
        return f"{where}: {what}. Fix: {fix}."


class ParamsError(PipelineError):
    """params.yaml, a preset or the command line has an invalid value."""

    exit_code = 2


class DataError(PipelineError):
    """Input images or labels are missing, damaged or contradictory."""

    exit_code = 3


class MachineError(PipelineError):
    """The machine ran out of disk or memory, or a permission is missing."""

    exit_code = 4


class IntegrityError(PipelineError):
    """Outputs of earlier stages are missing, damaged or not of the same study."""

    exit_code = 5


class TrialError(PipelineError):
    """A trial failed for a reason that users can meet; the failure is recorded as its result."""

    exit_code = 6


class DivergedError(TrialError):
    """The loss or the weights of a training run are not finite."""


class CollapsedError(TrialError):
    """The images of a generator are almost identical."""


def from_os_error(error: OSError) -> PipelineError:
    """The explanation of an error of the operating system that no other code has handled."""
    where = str(error.filename or "operating system")
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MachineError(where, f"no space left ({reason})", "free disk space and run again")
    if isinstance(error, FileNotFoundError):
        return IntegrityError(where, "expected this file, found none", "run `dvc repro`")
    return MachineError(where, reason, "check the permissions of that path, then run again")


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print an explained error as one line on stderr and exit with its code.

    Anything but a `PipelineError`, an `OSError`, a `MemoryError` or Ctrl-C is a defect of this
    project and keeps its traceback.
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
        print("interrupted: finished trials are kept, run again to continue", file=sys.stderr)
        raise SystemExit(130) from None
    else:
        return
    print(f"error: {failure}", file=sys.stderr, flush=True)
    raise SystemExit(failure.exit_code)

"""Errors of the stages, said about the flags of `init` rather than about params.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.commands.init.options import FILE_FLAGS, Options, flag_of
from pipeline.config.validation import FILE
from pipeline.runtime.errors import PipelineError

# Keys of params.yaml that flags set.
FLAGS = {
    "data.path": "PATH",
    "data.background": "--background",
    "data.test_per_class": "--test-per-class",
    "data.test": "--test-frac",
    "data.group.column": "--group-column",
    "data.group.name": "--group-name",
    "data.group.folder": "--group-folder",
    "data.group.twins": "--group-twins",
    "study.budgets": "--budget",
    "study.curve_budgets": "--budget",
    **{f"data.{key}": flag_of(key) for key in FILE_FLAGS},
}
KEY = re.compile(r"\b(?:data|study)\.[a-z_]+(?:\.[a-z_]+)?")


@contextmanager
def flags_named(options: Options) -> Iterator[None]:
    """Name flags in the place and the fix of a `PipelineError`, where they set the key."""
    flags = dict(FLAGS)
    for rule in options.group:
        flags["data.group"] = flag_of(f"group_{rule}")
    try:
        yield
    except PipelineError as error:
        where, what, fix = error.args
        flag = flags.get(where.removeprefix(f"{FILE}: "))
        fix = KEY.sub(lambda match: flags.get(match[0], match[0]), fix)
        raise type(error)(f"init: {flag}" if flag else where, what, fix) from None

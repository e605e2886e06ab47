"""How every stage is entered, from DVC or by hand: `python -m pipeline.stages <stage> [item]`.

Commands in dvc.yaml are fixed strings, because DVC would paste a value from params.yaml into a
shell line as it is. A stage of a group therefore learns its item from the name that DVC gives it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from pipeline.config.schema import load_params
from pipeline.runtime.bits import set_bits, warn_of_processor
from pipeline.runtime.errors import ParamsError, exit_on_error

# The section of params.yaml that names a stage's items; None: the stage is alone of its kind.
ITEMS: dict[str, str | None] = {
    "prepare": None,
    "train_teacher": "teachers",
    "evaluate_teacher": "teachers",
    "train_generator": "generators",
    "synthesize": "generators",
    "evaluate_generator": "generators",
    "train_classifiers": "arms",
    "report": None,
}


def main(arguments: list[str]) -> None:
    """Run the stage that `arguments` name, in the current folder; exits with an error's code."""
    with exit_on_error():
        name, item = (*arguments, "", "")[:2]
        refuse_unknown(name, ITEMS)
        root = Path.cwd()
        params = load_params(root)
        set_bits(params.bits)
        warn_of_processor()

        # Only now: a stage imports numpy and torch, which read those settings when they are loaded.
        run = import_module(f"pipeline.stages.{name}").run

        section = ITEMS[name]
        if section is None:
            run(params, root)
            return
        item = item or os.environ.get("DVC_STAGE", "").partition("@")[2]
        refuse_unknown(item, getattr(params, section))
        run(params, root, item)


def refuse_unknown(name: str, choices: Iterable[str]) -> None:
    """Raise `ParamsError` for a stage or an item that there is none of."""
    known = list(choices)
    if name not in known:
        raise ParamsError(
            "command line", f"expected one of {', '.join(known)}, found {name!r}", "name one"
        )


if __name__ == "__main__":
    main(sys.argv[1:])

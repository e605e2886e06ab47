"""How every stage is entered: from DVC, or by hand with `python -m pipeline.stages.<stage> [item]`.

Commands in dvc.yaml are fixed strings, because DVC would paste a value from params.yaml into a
shell line as it is. A stage of a group therefore learns its item from the name that DVC gives it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.errors import ParamsError, exit_on_error
from pipeline.params import Params, load_params


def enter(run: Callable[[Params, Path], None]) -> None:
    """Run a stage that is alone of its kind, in the current folder."""
    with exit_on_error():
        root = Path.cwd()
        run(load_params(root), root)


def enter_group(
    run: Callable[[Params, Path, str], None], choices: Callable[[Params], Iterable[str]]
) -> None:
    """Run one stage of a group, for the item named on the command line or by DVC."""
    with exit_on_error():
        root = Path.cwd()
        params = load_params(root)
        item = (sys.argv[1:] or [os.environ.get("DVC_STAGE", "").partition("@")[2]])[0]
        known = list(choices(params))
        if item not in known:
            raise ParamsError(
                "command line", f"expected one of {', '.join(known)}, found {item!r}", "name one"
            )
        run(params, root, item)

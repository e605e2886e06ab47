"""The entry of every stage, for DVC and by hand: `python -m pipeline.stages <stage> [item]`.

Commands in dvc.yaml are fixed strings, because DVC would insert a value from params.yaml into a
shell command unquoted. A stage of a group therefore takes its item from the name that DVC sets.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from pipeline.config.schema import load_params
from pipeline.config.validation import refuse_unknown
from pipeline.runtime.bits import set_bits, warn_of_processor
from pipeline.runtime.errors import exit_on_error

# The section of params.yaml whose names are the items of a stage; None: the stage has no items.
ITEMS: dict[str, str | None] = {
    "list_images": None,
    "prepare": None,
    "train_teacher": "teachers",
    "evaluate_teacher": "teachers",
    "train_generator": "generators",
    "tune": "generators",
    "tune_transforms": None,
    "synthesize": "generators",
    "train_judge": None,
    "evaluate_generator": "generators",
    "train_classifiers": "arms",
    "report": None,
}


def main(arguments: list[str]) -> None:
    """Run the stage named in `arguments` in the current folder; errors become exit codes."""
    with exit_on_error():
        name, item = (*arguments, "", "")[:2]
        refuse_unknown("command line", name, ITEMS)
        root = Path.cwd()
        params = load_params(root)
        set_bits(params.bits)
        warn_of_processor()

        # Imported after that: numpy and torch read those settings when they are loaded.
        run = import_module(f"pipeline.stages.{name}").run

        section = ITEMS[name]
        if section is None:
            run(params, root)
            return
        item = item or os.environ.get("DVC_STAGE", "").partition("@")[2]
        refuse_unknown("command line", item, getattr(params, section))
        run(params, root, item)


if __name__ == "__main__":
    main(sys.argv[1:])

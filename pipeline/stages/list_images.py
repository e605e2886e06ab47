"""list_images: the size and digest of every file of the user that the dataset reads.

`data/source.json` makes a folder outside of DVC a dependency: `prepare` runs again only if an image
or a table has changed. This stage runs every time; it reads only files whose size or modification
time has changed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipeline.config.schema import Params
from pipeline.data.datasets import open_dataset
from pipeline.data.reading.digests import Digests
from pipeline.runtime.files import write_text
from pipeline.trials.layout import SOURCE


def run(params: Params, root: Path) -> None:
    """Write `data/source.json`; raises `DataError` if the dataset's files are not there."""
    files = open_dataset(params.data, root).files()
    path = params.data.settings.get("path")
    memory = Digests(root)
    digests = memory.of(files)
    memory.save()

    # Relative paths, so that a moved folder is the same source.
    start = (root / Path(path or ".").expanduser()).absolute()
    start = start if start.is_dir() else start.parent
    rows = [
        [os.path.relpath(file.absolute(), start), file.stat().st_size, digest]
        for file, digest in zip(files, digests, strict=True)
    ]
    record = {"name": params.data.name, "path": path, "files": rows}
    write_text(root / SOURCE.path, json.dumps(record) + "\n")

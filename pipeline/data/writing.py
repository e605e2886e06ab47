"""Writing the parts of a dataset as `.npz` files, a chunk of images at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.data.catalog import Index, Part
from pipeline.data.images import Background, arrays_of, background_arrays
from pipeline.runtime.files import write_npz
from pipeline.runtime.progress import Progress

SHOWN_FROM_BYTES = 2**28  # smaller parts are written within seconds


def write_pool(images: Path, labels: Path, pool: Part, background: Background) -> None:
    """Write the images of the pool without labels, and its labels, groups and background apart."""
    write_part(images, pool)
    groups = {} if pool.groups is None else {"groups": pool.groups}
    write_npz(labels, labels=pool.labels, **groups, **background_arrays(background))


def write_test(path: Path, test: Part, background: Background) -> None:
    """Write the images of the test set with their labels."""
    write_part(path, test, labels=test.labels, **background_arrays(background))


def write_part(path: Path, part: Part, **arrays: NDArray[Any]) -> None:
    """Write the images of `part` and more arrays beside them."""
    rows = part.rows()
    if rows.nbytes < SHOWN_FROM_BYTES:
        write_npz(path, images=rows, **arrays)
        return
    work = f"images to write to {path.parent.name}"
    with Progress("prepare", len(part), reused=0, work=work) as progress:
        write_npz(path, images=replace(rows, progress=progress.advance), **arrays)


def write_subset(path: Path, pool: Part, index: Index, background: Background) -> None:
    """Write the images of the pool at `index` with their labels, and their groups if there are."""
    groups = {} if pool.groups is None else {"groups": pool.groups[index]}
    write_npz(path, **arrays_of(pool.load(index, background)), index=index, **groups)

"""The pool of a dataset with all its labels, from the files of `prepare`, for evaluations only."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.images import background_of
from pipeline.evaluation.audit import Pool, split_pool
from pipeline.runtime.files import read_npz


def read_pool(images: Path, labels: Path) -> Pool:
    """The pool in its three parts; `labels` has the groups and the background as well."""
    known = read_npz(labels)
    return split_pool(
        read_npz(images)["images"], known["labels"], known.get("groups"), background_of(known)
    )

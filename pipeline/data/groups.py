"""Which images belong together and must stay on one side of every split: `data.group`.

A group may be a patient, writer, video or tile. It is given by a column of the table, a pattern in
the file name, a sub-folder, or nearly equal pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.config.schema import GroupParams
from pipeline.data.datasets.base import Origins
from pipeline.data.images import Images, LabeledImages
from pipeline.data.reading.listing import PARTS
from pipeline.runtime.errors import DataError, ParamsError

WHERE = "params.yaml: data.group"
SIDE = 16  # pixels to which images are shrunk before they are compared
MAX_TWINS = 50_000  # images that are compared with each other
ROWS = 512  # compared with all others at a time

Groups = NDArray[np.int64]


def groups_of(rule: GroupParams, origins: Origins, images: LabeledImages) -> Groups:
    """The group of every image, (n,), numbered from 0; equal numbers belong together.

    Raises `ParamsError` if the dataset lacks what the rule needs, or all images are one group.
    """
    if rule.twins is not None:
        groups = twin_groups(images.images, rule.twins)
    else:
        keys = list(_keys(rule, origins, len(images)))
        groups = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    if len(groups) and groups.max() == 0:
        raise ParamsError(
            f"{WHERE}.{_key(rule)}",
            "expected at least 2 groups of images, found a single one",
            "choose another rule or remove data.group",
        )
    return groups


def _key(rule: GroupParams) -> str:
    """The key of params.yaml that is set."""
    return next(key for key in type(rule).model_fields if getattr(rule, key))


def _keys(rule: GroupParams, origins: Origins, count: int) -> Iterator[str]:
    """The value that the rule compares, one per image; an image without one is its own group."""
    found: Sequence[str]
    if rule.column is not None:
        found = _column(rule.column, origins)
    else:
        if len(origins.paths) != count:
            raise ParamsError(
                f"{WHERE}.{_key(rule)}",
                "expected a dataset of files, found one without file names",
                "use data.group.twins or remove data.group",
            )
        found = _names(rule.name, origins) if rule.name else _folders(origins)
    for position, value in enumerate(found):
        # Names have no slash, so no other image has this value.
        yield value or f"/{position}"


def _column(column: str, origins: Origins) -> tuple[str, ...]:
    if column not in origins.columns:
        raise ParamsError(
            f"{WHERE}.column",
            f"expected a column of the table ({', '.join(origins.columns) or 'there is none'}), "
            f"found {column!r}",
            "name one of its columns" if origins.columns else "use another rule of data.group",
        )
    return origins.columns[column]


def _names(pattern: str, origins: Origins) -> list[str]:
    """The match of `pattern` in every file name, or its first group where it has one."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ParamsError(
            f"{WHERE}.name",
            f"expected a regular expression, found {pattern!r} ({error})",
            "edit it",
        ) from None
    matches = [(path, compiled.search(PurePosixPath(path).name)) for path in origins.paths]
    unmatched = [path for path, match in matches if match is None]
    if unmatched:
        raise ParamsError(
            f"{WHERE}.name",
            f"expected {pattern!r} to match every file name, found {len(unmatched)} without, "
            f"{unmatched[0]!r} first",
            "write a pattern for all names, such as '^(.*?)_'",
        )
    index = 1 if compiled.groups else 0
    return [match[index] or "" for _, match in matches if match]


def _folders(origins: Origins) -> list[str]:
    """The first folder below the class folder of every file; nothing for files without one."""
    parts = [PurePosixPath(path).parts for path in origins.paths]
    # <split>/<class>/<group>/x.png, or without the split.
    split = all(part[0].casefold() in {*PARTS, "unlabeled"} for part in parts if part)
    depth = 2 if split else 1
    found = [part[depth] if len(part) > depth + 1 else "" for part in parts]
    if not any(found):
        raise ParamsError(
            f"{WHERE}.folder",
            "expected sub-folders in the class folders, found none",
            "use another rule of data.group or remove it",
        )
    return found


def twin_groups(images: Images, threshold: float) -> Groups:
    """Connected components of images (n, c, h, w) that correlate at least `threshold`, (n,).

    Raises `DataError` above `MAX_TWINS` images.
    """
    groups = np.arange(len(images))
    for first, second, _ in twin_pairs(images, threshold):
        if not len(first):
            continue
        # Pairs of groups that were found so far: few, even where all images are near twins.
        edges = np.unique(np.stack([groups[first], groups[second]]), axis=1)
        graph = coo_array((np.ones(edges.shape[1]), (edges[0], edges[1])), (len(images),) * 2)
        groups = connected_components(graph, directed=False)[1][groups]
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def twin_pairs(
    images: Images, threshold: float
) -> Iterator[tuple[Groups, Groups, NDArray[np.float64]]]:
    """Pairs with a correlation of at least `threshold`, in blocks: first, second, correlation.

    Images are compared as `thumbnails`, so size, brightness and contrast do not matter. An image of
    a single color has no twin.
    """
    if len(images) > MAX_TWINS:
        raise DataError(
            f"{WHERE}.twins",
            f"expected at most {MAX_TWINS} images to compare with each other, found {len(images)}",
            "use another rule of data.group or a part of the images",
        )
    vectors = thumbnails(images)
    for start in range(0, len(vectors), ROWS):
        correlation = vectors[start : start + ROWS] @ vectors[start:].T
        rows, columns = np.nonzero(np.triu(correlation >= threshold, k=1))
        yield rows + start, columns + start, correlation[rows, columns]


def thumbnails(images: Images) -> NDArray[np.float64]:
    """Gray copies with at most `SIDE` x `SIDE` pixels, (n, pixels), with mean 0 and length 1.

    A product of two rows is their correlation. Borders of a single color are cut off first, since
    equal padding would make photos look alike. Images of a single color are zeros.
    """
    height, width = (min(size, SIDE) for size in images.shape[2:])
    small = np.zeros((len(images), height * width))
    for image, row in zip(images, small, strict=True):
        differs = (image != image[:, :1, :1]).any(axis=0)  # (h, w)
        if differs.any():
            rows = _averaging(*_extent(differs.any(axis=1)), height)
            columns = _averaging(*_extent(differs.any(axis=0)), width)
            row[:] = (rows @ image.mean(axis=0) @ columns.T).reshape(-1)

    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    # After rounding, images of a single color are not exactly zero.
    return np.divide(small, length, out=np.zeros_like(small), where=length > 1e-6)


def _extent(inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The first position that is true, one more than the last, and the length."""
    found = np.flatnonzero(inside)
    return int(found[0]), int(found[-1]) + 1, len(inside)


@cache
def _averaging(first: int, stop: int, size: int, side: int) -> NDArray[np.float64]:
    """The matrix (side, size) that averages equal parts of first..stop; rows sum to 1."""
    edges = np.linspace(first, stop, side + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * side / (stop - first)

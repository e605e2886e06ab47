"""A teacher on the images of one file: how right its labels of a pool are, and what it says itself.

`python -m benchmarks.pools --images FILE.npz --family automatic --out OUT` reads the arrays
`images`, `labels` and, unless it is black, `background` of FILE, as `prepare` writes them (see
`pipeline.data.images.read_images`). Per seed, `--per-class` images of every class are labeled,
`--test` images are kept for scoring and the others are the pool; with `--rare N` the pool has
`--pool` images of every other class and N of the rest. FILE should have training images alone.
`OUT/pools.json` gets one row per seed; the table on the terminal shows the same numbers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command_line import commit, count, machine, no_file
from benchmarks.wording import markdown
from pipeline.data.images import LabeledImages, Labels, read_images
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import exit_on_error
from pipeline.runtime.files import write_json
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers import TEACHERS
from pipeline.teachers.calibration import NEVER_CONFIDENT

FAMILIES = [name for name, family in TEACHERS.items() if family.needs_unlabeled]
Index = NDArray[np.int64]


def split(labels: Labels, arguments: argparse.Namespace, seed: int) -> tuple[Index, Index, Index]:
    """Positions of the labeled subset, of the pool and of the images for scoring."""
    rng = numpy_rng("pools", seed)
    order = rng.permutation(len(labels))
    classes = rng.permutation(labels.max() + 1)
    by_class = [order[labels[order] == label] for label in range(labels.max() + 1)]

    subset = np.concatenate([members[: arguments.per_class] for members in by_class])
    others = order[~np.isin(order, subset)]
    test, rest = others[: arguments.test], others[arguments.test :]
    if arguments.rare is None:
        return subset, rest[: arguments.pool], test

    # Every other class, in random order, is rare.
    limits = np.full(len(classes), arguments.pool)
    limits[classes[::2]] = arguments.rare
    parts = [rest[labels[rest] == label][:limit] for label, limit in enumerate(limits)]
    return subset, np.concatenate(parts), test


def run(data: LabeledImages, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One row: the measures of a teacher of one labeled subset."""
    subset, pool, test = split(data.labels, arguments, seed)
    family = TEACHERS[arguments.family]
    begun = time.process_time()
    with deterministic(), tempfile.TemporaryDirectory() as folder:
        teacher = family(family.Config(), seed)
        teacher.fit(data.take(subset), data.images[pool], Path(folder))
        probabilities = teacher.predict_proba(data.images[pool])
        scored = teacher.predict_proba(data.images[test]).argmax(axis=1)
    seconds = time.process_time() - begun

    truth, predicted = data.labels[pool], probabilities.argmax(axis=1)
    minimum = teacher.min_probability(probabilities)
    sure = probabilities.max(axis=1) >= minimum
    recalls = [(predicted[truth == label] == label).mean() for label in np.unique(truth)]
    correct = predicted == truth
    return {
        "seed": seed,
        "choice": teacher.choice,
        "held_out_accuracy": None if teacher.held_out is None else teacher.held_out.accuracy(),
        "minimum": minimum,
        "trusted": minimum < NEVER_CONFIDENT,
        "sure_frac": float(sure.mean()),
        "sure_accuracy": float(correct[sure].mean()) if sure.any() else None,
        "pool_accuracy": float(correct.mean()),
        "lowest_recall": float(min(recalls)),
        "accuracy": float((scored == data.labels[test]).mean()) if len(test) else None,
        "seconds": seconds,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    return markdown([{name: _cell(value) for name, value in row.items()} for row in rows])


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def parse(words: list[str]) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pools", description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, default="automatic")
    parser.add_argument("--per-class", type=count, default=10)
    parser.add_argument("--pool", type=count, default=100_000)
    parser.add_argument("--rare", type=count, default=None)
    parser.add_argument("--test", type=count, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=no_file, required=True)
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    """Run all seeds; write after each."""
    arguments = parse(words)
    data = read_images(arguments.images)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        rows.append(run(data, arguments, seed))
        record = {"rows": rows, "machine": machine(), "commit": commit()}
        write_json(arguments.out / "pools.json", record)
        print(table(rows), flush=True)


if __name__ == "__main__":
    with exit_on_error():
        main(sys.argv[1:])

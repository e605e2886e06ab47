"""prepare: read the dataset once and lay out who may see what.

`data/splits/draws/` holds, per replicate, the only labels its generator, filter and classifiers may
see; `fresh/` as many labels again, for the control that must help alone; `pool.npz` all images
without labels; `labels.npz` all labels of the pool, for audits alone; `test.npz` the test set, for
scoring alone; `ids.npz` the content ids of pool and test, by which the report proves that nothing
else was used. dvc.yaml says which stage reads which, and a test holds it against the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import DATASETS
from pipeline.errors import ParamsError
from pipeline.images import LabeledImages, content_ids, digest
from pipeline.params import Params
from pipeline.runtime import derive_seed, numpy_rng
from pipeline.splits import canonical, draw, hold_out, refuse_large_budget, refuse_overlap
from pipeline.stages.entry import enter
from pipeline.store import file_digest, replacing, write_json, write_npz
from pipeline.trials import Replicate, curve_replicates

OUTPUT = "data/splits"


def run(params: Params, root: Path) -> None:
    """Write `data/splits/`; raises `DataError` or `ParamsError` before anything is replaced."""
    name = params.data.name
    if name not in DATASETS:
        raise ParamsError(
            "params.yaml: data.name",
            f"expected one of {', '.join(DATASETS)}, found {name!r}",
            "use one of these names",
        )
    raw = DATASETS[name](params.data, root)
    pool, test = canonical(raw.images), raw.test
    if test is None:
        pool, test = hold_out(pool, params.data.test_per_class, numpy_rng("test", name))
    else:
        test = canonical(test)
    refuse_overlap(pool, test)
    refuse_large_budget(pool.labels, params.study.budgets, "study.budgets")
    refuse_large_budget(pool.labels, params.study.curve_budgets, "study.curve_budgets")
    with replacing(root / OUTPUT) as folder:
        write_npz(folder / "pool.npz", images=pool.images)
        write_npz(folder / "labels.npz", labels=pool.labels)
        write_npz(folder / "test.npz", images=test.images, labels=test.labels)
        write_npz(folder / "ids.npz", pool=content_ids(pool.images), test=content_ids(test.images))
        for replicate in curve_replicates(params.study):
            write_draws(folder, replicate, pool, name)
        found = manifest(name, raw.class_names, pool, test)
        found["test"]["file_sha256"] = file_digest(folder / "test.npz")
        write_json(folder / "manifest.json", found)


def write_draws(folder: Path, replicate: Replicate, pool: LabeledImages, name: str) -> None:
    """Write the replicate's labeled draw, and as many fresh labels as the pool has beyond it.

    Fresh labels are the next ranks of the same draw: up to `budget` more of every class.
    """
    rng = np.random.default_rng(derive_seed("draw", name, replicate.seed))
    both = draw(pool.labels, 2 * replicate.budget, rng)
    own = replicate.budget * pool.num_classes
    for part, index in (("draws", both[:own]), ("fresh", both[own:])):
        write_npz(
            folder / part / replicate.file(".npz"),
            images=pool.images[index],
            labels=pool.labels[index],
            index=index,
        )


def manifest(
    name: str, class_names: tuple[str, ...], pool: LabeledImages, test: LabeledImages
) -> dict[str, Any]:
    """What was split: names, counts per class and content hashes."""
    ids = content_ids(pool.images)
    return {
        "dataset": name,
        "class_names": list(class_names),
        "shape": list(pool.images.shape[1:]),
        "pool": _counts(pool) | {"num_duplicates": len(ids) - len(np.unique(ids))},
        "test": _counts(test),
    }


def _counts(data: LabeledImages) -> dict[str, object]:
    return {
        "num_images": len(data),
        "per_class": np.bincount(data.labels).tolist(),
        "sha256": digest(data),
    }


if __name__ == "__main__":
    enter(run)

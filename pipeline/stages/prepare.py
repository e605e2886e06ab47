"""prepare: read the dataset once and lay out who may see what.

`data/splits/subsets/` holds, per replicate, the only labels its generator, filter and classifiers
may see; `fresh/` as many labels again, for the control that must help alone; `pool.npz` all images
without labels, foreign ones among them; `labels.npz` all labels of the pool, -1 for foreign images
and those that the source has no label of, for audits alone; `test.npz` the test set, for scoring
alone; `ids.npz` the content ids of pool and test, by which the report proves that nothing
else was used. dvc.yaml says which stage reads which, and a test holds it against the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import FRESH, Params
from pipeline.data.datasets import DATASETS
from pipeline.data.images import UNLABELED, LabeledImages, content_ids, digest
from pipeline.data.splits import (
    Index,
    add_unknown_classes,
    canonical,
    hold_out,
    refuse_large_budget,
    refuse_overlap,
    split_subset,
    without_classes,
)
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import file_digest, replacing, write_json, write_npz
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.trials.grid import Replicate, curve_replicates

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
    raw, unknown = DATASETS[name](params.data, root), params.data.unknown_classes
    labeled_classes, others = without_classes(raw.images, unknown.classes)
    pool = canonical(labeled_classes)
    if raw.test is None:
        pool, test = hold_out(pool, params.data.test_per_class, numpy_rng("test", name))
    else:
        test = canonical(without_classes(raw.test, unknown.classes)[0])
    pool = add_unknown_classes(pool, others, unknown.frac, numpy_rng("foreign", name))
    refuse_overlap(pool, test)
    refuse_budgets(params, pool)
    with replacing(root / OUTPUT) as folder:
        write_npz(folder / "pool.npz", images=pool.images)
        write_npz(folder / "labels.npz", labels=pool.labels)
        write_npz(folder / "test.npz", images=test.images, labels=test.labels)
        write_npz(folder / "ids.npz", pool=content_ids(pool.images), test=content_ids(test.images))
        for replicate in curve_replicates(params.study):
            index, fresh = split_replicate(pool, replicate, name)
            write_subset(folder / "subsets" / replicate.file(".npz"), pool, index)
            if replicate.budget in params.study.budgets:
                write_subset(folder / "fresh" / replicate.file(".npz"), pool, fresh)
        names = tuple(np.delete(raw.class_names, unknown.classes).tolist())
        summary = manifest(name, names, pool, test)
        # For the report, which compares the files that trials read and may not read all of them.
        files = ("test.npz", "pool.npz", "labels.npz")
        summary["files"] = {f"{OUTPUT}/{each}": file_digest(folder / each) for each in files}
        write_json(folder / "manifest.json", summary)


def split_replicate(pool: LabeledImages, replicate: Replicate, name: str) -> tuple[Index, Index]:
    """Positions of the replicate's labeled draw, and of as many fresh labels beyond it.

    Fresh labels are the next ranks of the same draw, as far as the pool goes.
    """
    rng = np.random.default_rng(derive_seed("draw", name, replicate.seed))
    both = split_subset(pool.labels, 2 * replicate.budget, rng)
    num_labeled = replicate.budget * pool.num_classes
    return both[:num_labeled], both[num_labeled:]


def write_subset(path: Path, pool: LabeledImages, index: Index) -> None:
    """Write the pool's images at `index` with their labels."""
    write_npz(path, images=pool.images[index], labels=pool.labels[index], index=index)


def refuse_budgets(params: Params, pool: LabeledImages) -> None:
    """Raise `ParamsError` when the pool has too few images for a budget, and for as many again.

    The latter only where an arm adds them; and one beyond the budget for teachers to learn from.
    These are checks and no inputs: stages that train would refuse the same, but hours later.
    """
    study = params.study
    refuse_large_budget(pool.labels, study.budgets, "study.budgets")
    refuse_large_budget(pool.labels, study.curve_budgets, "study.curve_budgets")
    largest = max(study.budgets) * pool.num_classes
    if params.teachers and largest >= len(pool):
        raise ParamsError(
            "params.yaml: study.budgets",
            f"expected unlabeled images beside the draw, since there are teachers, found that "
            f"{max(study.budgets)} labels per class take all {len(pool)} images of the pool",
            "lower that budget or take the teachers out",
        )
    if any(arm.inputs == FRESH for arm in params.arms.values()):
        twice = [2 * budget for budget in study.budgets]
        refuse_large_budget(pool.labels, twice, f"study.budgets, twice, for arms with {FRESH}")


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
        "per_class": np.bincount(data.labels[data.labels != UNLABELED]).tolist(),
        "num_unlabeled": int((data.labels == UNLABELED).sum()),
        "sha256": digest(data),
    }

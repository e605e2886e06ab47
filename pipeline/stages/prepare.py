"""prepare: read the dataset once and split it into the parts that each stage may read.

* `data/splits/subsets/`: per replicate, the only labels that its generator, filter and classifiers
  may read; `fresh/`: as many labels again, for the control that must help
* `pool.npz`: all images without labels, those of unknown classes included; `labels.npz`: the labels
  of the pool, -1 where there is none, for evaluations only
* `test.npz`: the test set, for scoring only
* `ids.npz`: content ids of pool and test set, with which the report proves that no other image was
  used; `manifest.json`: names, counts and digests

dvc.yaml says which stage reads which file; tests compare that with the files that stages open.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config.schema import Params
from pipeline.data.budgets import refuse_budgets
from pipeline.data.datasets import load_dataset
from pipeline.data.images import LabeledImages, content_ids
from pipeline.data.splits import (
    Index,
    add_unknown_classes,
    canonical,
    hold_out,
    refuse_overlap,
    split_subset,
    summary,
    without_classes,
)
from pipeline.runtime.files import file_digest, replacing, write_json, write_npz
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.trials.grid import Replicate, curve_replicates
from pipeline.trials.layout import IDS, LABELS, POOL, SPLITS, SUMMARY, TEST, fresh, subset


def run(params: Params, root: Path) -> None:
    """Write `data/splits/`; raises `DataError` or `ParamsError` before anything is replaced."""
    name, unknown = params.data.name, params.data.unknown_classes
    raw = load_dataset(params.data, root)
    labeled_classes, others = without_classes(raw.images, unknown.classes)
    pool = canonical(labeled_classes)
    if raw.test is None:
        pool, test = hold_out(pool, params.data.test_per_class or 1, numpy_rng("test", name))
    else:
        test = canonical(without_classes(raw.test, unknown.classes)[0])
    pool = add_unknown_classes(pool, others, unknown.frac, numpy_rng("foreign", name))
    refuse_overlap(pool, test)
    refuse_budgets(params, pool)

    class_names = tuple(np.delete(raw.class_names, unknown.classes).tolist())
    with replacing(root / SPLITS) as folder:
        place = {file: folder / file.path.relative_to(SPLITS) for file in (POOL, LABELS, TEST, IDS)}
        write_npz(place[POOL], images=pool.images)
        write_npz(place[LABELS], labels=pool.labels)
        write_npz(place[TEST], images=test.images, labels=test.labels)
        write_npz(place[IDS], pool=content_ids(pool.images), test=content_ids(test.images))
        for replicate in curve_replicates(params.study):
            parts = zip((subset, fresh), split_replicate(pool, replicate, name), strict=True)
            for part, index in parts:
                if part is subset or replicate.budget in params.study.budgets:
                    write_subset(folder / part(replicate).path.relative_to(SPLITS), pool, index)

        # For the report, which compares the inputs of trials but may not read these files.
        digests = {file.path.as_posix(): file_digest(place[file]) for file in (TEST, POOL, LABELS)}
        record = {**summary(name, class_names, pool, test), "files": digests}
        write_json(folder / SUMMARY.path.relative_to(SPLITS), record)


def split_replicate(pool: LabeledImages, replicate: Replicate, name: str) -> tuple[Index, Index]:
    """Positions of the labeled subset of a replicate, and of as many fresh labels beyond it.

    Fresh labels continue the order of the subset, up to the end of the pool.
    """
    rng = np.random.default_rng(derive_seed("draw", name, replicate.seed))
    both = split_subset(pool.labels, 2 * replicate.budget, rng)
    num_labeled = replicate.budget * pool.num_classes
    return both[:num_labeled], both[num_labeled:]


def write_subset(path: Path, pool: LabeledImages, index: Index) -> None:
    """Write the images of the pool at `index` with their labels."""
    write_npz(path, images=pool.images[index], labels=pool.labels[index], index=index)

"""prepare: read the dataset once and split it into the parts that each stage may read.

* `data/splits/subsets/`: per replicate, the only labels that its generator, filter and classifiers
  may read; `fresh/`: as many labels again, for the control that must help
* `pool/`: all images without labels, those of unknown classes included; `labels/`: the labels of
  the pool, -1 where there is none, for evaluations only
* `test/`: the test set, for scoring only
* `ids/`: content ids of pool and test set, with which the report proves that no other image was
  used; `manifest.json`: names, counts and digests

All seeds share `all.npz` of these folders, or each has its own `seed-00.npz` with
`data.test.per_seed`. dvc.yaml says which stage reads which file; tests compare that with the files
that stages open.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.config.schema import Params
from pipeline.data.background import resolve_background
from pipeline.data.catalog import catalog
from pipeline.data.datasets import load_dataset
from pipeline.data.holdout import refuse_test_setting
from pipeline.data.splits import split, split_replicate, summary
from pipeline.data.writing import write_pool, write_subset, write_test
from pipeline.runtime.files import file_digest, replacing, write_json, write_npz
from pipeline.trials import layout
from pipeline.trials.grid import curve_replicates


def run(params: Params, root: Path) -> None:
    """Write `data/splits/`; raises `DataError` or `ParamsError` before anything is replaced."""
    raw = load_dataset(params.data, root)
    refuse_test_setting(params, raw.test is not None)
    found = catalog(params, raw)
    # One split for all seeds, under the name of the first, or one for each.
    seeds = params.study.seeds if params.data.per_seed else params.study.seeds[:1]
    splits = {seed: split(params, found, seed if params.data.per_seed else None) for seed in seeds}
    # Measured before the split, so that the background is the same for all seeds.
    color = resolve_background(params.data.background, raw.images.images, raw.boxes)

    with replacing(root / layout.SPLITS) as folder:

        def place(file: layout.File) -> Path:
            return folder / file.path.relative_to(layout.SPLITS)

        digests = {}
        for seed, parts in splits.items():
            test, pool, labels = (
                file(params, seed)
                for file in (layout.test_file, layout.pool_file, layout.labels_file)
            )
            write_pool(place(pool), place(labels), parts.pool, color)
            write_test(place(test), parts.test, color)
            ids = place(layout.ids_file(params, seed))
            write_npz(ids, pool=parts.pool.ids, test=parts.test.ids)
            for file in (test, pool, labels):
                digests[file.path.as_posix()] = file_digest(place(file))

        for replicate in curve_replicates(params.study):
            images = splits.get(replicate.seed, splits[seeds[0]]).pool
            own, fresh = split_replicate(
                params, images, found.counts, replicate.budget, replicate.seed
            )
            write_subset(place(layout.subset(replicate)), images, own, color)
            if replicate.budget in params.study.budgets:
                write_subset(place(layout.fresh(replicate)), images, fresh, color)

        # Digests are for the report, which compares the inputs of trials but may not read them.
        record = summary(params, raw, found, [*splits.values()], color)
        write_json(place(layout.SUMMARY), {**record, "files": digests})

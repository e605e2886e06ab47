"""evaluate_generator@<generator>: how good the synthetic images are, by an independent judge.

`data/audit/<generator>/` gets one `.json` per replicate: distances, copies of the labeled subset,
wrong labels, one row per class, and `flags`, the warnings that belong next to a gain. Reads the
labels of the pool, which no stage that trains for an arm may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.classifiers.judge import load_judges
from pipeline.config.schema import Params
from pipeline.data.images import read_images
from pipeline.evaluation.audit import audit, held_out
from pipeline.evaluation.pool import read_pool
from pipeline.nn.weights import read_weights
from pipeline.runtime.files import read_npz, to_json
from pipeline.runtime.seeds import derive_seed
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import replicates
from pipeline.trials.layout import Artifact, judge, labels_file, pool_file, subset
from pipeline.trials.specs import Spec


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    made = []
    for replicate in replicates(params.study):
        inputs = {
            "pool": pool_file(params, replicate.seed),
            "labels": labels_file(params, replicate.seed),
            "judge": judge(params, replicate.seed).output(".safetensors"),
            "subset": subset(replicate),
            "synthetic": Artifact("synthesize", name, replicate).output(".npz"),
        }
        # No generator's name: all generators are compared with the same real images.
        place = replicate.file("")
        spec = Spec(derive_seed("audit", place.parent.name, place.name))
        artifact = Artifact("evaluate_generator", name, replicate)
        made.append(TrialPlan(artifact, evaluate, spec, inputs))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/audit/<name>/`."""
    run_trials(params, root, plans(params, name))


def evaluate(spec: Spec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Compare the synthetic images of one replicate with held-out real ones."""
    pool = read_pool(paths["pool"], paths["labels"])
    weights = read_weights(paths["judge"])
    judges = load_judges(weights, pool.data.spec())
    labeled, index = read_images(paths["subset"]), read_npz(paths["subset"])["index"]
    rng = np.random.default_rng(spec.seed)
    report = audit(pool, judges, labeled, index, read_images(paths["synthetic"]), rng)
    return Result({".json": to_json(report).encode()}, held_out(pool, index))

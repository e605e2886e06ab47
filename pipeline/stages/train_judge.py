"""train_judge: the classifier that evaluates all generators and is used for nothing else.

`data/judge/` gets `judge.safetensors`, or one file per seed, such as
`seed-00.safetensors`, if every seed has its own pool. It is trained on half of the pool with all
its labels, far beyond any budget; a small pool has a judge for each of four folds. The file has no
weights if the pool is too small to train one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.classifiers.judge import fit_judge, judges_state
from pipeline.config.schema import Params
from pipeline.evaluation.pool import read_pool, why_untrained
from pipeline.nn.weights import to_safetensors
from pipeline.runtime.seeds import derive_seed
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.layout import judge, labels_file, pool_file
from pipeline.trials.specs import Spec


def plans(params: Params) -> list[TrialPlan]:
    """One trial per pool; nothing could be evaluated if it failed."""
    made = {}
    for seed in params.study.seeds:
        inputs = {"pool": pool_file(params, seed), "labels": labels_file(params, seed)}
        artifact, spec = judge(params, seed), Spec(derive_seed("judge"))
        made[artifact] = TrialPlan(artifact, train, spec, inputs, required=True)
    return list(made.values())


def run(params: Params, root: Path) -> None:
    """Write `data/judge/`."""
    run_trials(params, root, plans(params))


def train(spec: Spec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Train the judge of every fold of the pool, on the images of the others."""
    pool = read_pool(paths["pool"], paths["labels"])
    if why_untrained(pool):
        return Result({".safetensors": to_safetensors({})}, None)
    judges = [fit_judge(pool.data.take(fold.judge)) for fold in pool.folds]
    used = np.unique(np.concatenate([fold.judge for fold in pool.folds]))
    return Result({".safetensors": to_safetensors(judges_state(judges))}, pool.data.take(used))

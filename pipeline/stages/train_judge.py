"""train_judge: the classifier that evaluates all generators and is used for nothing else.

`data/judge/` gets `judge.safetensors`, or one file per seed, such as
`seed-00.safetensors`, if every seed has its own pool. It is trained on half of the pool with all
its labels, far beyond any budget. The file has no weights if the pool is too small to train one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.classifiers.judge import fit_judge
from pipeline.config.schema import Params
from pipeline.evaluation.audit import why_untrained
from pipeline.evaluation.pool import read_pool
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
    """Train the judge on its part of the pool."""
    pool = read_pool(paths["pool"], paths["labels"])
    if why_untrained(pool):
        return Result({".safetensors": to_safetensors({})}, None)
    data = pool.data.take(pool.judge)
    return Result({".safetensors": to_safetensors(fit_judge(data).state())}, data)

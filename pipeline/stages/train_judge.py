"""train_judge: the classifier that evaluates all generators and is used for nothing else.

`data/judge/` gets `judge.safetensors`. It is trained on half of the pool with all its labels, far
beyond any budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.classifiers.judge import fit_judge
from pipeline.config.schema import Params
from pipeline.evaluation.audit import split_pool
from pipeline.nn.weights import to_safetensors
from pipeline.runtime.files import read_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.layout import JUDGE, LABELS, POOL, Artifact
from pipeline.trials.specs import Spec


def plans(params: Params) -> list[TrialPlan]:
    """One trial for the whole study; nothing could be evaluated if it failed."""
    artifact, inputs = Artifact("train_judge", JUDGE), {"pool": POOL, "labels": LABELS}
    spec = Spec(derive_seed("judge"))
    return [TrialPlan(artifact, train, spec, inputs, required=True)]


def run(params: Params, root: Path) -> None:
    """Write `data/judge/`."""
    run_trials(params, root, plans(params))


def train(spec: Spec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Train the judge on its part of the pool."""
    pool = split_pool(read_npz(paths["pool"])["images"], read_npz(paths["labels"])["labels"])
    data = pool.data.take(pool.judge)
    return Result({".safetensors": to_safetensors(fit_judge(data).state())}, data)

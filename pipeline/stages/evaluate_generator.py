"""evaluate_generator@<generator>: how good the synthetic images are, by an independent judge.

`data/audit/<generator>/` gets one `.json` per replicate: distances, copies of the labeled subset,
wrong labels, one row per class, and `flags`, the warnings that belong next to a gain. Reads the
labels of the pool, which no stage that trains for an arm may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.classifiers.judge import load_judge
from pipeline.config.schema import Params
from pipeline.data.images import read_images
from pipeline.evaluation.audit import audit, held_out, split_pool
from pipeline.nn.weights import read_weights
from pipeline.runtime.files import read_npz, to_json
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.layout import JUDGE, LABELS, POOL, Artifact, subset
from pipeline.trials.specs import Spec


@dataclass(frozen=True)
class EvaluateGeneratorSpec(Spec):
    """The replicate decides which images are compared."""

    replicate: Replicate


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    made = []
    for replicate in replicates(params.study):
        inputs = {
            "pool": POOL,
            "labels": LABELS,
            "judge": Artifact("train_judge", JUDGE).output(".safetensors"),
            "subset": subset(replicate),
            "synthetic": Artifact("synthesize", name, replicate).output(".npz"),
        }
        spec = EvaluateGeneratorSpec(derive_seed("audit", name), replicate)
        artifact = Artifact("evaluate_generator", name, replicate)
        made.append(TrialPlan(artifact, evaluate, spec, inputs))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/audit/<name>/`."""
    run_trials(params, root, plans(params, name))


def evaluate(spec: EvaluateGeneratorSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Compare the synthetic images of one replicate with held-out real ones."""
    pool = split_pool(read_npz(paths["pool"])["images"], read_npz(paths["labels"])["labels"])
    judge = load_judge(read_weights(paths["judge"]), pool.data.spec())
    labeled, index = read_images(paths["subset"]), read_npz(paths["subset"])["index"]
    place = spec.replicate.file("")
    rng = numpy_rng("audit", place.parent.name, place.name)
    report = audit(pool, judge, labeled, index, read_images(paths["synthetic"]), rng)
    return Result({".json": to_json(report).encode()}, held_out(pool, index))

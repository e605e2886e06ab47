"""train_classifiers@<arm>: every classifier on the arm's training sets, scored once on test.

`results/<arm>/` gets one `.npz` per replicate and classifier: `probabilities` float32 (n, classes)
of the test images, their `labels` int64 (n,), and how the training set came about. Any metric can
be computed from these later; nothing here looks at a score.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from pipeline.arms import Synthetic, assemble
from pipeline.classifiers import CLASSIFIERS
from pipeline.engine import Task, compute, lay_out, trial_code, trial_name
from pipeline.images import read_images
from pipeline.params import Params, member_config
from pipeline.runtime import derive_seed
from pipeline.stages.entry import enter_group
from pipeline.store import read_npz, require, write_npz
from pipeline.trials import Trial, replicates


def run(params: Params, root: Path, name: str) -> None:
    """Write `results/<name>/` for the arm `name`."""
    arm = params.arms[name]
    test = require(root / "data/splits/test.npz", "prepare")
    settings = {
        "arm": arm.model_dump(exclude={"control"}),  # a flag for the report alone
        "transform": params.transforms.get(arm.transform),
        "filter": params.filters.get(arm.filter),
    }

    def task(trial: Trial) -> Task:
        classifier, replicate = trial.classifier, trial.replicate
        place = replicate.file(".npz")
        inputs = [test, require(root / "data/splits/draws" / place, "prepare")]
        if arm.generator is not None:
            inputs.append(require(root / arm.inputs / place, f"synthesize@{arm.generator}"))
        # No arm's name in the seed: an arm and its baseline share initial weights and order.
        seed = derive_seed("classifier", classifier, replicate.budget, replicate.seed)
        code = trial_code(__file__, CLASSIFIERS[classifier].__module__, "pipeline.arms")
        section = {"classifier": classifier, "config": params.classifiers[classifier]}
        return Task(
            name=trial_name(code, inputs, {**settings, **section, "seed": seed}),
            work=functools.partial(score, params, trial, tuple(inputs), seed),
            outputs={"scored.npz": replicate.file(f".{classifier}.npz")},
            labels={"stage": "train_classifiers", "item": name, "classifier": classifier,
                    **replicate.labels()},
        )  # fmt: skip

    tasks = [
        task(Trial(classifier, name, replicate))
        for replicate in replicates(params.study)
        for classifier in params.classifiers
    ]
    lay_out(root, Path("results") / name, tasks, compute(tasks, params.engine, root))


def score(params: Params, trial: Trial, inputs: tuple[Path, ...], seed: int, folder: Path) -> None:
    """Train one classifier on one training set and keep its probabilities of the test images."""
    test_path, draw_path, *synthetic_path = inputs
    synthetic = None
    for path in synthetic_path:
        synthetic = Synthetic(read_images(path), read_npz(path)["teacher"])
    chosen = assemble(params.arms[trial.arm], read_images(draw_path), synthetic, params)
    family, section = CLASSIFIERS[trial.classifier], params.classifiers[trial.classifier]
    classifier = family(
        member_config(family.Config, section, f"classifiers.{trial.classifier}"), seed
    )
    classifier.fit(chosen.training_set)
    test = read_images(test_path)
    write_npz(
        folder / "scored.npz",
        probabilities=classifier.predict_proba(test.images),
        labels=test.labels,
        num_train=np.array(len(chosen.training_set.data)),
        num_synthetic=np.array(chosen.num_synthetic),
        num_candidates=np.array(chosen.num_candidates),
        num_rejected=np.array(chosen.num_rejected),
    )


if __name__ == "__main__":
    from pipeline.stages import train_classifiers  # by its own name: workers can import that

    enter_group(train_classifiers.run, lambda params: params.arms)

"""train_generator@<generator>: one generator per replicate, from its labeled subset.

A generator whose `inputs` name a teacher learns from the unlabeled images with a confident label of
that teacher as well. `models/<generator>/` gets, per replicate:

* `.safetensors`: the averaged generator network
* `.history.csv`: losses and learning rates by step
* `.snapshots.npz`: images from fixed noise during the training
* `.showcase.npz`: images that show what it learned, ten to a row
* `.discriminator.safetensors`: the convolutions of its discriminator, numbered from the image on;
  empty for a family without one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Params
from pipeline.data.images import LabeledImages, joined, read_images
from pipeline.generators import GENERATORS
from pipeline.generators.base import create
from pipeline.generators.fit import fit
from pipeline.generators.showcase import showcase
from pipeline.nn.layers import conv_state_dict
from pipeline.nn.weights import to_safetensors
from pipeline.runtime.files import read_npz, to_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.filters import agreement
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import replicates
from pipeline.trials.layout import Artifact, subset
from pipeline.trials.specs import MemberSpec, Spec, member


@dataclass(frozen=True)
class TrainGeneratorSpec(Spec):
    """What decides a trained generator."""

    generator: MemberSpec


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    section = params.generators[name]
    model = member(GENERATORS, params.family(name), section.settings, f"generators.{name}")
    tags = {
        "batch_size": model.config.batch_size,
        "kind": model.family.kind,
        "loss": model.family.losses(model.config)[""],  # of the networks that are sampled from
    }
    made = []
    for replicate in replicates(params.study):
        inputs = {"subset": subset(replicate)}
        if section.teacher is not None:
            teacher = Artifact("train_teacher", section.teacher, replicate)
            inputs["pseudo"] = teacher.output(".npz")
        seed = derive_seed("generator", name, replicate.budget, replicate.seed)
        artifact = Artifact("train_generator", name, replicate)
        spec = TrainGeneratorSpec(seed, model)
        made.append(TrialPlan(artifact, train, spec, inputs, tags=tags))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `models/<name>/`."""
    run_trials(params, root, plans(params, name))


def train(spec: TrainGeneratorSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Train one generator; see the module for the files."""
    labeled = read_images(paths["subset"])
    data = joined(labeled, confident(paths["pseudo"])) if "pseudo" in paths else labeled
    family, config = spec.generator.family, spec.generator.config
    generator = create(family, config, labeled.spec(), derive_seed("initial", spec.seed))
    history = fit(generator, data, spec.seed, scratch)

    table = pd.DataFrame(history.rows).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    snapshots = {f"step_{step:06d}": images for step, images in history.snapshots.items()}
    discriminator = conv_state_dict(generator.discriminator_convolutions())
    return Result(
        {
            ".safetensors": to_safetensors(generator.generator_net.state_dict()),
            ".history.csv": table.encode(),
            ".snapshots.npz": to_npz(**snapshots),
            ".showcase.npz": to_npz(**showcase(generator, data, spec.seed)),
            ".discriminator.safetensors": to_safetensors(discriminator),
        },
        labeled,
    )


def confident(path: Path) -> LabeledImages:
    """The images that a teacher labeled and that the filter `agreement` keeps."""
    arrays, labeled = read_npz(path), read_images(path)
    keep = agreement(labeled.labels, arrays["probabilities"], float(arrays["min_probability"]))
    return labeled.take(keep)

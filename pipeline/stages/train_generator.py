"""train_generator@<generator>: one generator per replicate, from that draw's labels alone.

It learns from the draw's images or, when its `inputs` name a teacher, from those and the unlabeled
images that the teacher is sure of.

Per replicate, `models/<generator>/` gets `.safetensors` (the averaged sampler), `.history.csv`
(losses and learning rates), `.snapshots.npz` (images from fixed noise over training),
`.showcase.npz` (pictures of what it knows, ten images to a row) and `.discriminator.safetensors`
(the discriminator's convolutions, numbered from the image on; empty where there are none).
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from pipeline.config.schema import SUBSETS, Params
from pipeline.config.validation import member_config
from pipeline.data.images import LabeledImages, joined, read_images
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, GeneratorConfig, create
from pipeline.generators.fit import fit
from pipeline.generators.showcase import showcase
from pipeline.nn.layers import conv_state_dict
from pipeline.nn.weights import write_weights
from pipeline.runtime.files import read_npz, require, write_npz, write_text
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.filters import agreement
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.provenance import outputs_of, provenance, refuse_failed, trial_code

FILES = (
    ".safetensors",
    ".history.csv",
    ".snapshots.npz",
    ".showcase.npz",
    ".discriminator.safetensors",
)


def run(params: Params, root: Path, name: str) -> None:
    """Write `models/<name>/`: train the generators that are not in the store, lay out all."""
    chosen, family = params.generators[name], GENERATORS[params.family(name)]
    config = member_config(family.Config, chosen.settings, f"generators.{name}")
    code = trial_code(
        __file__,
        family.__module__,
        "pipeline.training_sets.filters",
        "pipeline.generators.showcase",
        "pipeline.config.schema",
    )

    def task(replicate: Replicate) -> Task:
        subset = require(root / SUBSETS / replicate.file(".npz"), "prepare")
        labeled = root / chosen.inputs / replicate.file(".npz")
        inputs = (
            [subset] if chosen.teacher is None else [subset, *outputs_of(labeled, "train_teacher")]
        )
        seed = derive_seed("generator", name, replicate.budget, replicate.seed)
        return Task(
            provenance=provenance(code, inputs, params, [f"generators.{name}"], seed, root),
            work=functools.partial(train, family, config, (subset, labeled), seed),
            outputs={f"generator{suffix}": replicate.file(suffix) for suffix in FILES},
            tags={
                "stage": "train_generator",
                "item": name,
                "batch_size": config.batch_size,
                **replicate.columns(),
            },
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("models") / name, tasks, compute(tasks, params.engine, root))


def train(
    family: type[Generator],
    config: GeneratorConfig,
    inputs: tuple[Path, Path],
    seed: int,
    folder: Path,
) -> LabeledImages:
    """Train one generator on one draw; see the module for the files it leaves in `folder`.

    `inputs` are the draw and the labeled images to learn from: the same, or what a teacher labeled.
    """
    subset_path, labeled_path = inputs
    subset = read_images(subset_path)
    data = subset if labeled_path == subset_path else joined(subset, sure(labeled_path))
    generator = create(family, config, subset.spec(), derive_seed("initial", seed))
    history = fit(generator, data, seed, folder)
    write_weights(folder / "generator.safetensors", generator.generator_net.state_dict())
    write_weights(
        folder / "generator.discriminator.safetensors",
        conv_state_dict(generator.discriminator_convolutions()),
    )
    write_npz(folder / "generator.showcase.npz", **showcase(generator, data, seed))
    table = pd.DataFrame(history.rows).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(folder / "generator.history.csv", table)
    snapshots = {f"step_{step:06d}": images for step, images in history.snapshots.items()}
    write_npz(folder / "generator.snapshots.npz", **snapshots)
    return subset


def sure(path: Path) -> LabeledImages:
    """The images that a teacher labeled and is sure of."""
    refuse_failed(path)
    arrays = read_npz(path)
    labeled = read_images(path)
    keep = agreement(labeled.labels, arrays["teacher"], float(arrays["confidence"]))
    return labeled.take(keep)

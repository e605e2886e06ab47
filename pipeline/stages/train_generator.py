"""train_generator@<generator>: one generator per replicate, from that draw's labels alone.

It learns from the draw's images or, when its `inputs` name a teacher, from those and the unlabeled
images that the teacher is sure of.

Per replicate, `models/<generator>/` gets `.safetensors` (the averaged sampler), `.history.csv`
(losses and learning rates), `.snapshots.npz` (images from fixed noise over training),
`.exhibits.npz` (pictures of what it knows, ten images to a row) and `.critic.safetensors` (the
discriminator's convolutions, numbered from the image on; empty where there are none).
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from pipeline.config.schema import DRAWS, Params
from pipeline.config.validation import member_config
from pipeline.data.images import LabeledImages, joined, read_images
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, GeneratorConfig, create
from pipeline.generators.fit import fit
from pipeline.generators.showcase import exhibits
from pipeline.nn.layers import numbered
from pipeline.nn.weights import write_weights
from pipeline.runtime.files import read_npz, require, write_npz, write_text
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.filters import agreement
from pipeline.trials.engine import Task, compute, lay_out
from pipeline.trials.grid import Replicate, replicates
from pipeline.trials.provenance import made_by, provenance, refuse_failed, trial_code

FILES = (".safetensors", ".history.csv", ".snapshots.npz", ".exhibits.npz", ".critic.safetensors")


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
        draw = require(root / DRAWS / replicate.file(".npz"), "prepare")
        labeled = root / chosen.inputs / replicate.file(".npz")
        inputs = [draw] if chosen.teacher is None else [draw, *made_by(labeled, "train_teacher")]
        seed = derive_seed("generator", name, replicate.budget, replicate.seed)
        return Task(
            provenance=provenance(code, inputs, params, [f"generators.{name}"], seed, root),
            work=functools.partial(train, family, config, (draw, labeled), seed),
            outputs={f"generator{suffix}": replicate.file(suffix) for suffix in FILES},
            labels={
                "stage": "train_generator",
                "item": name,
                "batch_size": config.batch_size,
                **replicate.labels(),
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
    draw_path, labeled_path = inputs
    draw = read_images(draw_path)
    data = draw if labeled_path == draw_path else joined(draw, sure(labeled_path))
    generator = create(family, config, draw.spec(), derive_seed("initial", seed))
    history = fit(generator, data, seed, folder)
    write_weights(folder / "generator.safetensors", generator.sampler.state_dict())
    write_weights(
        folder / "generator.critic.safetensors", numbered(generator.critic_convolutions())
    )
    write_npz(folder / "generator.exhibits.npz", **exhibits(generator, data, seed))
    table = pd.DataFrame(history.rows).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(folder / "generator.history.csv", table)
    snapshots = {f"step_{step:06d}": images for step, images in history.snapshots.items()}
    write_npz(folder / "generator.snapshots.npz", **snapshots)
    return draw


def sure(path: Path) -> LabeledImages:
    """The images that a teacher labeled and is sure of."""
    refuse_failed(path)
    arrays = read_npz(path)
    labeled = read_images(path)
    keep = agreement(labeled.labels, arrays["teacher"], float(arrays["confidence"]))
    return labeled.take(keep)

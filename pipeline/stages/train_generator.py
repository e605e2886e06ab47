"""train_generator@<generator>: one generator per replicate, trained on that draw's images alone.

Per replicate, `models/<generator>/` gets `.safetensors` (the averaged sampler), `.history.csv`
(losses and learning rates) and `.snapshots.npz` (images from fixed noise over training).
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
from safetensors.torch import save

from pipeline.engine import Task, compute, lay_out
from pipeline.generators import GENERATORS
from pipeline.generators.base import GeneratorConfig, create, fit
from pipeline.images import LabeledImages, read_images
from pipeline.params import Params, member_config
from pipeline.provenance import provenance, trial_code
from pipeline.runtime import derive_seed
from pipeline.stages.entry import enter_group
from pipeline.store import atomic, require, write_npz, write_text
from pipeline.trials import Replicate, replicates

FILES = (".safetensors", ".history.csv", ".snapshots.npz")


def run(params: Params, root: Path, name: str) -> None:
    """Write `models/<name>/`: train the generators that are not in the store, lay out all."""
    config = member_config(GENERATORS[name].Config, params.generators[name], f"generators.{name}")
    code = trial_code(__file__, GENERATORS[name].__module__)

    def task(replicate: Replicate) -> Task:
        draw = require(root / "data/splits/draws" / replicate.file(".npz"), "prepare")
        seed = derive_seed("generator", name, replicate.budget, replicate.seed)
        return Task(
            provenance=provenance(code, [draw], params, [f"generators.{name}"], seed, root),
            work=functools.partial(train, name, config, draw, seed),
            outputs={f"generator{suffix}": replicate.file(suffix) for suffix in FILES},
            labels={
                "stage": "train_generator",
                "item": name,
                "num_images": config.num_steps(len(read_images(draw))) * config.batch_size,
                **replicate.labels(),
            },
        )

    tasks = [task(replicate) for replicate in replicates(params.study)]
    lay_out(root, Path("models") / name, tasks, compute(tasks, params.engine, root))


def train(name: str, config: GeneratorConfig, draw: Path, seed: int, folder: Path) -> LabeledImages:
    """Train one generator on one draw; see the module for the files it leaves in `folder`."""
    data = read_images(draw)
    generator = create(GENERATORS[name], config, data.spec(), derive_seed("initial", seed))
    history = fit(generator, data, seed, folder)
    content = save(
        {key: value.contiguous() for key, value in generator.sampler.state_dict().items()}
    )
    with atomic(folder / "generator.safetensors") as temporary:
        temporary.write_bytes(content)
    table = pd.DataFrame(history.rows).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(folder / "generator.history.csv", table)
    snapshots = {f"step_{step:06d}": images for step, images in history.snapshots.items()}
    write_npz(folder / "generator.snapshots.npz", **snapshots)
    return data


if __name__ == "__main__":
    from pipeline.stages import train_generator  # by its own name: workers can import that

    enter_group(train_generator.run, lambda params: params.generators)

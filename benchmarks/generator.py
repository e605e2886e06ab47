"""One generator, trained for some seconds on all labels of MNIST, and the quality of its images.

`python -m benchmarks.generator --data DIR --seconds S --threads T --seed K --out OUT` trains the
recipe of params.yaml, with the changes in `ALL_LABELS`, on the training images in DIR (the four IDX
files, gzipped or not). It writes `OUT/synthetic.npz` (20,000 images, equally many per class) and
`OUT/result.json`. The classification accuracy score (CAS; Ravuri and Vinyals 2019) is the test
accuracy of the pipeline's CNN trained on these images alone. As in the pipeline, a teacher trained
on the same labels filters the images; the scores of the unfiltered images are under `as_drawn`. The
judge of label fidelity is a CNN like the teacher, so the label fidelity of filtered images is
optimistic; that of unfiltered images is not.

Test images are read for scoring only. For choosing settings, `--held-out` does not read them: it
scores on the last 10,000 training images, which are then not trained on.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks.command_line import (
    ROOT,
    commit,
    folder,
    machine,
    no_file,
    num_threads,
    peak_mb,
    positive,
)
from benchmarks.textbook import AS_THEY_ARE, SETTINGS, TEXTBOOK
from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.config.schema import load_params
from pipeline.config.validation import member_config
from pipeline.data.datasets import mnist
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.evaluation import fidelity
from pipeline.evaluation.metrics import accuracy
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, GeneratorConfig, create
from pipeline.generators.fit import fit
from pipeline.generators.sampling import sample_classes
from pipeline.nn.fit import by_seconds
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import exit_on_error
from pipeline.runtime.files import write_json, write_npz
from pipeline.runtime.seeds import derive_seed, library_versions, numpy_rng
from pipeline.training_sets.filters import agreement

REAL = "real"  # no generator: equally many training images, the upper bound of the score
OURS = "dcgan"
RECIPES = (OURS, *TEXTBOOK, REAL)
# Settings for tens of thousands of images, chosen on held-out training images by one or two runs
# each (LOG.md).
ALL_LABELS = {
    "augmentation": AS_THEY_ARE,  # the images have every shift and slant
    "rare_oversampling": 3,  # classifiers miss rare shapes: +0.4 points of CAS
    "ema_decay": 0.999,  # for thousands of steps
    "mode_seeking": 0.3,  # 0.2 does as well
    "generator_channels": [96, 48, 24],  # with a pixel shuffle CAS decreased after some minutes
    "discriminator_channels": 48,  # twice the default: the generator is wider; not tried alone
}
PER_CLASS = 2000
MAX_PARTS = 2  # at most that many times are sampled if the teacher rejects some
HELD_OUT = 10_000
COMPARED = 1000  # images per class and set in neighborhood measures
# The pipeline's CNN, for 20,000 images instead of 100: three times the steps, twice the batch.
SCORER = {"steps": 1500, "batch_size": 64}


@dataclass(frozen=True)
class Run:
    """The options of one call."""

    data: Path
    seconds: float
    threads: int
    seed: int
    out: Path
    recipe: str
    held_out: bool


def build(recipe: str, spec: ImageSpec, seed: int, **changes: object) -> Generator:
    """The untrained generator of a recipe; `changes` replace values of its section."""
    if recipe in TEXTBOOK:
        section = {**SETTINGS, **changes}
        config: GeneratorConfig = member_config(TEXTBOOK[recipe].Config, section, recipe)
        return create(TEXTBOOK[recipe], config, spec, seed)
    section = {**load_params(ROOT).generators[recipe].settings, **ALL_LABELS, **changes}
    family = GENERATORS[recipe]
    return create(family, member_config(family.Config, section, f"generators.{recipe}"), spec, seed)


def scorer(data: LabeledImages, seed: int) -> CNN:
    """The pipeline's CNN, trained on `data` alone."""
    section = {**load_params(ROOT).classifiers["cnn"].settings, **SCORER}
    return CNN(member_config(CNNConfig, section, "classifiers.cnn"), seed).fit(plain(data))


Draw = Callable[[int], LabeledImages]  # one part after another, `PER_CLASS` images of every class


def train(run: Run, data: LabeledImages) -> tuple[Draw, dict[str, Any]]:
    """Train the recipe; returns a function that samples from it, and the cost of training."""
    if run.recipe == REAL:
        order = numpy_rng("benchmark", run.seed).permutation(len(data))
        shuffled = data.take(order)
        return lambda part: in_turn(shuffled, PER_CLASS, data.num_classes, part * PER_CLASS), {}
    generator = build(run.recipe, data.spec(), derive_seed("initial", run.seed))
    before, begun, used = peak_mb(), time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        history = fit(generator, data, run.seed, Path(folder), clock=by_seconds(run.seconds))
    seconds, steps = time.perf_counter() - begun, int(history.rows[-1]["step"])
    facts = {
        "train_s": seconds,
        "train_cpu_s": time.process_time() - used,
        "steps": steps,
        "images_per_s": steps * generator.config.batch_size / seconds,
        "peak_mb": peak_mb(),  # before scoring, which needs more than training
        "training_mb": peak_mb() - before,
        "precision": generator.precision,
        "config": generator.config.model_dump(),
    }
    return lambda part: sample_classes(generator, PER_CLASS, derive_seed(run.seed, part)), facts


def keep(sample_part: Draw, train: LabeledImages, seed: int) -> tuple[LabeledImages, float]:
    """The images that pass the filter of a teacher with the same labels, and their share of all.

    `PER_CLASS` of every class, or fewer of all if the teacher rejects too many of one.
    """
    min_probability = load_params(ROOT).tune.min_probability[0]
    teacher = scorer(train, derive_seed("teacher", seed))
    parts: list[LabeledImages] = []
    num_sampled = 0
    for part in range(MAX_PARTS):
        images = sample_part(part)
        if len(images) == 0:
            break
        num_sampled += len(images)
        probabilities = teacher.predict_proba(images.images)
        parts.append(images.take(agreement(images.labels, probabilities, min_probability)))
        labels = np.concatenate([chunk.labels for chunk in parts])
        if np.bincount(labels, minlength=train.num_classes).min() >= PER_CLASS:
            break
    agreed = LabeledImages(np.concatenate([chunk.images for chunk in parts]), labels)
    return in_turn(agreed, PER_CLASS, train.num_classes), len(agreed) / num_sampled


def in_turn(data: LabeledImages, per_class: int, num_classes: int, start: int = 0) -> LabeledImages:
    """Equally many images per class, at most `per_class`, from `start` on; classes alternate."""
    places = [np.flatnonzero(data.labels == label)[start:] for label in range(num_classes)]
    count = min(per_class, *map(len, places))
    return data.take(np.stack([index[:count] for index in places], axis=1).ravel())


def score(synthetic: LabeledImages, judge: CNN, test: LabeledImages, seed: int) -> dict[str, float]:
    """CAS, label fidelity, coverage and density; empty without images.

    The judge is the same CNN trained on all training images. Neighborhoods are those of Naeem et
    al. (2020) in its features, per class, of 1,000 images at most.
    """
    if len(synthetic) == 0:
        return {}
    predicted = judge.predict_proba(synthetic.images).argmax(axis=1)
    trained = scorer(synthetic, derive_seed("score", seed))
    return {
        "cas": accuracy(test.labels, trained.predict_proba(test.images)),
        "label_fidelity": float((predicted == synthetic.labels).mean()),
        **neighborhoods(judge, synthetic, test),
    }


def neighborhoods(judge: CNN, data: LabeledImages, test: LabeledImages) -> dict[str, float]:
    """Coverage and density around the test images, mean over classes; empty for too few images."""
    rows = []
    for label in range(test.num_classes):
        ours, theirs = (
            judge.embed(images.images[images.labels == label][:COMPARED]) for images in (data, test)
        )
        count = min(len(ours), len(theirs))
        if count <= fidelity.NEIGHBORS:
            return {}
        rows.append(fidelity.prdc(theirs[:count], ours[:count]))
    return {name: float(np.mean([row[name] for row in rows])) for name in ("coverage", "density")}


def benchmark(run: Run) -> dict[str, Any]:
    """Run with these options; returns the result that is also in `OUT/result.json`."""
    raw = mnist.Mnist(mnist.MnistConfig(path=str(run.data)), Path.cwd()).load()
    data, test = raw.images, cast("LabeledImages", raw.test)
    if run.held_out:
        places = np.arange(len(data))
        data, test = data.take(places[:-HELD_OUT]), data.take(places[-HELD_OUT:])
    run.out.mkdir(parents=True, exist_ok=True)
    with deterministic():
        torch.set_num_threads(run.threads)
        fresh, facts = train(run, data)
        sample_part = functools.cache(fresh)
        torch.set_num_threads(1)
        begun = time.perf_counter()
        subset = sample_part(0)
        sampled_per_s = len(subset) / (time.perf_counter() - begun)
        synthetic, kept_frac = keep(sample_part, data, run.seed)
        judge = scorer(data, derive_seed("judge"))
        scores = score(synthetic, judge, test, run.seed)
        unfiltered = score(subset, judge, test, run.seed)
        fidelity_floor = accuracy(test.labels, judge.predict_proba(test.images))
        floor = {"label_fidelity": fidelity_floor, **neighborhoods(judge, data, test)}
    write_npz(run.out / "synthetic.npz", images=synthetic.images, labels=synthetic.labels)
    result = {
        "recipe": run.recipe,
        "seconds": run.seconds,
        "threads": run.threads,
        "seed": run.seed,
        "scored_on": "held-out training images" if run.held_out else "test images",
        **facts,
        "sampled_per_s": None if run.recipe == REAL else sampled_per_s,
        "num_images": len(synthetic),
        "kept_frac": kept_frac,
        **scores,
        "as_drawn": unfiltered,
        "floor": floor,
        "machine": machine(),
        "commit": commit(),
        "versions": library_versions(),
    }
    write_json(run.out / "result.json", result)
    return result


def parse(arguments: Sequence[str] | None = None) -> Run:
    """The command line as a `Run`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator", description=__doc__)
    parser.add_argument("--data", type=folder, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--seconds", type=positive, default=120.0, help="of training")
    parser.add_argument("--threads", type=num_threads, default=1, metavar="T")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=no_file, required=True, help="folder for the two files")
    parser.add_argument("--recipe", choices=RECIPES, default="dcgan")
    parser.add_argument(
        "--held-out", action="store_true", help="score on training images that are held out"
    )
    return Run(**vars(parser.parse_args(arguments)))


def main() -> int:
    """Run the command line; returns 0, or exits with an error in one sentence."""
    with exit_on_error():
        print(json.dumps(benchmark(parse()), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Generators on photos: `dcgan` and `plain_dcgan` with the same seconds, few labels per class.

`python -m benchmarks.hands --data DIR --out OUT` trains both on labeled subsets of the images in
`DIR`, a folder per class, for example photos of hands that show the digits 0 to 9. The steps of
`plain_dcgan` are fixed beforehand, so that both take the same seconds: the seconds per step of both
are measured in turn, in one process, and the median ratio decides.

A part of every class, `TEST_FRAC`, is set aside and not read. The labeled subsets come from
`POOL_FRAC` of the rest, and everything is scored on what is left: training images that are held
out. CAS is the accuracy of the pipeline's CNN trained on synthetic images alone; the judge of the
label fidelity is that of the pipeline, trained on the held-out images. The rows `real` and `affine`
are the same CNN trained on the labeled subset alone, without and with the augmentation that the
generators reproduce.

`OUT` gets `hands.md` (the table) and `hands.jpg` (images of the first seed, a row per class).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command_line import commit, count, folder, machine, no_file
from benchmarks.wording import Row, markdown, mean_text
from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.classifiers.judge import fit_judge
from pipeline.config.schema import ResizeParams
from pipeline.config.validation import member_config
from pipeline.data.background import resolve_background
from pipeline.data.datasets.image_folder import ImageFolder
from pipeline.data.images import Images, LabeledImages
from pipeline.evaluation.fidelity import collapsed_classes, diversity
from pipeline.evaluation.metrics import accuracy
from pipeline.generators import GENERATORS
from pipeline.generators.base import GeneratorConfig, create
from pipeline.generators.fit import fit
from pipeline.generators.sampling import sample_classes
from pipeline.nn.augment import affine
from pipeline.report import figures, sheets
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import exit_on_error
from pipeline.runtime.files import write_text
from pipeline.runtime.seeds import derive_seed, numpy_rng

OURS, PLAIN = "dcgan", "plain_dcgan"
TEST_FRAC = 0.3  # of the images of every class; not read
POOL_FRAC = 0.25  # of the others: those that labeled subsets are made of
PER_CLASS = 200  # synthetic images, as the arms of params.yaml add
TIMED_ROUNDS, TIMED_STEPS = 5, 6
SHOWN_PER_ROW = 10
JPEG_QUALITY = 90
TEXT = """\
# Generators on photos

Written by `python -m benchmarks.hands`: images of the folder `{data}` at {size} x {size} pixels,
{per_class} labels per class, n = {seeds}; the mean and its 95 % interval over seeds. Scored on
{held_out} training images that are held out. {machine}; commit {commit}.

*CAS*: accuracy of a CNN trained on {synthetic} synthetic images per class alone, in percent; for
`real` and `affine` on the labeled subset. *Worst class*: the smallest label fidelity of a class.
*Diversity*: mean distance of images of a class, divided by that of the labeled ones; the least of
all classes. *Seconds*: of processor time for the training of one generator.

{table}
"""


def read(data: Path, size: int) -> LabeledImages:
    """All images of a folder per class, resized, with their background."""
    config = member_config(ImageFolder.Config, {"path": str(data.resolve())}, "data")
    raw = ImageFolder(config, Path.cwd(), ResizeParams(size=size)).load()
    background = resolve_background("auto", raw.images.images, raw.boxes)
    return replace(raw.images, background=background)


def split(data: LabeledImages, per_class: int, seed: int) -> tuple[LabeledImages, LabeledImages]:
    """The labeled subset of `seed`, and the held-out images, the same for every seed."""
    subset, held_out = [], []
    for label in range(data.num_classes):
        places = np.flatnonzero(data.labels == label)
        order = numpy_rng("hands", "split", label).permutation(places)
        order = order[round(TEST_FRAC * len(order)) :]
        pool = order[: max(per_class, round(POOL_FRAC * len(order)))]
        subset.append(numpy_rng("hands", "subset", label, seed).permutation(pool)[:per_class])
        held_out.append(order[len(pool) :])
    return data.take(np.concatenate(subset)), data.take(np.concatenate(held_out))


def train(
    family: str, config: GeneratorConfig, subset: LabeledImages, seed: int
) -> tuple[LabeledImages, float]:
    """Synthetic images of a generator trained on `subset`, and the seconds of its training."""
    generator = create(GENERATORS[family], config, subset.spec(), derive_seed("initial", seed))
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        fit(generator, subset, derive_seed("fit", seed), Path(scratch))
    seconds = time.process_time() - begun
    return sample_classes(generator, PER_CLASS, derive_seed("sample", seed)), seconds


def settings(subset: LabeledImages) -> dict[str, GeneratorConfig]:
    """The defaults of both families, `plain_dcgan` with as many steps as cost the same."""
    configs = {name: GENERATORS[name].Config() for name in (OURS, PLAIN)}
    ratio = statistics.median(_seconds_ratio(subset, configs) for _ in range(TIMED_ROUNDS))
    steps = round(configs[OURS].num_steps(len(subset)) * ratio)
    changes = {"steps": steps, "steps_per_image": 0.0}
    return configs | {PLAIN: configs[PLAIN].model_copy(update=changes)}


def _seconds_ratio(subset: LabeledImages, configs: dict[str, GeneratorConfig]) -> float:
    """Seconds of a step of `dcgan`, divided by those of a step of `plain_dcgan`."""
    brief = {"steps": TIMED_STEPS, "steps_per_image": 0.0}
    ours, theirs = (
        train(name, configs[name].model_copy(update=brief), subset, 0)[1] for name in (OURS, PLAIN)
    )
    return ours / theirs


def trained_on(
    data: LabeledImages, held_out: LabeledImages, seed: int, config: GeneratorConfig | None = None
) -> float:
    """Accuracy on `held_out`, in percent, of the CNN trained on `data`.

    With `config` the images are augmented as the generator's.
    """
    transform = affine(config.augmentation, data.background) if config else None
    cnn = CNN(CNNConfig(), derive_seed("score", seed)).fit_labeled(data, transform)
    return 100 * accuracy(held_out.labels, cnn.predict_proba(held_out.images))


def scores(
    synthetic: LabeledImages, subset: LabeledImages, predicted: np.ndarray
) -> dict[str, float]:
    """Label fidelity, that of the worst class, least diversity, and collapsed classes."""
    classes = range(subset.num_classes)
    fidelity = [100 * float((predicted[synthetic.labels == k] == k).mean()) for k in classes]
    distances = [
        diversity(synthetic.images[synthetic.labels == k], subset.images[subset.labels == k])
        for k in classes
    ]
    return {
        "label fidelity %": float(np.mean(fidelity)),
        "worst class %": min(fidelity),
        "diversity": min((value for value in distances if value is not None), default=np.nan),
        "collapsed": float(len(collapsed_classes(synthetic, subset))),
    }


def benchmark(arguments: argparse.Namespace) -> str:
    """Train and score both; writes the table and the figure, and returns the table."""
    data = read(arguments.data, arguments.size)
    values: dict[str, list[dict[str, float]]] = {"real": [], "affine": [], OURS: [], PLAIN: []}
    panels: dict[str, Images] = {}
    with deterministic():
        first, held_out = split(data, arguments.per_class, 0)
        configs = settings(first)
        judge = fit_judge(held_out)
        for seed in range(arguments.seeds):
            subset, _ = split(data, arguments.per_class, seed)
            for name, config in (("real", None), ("affine", configs[OURS])):
                values[name].append({"CAS %": trained_on(subset, held_out, seed, config)})
            panels.setdefault("real", shown(subset))
            for name, config in configs.items():
                synthetic, seconds = train(name, config, subset, seed)
                predicted = judge.predict_proba(synthetic.images).argmax(axis=1)
                cas = {"CAS %": trained_on(synthetic, held_out, seed)}
                found = scores(synthetic, subset, predicted)
                values[name].append({**cas, **found, "seconds": seconds})
                panels.setdefault(name, shown(synthetic))
                print(seed, name, values[name][-1], file=sys.stderr)

    steps = {name: str(config.num_steps(len(first))) for name, config in configs.items()}
    text = TEXT.format(
        data=arguments.data.name,
        size=arguments.size,
        per_class=arguments.per_class,
        seeds=arguments.seeds,
        held_out=f"{len(held_out):,}",
        machine=machine(),
        commit=commit(),
        synthetic=PER_CLASS,
        table=markdown([row(name, values[name], steps.get(name, "-")) for name in values]),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "hands.md", text)
    figure = sheets.sheets(panels, SHOWN_PER_ROW, class_names=None, background=data.background)
    figures.save(figure, arguments.out / "hands.png")
    to_jpeg(arguments.out / "hands.png")
    return text


def row(name: str, values: list[dict[str, float]], steps: str) -> Row:
    """The row of one recipe: means over seeds, and the number of collapsed classes in all."""
    columns = ("CAS %", "label fidelity %", "worst class %", "diversity", "seconds")
    texts = {
        column: mean_text([value[column] for value in values if column in value])
        for column in columns
    }
    collapsed = [value["collapsed"] for value in values if "collapsed" in value]
    count_text = f"{sum(collapsed):.0f}" if collapsed else "-"
    return {
        "images": name,
        "steps": steps,
        "n": str(len(values)),
        **texts,
        "collapsed classes": count_text,
    }


def to_jpeg(path: Path) -> None:
    """Replace a PNG figure of photos by a JPEG file, which takes a fifth of the bytes."""
    with Image.open(path) as figure:
        figure.convert("RGB").save(path.with_suffix(".jpg"), quality=JPEG_QUALITY)
    path.unlink()


def shown(data: LabeledImages) -> Images:
    """The first images of every class, a row per class; images of a small class repeat."""
    rows = [
        np.resize(np.flatnonzero(data.labels == label), SHOWN_PER_ROW)
        for label in range(data.num_classes)
    ]
    return data.images[np.concatenate(rows)]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hands", description=__doc__)
    parser.add_argument("--data", type=folder, required=True, help="folder with one per class")
    parser.add_argument("--size", type=count, default=32, help="side of the images in pixels")
    parser.add_argument("--per-class", type=count, default=10, help="labels per class")
    parser.add_argument("--seeds", type=count, default=3, metavar="N")
    parser.add_argument("--out", type=no_file, required=True, help="folder for the two files")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or exits with an error in one sentence."""
    with exit_on_error():
        print(benchmark(parse(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

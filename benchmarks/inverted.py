"""Whether black ink on white paper gives the verdicts of white ink on black paper.

`python -m benchmarks.inverted --out OUT` runs the arms `real`, `classical` and `dcgan` of
params.yaml twice, through the stages of the pipeline and in temporary folders: on the dataset as it
is, and on its negatives (255 minus every pixel). The splits of the second run are those of the
first, inverted, so both have the same labeled subsets, test images and seeds, and the difference of
their deltas is paired by seed.

`--data DIR` takes all of MNIST from a folder in place of the dataset of params.yaml. `OUT` gets
`inverted.md` (the tables) and `inverted.png` (synthetic images of the first seed).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from benchmarks.command_line import ROOT, commit, count, folder, machine, no_file, num_threads
from benchmarks.wording import CONFIDENCE, Row, markdown, mean_text
from pipeline.commands.check import check_params
from pipeline.config.schema import Params
from pipeline.config.validation import FILE
from pipeline.data.images import Background, Images, read_images
from pipeline.evaluation.metrics import accuracy
from pipeline.evaluation.statistics import Numbers, t_interval
from pipeline.nn.backend import stream
from pipeline.nn.tensors import to_input
from pipeline.report import figures, sheets
from pipeline.runtime.errors import exit_on_error
from pipeline.runtime.files import read_npz, write_npz, write_text
from pipeline.runtime.seeds import derive_seed
from pipeline.stages import (
    prepare,
    synthesize,
    train_classifiers,
    train_generator,
    train_teacher,
    tune,
)
from pipeline.training_sets.transforms.building import build_transform, transform_spec
from pipeline.trials.grid import Trial, replicates
from pipeline.trials.layout import SPLITS, Artifact, filter_teacher, result, subset
from pipeline.trials.provenance import failure_of

BASELINE, CLASSICAL, GENERATOR = "real", "classical", "dcgan"
ARMS = (BASELINE, CLASSICAL, GENERATOR)
POLARITIES = ("upright", "inverted")
SHOWN_PER_ROW = 10
TEXT = """\
# Black on white

Written by `python -m benchmarks.inverted`: the arms {arms} of params.yaml with {per_class} labels
per class, on the dataset `{dataset}` and on its negatives; {seeds} seeds, the same labeled subsets
and test images. {machine}; commit {commit}.

*Delta*: accuracy minus that of `{baseline}`, in points, with its 95 % interval over seeds.
*Difference*: the delta on negatives minus the other, paired by seed. If nothing assumes a
background, its interval covers zero.

{deltas}

*Ink at the border*: share of the pixels at the border of images that are nearer to ink than to the
background, in percent. Wedges of another color than the background would show here.

{borders}
"""

Accuracies = dict[tuple[str, str], Numbers]  # (num_seeds,) by classifier and arm
Shares = dict[str, float]


@dataclass(frozen=True)
class Run:
    """What one run left: accuracies, shares of ink at the border, some synthetic images."""

    accuracies: Accuracies
    borders: Shares
    images: Images


def settings(root: Path, arguments: argparse.Namespace) -> Params:
    """The params with three arms, one budget and the wanted data, written to `root`."""
    yaml = YAML()
    document = yaml.load(arguments.params.read_text("utf-8"))
    if arguments.data is not None:
        document["data"].update(name="mnist", path=str(arguments.data.resolve()))
    study, report = document["study"], document["report"]
    study.update(budgets=[report["primary"]["budget"]], curve_budgets=[])
    if arguments.seeds is not None:
        study["seeds"] = list(range(arguments.seeds))
    report.update(baseline=BASELINE, reference=CLASSICAL)
    report["primary"]["arm"] = GENERATOR
    document["engine"].update(kind="processes", workers=arguments.workers)
    for section, wanted in (("arms", ARMS), ("generators", (GENERATOR,))):
        for name in set(document[section]) - {*wanted}:
            del document[section][name]
    with (root / FILE).open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return check_params(root)


def invert_splits(source: Path, target: Path) -> None:
    """Copy the folder `source` with the negatives of all images, and of their background."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for path in target.rglob("*.npz"):
        arrays = read_npz(path)
        if "images" in arrays:
            background = 255 - arrays.get("background", np.zeros(1, dtype=np.int64))
            write_npz(
                path, **{**arrays, "images": 255 - arrays["images"], "background": background}
            )


def run_stages(params: Params, root: Path) -> None:
    """Every stage from the splits to the classifiers."""
    train_teacher.run(params, root, filter_teacher(params, GENERATOR))
    for stage in (train_generator, tune, synthesize):
        stage.run(params, root, GENERATOR)
    for arm in ARMS:
        train_classifiers.run(params, root, arm)


def measured(params: Params, root: Path) -> Run:
    """The numbers in the outputs of the stages.

    A failed trial has the accuracy of the baseline, which never fails.
    """
    grid = replicates(params.study)
    accuracies: Accuracies = {}
    for classifier in params.classifiers:
        base = [scored(root, Trial(classifier, BASELINE, place)) for place in grid]
        for arm in ARMS:
            values = [scored(root, Trial(classifier, arm, place)) for place in grid]
            pairs = zip(values, base, strict=True)
            accuracies[classifier, arm] = np.array(
                [other if value is None else value for value, other in pairs], dtype=np.float64
            )

    subsets = [read_images(root / subset(replicate).path) for replicate in grid]
    background = subsets[0].background
    transform = build_transform(
        transform_spec(params.arms[CLASSICAL].transform, params.transforms), background
    )
    moved = [
        transformed(data.images, transform, derive_seed("border", number))
        for number, data in enumerate(subsets)
    ]
    files = [root / Artifact("synthesize", GENERATOR, place).path(".npz") for place in grid]
    synthetic = [read_npz(file)["images"] for file in files if file.is_file()]
    borders = {
        BASELINE: ink_at_border(np.concatenate([data.images for data in subsets]), background),
        CLASSICAL: ink_at_border(np.concatenate(moved), background),
        GENERATOR: ink_at_border(np.concatenate(synthetic), background),
    }
    return Run(accuracies, borders, synthetic[0][: SHOWN_PER_ROW * SHOWN_PER_ROW])


def scored(root: Path, trial: Trial) -> float | None:
    """The accuracy of a trial; None if it failed."""
    path = root / result(trial).path(".npz")
    if failure_of(path):
        return None
    arrays = read_npz(path)
    return accuracy(arrays["labels"], arrays["probabilities"])


def transformed(images: Images, transform: Any, seed: int) -> Images:
    """uint8 images after a transform, or the same without one."""
    if transform is None:
        return images
    moved = transform(to_input(images), stream(seed)).mul(255).round().clamp(0, 255)
    return np.ascontiguousarray(moved.numpy().astype(np.uint8))


def ink_at_border(images: Images, background: Background) -> float:
    """Share of the border pixels of images (n, c, h, w) that are nearer to ink than to paper.

    Ink is black on paper that is lighter than a middle gray, else white. NaN for photos.
    """
    if background is None:
        return float("nan")
    paper = np.array(background)[:, None]
    ink = np.where(paper > 127, 0, 255)
    edge = np.ones(images.shape[2:], dtype=bool)
    edge[1:-1, 1:-1] = False
    border = images[:, :, edge].astype(np.int64)
    return float((np.abs(border - ink) < np.abs(border - paper)).mean())


def delta_rows(upright: Accuracies, inverted: Accuracies) -> list[Row]:
    """Per classifier and arm: both deltas, and their paired difference, in points."""
    rows = []
    for classifier, arm in upright:
        if arm == BASELINE:
            continue
        deltas = [
            100 * (run[classifier, arm] - run[classifier, BASELINE]) for run in (upright, inverted)
        ]
        difference = np.round(deltas[1] - deltas[0], 9)  # equal shares may differ by rounding
        rows.append(
            {
                "classifier": classifier,
                "arm": arm,
                **{
                    f"delta {name}": mean_text(list(values))
                    for name, values in zip(POLARITIES, deltas, strict=True)
                },
                "difference": mean_text(list(difference)),
                "covers zero": "yes" if covers_zero(difference) else "no",
            }
        )
    return rows


def covers_zero(difference: NDArray[np.float64]) -> bool:
    """Whether the interval of the mean of paired differences (num_seeds,) contains zero."""
    interval = t_interval(difference, CONFIDENCE)
    return interval.low <= 0 <= interval.high


def border_rows(upright: Shares, inverted: Shares) -> list[Row]:
    """Per arm: ink at the border of the images it adds, in percent."""
    return [
        {
            "images": arm,
            **{
                name: f"{100 * shares[arm]:.2f}"
                for name, shares in zip(POLARITIES, (upright, inverted), strict=True)
            },
        }
        for arm in ARMS
    ]


def benchmark(arguments: argparse.Namespace) -> str:
    """Both runs; writes the tables and the figure, and returns the tables."""
    runs = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        for polarity in POLARITIES:
            root = work / polarity
            root.mkdir(parents=True, exist_ok=True)
            params = settings(root, arguments)
            if polarity == "upright":
                prepare.run(params, root)
            else:
                invert_splits(work / "upright" / SPLITS, root / SPLITS)
            run_stages(params, root)
            runs[polarity] = measured(params, root)

    upright, inverted = runs.values()
    text = TEXT.format(
        arms=", ".join(f"`{arm}`" for arm in ARMS),
        baseline=BASELINE,
        per_class=params.study.budgets[0],
        dataset=params.data.name,
        seeds=len(params.study.seeds),
        machine=machine(),
        commit=commit(),
        deltas=markdown(delta_rows(upright.accuracies, inverted.accuracies)),
        borders=markdown(border_rows(upright.borders, inverted.borders)),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "inverted.md", text)
    panels = {polarity: run.images for polarity, run in runs.items()}
    # Both polarities as they are: gray images on black would be shown as ink on paper.
    figure = sheets.sheets(panels, SHOWN_PER_ROW, class_names=None, background=None)
    figures.save(figure, arguments.out / "inverted.png")
    return text


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inverted", description=__doc__)
    parser.add_argument("--data", type=folder, help="folder with MNIST's IDX files")
    parser.add_argument("--params", type=Path, default=ROOT / FILE, help="settings of the study")
    parser.add_argument("--seeds", type=count, metavar="N", help="default: those of params.yaml")
    parser.add_argument(
        "--workers", type=num_threads, default=0, metavar="W", help="default: one per core"
    )
    parser.add_argument(
        "--work", type=no_file, help="folder that keeps both runs, so that a killed one goes on"
    )
    parser.add_argument("--out", type=no_file, required=True, help="folder for the two files")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or exits with an error in one sentence."""
    with exit_on_error():
        print(benchmark(parse(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

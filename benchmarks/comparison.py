"""The project's generator compared with two textbook recipes: quality, speed, memory, scaling.

`python -m benchmarks.comparison --data DIR` runs `benchmarks.generator` for every recipe, duration
and seed, one per core at a time, each with one thread. Then it measures the duration of an update
for other sizes, channels, classes and batches, and compares it with the peak of the processor. It
writes `generator.md`.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command_line import ROOT, commit, folder, machine
from benchmarks.generator import OURS, REAL, build
from benchmarks.textbook import TEXTBOOK
from benchmarks.wording import Row, markdown, mean_text
from pipeline.data.images import ImageSpec
from pipeline.generators.base import Generator
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.files import read_json, write_text
from pipeline.runtime.seeds import library_versions

OUTPUT = Path(__file__).with_name("generator.md")
SECONDS = (600, 300, 120, 60, 30)  # the longest first, so that all cores finish together
REPEATED = (120, 600)  # ours with every seed, for the claims about these durations
COMPARED = (120,)  # with the textbook recipes
SEEDS = (0, 1, 2)
MNIST = ImageSpec(channels=1, height=28, width=28, num_classes=10)
WARM_UPDATES, TIMED_S = 5, 3.0
PEAK_S = 1.0

Results = dict[tuple[str, int], list[dict[str, Any]]]  # by recipe and seconds, one per seed

TEXT = """\
# Generators, measured

Written by `python -m benchmarks.comparison`. {machine}; commit {commit}; {versions}.

## After the same seconds on one core, trained on all labels of MNIST

One run, as many trainings at once as there are cores. CAS: accuracy on MNIST's test images of the
pipeline's CNN trained on 20,000 images of each alone: those that pass the filter of a teacher
with the same labels, or all as sampled; intervals are 95 % t over seeds. All recipes run on the
same engine; `dcgan` is that of params.yaml with the changes that `benchmarks/generator.py` lists.
The judge of label fidelity agrees with a share of {label_fidelity:.4f} of the test images' labels;
around test images, training images have a coverage of {coverage:.3f}, a density of {density:.3f}.
Ratios are to `dcgan` after the same seconds.

{quality}

## What an update costs

Size, channels, classes and batch changed one at a time; one core, random images. Operations are
those of convolutions and matrix products; the peak is a convolution of 128 channels.

{scaling}
"""


def runs() -> Iterator[tuple[str, int, int]]:
    """Every (recipe, seconds, seed); those to be compared are adjacent."""
    for seconds in SECONDS:
        for seed in SEEDS if seconds in REPEATED else SEEDS[:1]:
            yield OURS, seconds, seed
            yield from ((name, seconds, seed) for name in TEXTBOOK if seconds in COMPARED)
    yield REAL, SECONDS[-1], SEEDS[0]


def measure(data: Path, run: tuple[str, int, int], folder: Path) -> dict[str, Any]:
    """The result of one run, in a separate process, so that its peak memory is measured alone.

    A finished run is not repeated. A failed run has an empty result.
    """
    recipe, seconds, seed = run
    out = folder / f"{recipe}-{seconds}-{seed}"
    command = [
        sys.executable,
        "-m",
        "benchmarks.generator",
        "--data",
        str(data),
        "--threads",
        "1",
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
        "--recipe",
        recipe,
        "--out",
        str(out),
    ]
    if not (out / "result.json").exists():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{recipe}, {seconds} s, seed {seed}: {done.stderr.strip()}", flush=True)
            return {}
    result: dict[str, Any] = read_json(out / "result.json")
    return result


def quality(data: Path, folder: Path) -> Results:
    """All runs, one per core at a time; results are kept in `folder`."""
    by_recipe: Results = {}
    planned = list(runs())
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        for run, result in zip(
            planned, pool.map(lambda run: measure(data, run, folder), planned), strict=True
        ):
            print(f"{run[0]}, {run[1]} s, seed {run[2]}: CAS {result.get('cas')}", flush=True)
            by_recipe.setdefault(run[:2], []).extend([result] if result else [])
    return {key: results for key, results in by_recipe.items() if results}


def quality_rows(by_recipe: Results) -> list[Row]:
    """A row per recipe and duration; ratios are to ours after the same seconds."""
    rows = []
    for (recipe, seconds), results in sorted(by_recipe.items(), key=lambda item: order(item[0])):
        ours = by_recipe.get((OURS, seconds), [])
        rows.append(
            {
                "recipe": recipe,
                "seconds": "-" if recipe == REAL else str(seconds),
                "n": str(len(results)),
                "CAS %": percent(results, "cas"),
                "kept %": percent(results, "kept_frac"),
                "label fidelity of these %": percent(results, "label_fidelity"),
                "CAS as drawn %": percent(drawn(results), "cas"),
                "label fidelity as drawn %": percent(drawn(results), "label_fidelity"),
                "coverage": value(drawn(results), "coverage", 3),
                "density": value(drawn(results), "density", 3),
                "images/s": value(results, "images_per_s", 0),
                "ratio": ratio(results, ours, "images_per_s"),
                "peak MB": value(results, "peak_mb", 0),
                "ratio ": ratio(results, ours, "peak_mb"),
                "of it for training": value(results, "training_mb", 0),
                "sampled/s": value(results, "sampled_per_s", 0),
            }
        )
    return rows


def drawn(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scores of the unfiltered images."""
    return [result["as_drawn"] for result in results]


def order(key: tuple[str, int]) -> tuple[int, int]:
    """Ours first, real images last, by duration within a recipe."""
    return [OURS, *TEXTBOOK, REAL].index(key[0]), key[1]


def mean(results: list[dict[str, Any]], name: str) -> float | None:
    """The mean over seeds; None without values."""
    values = [result[name] for result in results if result.get(name) is not None]
    return float(np.mean(values)) if values else None


def value(results: list[dict[str, Any]], name: str, digits: int) -> str:
    """The mean over seeds as text."""
    result = mean(results, name)
    return "-" if result is None else f"{result:,.{digits}f}"


def percent(results: list[dict[str, Any]], name: str) -> str:
    """The mean over seeds in percent."""
    return mean_text([100 * result[name] for result in results if name in result])


def ratio(results: list[dict[str, Any]], ours: list[dict[str, Any]], name: str) -> str:
    """The ratio to ours."""
    theirs, reference = mean(results, name), mean(ours, name)
    return "-" if theirs is None or reference is None else f"{theirs / reference:.2f}"


def settings() -> Iterator[tuple[str, ImageSpec, int]]:
    """The settings that are varied one at a time: size, channels, classes, batch."""
    yield "28 x 28, 1 channel, 10 classes, batch 64", MNIST, 64
    for side in (32, 64):
        yield f"{side} x {side}", ImageSpec(1, side, side, 10), 64
    yield "3 channels", ImageSpec(3, 28, 28, 10), 64
    for classes in (2, 47):
        yield f"{classes} classes", ImageSpec(1, 28, 28, classes), 64
    for batch in (16, 32, 128, 256):
        yield f"batch {batch}", MNIST, batch


def scaling_rows() -> list[Row]:
    """Images per second of an update of each recipe, its operations, and its share of the peak."""
    peak = peaks()
    rows = []
    for (name, spec, batch), recipe in itertools.product(settings(), (OURS, *TEXTBOOK)):
        generator = build(recipe, spec, 0, batch_size=batch)
        work, seconds = update_work(generator), update_seconds(generator)
        peak_flops = peak[generator.precision]
        rows.append(
            {
                "setting": name,
                "recipe": recipe,
                "precision": generator.precision,
                "images/s": f"{batch / seconds:,.0f}",
                "MFLOP per image": f"{work / batch / 1e6:.1f}",
                "GFLOP/s": f"{work / seconds / 1e9:.0f}",
                "share of the convolution peak": f"{work / seconds / peak_flops:.2f}",
            }
        )
    return rows


def peaks() -> dict[str, float]:
    """The FLOP/s of a convolution with many channels on one core, by precision."""
    result = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        images = torch.randn(64, 128, 28, 28, dtype=dtype)
        images = images.to(memory_format=torch.channels_last)
        weight = torch.randn(128, 128, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)

        def convolve(images: Tensor = images, weight: Tensor = weight) -> None:
            functional.conv2d(images, weight, padding=1)

        result[name] = 2 * 64 * 128 * 128 * 9 * 28 * 28 / per_call(convolve, PEAK_S)
    return result


def batch_of(generator: Generator) -> tuple[Tensor, Tensor]:
    """A batch of noise and labels; the work is the same as with images."""
    spec, size = generator.spec, generator.config.batch_size
    images = torch.rand(size, spec.channels, spec.height, spec.width).mul(2).sub(1)
    return images.to(memory_format=torch.channels_last), torch.arange(size) % spec.num_classes


def update_work(generator: Generator) -> float:
    """Floating-point operations of one update: convolutions and matrix products."""
    real, labels = batch_of(generator)
    with FlopCounterMode(display=False) as counter:
        generator.update(real, labels)
    return float(counter.get_total_flops())


def update_seconds(generator: Generator) -> float:
    """Seconds of one update."""
    real, labels = batch_of(generator)
    generator.networks.train()
    return per_call(lambda: generator.update(real, labels), TIMED_S)


def per_call(function: Callable[[], object], seconds: float) -> float:
    """Median seconds of a call, over calls for `seconds` after a few warm-up calls."""
    for _ in range(WARM_UPDATES):
        function()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not taken:
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, print it and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("--data", type=folder, required=True, help="folder with MNIST's IDX files")
    data, code = parser.parse_args(arguments).data.resolve(), commit()
    by_recipe = quality(data, ROOT / ".trials/benchmark" / code)
    with deterministic():
        scaling = markdown(scaling_rows())
    text = TEXT.format(
        machine=machine(),
        commit=code,
        versions=", ".join(f"{name} {number}" for name, number in library_versions().items()),
        quality=markdown(quality_rows(by_recipe)),
        scaling=scaling,
        **by_recipe[REAL, SECONDS[-1]][0]["floor"],
    )
    write_text(OUTPUT, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Claims of textbooks about generators, tested on held-out training images of MNIST.

`python -m benchmarks.zoo --data DIR --out OUT` measures, one part after the other:

* `wgan`: does the loss of a Wasserstein critic show how good the samples are?
* `began`: does gamma trade quality for diversity?
* `srgan`: does a network upsample digits better than bicubic interpolation?
* `textbook`: how accurate is the convolutional classifier of introductory texts?
* `plane`: does a linear GAN learn a normal distribution in the plane?
* `speed`: is any generator slower than a plain textbook recipe at equal work?

Each part writes `OUT/<part>.json` when it is done, and `OUT/zoo.md` is written from all parts that
exist, with figures. A part that exists is not measured again. The last 10,000 training images in
DIR (the four IDX files, gzipped or not) are used for scoring only; test images are never read.
"""

from __future__ import annotations

import argparse
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks import claims, plain, plane, zoo_report
from benchmarks.claims import Job, Result
from benchmarks.command_line import (
    commit,
    count,
    folder,
    machine,
    no_file,
    num_threads,
    positive,
)
from pipeline.data.datasets import mnist
from pipeline.report import figures
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import ParamsError, exit_on_error
from pipeline.runtime.files import read_json, write_json, write_text
from pipeline.runtime.seeds import library_versions

HELD_OUT = 10_000
FILE = "zoo.md"


@dataclass(frozen=True)
class Part:
    """One claim: its measurement, its text, and the options that it depends on."""

    title: str
    measure: Callable[[Job], Result]
    text: Callable[[Result], str]
    options: tuple[str, ...]
    figure: Callable[[Result], Figure] | None = None


FITTED = ("seeds", "per_class", "steps")
PARTS = {
    "wgan": Part(
        "Does the loss show the quality?",
        claims.wgan,
        zoo_report.wgan_text,
        FITTED,
        zoo_report.wgan_figure,
    ),
    "began": Part(
        "Quality or diversity", claims.began, zoo_report.began_text, FITTED, zoo_report.began_figure
    ),
    "srgan": Part("Upsampling against bicubic", claims.srgan, zoo_report.srgan_text, FITTED),
    "textbook": Part(
        "The classifier of introductory texts",
        claims.textbook,
        zoo_report.textbook_text,
        ("seeds", "epochs", "learning_rate"),
    ),
    "plane": Part(
        "A linear GAN in the plane", plane.measure, plane.text, ("seeds", "steps"), plane.figure
    ),
    "speed": Part("Plain recipes", plain.speed, zoo_report.speed_text, ("per_class", "threads")),
}


def job_of(arguments: Namespace) -> Job:
    """The images in DIR, split in two, and the options."""
    config = mnist.MnistConfig(path=str(arguments.data))
    data = mnist.Mnist(config, Path.cwd()).load().images
    places = np.arange(len(data))
    return Job(
        pool=data.take(places[:-HELD_OUT]),
        held=data.take(places[-HELD_OUT:]),
        **{
            name: getattr(arguments, name)
            for name in ("out", "seeds", "per_class", "steps", "epochs", "learning_rate")
        },
    )


def measured(name: str, arguments: Namespace) -> dict[str, Any] | None:
    """The result of an earlier run, if any; raises `ParamsError` if its options were different."""
    path = arguments.out / f"{name}.json"
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    expected = options(name, arguments)
    if record["options"] != expected:
        raise ParamsError(
            str(path),
            f"expected {expected}, found {record['options']}",
            "use another --out or remove that file",
        )
    return record


def options(name: str, arguments: Namespace) -> dict[str, Any]:
    """The options that a part depends on, with their values."""
    chosen_options = {option: getattr(arguments, option) for option in PARTS[name].options}
    return {**chosen_options, "commit": commit()}


def measure(name: str, job: Job, arguments: Namespace) -> None:
    """Run one part and write its figure and its result."""
    part, begun = PARTS[name], time.perf_counter()
    with deterministic():
        torch.set_num_threads(arguments.threads)
        result = part.measure(job)
    if part.figure:
        figures.save(part.figure(result), arguments.out / f"{name}.png")
    found = {
        "options": options(name, arguments),
        "result": result,
        "seconds": time.perf_counter() - begun,
        "threads": arguments.threads,
        "machine": machine(),
        "versions": library_versions(),
    }
    write_json(arguments.out / f"{name}.json", found)


def document(out: Path) -> str:
    """All parts that exist, as Markdown."""
    sections = ["# Claims about the zoo, measured\n\nWritten by `python -m benchmarks.zoo`.\n"]
    for name, part in PARTS.items():
        if not (out / f"{name}.json").exists():
            continue
        record = read_json(out / f"{name}.json")
        options_text = ", ".join(f"{key} {value}" for key, value in record["options"].items())
        versions = ", ".join(f"{key} {value}" for key, value in record["versions"].items())
        failed = "".join(f"Failed: {failure}\n" for failure in record["result"]["failed"])
        sections.append(
            f"## {part.title} (`{name}`)\n\n{part.text(record['result'])}\n{failed}"
            f"Options: {options_text}. {record['seconds']:,.0f} s with {record['threads']} threads "
            f"on {record['machine']}; {versions}.\n"
        )
    return "\n".join(sections)


def benchmark(arguments: Namespace) -> str:
    """Measure the missing parts; returns the text that is also in `OUT/zoo.md`."""
    missing = [name for name in arguments.only if measured(name, arguments) is None]
    arguments.out.mkdir(parents=True, exist_ok=True)
    if missing:
        job = job_of(arguments)
        for name in missing:
            measure(name, job, arguments)
            write_text(arguments.out / FILE, document(arguments.out))
    text = document(arguments.out)
    write_text(arguments.out / FILE, text)
    return text


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=folder, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--out", type=no_file, required=True, help="folder for all results")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=list(PARTS),
        metavar="PART",
        help="some of " + ", ".join(PARTS),
    )
    parser.add_argument(
        "--seeds", type=count, default=3, help="labeled subsets and trainings (default 3)"
    )
    parser.add_argument("--per-class", type=count, default=100, help="labels (default 100)")
    parser.add_argument("--steps", type=count, help="of every generator, instead of the preset's")
    parser.add_argument("--epochs", type=positive, default=12.0, help="of textbook (default 12)")
    parser.add_argument(
        "--learning-rate",
        type=positive,
        default=0.001,
        help="of textbook, the peak of the one-cycle schedule (default 0.001)",
    )
    parser.add_argument("--threads", type=num_threads, default=1, metavar="T")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the command line; returns 0, or exits with an error in one sentence."""
    with exit_on_error():
        print(benchmark(parse()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

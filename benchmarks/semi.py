"""One replicate of the semi-supervised study on full MNIST: error and seconds of every arm.

`python -m benchmarks.semi --data DIR --labels N --seed K --threads T --out OUT` takes the preset
`semi` with N labels in total (equally many of each class) and seed K. It runs the stages of the
pipeline, T trials at a time with one thread each, in a temporary folder. Of the arms that use
labeled images alone it runs the baseline and the reference; with `--arms ... --alone` only the arms
named. It writes `OUT/result.json` (test error of every arm and classifier, the audits, seconds of
every stage) and `OUT/synthetic.npz` (the images of the generator that learned from pseudo-labels).

With `--foreign D` digit D is an unknown class: its images are among the unlabeled ones, and the
audits say how well the teachers' OOD scores detect it. With `--keep-frac F` the images with the
highest OOD scores get no label, and the audits say how many of digit D still get one.
`benchmarks.semi_summary` computes means over replicates.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from benchmarks.command_line import commit, folder, machine, no_file, num_threads
from pipeline.commands import presets
from pipeline.commands.check import check_params
from pipeline.config.schema import MODELS, SYNTHETIC, Params, load_params
from pipeline.config.validation import FILE
from pipeline.evaluation.metrics import accuracy
from pipeline.runtime.determinism import resolve_precision
from pipeline.runtime.errors import ParamsError, exit_on_error
from pipeline.runtime.files import read_json, read_npz, write_json
from pipeline.runtime.seeds import library_versions
from pipeline.stages import (
    evaluate_generator,
    evaluate_teacher,
    prepare,
    synthesize,
    train_classifiers,
    train_generator,
    train_judge,
    train_teacher,
    tune,
)
from pipeline.trials.grid import expected_trials, replicates
from pipeline.trials.layout import artifacts, filter_teacher
from pipeline.trials.provenance import failure_of, read_manifest
from pipeline.trials.store import TIMINGS, fingerprint

PRESET = "semi"
CLASSES = 10
UNKNOWN_FRAC = 0.09  # of the pool, with --foreign: the share of a digit in MNIST
# What replicates of one table have in common, whatever their labeled subset.
SETTINGS = {"teachers", "generators", "synthesize", "tune", "classifiers", "transforms"}
Stage = Callable[[Params, Path, str], None]


def preset(root: Path) -> Params:
    """The preset, written to `root`."""
    presets.apply(PRESET, root)
    return load_params(root)


def settings(root: Path, arguments: argparse.Namespace) -> Params:
    """The preset with the wanted data, budget, seed and workers, written to `root`."""
    preset(root)
    yaml = YAML()
    document = yaml.load((root / FILE).read_text("utf-8"))
    budget = arguments.labels // CLASSES
    document["data"].update(name="mnist", path=str(arguments.data.resolve()))
    if arguments.foreign is not None:
        document["data"]["unknown_classes"] = {"classes": [arguments.foreign], "frac": UNKNOWN_FRAC}
    if arguments.keep_frac is not None:
        for teacher in document["teachers"].values():
            if "keep_frac" in teacher:  # not the one that filters, which labels no images
                teacher["keep_frac"] = arguments.keep_frac
    document["study"].update(budgets=[budget], curve_budgets=[], seeds=[arguments.seed])
    document["report"]["primary"]["budget"] = budget
    document["engine"].update(kind="processes", workers=arguments.threads)
    arms = wanted_arms(check_params(root), arguments.arms)
    for name in set(document["arms"]) - arms:
        del document["arms"][name]
    with (root / FILE).open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return check_params(root)


def wanted_arms(params: Params, names: list[str] | None) -> set[str]:
    """The baseline, the reference, and the arms with unlabeled images or those among `names`."""
    report = params.report
    always = {name for name in (report.baseline, report.reference, report.primary.arm) if name}
    semi = {name for name in params.arms if params.regime(name) != "labeled"}
    if unknown := set(names or ()) - semi:
        raise ParamsError(
            "--arms",
            f"expected some of {', '.join(sorted(semi))}, found {min(unknown)}",
            "leave it out for all of them",
        )
    return always | (set(names) if names else semi)


def stages(params: Params, arms: Sequence[str]) -> Iterable[tuple[Stage, str]]:
    """The stages that `arms` need between the first and the last, in order, with their item."""
    inputs = {params.arms[arm].inputs for arm in arms}
    generators = [name for name in params.generators if f"{SYNTHETIC}{name}" in inputs]
    inputs |= {params.generators[name].inputs for name in generators}
    filters = {filter_teacher(params, name) for name in generators}
    for name in (
        name for name in params.teachers if name in filters or f"{MODELS}{name}" in inputs
    ):
        yield train_teacher.run, name
        yield evaluate_teacher.run, name
    for name in generators:
        yield train_generator.run, name
        yield tune.run, name
        yield synthesize.run, name
        yield evaluate_generator.run, name
    for name in arms:
        yield train_classifiers.run, name


def error(file: Path) -> float:
    """The error of a scored trial on the test images."""
    arrays = read_npz(file)
    return 1 - accuracy(arrays["labels"], arrays["probabilities"])


def errors_by_arm(params: Params, root: Path, arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The error of every classifier of each of `arms`, None for a failed trial."""
    errors: dict[str, dict[str, Any]] = {arm: {} for arm in arms}
    for trial in expected_trials(params):
        if trial.arm in errors:
            file = root / "results" / trial.file()
            errors[trial.arm][trial.classifier] = None if failure_of(file) else error(file)
    return errors


def failures(params: Params, root: Path, arms: Sequence[str]) -> list[str]:
    """The reasons of all failed trials."""
    ran = {(stage.__module__.rpartition(".")[2], item) for stage, item in stages(params, arms)}
    every = (artifact for artifact in artifacts(params) if (artifact.stage, artifact.item) in ran)
    reasons = [read_manifest(root / artifact.manifest)["failure"] for artifact in every]
    return [f"{failure[0]}: {failure[1]}" for failure in reasons if failure]


def result(
    params: Params, root: Path, arms: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """The numbers in the outputs of the stages."""
    place = replicates(params.study)[0].file(".json")
    rows = [row for file in sorted((root / TIMINGS).glob("*.json")) for row in read_json(file)]
    seconds = pd.DataFrame(rows).groupby(["stage", "item"])["seconds"].sum()
    return {
        "labels": sum(params.study.budgets) * (CLASSES - (arguments.foreign is not None)),
        "seed": arguments.seed,
        "threads": arguments.threads,
        "foreign": arguments.foreign,
        "keep_frac": {
            name: section.settings["keep_frac"]
            for name, section in params.teachers.items()
            if "keep_frac" in section.settings
        },
        "recipes": {arm: fingerprint(params.section(f"arms.{arm}")) for arm in arms},
        "test_error": errors_by_arm(params, root, arms),
        "failures": failures(params, root, arms),
        "settings": fingerprint(params.model_dump(include=SETTINGS)),
        "precision": resolve_precision("auto"),
        "audits": {
            name: read_json(root / "data/audit" / name / place)
            for name in (*params.teachers, *params.generators)
            if (root / "data/audit" / name / place).is_file()
        },
        "seconds": {f"{stage}@{item}": value for (stage, item), value in seconds.items()},
        "machine": machine(),
        "commit": commit(),
        "versions": library_versions(),
    }


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one replicate; the result that is also in `OUT/result.json`."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        params = settings(root, arguments)
        arguments.out.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        arms = arguments.arms if arguments.alone else list(params.arms)
        prepare.run(params, root)
        train_judge.run(params, root)
        for stage, item in stages(params, arms):
            stage(params, root, item)
        record = {**result(params, root, arms, arguments), "wall_s": time.perf_counter() - begun}
        (arguments.out / "synthetic.npz").unlink(missing_ok=True)
        for images in root.glob(f"{SYNTHETIC}*/{replicates(params.study)[0].file('.npz')}"):
            shutil.copy(images, arguments.out / "synthetic.npz")
    write_json(arguments.out / "result.json", record)
    return record


def num_labels(text: str) -> int:
    """A total number of labels that ten classes can share equally."""
    if not text.isdecimal() or int(text) < CLASSES or int(text) % CLASSES:
        raise argparse.ArgumentTypeError(f"expected a multiple of {CLASSES} above 0, found {text}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or exits with an error in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semi", description=__doc__)
    parser.add_argument("--data", type=folder, required=True, help="folder with MNIST's IDX files")
    parser.add_argument(
        "--labels",
        type=num_labels,
        default=100,
        help="in total, for ten classes; with --foreign nine tenths of them",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=num_threads, default=1, metavar="T")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="some of the arms of the preset")
    parser.add_argument(
        "--alone", action="store_true", help="the arms named by --arms, without a baseline"
    )
    parser.add_argument(
        "--foreign",
        type=int,
        choices=range(CLASSES),
        metavar="DIGIT",
        help="the unknown class: its images are in the pool without a label",
    )
    parser.add_argument(
        "--keep-frac",
        type=float,
        metavar="F",
        help="share of the unlabeled images that teachers label, those with the lowest OOD scores; "
        "default: that of the preset",
    )
    parser.add_argument("--out", type=no_file, required=True, help="folder for the two files")
    with exit_on_error():
        options = parser.parse_args(arguments)
        if options.alone and not options.arms:
            parser.error("--alone: expected --arms with the arms to run, found none")
        print(json.dumps(benchmark(options), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

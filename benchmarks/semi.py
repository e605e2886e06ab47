"""One replicate of the semi-supervised study on full MNIST: error of every arm, and seconds.

`python -m benchmarks.semi --data DIR --labels N --seed K --threads T --out OUT` lays the preset
`semi` over params.yaml, takes N labels in all (as many of each class) and the seed K, and runs the
pipeline's own stages, T trials at a time and one thread each, in a folder that is thrown away. Of
the arms that see labeled images alone it runs the baseline and the reference; with `--arms ...
--alone` nothing but the arms named. It writes
`OUT/result.json` (test error of every arm and classifier, what the audits found, seconds of every
part) and `OUT/synthetic.npz` (the images of the generator that learned from pseudo-labels). With
`--foreign D` digit D is no task but lies among the unlabeled images; the audits then say how well
teachers know it for strange, and with `--keep-frac F`, which leaves the strangest without a label,
how many of it are labeled all the same. `benchmarks.semi_summary` takes means over replicates.
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

from benchmarks.generator import ROOT, commit, folder, machine, no_file, num_threads
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
UNKNOWN_FRAC = 0.09  # of the pool, with --foreign: as many as there are of any digit
# What replicates of one table have in common, whatever their draw.
SETTINGS = {"teachers", "generators", "synthesize", "tune", "classifiers", "transforms"}
Stage = Callable[[Params, Path, str], None]


def preset(root: Path) -> Params:
    """The preset laid over the project's params.yaml, written to `root`."""
    shutil.copy(ROOT / FILE, root)
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
    """The baseline, its reference and the arms that see images without labels, or `names` of
    them.
    """
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
    """What `arms` need between the first stage and the last, in order, with its item."""
    inputs = {params.arms[arm].inputs for arm in arms}
    generators = [name for name in params.generators if f"{SYNTHETIC}{name}" in inputs]
    inputs |= {params.generators[name].inputs for name in generators}
    filters = {filter_teacher(params, name) for name in generators}
    for name in (name for name in params.teachers if name in filters or f"{MODELS}{name}" in inputs):
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
    """The share of test images that a scored trial got wrong."""
    arrays = read_npz(file)
    return 1 - accuracy(arrays["labels"], arrays["probabilities"])


def errors_by_arm(params: Params, root: Path, arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The error of every classifier of each of `arms`, None where the trial came to nothing."""
    errors: dict[str, dict[str, Any]] = {arm: {} for arm in arms}
    for trial in expected_trials(params):
        if trial.arm in errors:
            file = root / "results" / trial.file()
            errors[trial.arm][trial.classifier] = None if failure_of(file) else error(file)
    return errors


def failures(params: Params, root: Path, arms: Sequence[str]) -> list[str]:
    """Why trials came to nothing, of everything that was run."""
    ran = {(stage.__module__.rpartition(".")[2], item) for stage, item in stages(params, arms)}
    every = (
        artifact
        for artifact in artifacts(params)
        if (artifact.stage, artifact.item) in ran
    )
    reasons = [read_manifest(root / artifact.manifest)["failure"] for artifact in every]
    return [f"{failure[0]}: {failure[1]}" for failure in reasons if failure]


def result(
    params: Params, root: Path, arms: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """What the stages left, as numbers."""
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
    """Labels in all, as many of each of the ten classes."""
    if not text.isdecimal() or int(text) < CLASSES or int(text) % CLASSES:
        raise argparse.ArgumentTypeError(f"expected a multiple of {CLASSES} above 0, found {text}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0, or it leaves with an error told in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semi", description=__doc__)
    parser.add_argument("--data", type=folder, required=True, help="folder with MNIST's IDX files")
    parser.add_argument(
        "--labels",
        type=num_labels,
        default=100,
        help="in all, ten classes; with --foreign nine tenths",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=num_threads, default=1, metavar="T")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="some of the preset's own arms")
    parser.add_argument(
        "--alone", action="store_true", help="the arms named by --arms, without a baseline"
    )
    parser.add_argument(
        "--foreign",
        type=int,
        choices=range(CLASSES),
        metavar="DIGIT",
        help="one that is no task: its images lie in the pool without a label",
    )
    parser.add_argument(
        "--keep-frac",
        type=float,
        metavar="F",
        help="share of the unlabeled images that teachers label, the least strange; the preset's "
        "own without it",
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

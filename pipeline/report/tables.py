"""From results on disk to tables: every trial, failures, fidelity, filters, seconds.

Reads exactly the trials that params.yaml asks for: a missing one stops the report, a stray one is
ignored. Draws nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.schema import MODELS, SUBSETS, SYNTHETIC, Params
from pipeline.evaluation import gan_diagnostics
from pipeline.evaluation.metrics import METRICS, confusion
from pipeline.evaluation.statistics import mean_overlap
from pipeline.report.comparisons import PRIMARY_METRIC
from pipeline.report.ranking import only_arm
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz
from pipeline.trials.grid import Replicate, Trial, curve_replicates, expected_trials, replicates
from pipeline.trials.layout import MANIFEST, artifacts
from pipeline.trials.provenance import failure_of, manifest_of, read_manifest
from pipeline.trials.store import TIMINGS

FAILURE_COLUMNS = ["stage", "item", "classifier", "budget", "seed", "reason"]
TIMING_COLUMNS = ["stage", "item", "classifier", "budget", "seed", "seconds", "images_per_s"]
TEACHER_COLUMNS = [
    "teacher",
    "budget",
    "seed",
    "num_unlabeled",
    "label_accuracy",
    "sure_frac",
    "sure_accuracy",
    "foreign_frac",
    "foreign_labeled_frac",
    "foreign_sure_frac",
    "strangeness_auroc",
    "remoteness",
]
HEALTH_COLUMNS = ["generator", "budget", "seed", "accuracy", "least_spread", "warnings"]
# What an audit finds per class or in words; all else is a number per replicate.
NOT_NUMBERS = ("classes", "flags")

Found = list[tuple[Trial, dict[str, np.ndarray]]]


def read_trials(params: Params, root: Path) -> Iterator[tuple[Trial, dict[str, np.ndarray]]]:
    """Every expected trial with its arrays and whether it `failed`.

    A failed trial has the arrays of its baseline: what its user would get, left with the draw's own
    images. Raises `IntegrityError` when a trial is missing, or when the baseline itself failed.
    """
    expected = expected_trials(params)
    files = {trial: root / "results" / trial.file() for trial in expected}
    missing = [
        trial
        for trial, file in files.items()
        if not manifest_of(file).is_file() or not (file.is_file() or failure_of(file))
    ]
    if missing:
        raise IntegrityError(
            "results",
            f"expected {len(expected)} trials, found {len(expected) - len(missing)}; the first "
            f"missing one is results/{missing[0].file().as_posix()}",
            "run `dvc repro`, or `dvc pull` first if others computed them",
        )
    for trial, file in files.items():
        failure = failure_of(file)
        if failure is None:
            yield trial, read_npz(file) | {"failed": np.array(False)}
            continue
        baseline = files[Trial(trial.classifier, params.report.baseline, trial.replicate)]
        if failure_of(baseline):
            raise IntegrityError(
                str(baseline),
                f"expected a baseline to fall back on, found that it failed ({failure})",
                "change that classifier's settings in params.yaml",
            )
        none = {name: np.array(0) for name in ("num_made", "num_candidates", "num_rejected")}
        yield trial, read_npz(baseline) | none | {"failed": np.array(True)}


def trials_table(dataset: str, scored: Found) -> pd.DataFrame:
    """One row per trial: its names, every metric, the size of its training set, did it fail."""
    rows = [
        {
            "dataset": dataset,
            "classifier": trial.classifier,
            "arm": trial.arm,
            **trial.replicate.columns(),
            **{
                name: metric.compute(arrays["labels"], arrays["probabilities"])
                for name, metric in METRICS.items()
            },
            "num_train": int(arrays["num_train"]),
            "num_made": int(arrays["num_made"]),
            "failed": bool(arrays["failed"]),
        }
        for trial, arrays in scored
    ]
    return pd.DataFrame(rows)


def correct_mask(scored: Found) -> dict[Trial, NDArray[np.bool_]]:
    """Whether each test image was classified rightly, (num_test,), by trial."""
    return {
        trial: arrays["probabilities"].argmax(axis=1) == arrays["labels"]
        for trial, arrays in scored
    }


def failures_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per trial that came to nothing, with the reason; most studies have none."""
    rows = []
    for artifact in artifacts(params):
        record = read_manifest(root / artifact.manifest)
        if record["failure"]:
            where, what, _ = record["failure"]
            rows.append({**record["tags"], "reason": f"{where}: {what}"})
    return pd.DataFrame(rows, columns=FAILURE_COLUMNS)


def subset_overlaps(params: Params, root: Path) -> dict[int, float]:
    """The mean share of images that the draws of two seeds have in common, by budget."""
    by_budget: dict[int, list[np.ndarray]] = {}
    for replicate in curve_replicates(params.study):
        index = read_npz(root / SUBSETS / replicate.file(".npz"))["index"]
        by_budget.setdefault(replicate.budget, []).append(index)
    return {budget: mean_overlap(subsets) for budget, subsets in by_budget.items()}


def filters_table(scored: Found) -> pd.DataFrame:
    """One row per arm and replicate with synthetic images: how many its filter turned away."""
    rows = [
        {
            "arm": trial.arm,
            **trial.replicate.columns(),
            "num_candidates": int(arrays["num_candidates"]),
            "num_rejected": int(arrays["num_rejected"]),
            "num_used": int(arrays["num_made"]),
        }
        for trial, arrays in scored
        if arrays["num_candidates"] > 0
    ]
    columns = ["arm", "budget", "seed", "num_candidates", "num_rejected", "num_used"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def tuning_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per generator and replicate with images: how wide its noise, how strict its filter.

    Fixed in params.yaml or chosen by the replicate.
    """
    columns = ["generator", "budget", "seed", "latent_std", "confidence"]
    rows = []
    for name in params.generators:
        for replicate in replicates(params.study):
            path = root / SYNTHETIC / name / replicate.file(".npz")
            if failure_of(path) is None:
                arrays = read_npz(path)
                values = {
                    "latent_std": float(arrays["latent_std"]),
                    "confidence": float(arrays["min_probability"]),
                }
                rows.append({"generator": name, **replicate.columns(), **values})
    return pd.DataFrame(rows, columns=columns)


def audits(params: Params, root: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The names of every generator and replicate, and what its audit found.

    Nothing is found of a generator that came to nothing.
    """
    for name in params.generators:
        for replicate in replicates(params.study):
            path = root / "data/audit" / name / replicate.file(".json")
            names = {"generator": name, **replicate.columns()}
            yield names, {} if failure_of(path) else read_json(path)


def teachers_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per teacher and replicate: what its audit found."""
    rows = []
    for name in params.teachers:
        for replicate in replicates(params.study):
            path = root / "data/audit" / name / replicate.file(".json")
            if failure_of(path) is None:
                rows.append({"teacher": name, **replicate.columns(), **read_json(path)})
    table = pd.DataFrame(rows, columns=TEACHER_COLUMNS)
    numeric = table.columns.drop("teacher")
    table[numeric] = table[numeric].apply(pd.to_numeric)
    return table


def fidelity_table(params: Params, root: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """One row per generator and replicate: the audit's numbers, and CAS from the arm that has it.

    CAS (classification accuracy score; Ravuri and Vinyals 2019) is the first classifier's accuracy
    in an arm of unfiltered synthetic images alone; empty when no arm is of that kind.
    """
    scores = {name: _cas(params, name, trials) for name in params.generators}
    rows = []
    for names, audit in audits(params, root):
        numbers = {key: value for key, value in audit.items() if key not in NOT_NUMBERS}
        cas = scores[names["generator"]].get((names["budget"], names["seed"]))
        rows.append({**names, **numbers, "cas": cas})
    table = pd.DataFrame(rows)
    numeric = table.columns.drop("generator")
    table[numeric] = table[numeric].apply(pd.to_numeric)  # what could not be told becomes NaN
    flags = ["; ".join(audit.get("flags", ())) for _, audit in audits(params, root)]
    return table.assign(flags=flags)


def classes_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per generator, replicate and class: what the audit found of that class."""
    rows = [
        {**names, **row}
        for names, audit in audits(params, root)
        for row in audit.get("classes", ())
    ]
    table = pd.DataFrame(rows, columns=None if rows else ["generator", "budget", "seed", "label"])
    numeric = table.columns.drop("generator")
    table[numeric] = table[numeric].apply(pd.to_numeric)
    return table


def _cas(params: Params, generator: str, trials: pd.DataFrame) -> dict[object, float]:
    first = next(iter(params.classifiers))
    rows = trials[(trials["arm"] == only_arm(params, generator)) & ~trials["failed"]]
    rows = rows[rows["classifier"] == first]
    return dict(rows.set_index(["budget", "seed"])[PRIMARY_METRIC])


def read_history(folder: Path, replicate: Replicate) -> pd.DataFrame:
    """What was noted while one replicate's generator was trained; empty where that failed."""
    failure = failure_of(folder / replicate.file(".npz"))
    return pd.DataFrame() if failure else pd.read_csv(folder / replicate.file(".history.csv"))


def finished(folder: Path, params: Params) -> list[Replicate]:
    """The replicates whose trial in `folder` gave a result, those of the primary budget first."""
    primary = params.report.primary.budget
    grid = sorted(replicates(params.study), key=lambda replicate: replicate.budget != primary)
    return [replicate for replicate in grid if failure_of(folder / replicate.file(".npz")) is None]


def read_losses(name: str, params: Params, root: Path) -> pd.DataFrame:
    """Losses and learning rates of one generator, all replicates that came to an end."""
    models = root / MODELS / name
    parts = [
        read_history(models, replicate).assign(**replicate.columns())
        for replicate in finished(models, params)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def health_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per generator and replicate: how its training went, as `health` reads its history.

    `accuracy`: the discriminator's at the end, empty where there is none; columns for k and for a
    second game follow where some generator has them. `least_spread`: the variety of the class that
    has least, from the audit.
    """
    histories = {
        name: {
            replicate: read_history(root / MODELS / name, replicate)
            for replicate in replicates(params.study)
        }
        for name in params.generators
    }
    distances = {
        name: gan_diagnostics.distances(by_replicate.values())
        for name, by_replicate in histories.items()
    }
    rows: list[dict[str, Any]] = []
    for names, audit in audits(params, root):
        name, replicate = names["generator"], Replicate(names["budget"], names["seed"])
        history = histories[name][replicate]
        diversities = [
            row["spread"] for row in audit.get("classes", ()) if row["spread"] is not None
        ]
        rows.append(
            {
                **names,
                "least_spread": min(diversities, default=np.nan),
                "warnings": "; ".join(gan_diagnostics.warnings(history, distances[name])),
                **gan_diagnostics.at_the_end(history),
            }
        )
    more = sorted({key for row in rows for key in row} - {*HEALTH_COLUMNS})
    return pd.DataFrame(rows, columns=[*HEALTH_COLUMNS, *more])


def confusions(scored: Found, budget: int) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Confusion counts at one budget, summed over seeds, by (classifier, arm)."""
    sums: dict[tuple[str, str], NDArray[np.int64]] = {}
    for trial, arrays in scored:
        if trial.replicate.budget == budget:
            counts = confusion(arrays["labels"], arrays["probabilities"])
            key = (trial.classifier, trial.arm)
            sums[key] = sums.get(key, np.zeros_like(counts)) + counts
    return sums


def timings_table(params: Params, root: Path) -> pd.DataFrame:
    """Seconds of every trial whose output lies here; empty where outputs came from a cache.

    A generator trial has its images per second as well: real images seen in training.
    """
    rows = [row for file in sorted((root / TIMINGS).glob("*.json")) for row in read_json(file)]
    items = {*params.arms, *params.generators, *params.teachers}
    present = [
        {**row, "images_per_s": _images_per_s(row, root)}
        for row in rows
        if row["item"] in items and _is_present(root / row["file"], row["sha256"])
    ]
    return pd.DataFrame(present, columns=TIMING_COLUMNS).astype({"images_per_s": float})


def _images_per_s(row: dict[str, Any], root: Path) -> float | None:
    """Real images that training saw per second; None where nothing was trained in batches."""
    history = root / row["file"].replace(MANIFEST, ".history.csv")
    if "batch_size" not in row or not history.is_file():
        return None
    steps = int(pd.read_csv(history)["step"].iloc[-1])
    return float(steps * row["batch_size"] / row["seconds"])


def _is_present(file: Path, digest: str) -> bool:
    return file.is_file() and file_digest(file) == digest

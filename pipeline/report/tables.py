"""From results on disk to tables: every trial, failures, fidelity, filters, seconds.

Reads exactly the trials that params.yaml asks for: a missing one stops the report, others are
ignored. Samples nothing and writes nothing. A renamed column has both names for one
version (`ALIASES`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from pipeline.config.schema import MODELS, SUBSETS, SYNTHETIC, Params
from pipeline.evaluation.metrics import METRICS, computed_metrics, confusion
from pipeline.evaluation.statistics import mean_overlap
from pipeline.report.ranking import only_arm
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz
from pipeline.trials.grid import Replicate, Trial, curve_replicates, expected_trials, replicates
from pipeline.trials.layout import MANIFEST, artifacts, ids_file, judges
from pipeline.trials.provenance import failure_of, manifest_of, read_manifest
from pipeline.trials.store import TIMINGS

FAILURE_COLUMNS = ["stage", "item", "classifier", "budget", "seed", "reason"]
TIMING_COLUMNS = ["stage", "item", "classifier", "budget", "seed", "seconds", "images_per_s"]
TUNED = ["latent_std", "min_probability"]
# Columns with two names, the former one and the present one.
ALIASES = {
    "sure_frac": "confident_frac",
    "sure_accuracy": "confident_accuracy",
    "foreign_frac": "unknown_frac",
    "foreign_labeled_frac": "unknown_labeled_frac",
    "foreign_sure_frac": "unknown_confident_frac",
    "strangeness_auroc": "ood_auroc",
    "remoteness": "distance_rank",
    "least_spread": "min_diversity",
    "spread": "diversity",
    "spread_floor": "diversity_floor",
    "confidence": "min_probability",
}
# What an evaluation says per class or in words; all else is a number per replicate.
NOT_NUMBERS = ("classes", "flags", "unknown")

ScoredTrials = list[tuple[Trial, dict[str, np.ndarray]]]
Audit = dict[str, Any]


def read_trials(params: Params, root: Path) -> Iterator[tuple[Trial, dict[str, np.ndarray]]]:
    """Every expected trial with its arrays and whether it `failed`.

    A failed trial has the arrays of its baseline (intention to treat): its user is left with the
    labeled images alone. Raises `IntegrityError` when a trial is missing, or when the baseline
    itself failed.
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
                f"expected a trial of the baseline that did not fail, found a failure ({failure})",
                "change that classifier's settings in params.yaml",
            )
        none = {name: np.array(0) for name in ("num_made", "num_candidates", "num_rejected")}
        yield trial, read_npz(baseline) | none | {"failed": np.array(True)}


def trials_table(dataset: str, scored: ScoredTrials, declared: str = "accuracy") -> pd.DataFrame:
    """One row per trial: its names, every metric, the training set size, and whether it failed.

    Balanced accuracy is the last column, where it is the `declared` metric or the classes of a test
    set differ in size.
    """
    needed = {name for _, arrays in scored for name in computed_metrics(arrays["labels"], declared)}
    names = [name for name in METRICS if name in needed]
    rows = [
        {
            "dataset": dataset,
            "classifier": trial.classifier,
            "arm": trial.arm,
            **trial.replicate.columns(),
            **{
                name: METRICS[name].compute(arrays["labels"], arrays["probabilities"])
                for name in names
            },
            "num_train": int(arrays["num_train"]),
            "num_made": int(arrays["num_made"]),
            "failed": bool(arrays["failed"]),
        }
        for trial, arrays in scored
    ]
    table = pd.DataFrame(rows)
    last = [name for name in names if name == "balanced_accuracy"]
    return table[[*table.columns.drop(last), *last]]


def correct_mask(scored: ScoredTrials) -> dict[Trial, NDArray[np.bool_]]:
    """Whether each test image was classified correctly, (num_test,), by trial."""
    return {
        trial: arrays["probabilities"].argmax(axis=1) == arrays["labels"]
        for trial, arrays in scored
    }


def image_weights(scored: ScoredTrials, metric: str) -> NDArray[np.float64] | None:
    """Weights of the test images, (num_test,) with mean 1, for balanced accuracy; else None.

    The mean of weight times correctness is balanced accuracy. Of the first trial: without a test
    set per seed, all have the same test images.
    """
    if metric != "balanced_accuracy":
        return None
    weights = compute_sample_weight("balanced", scored[0][1]["labels"])
    return np.asarray(weights, dtype=np.float64)


def failures_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per failed trial, with the reason; most studies have none."""
    rows = []
    for artifact in artifacts(params):
        record = read_manifest(root / artifact.manifest)
        if record["failure"]:
            where, what, _ = record["failure"]
            rows.append({**record["tags"], "reason": f"{where}: {what}"})
    return pd.DataFrame(rows, columns=FAILURE_COLUMNS)


def subset_overlaps(params: Params, root: Path) -> dict[int, float]:
    """An upper bound of the correlation of the scores of two seeds, by budget.

    The mean share of images that their labeled subsets have in common; if every seed has its own
    test set, that of the test sets where it is larger. To first order a score is a sum of effects
    of labeled images, of test images and of pairs of both (its Hoeffding decomposition). Between
    two seeds, these terms correlate by the shared fraction of labeled images, of test images, and
    by the product of the two. The correlation of the scores is their variance-weighted mean, so it
    is at most the largest.

    Source: Nadeau and Bengio (2003), whose rho for repeated hold-outs, n_test / (n_test + n_train),
    is the expected share of common test images.
    """
    # Positions in pools of different seeds mean different images, content ids do not.
    seeds = params.study.seeds if params.data.per_seed else ()
    ids = {seed: read_npz(root / ids_file(params, seed).path) for seed in seeds}
    tests = mean_overlap([each["test"] for each in ids.values()])
    by_budget: dict[int, list[np.ndarray]] = {}
    for replicate in curve_replicates(params.study):
        index = read_npz(root / SUBSETS / replicate.file(".npz"))["index"]
        subset = ids[replicate.seed]["pool"][index] if params.data.per_seed else index
        by_budget.setdefault(replicate.budget, []).append(subset)
    return {budget: max(mean_overlap(subsets), tests) for budget, subsets in by_budget.items()}


def filters_table(scored: ScoredTrials) -> pd.DataFrame:
    """One row per arm and replicate with synthetic images: how many its filter rejected."""
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


def by_replicate(
    names: Iterable[str], folder: str, suffix: str, column: str, params: Params, root: Path
) -> Iterator[tuple[dict[str, Any], Path | None]]:
    """Every member and replicate with its file `folder/<name>/<replicate><suffix>`.

    Yields the columns that name the row, the member's under `column`, and the path, which is None
    where that trial failed.
    """
    for name in names:
        for replicate in replicates(params.study):
            path = root / folder / name / replicate.file(suffix)
            columns = {column: name, **replicate.columns()}
            yield columns, None if failure_of(path) else path


def as_table(
    rows: list[dict[str, Any]], columns: list[str] | None = None, text: Iterable[str] = ()
) -> pd.DataFrame:
    """Rows as a table of numbers (missing ones NaN) but for the columns `text`, with `ALIASES`."""
    table = pd.DataFrame(rows, columns=columns)
    numeric = table.columns.drop([*text], errors="ignore")
    table[numeric] = table[numeric].apply(pd.to_numeric)
    return with_aliases(table)


def with_aliases(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every renamed column under both of its names, a missing one last."""
    missing = {}
    for old, new in ALIASES.items():
        if old in table and new not in table:
            missing[new] = table[old]
        elif new in table and old not in table:
            missing[old] = table[new]
    return table.assign(**missing)


def tuning_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per generator and replicate with images: the noise and the filter that they had.

    The standard deviation of the noise, and the smallest probability that the filter accepts;
    fixed in params.yaml or selected by the replicate.
    """
    rows = []
    files = by_replicate(params.generators, SYNTHETIC, ".npz", "generator", params, root)
    for columns, path in files:
        if path is not None:
            arrays = read_npz(path)
            rows.append({**columns, **{key: float(arrays[key]) for key in TUNED}})
    table = with_aliases(pd.DataFrame(rows, columns=["generator", "budget", "seed", *TUNED]))
    return table[["generator", "budget", "seed", "latent_std", "confidence", "min_probability"]]


def audits(params: Params, root: Path) -> Iterator[tuple[dict[str, Any], Audit]]:
    """The names of every generator and replicate, and its evaluation; empty where that failed."""
    files = by_replicate(params.generators, "data/audit", ".json", "generator", params, root)
    for columns, path in files:
        yield columns, read_json(path) if path is not None else {}


def fidelity_table(params: Params, root: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """One row per generator and replicate: the numbers of its evaluation, and its CAS.

    CAS (classification accuracy score; Ravuri and Vinyals 2019) is the first classifier's accuracy
    in an arm of unfiltered synthetic images alone; empty when no arm is of that kind. Where the
    pool cannot train a judge, what depends on it is empty, and a column `unknown` says why.
    """
    scores = {name: _cas(params, name, trials) for name in params.generators}
    rows, flags, unknown = [], [], []
    for names, audit in audits(params, root):
        numbers = {key: value for key, value in audit.items() if key not in NOT_NUMBERS}
        cas = scores[names["generator"]].get((names["budget"], names["seed"]))
        rows.append({**names, **numbers, "cas": cas})
        flags.append("; ".join(audit.get("flags", ())))
        unknown.append(audit.get("unknown", ""))
    table = as_table(rows, text=["generator"]).assign(flags=flags)
    return table.assign(unknown=unknown) if any(unknown) else table


def classes_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per generator, replicate and class: the evaluation of that class."""
    rows = [
        {**names, **row}
        for names, audit in audits(params, root)
        for row in audit.get("classes", ())
    ]
    columns = None if rows else ["generator", "budget", "seed", "label"]
    return as_table(rows, columns, ["generator"])


def _cas(params: Params, generator: str, trials: pd.DataFrame) -> dict[object, float]:
    first = next(iter(params.classifiers))
    rows = trials[(trials["arm"] == only_arm(params, generator)) & ~trials["failed"]]
    rows = rows[rows["classifier"] == first]
    return dict(rows.set_index(["budget", "seed"])["accuracy"])


def read_history(folder: Path, replicate: Replicate) -> pd.DataFrame:
    """The training history of one replicate's generator; empty where that failed."""
    failure = failure_of(folder / replicate.file(".npz"))
    return pd.DataFrame() if failure else pd.read_csv(folder / replicate.file(".history.csv"))


def finished(folder: Path, params: Params) -> list[Replicate]:
    """The replicates whose trial in `folder` has a result, those of the primary budget first."""
    primary = params.report.primary.budget
    grid = sorted(replicates(params.study), key=lambda replicate: replicate.budget != primary)
    return [replicate for replicate in grid if failure_of(folder / replicate.file(".npz")) is None]


def read_losses(name: str, params: Params, root: Path) -> pd.DataFrame:
    """Losses and learning rates of one generator, of all replicates that finished."""
    models = root / MODELS / name
    parts = [
        read_history(models, replicate).assign(**replicate.columns())
        for replicate in finished(models, params)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def confusions(scored: ScoredTrials, budget: int) -> dict[tuple[str, str], NDArray[np.int64]]:
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

    The judge is one of them. A generator trial has its images per second as well: real images seen
    in training.
    """
    rows = [row for file in sorted((root / TIMINGS).glob("*.json")) for row in read_json(file)]
    trained = {artifact.item for artifact in judges(params)}
    items = {
        *params.arms,
        *params.generators,
        *params.teachers,
        *params.transforms,
        *trained,
    }
    present = [
        {**row, "images_per_s": _images_per_s(row, root)}
        for row in rows
        if row["item"] in items and _is_present(root / row["file"], row["sha256"])
    ]
    table = pd.DataFrame(present, columns=TIMING_COLUMNS)
    # The judge has no budget and no seed, and they stay whole numbers for the others.
    return table.astype({"budget": "Int64", "seed": "Int64", "images_per_s": float})


def _images_per_s(row: dict[str, Any], root: Path) -> float | None:
    """Real images that training saw per second; None where nothing was trained in batches."""
    history = root / row["file"].replace(MANIFEST, ".history.csv")
    if "batch_size" not in row or not history.is_file():
        return None
    steps = int(pd.read_csv(history)["step"].iloc[-1])
    return float(steps * row["batch_size"] / row["seconds"])


def _is_present(file: Path, digest: str) -> bool:
    return file.is_file() and file_digest(file) == digest

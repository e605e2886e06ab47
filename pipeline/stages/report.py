"""report: tables, verdicts, figures and the page, from what the other stages left.

Everything declared in dvc.yaml is the same to the byte for the same results. `timings.csv` and
`report.html` tell of seconds and the commit as well, so they are written but not declared.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.schema import Params
from pipeline.data.images import read_images
from pipeline.report import comparisons, figures, gallery, ranking, tables
from pipeline.report.gallery import SHEET_PER_CLASS
from pipeline.report.html import PAGE, Pictures, write_page
from pipeline.runtime.files import read_json, replacing, require, write_json, write_text
from pipeline.trials.grid import Replicate
from pipeline.trials.integrity import verify


@dataclass(frozen=True)
class ReportTables:
    """All tables of the report, and what `gallery.kinds` tells of generators."""

    trials: pd.DataFrame
    deltas: pd.DataFrame
    diagnostics: pd.DataFrame
    worth: pd.DataFrame
    fidelity: pd.DataFrame
    fidelity_classes: pd.DataFrame
    tuning: pd.DataFrame
    teachers: pd.DataFrame
    filters: pd.DataFrame
    failures: pd.DataFrame
    ranking: pd.DataFrame
    health: pd.DataFrame
    confusions: dict[tuple[str, str], np.ndarray]
    kinds: dict[str, str]


def run(params: Params, root: Path) -> None:
    """Write `reports/`; raises `IntegrityError` before that when results do not fit together."""
    reports = root / "reports"
    manifest = read_json(require(root / "data/splits/manifest.json", "prepare"))
    results = build_tables(params, root, manifest["dataset"])
    for name in (field.name for field in fields(ReportTables)):
        if isinstance(table := getattr(results, name), pd.DataFrame):
            write_csv(reports / f"{name}.csv", table)
    write_json(reports / "metrics.json", comparisons.headline(results.deltas, params))
    with replacing(reports / "plots") as folder:
        write_plot_data(folder, results, params, root)
        index = plot_figures(folder, results, params, root, manifest["class_names"])
    for name, figure in index.items():
        figures.save(figure, reports / f"{name}.png")
    timings = tables.timings_table(params, root)
    write_csv(reports / "timings.csv", timings)
    write_page(
        root / PAGE,
        params,
        page_tables(results, timings, params),
        page_pictures(reports, params),
        manifest,
    )


def build_tables(params: Params, root: Path, dataset: str) -> ReportTables:
    """Everything there is to say, after the proof that all results belong to this study."""
    scored = list(tables.read_trials(params, root))
    verify(params, root)
    trials = tables.trials_table(dataset, scored)
    overlaps = tables.subset_overlaps(params, root)
    correct = tables.correct_mask(scored)
    deltas = comparisons.deltas_table(trials, params, overlaps)
    fidelity = tables.fidelity_table(params, root, trials)
    return ReportTables(
        trials=trials,
        deltas=deltas,
        diagnostics=comparisons.diagnostics_table(trials, correct, params, overlaps),
        worth=comparisons.label_equivalent_table(trials, deltas, params, overlaps),
        fidelity=fidelity,
        fidelity_classes=tables.classes_table(params, root),
        tuning=tables.tuning_table(params, root),
        teachers=tables.teachers_table(params, root),
        filters=tables.filters_table(scored),
        failures=tables.failures_table(params, root),
        ranking=ranking.ranking_table(trials, deltas, fidelity, params, overlaps),
        health=tables.health_table(params, root),
        confusions=tables.confusions(scored, params.report.primary.budget),
        kinds=gallery.kinds(params, root),
    )


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with six decimals and `\\n`, so that equal numbers give equal bytes."""
    write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6f"))


def write_plot_data(folder: Path, results: ReportTables, params: Params, root: Path) -> None:
    """The CSV files behind `dvc plots`: deltas, confusion and losses."""
    rows = comparisons.main_rows(results.deltas, params)
    rows = rows[rows["arm"] != rows["baseline"]]
    names = (
        rows["classifier"] + ", " + rows["name"] + ", " + rows["budget"].astype(str) + " per class"
    )
    write_csv(folder / "deltas.csv", rows.assign(comparison=names)[["comparison", "delta"]])
    primary = params.report.primary
    counts = results.confusions[primary.classifier, primary.arm]
    cells = np.repeat(np.argwhere(counts >= 0), counts.reshape(-1), axis=0)
    write_csv(folder / "confusion.csv", pd.DataFrame(cells, columns=["actual", "predicted"]))
    losses = [
        tables.read_losses(name, params, root).assign(generator_name=name)
        for name in params.generators
    ]
    write_csv(folder / "losses.csv", pd.concat(losses, ignore_index=True))


def plot_figures(
    folder: Path, results: ReportTables, params: Params, root: Path, class_names: list[str]
) -> dict[str, Figure]:
    """Draw everything into `folder`; the two figures that the README shows are handed back."""
    primary = params.report.primary
    shown = Replicate(primary.budget, params.study.seeds[0])
    rows = comparisons.main_rows(results.deltas, params)
    figures.save(
        figures.learning_curves(without_controls(results, params)), folder / "accuracy.png"
    )
    arms = [params.report.baseline, params.report.reference, primary.arm]
    matrices = {
        params.marked(arm): results.confusions[primary.classifier, arm]
        for arm in dict.fromkeys(filter(None, arms))
    }
    figures.save(figures.confusion_matrices(matrices, class_names), folder / "confusion.png")
    recall = {arm: counts.diagonal() / counts.sum(axis=1) for arm, counts in matrices.items()}
    figures.save(figures.recalls(pd.DataFrame(recall, index=class_names)), folder / "recall.png")
    subset = read_images(root / "data/splits/subsets" / shown.file(".npz"))
    panels = {"real, labeled": gallery.sheet(subset)}
    for name in params.generators:
        gallery.plot_training(folder, name, params, root, class_names)
        panels |= gallery.plot_samples(folder, name, params, root, class_names)
    best = ranking.champions(results.ranking, results.kinds, primary.budget)
    if best:
        pair = {name: panels[name] for name in best.values()}
        figure = figures.sheets(pair, SHEET_PER_CLASS, class_names)
        figures.save(figure, folder / "side_by_side.png")
    return {
        "deltas": figures.forest(rows, params.report.smallest_effect),
        "samples": figures.sheets(panels, SHEET_PER_CLASS, class_names),
    }


def without_controls(results: ReportTables, params: Params) -> pd.DataFrame:
    """The trials of all arms that are no controls, the baseline's first, named as in tables."""
    names = [name for name, arm in params.arms.items() if not arm.is_control]
    order = sorted(names, key=lambda name: name != params.report.baseline)
    trials = results.trials
    return pd.concat(
        [trials[trials["arm"] == name].assign(arm=params.marked(name)) for name in order]
    )


def page_tables(
    results: ReportTables, timings: pd.DataFrame, params: Params
) -> dict[str, pd.DataFrame]:
    """The tables of the page: the headline, the reference, and means over seeds."""
    deltas = results.deltas
    accuracy = deltas[deltas["metric"] == comparisons.PRIMARY_METRIC]
    main = comparisons.main_rows(deltas, params)
    is_control = main["arm"].map(lambda arm: params.arms[arm].is_control)
    diagnostics = results.diagnostics.merge(accuracy, on=comparisons.KEYS)
    filters = results.filters.drop(columns="seed").groupby(["arm", "budget"], sort=False)
    classes = results.fidelity_classes
    places = ranking.with_places(results.ranking, timings, params)
    return {
        "main": main,
        "every": comparisons.table_rows(deltas, params),
        "reference": accuracy[accuracy["baseline"] != params.report.baseline],
        "controls": main.assign(role=main["arm"].map(lambda arm: params.arms[arm].role))[
            is_control
        ],
        "diagnostics": diagnostics,
        "failures": results.failures,
        "worth": results.worth,
        "ranking": places,
        "sides": side_by_side(results, places, params),
        "health": mean_health(results.health),
        "fidelity": seed_means(results.fidelity, "flags"),
        "classes": classes.drop(columns="seed")
        .groupby(["generator", "budget", "label"], sort=False)
        .mean()
        .reset_index(),
        "tuning": count_chosen(results.tuning),
        "teachers": results.teachers.drop(columns="seed")
        .groupby(["teacher", "budget"], sort=False)
        .mean()
        .reset_index(),
        "filters": filters.mean().reset_index(),
        "timings": timings,
    }


def side_by_side(results: ReportTables, places: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The best generator of every `kind` at the primary budget, if there are two kinds.

    Means over seeds, and the median seconds of training one. `places` is the ranking with seconds.
    """
    budget = params.report.primary.budget
    best = ranking.champions(results.ranking, results.kinds, budget)
    means = seed_means(results.fidelity, "flags").merge(
        places[["generator", "budget", "regime", "seconds"]], on=["generator", "budget"]
    )
    rows = means[means["budget"] == budget].set_index("generator", drop=False)
    return rows.loc[list(best.values())].assign(kind=list(best))


def mean_health(health: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds and counted warnings; no rows where no training tells of a discriminator.

    `played`: whether a generator's does.
    """
    means = seed_means(health, "warnings")
    numbers = means.drop(columns=["generator", "budget", "least_spread", "n", "warnings"])
    means = means.assign(played=numbers.notna().any(axis=1))
    return means if means["played"].any() else means[:0]


def seed_means(table: pd.DataFrame, words: str) -> pd.DataFrame:
    """Means over seeds by generator and budget; in how many seeds each of `words` was found.

    `words` names a column of words joined by `; `, which become a mapping to their number.
    """
    rows = []
    for names, group in table.groupby(["generator", "budget"], sort=False):
        raised = [word for cell in group[words] for word in cell.split("; ") if word]
        counts = {word: raised.count(word) for word in dict.fromkeys(raised)}
        means = group.drop(columns=["generator", "budget", "seed", words]).mean()
        keys = dict(zip(("generator", "budget"), names, strict=True))
        rows.append({**keys, **means, "n": len(group), words: counts})
    return pd.DataFrame(rows)


def count_chosen(tuning: pd.DataFrame) -> pd.DataFrame:
    """In how many seeds each value was used, by generator and budget."""
    rows = []
    for names, group in tuning.groupby(["generator", "budget"], sort=False):
        keys = dict(zip(("generator", "budget"), names, strict=True))
        counts = {
            name: group[name].value_counts().sort_index().to_dict()
            for name in ("latent_std", "confidence")
        }
        rows.append({**keys, **counts, "n": len(group)})
    return pd.DataFrame(rows)


def page_pictures(reports: Path, params: Params) -> Pictures:
    """The files of the page's pictures, figures by title and in order."""
    primary = params.report.primary
    scope = f"{primary.classifier}, {primary.budget} labels per class, all seeds"
    figures = {
        "Differences from the baseline with their intervals; the gray band is too small to matter.": reports
        / "deltas.png",
        "Accuracy by label budget; dots are seeds, lines means; controls are left out.": reports
        / "plots/accuracy.png",
        f"Recall of every class ({scope}).": reports / "plots/recall.png",
        f"Confusion ({scope}).": reports / "plots/confusion.png",
        f"Real images of one draw beside synthetic ones; row k is class k ({primary.budget} labels "
        "per class; of each generator the first seed that came to something).": reports
        / "samples.png",
    }
    for name in params.generators:
        figures[
            f"Images of {name}, and for each the nearest labeled image of its draw: pairs that are "
            "alike were memorized."
        ] = reports / f"plots/nearest-{name}.png"
        figures[f"Training of {name}: mean over all seeds, and their range."] = (
            reports / f"plots/losses-{name}.png"
        )
    beside = reports / "plots/side_by_side.png"
    return Pictures(
        figures={title: file for title, file in figures.items() if file.exists()},
        galleries={name: gallery.files(reports, name) for name in params.generators},
        side_by_side=beside if beside.exists() else None,
    )

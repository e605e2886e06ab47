"""Which figures a study has, where they lie below `reports/`, and the data of `dvc plots`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.schema import SUBSETS, Params
from pipeline.data.images import read_images
from pipeline.report import comparisons, figures, formatting, gallery, ranking, tables
from pipeline.report.captions import PER_SEED
from pipeline.report.gallery import SHEET_PER_CLASS
from pipeline.report.names import readable
from pipeline.report.results import ReportTables, write_csv
from pipeline.report.sheets import Subject
from pipeline.runtime.files import replacing
from pipeline.trials.grid import Replicate


@dataclass(frozen=True)
class Pictures:
    """PNG files of the page: figures by caption, galleries by generator and key, in their order."""

    headline: tuple[str, Path] | None
    figures: Mapping[str, Path]
    galleries: Mapping[str, Mapping[str, Path]]
    side_by_side: Path | None  # the best generator of every kind, where there are several


def write_plots(
    reports: Path, results: ReportTables, params: Params, root: Path, subject: Subject
) -> None:
    """Write `plots/`, and the two figures that the README shows, `deltas.png` and `samples.png`."""
    with replacing(reports / "plots") as folder:
        _write_plot_data(folder, results, params, root)
        _plot_accuracies(folder, results, params)
        _plot_classes(folder, results, params, subject)
        samples = _plot_generators(folder, results, params, root, subject)
    rows = comparisons.main_rows(results.deltas, params)
    forest = figures.forest(rows, params.report.smallest_effect, params.report.metric)
    figures.save(forest, reports / "deltas.png")
    figures.save(samples, reports / "samples.png")


def _write_plot_data(folder: Path, results: ReportTables, params: Params, root: Path) -> None:
    """The CSV files behind `dvc plots`: deltas, confusion and losses."""
    rows = comparisons.main_rows(results.deltas, params)
    rows = rows[rows["arm"] != rows["baseline"]]
    budgets = rows["budget"].astype(str)
    names = rows["classifier"] + ", " + rows["name"] + ", " + budgets + " per class"
    write_csv(folder / "deltas.csv", rows.assign(comparison=names)[["comparison", "delta"]])

    primary = params.report.primary
    counts = results.confusions[primary.classifier, primary.arm]
    cells = np.repeat(np.argwhere(counts >= 0), counts.reshape(-1), axis=0)
    write_csv(folder / "confusion.csv", pd.DataFrame(cells, columns=["actual", "predicted"]))

    losses = [
        tables.read_losses(name, params, root).assign(generator_name=name)
        for name in params.generators
    ]
    everything = pd.concat(losses, ignore_index=True) if losses else pd.DataFrame()
    write_csv(folder / "losses.csv", everything)


def _plot_accuracies(folder: Path, results: ReportTables, params: Params) -> None:
    """`report.metric` by budget of all arms that are not controls, the baseline first."""
    names = [name for name, arm in params.arms.items() if not arm.is_control]
    order = sorted(names, key=lambda name: name != params.report.baseline)
    trials = results.trials
    selected = [trials[trials["arm"] == name].assign(arm=params.marked(name)) for name in order]
    curves = figures.learning_curves(pd.concat(selected), params.report.metric)
    figures.save(curves, folder / "accuracy.png")


def _plot_classes(folder: Path, results: ReportTables, params: Params, subject: Subject) -> None:
    """Confusion and recall of the baseline, the reference and the primary arm."""
    primary = params.report.primary
    arms = dict.fromkeys([params.report.baseline, params.report.reference, primary.arm])
    matrices = {
        params.marked(arm): results.confusions[primary.classifier, arm] for arm in arms if arm
    }
    figures.save(
        figures.confusion_matrices(matrices, subject.class_names), folder / "confusion.png"
    )
    recall = {arm: counts.diagonal() / counts.sum(axis=1) for arm, counts in matrices.items()}
    shares = pd.DataFrame(recall, index=[*map(readable, subject.class_names)])
    figures.save(figures.recalls(shares), folder / "recall.png")


def _plot_generators(
    folder: Path, results: ReportTables, params: Params, root: Path, subject: Subject
) -> Figure:
    """Training, samples and gallery of every generator; returns all samples beside real images."""
    primary = params.report.primary.budget
    first = Replicate(primary, params.study.seeds[0])
    real = read_images(root / SUBSETS / first.file(".npz"))
    panels = {"real, labeled": gallery.sheet(real, subject)}
    for name in params.generators:
        gallery.plot_training(folder, name, params, root, subject)
        panels |= gallery.plot_samples(folder, name, params, root, subject)

    best = ranking.champions(results.ranking, results.kinds, primary)
    if best:
        pair = {name: panels[name] for name in best.values()}
        figure = gallery.rows_of_classes(pair, SHEET_PER_CLASS, subject)
        figures.save(figure, folder / "side_by_side.png")
    return gallery.rows_of_classes(panels, SHEET_PER_CLASS, subject)


def pictures(reports: Path, params: Params) -> Pictures:
    """The figures of the page that exist, with their captions."""
    primary = params.report.primary
    scope = f"{primary.classifier}, {primary.budget} labels per class, all seeds"
    plots = reports / "plots"
    metric = formatting.capitalized(formatting.metric_name(params.report.metric))
    captions = {
        f"{metric} by label budget; dots are seeds, lines are means; controls are left out.": plots
        / "accuracy.png",
        f"Recall of every class ({scope}).": plots / "recall.png",
        f"Confusion matrices ({scope}).": plots / "confusion.png",
        "Real images of one labeled subset and synthetic images; row k is class k "
        f"({primary.budget} labels per class; of each generator the first finished seed).": reports
        / "samples.png",
    }
    for name in params.generators:
        captions[
            f"Images of {name}, each with the nearest image of its labeled subset: similar pairs "
            "indicate memorization."
        ] = plots / f"nearest-{name}.png"
        captions[f"Training of {name}: mean over all seeds, and their range."] = (
            plots / f"losses-{name}.png"
        )
    headline = reports / "deltas.png"
    caption = (
        f"{metric} against the baseline, with intervals; gray: differences that do not matter."
    )
    if params.data.per_seed:
        caption += f" {PER_SEED}"
    side_by_side = plots / "side_by_side.png"
    return Pictures(
        headline=(caption, headline) if headline.exists() else None,
        figures={caption: file for caption, file in captions.items() if file.exists()},
        galleries={name: gallery.files(reports, name) for name in params.generators},
        side_by_side=side_by_side if side_by_side.exists() else None,
    )

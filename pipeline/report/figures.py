"""Figures from tables and image arrays; computes nothing that a reader could take for a result.

Every function returns a figure; `save` writes it as PNG, whose bytes depend on the input alone.
Figures are narrow, with panels below each other and labels at the data, so that they can be read
on a phone. Colors of verdicts are those of `verdicts.VERDICTS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.formatting import metric_name
from pipeline.report.names import FigureNames, figure_names
from pipeline.report.verdicts import VERDICTS
from pipeline.runtime.files import atomic

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # a class may be called $5

COLORS = ("#33658a", "#c85a00", "#4d8b31", "#a23b72", "#6c757d", "#8f6c00", "#1f7a70", "#9c2c2c")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 150,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
}
UNLABELED = "* trained on unlabeled images as well"
LINES = ("o-", "s--", "^:", "D-.")  # the next one once all colors are used
# Numbers of a history that are not losses, by how their columns end, and the title of their panel.
PANELS = {
    "accuracy": "accuracy",
    "learning_rate": "learning rate",
    "k": "balance",
    "convergence": "balance",
    "psnr": "signal to noise, dB",
}
WIDTH = 5.2  # inches; the text stays readable where the page is as wide as a phone
LINE_INCH = 0.24  # height of one line of text
PANEL_INCH = 2.3
LETTER_INCH = 0.085  # width of a letter of class names, at most
TICK_INCH = 0.1  # from one class name to the next, at the smallest size
MATRIX_INCH = 4.6  # side of a confusion matrix with its text
MAX_MATRIX_INCH = 9.0
MANY_CLASSES = 20  # more have no numbers in their confusion matrix


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG without a date or version, atomically."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, bbox_inches="tight")


def subplots(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, NDArray[Any]]:
    """An empty figure in the style of the report, sizes in inches, and its axes (rows, columns)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)


def forest(rows: pd.DataFrame, smallest_effect: float, metric: str = "accuracy") -> Figure:
    """Deltas with their intervals: a panel per classifier, a line per arm and budget.

    At the right of every line stand its delta in points and its verdict.
    """
    rows = rows[rows["arm"] != rows["baseline"]]
    classifiers = list(dict.fromkeys(rows["classifier"]))
    budgets = rows["budget"].nunique()
    height = LINE_INCH * (len(rows) + 3 * max(1, len(classifiers)))
    figure, axes = subplots(WIDTH, max(2, height), max(1, len(classifiers)), 1)
    for axis, classifier in zip(axes[:, 0], classifiers, strict=False):
        selected = rows[rows["classifier"] == classifier].iloc[::-1].reset_index(drop=True)
        effect = 100 * smallest_effect
        axis.axvspan(-effect, effect, color="#000000", alpha=0.08, linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        for place, row in enumerate(_records(selected)):
            color = VERDICTS[row["verdict"]].color.light
            ends = [100 * row["ci_low"], 100 * row["ci_high"]]
            axis.plot(ends, [place, place], color=color, linewidth=2)
            axis.plot(100 * row["delta"], place, "o", color=color, markersize=5)
            _label_right(axis, f"{100 * row['delta']:+.1f} {row['verdict']}", place, color)
        names = [
            f"{row['name']} ({row['budget']} per class)" if budgets > 1 else str(row["name"])
            for row in _records(selected)
        ]
        axis.set_yticks(range(len(selected)), names)
        axis.set_ylim(-0.6, len(selected) - 0.4)
        axis.set_title(classifier)
        note = f"\n{UNLABELED}" if any("*" in name for name in names) else ""
        what = f"{metric_name(metric)} minus baseline"
        axis.set_xlabel(f"{what}, percentage points{note}")
    return figure


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


def _label_right(axis: Axes, text: str, height: float, color: str) -> None:
    """A label at the right edge of the axes, at `height` in the unit of the data."""
    transform = axis.get_yaxis_transform()
    axis.text(1.02, height, text, color=color, transform=transform, va="center", fontsize=9)


def learning_curves(trials: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Mean of `metric` by budget, a line per arm, a panel per classifier; every seed as a dot.

    Every line is named at the right, in the order of its last mean. Arms are shifted a little to
    the sides of their budgets, so that dots do not hide each other.
    """
    classifiers = list(dict.fromkeys(trials["classifier"]))
    arms = list(dict.fromkeys(trials["arm"]))
    height = max(PANEL_INCH, LINE_INCH * len(arms)) + 0.8
    figure, axes = subplots(WIDTH, height * len(classifiers), len(classifiers), 1)
    shift = min(0.05, 0.3 / len(arms))
    for axis, classifier in zip(axes[:, 0], classifiers, strict=True):
        ends: list[tuple[float, str, str]] = []
        for place, (arm, color) in enumerate(zip(arms, COLORS * len(arms), strict=False)):
            factor = 1 + shift * ((place + 1) // 2) * (-1) ** place
            selected = trials[(trials["classifier"] == classifier) & (trials["arm"] == arm)]
            if selected.empty:
                continue
            means = selected.groupby("budget")[metric].mean()
            line = LINES[place // len(COLORS) % len(LINES)]
            axis.plot(factor * means.index, 100 * means, line, color=color, label=arm, markersize=5)
            scores = 100 * selected[metric]
            axis.plot(factor * selected["budget"], scores, ".", color=color, alpha=0.35)
            ends.append((float(100 * means.iloc[-1]), arm, color))
        axis.set_xscale("log")
        budgets = sorted(trials["budget"].unique())
        axis.set_xticks(budgets, [str(budget) for budget in budgets])
        axis.minorticks_off()
        axis.set_xlim(budgets[0] / 1.2, budgets[-1] * 1.2)
        axis.set_title(classifier)
        axis.set_ylabel(f"test {metric_name(metric)}, %")
        note = f"\n{UNLABELED}" if any("*" in arm for arm in arms) else ""
        axis.set_xlabel(f"labeled images per class{note}")
        low, high = axis.get_ylim()
        heights = spread([value for value, _, _ in ends], 0.21 * (high - low) / height, low, high)
        for (_, arm, color), at in zip(ends, heights, strict=True):
            _label_right(axis, arm, at, color)
        axis.set_ylim(low, high)
    return figure


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels near `values`, at least `gap` apart and inside `low` to `high`.

    With too many labels for that, `gap` shrinks.
    """
    gap = min(gap, (high - low) / max(1, len(values) - 1))
    order = sorted(range(len(values)), key=lambda at: values[at])
    places = [0.0] * len(values)
    least = low
    for at in order:  # upwards: above the label before
        places[at] = max(values[at], least)
        least = places[at] + gap
    most = high
    for at in reversed(order):  # downwards again, where that passed the upper end
        places[at] = min(places[at], most)
        most = places[at] - gap
    return places


def confusion_matrices(counts: dict[str, NDArray[np.int64]], class_names: list[str]) -> Figure:
    """Row-normalized confusion matrices below each other, one per title in `counts`.

    With many classes the matrix grows, its cells have no numbers, and not every class may be named.
    """
    names, num_classes = figure_names(class_names), len(class_names)
    label_inch = LETTER_INCH * max(0, names.width - 2)
    side = min(MAX_MATRIX_INCH, max(MATRIX_INCH, 1.2 + TICK_INCH * num_classes))
    width = WIDTH + side - MATRIX_INCH + label_inch
    is_turned = LETTER_INCH * names.width > (side - 1) / num_classes
    height = side + (label_inch if is_turned else 0)
    figure, axes = subplots(width, height * len(counts), len(counts), 1)
    for axis, (title, matrix) in zip(axes[:, 0], counts.items(), strict=True):
        shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*shares.shape):
            share = shares[row, column]
            if share >= 0.005 and num_classes <= MANY_CLASSES:
                text, color = f"{100 * share:.0f}", "white" if share > 0.5 else "black"
                axis.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
        name_classes(axis, "x", names, range(num_classes), side - 1, is_turned=is_turned)
        name_classes(axis, "y", names, range(num_classes), side - 1)
        axis.grid(visible=False)
        axis.set_title(title)
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class; % of its images")
    return figure


def name_classes(
    axis: Axes,
    which: Literal["x", "y"],
    names: FigureNames,
    places: Sequence[float],
    inches: float,
    *,
    is_turned: bool = False,
) -> None:
    """Put the names of classes at `places` of an axis that is `inches` long.

    As many as fit: smaller ones where they are many, and if that is not enough every second one,
    every third, and so on.
    """
    room = inches / max(1, len(places))
    if which == "x" and not is_turned:
        step = math.ceil(LETTER_INCH * names.width / room)
        size = None
    else:
        step = math.ceil(0.9 * TICK_INCH / room)
        size = None if room >= 2 * TICK_INCH else max(5, min(9, int(72 * 0.8 * room * step)))
    set_ticks = axis.set_xticks if which == "x" else axis.set_yticks
    set_ticks(list(places)[::step], names.labels[::step])
    for text in axis.get_xticklabels() if which == "x" else axis.get_yticklabels():
        if names.fonts != FigureNames(()).fonts:
            text.set_fontfamily([*names.fonts])
        if size is not None:
            text.set_fontsize(size)
        if is_turned:
            text.set_rotation(90)


def recalls(shares: pd.DataFrame) -> Figure:
    """Recall per class, a dot per arm; `shares` has classes as rows and arms as columns."""
    names, num_classes = figure_names([str(name) for name in shares.index]), len(shares)
    width = min(MAX_MATRIX_INCH, max(WIDTH, 1 + 0.12 * num_classes))
    is_turned = LETTER_INCH * names.width > (width - 1) / num_classes
    label_inch = LETTER_INCH * max(0, names.width - 2) if is_turned else 0
    figure, axes = subplots(width, 3.2 + label_inch)
    axis = axes[0][0]
    for at, (arm, color) in enumerate(zip(shares.columns, COLORS, strict=False)):
        places = np.arange(num_classes) + 0.15 * (at - (len(shares.columns) - 1) / 2)
        size = 6 if num_classes <= MANY_CLASSES else 3
        axis.plot(places, 100 * shares[arm], "o", color=color, label=str(arm), markersize=size)
    name_classes(axis, "x", names, range(num_classes), width - 1, is_turned=is_turned)
    axis.set_xlabel("class")
    axis.set_ylabel("recall, %")
    handles, names_of_arms = axis.get_legend_handles_labels()
    figure.legend(
        handles, names_of_arms, loc="outside upper center", fontsize=9, ncols=len(names_of_arms)
    )
    return figure


def losses(history: pd.DataFrame) -> Figure:
    """Losses, and the other numbers of training (`PANELS`), over steps, in panels.

    Mean over the generators, and the range of all.
    """
    shown: dict[str, list[str]] = {title: [] for title in ("loss", *PANELS.values())}
    for name in history.columns.drop(["step", "budget", "seed"]):
        shown[panel(name)].append(name)
    shown = {title: columns for title, columns in shown.items() if columns}
    figure, axes = subplots(WIDTH, PANEL_INCH * len(shown), len(shown), 1)
    for axis, (title, columns) in zip(axes[:, 0], shown.items(), strict=True):
        for name, color in zip(columns, COLORS, strict=False):
            grouped = history.groupby("step")[name]
            mean = grouped.mean()
            axis.plot(mean.index, mean, color=color, label=name.replace("_learning_rate", ""))
            axis.fill_between(
                mean.index, grouped.min(), grouped.max(), color=color, alpha=0.15, linewidth=0
            )
        axis.set_title(title)
        axis.legend(fontsize=9)
    axes[-1][0].set_xlabel("step")
    return figure


def panel(name: str) -> str:
    """The title of the panel that a column of a history belongs to."""
    ends = (title for end, title in PANELS.items() if f"_{name}".endswith(f"_{end}"))
    return next(ends, "loss")

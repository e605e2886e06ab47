"""Figures from tables and image arrays; computes nothing that a reader could take for a result.

Every function returns a figure; `save` writes it as PNG, whose bytes depend on the input alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.images import Images
from pipeline.runtime.files import atomic

matplotlib.use("Agg")

COLORS = ("#33658a", "#e07a1f", "#4d8b31", "#a23b72", "#6c757d", "#b8860b", "#2a9d8f", "#9c2c2c")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
}
VERDICT_COLORS = {"gain": "#2e7d32", "harm": "#c62828", "equivalent": "#33658a"}
NEUTRAL = "#6c757d"
UNLABELED = "* saw unlabeled images, too"
LINES = ("o-", "s--", "^:", "D-.")  # the next one once all colors are used
# Numbers of a history that are no losses, by how their columns end, and the title of their panel.
PANELS = {
    "accuracy": "accuracy",
    "learning_rate": "learning rate",
    "k": "balance",
    "convergence": "balance",
    "psnr": "signal to noise, dB",
}
PANEL_INCH = 3
IMAGE_INCH = 0.32
WIDEST_INCH = 12


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


def forest(rows: pd.DataFrame, smallest_effect: float) -> Figure:
    """Deltas with their intervals, one panel per classifier, one line per arm and budget."""
    rows = rows[rows["arm"] != rows["baseline"]]
    classifiers = list(dict.fromkeys(rows["classifier"]))
    height = 1.1 + 0.26 * len(rows) / max(1, len(classifiers))
    figure, axes = subplots(9, height, 1, max(1, len(classifiers)))
    first: list[str] = []
    for axis, classifier in zip(axes[0], classifiers, strict=False):
        selected = rows[rows["classifier"] == classifier].iloc[::-1].reset_index(drop=True)
        for place, row in selected.iterrows():
            color = VERDICT_COLORS.get(row["verdict"], NEUTRAL)
            ends = [100 * row["ci_low"], 100 * row["ci_high"]]
            axis.plot(ends, [place, place], color=color, linewidth=2)
            axis.plot(100 * row["delta"], place, "o", color=color, markersize=5)
        effect = 100 * smallest_effect
        axis.axvspan(-effect, effect, color="#000000", alpha=0.08, linewidth=0)
        axis.axvline(0, color="black", linewidth=0.8)
        names = [f"{row['name']}, {row['budget']} per class" for _, row in selected.iterrows()]
        shown = names if axis is axes[0][0] or names != first else [""] * len(selected)
        first = names if axis is axes[0][0] else first
        axis.set_yticks(range(len(selected)), shown)
        axis.set_title(classifier)
        note = f"\n{UNLABELED}" if any("*" in name for name in names) else ""
        axis.set_xlabel(f"accuracy, points against the baseline{note}")
    return figure


def learning_curves(trials: pd.DataFrame) -> Figure:
    """Mean accuracy by budget, a line per arm, a panel per classifier; every seed as a dot.

    The first arm stands at its budgets, the others beside it, so that dots do not hide each other.
    """
    classifiers = list(dict.fromkeys(trials["classifier"]))
    figure, axes = subplots(9, 3.6, 1, len(classifiers))
    arms = list(dict.fromkeys(trials["arm"]))
    apart = min(0.05, 0.3 / len(arms))
    for axis, classifier in zip(axes[0], classifiers, strict=True):
        for place, (arm, color) in enumerate(zip(arms, COLORS * len(arms), strict=False)):
            beside = 1 + apart * ((place + 1) // 2) * (-1) ** place
            selected = trials[(trials["classifier"] == classifier) & (trials["arm"] == arm)]
            means = selected.groupby("budget")["accuracy"].mean()
            line = LINES[place // len(COLORS) % len(LINES)]
            axis.plot(beside * means.index, 100 * means, line, color=color, label=arm, markersize=5)
            axis.plot(
                beside * selected["budget"],
                100 * selected["accuracy"],
                ".",
                color=color,
                alpha=0.35,
            )
        axis.set_xscale("log")
        budgets = sorted(trials["budget"].unique())
        axis.set_xticks(budgets, [str(budget) for budget in budgets])
        axis.minorticks_off()
        axis.set_xlim(budgets[0] / 1.2, budgets[-1] * 1.2)
        axis.set_title(classifier)
        axis.set_xlabel("labeled images per class")
        axis.set_ylabel("test accuracy, %")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside right center",
        fontsize=8,
        title=UNLABELED if any("*" in name for name in names) else None,
    )
    return figure


def confusion_matrices(counts: dict[str, NDArray[np.int64]], class_names: list[str]) -> Figure:
    """Row-normalized confusion matrices side by side, one per title in `counts`."""
    figure, axes = subplots(4.3 * len(counts), 4.2, 1, len(counts))
    for axis, (title, matrix) in zip(axes[0], counts.items(), strict=True):
        shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*shares.shape):
            share = shares[row, column]
            if share >= 0.005:
                color = "white" if share > 0.5 else "black"
                axis.text(
                    column,
                    row,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=color,
                )
        axis.set_xticks(range(len(class_names)), class_names)
        axis.set_yticks(range(len(class_names)), class_names)
        axis.grid(visible=False)
        axis.set_title(title)
        axis.set_xlabel("predicted")
        axis.set_ylabel("true class; % of its images")
    return figure


def recalls(shares: pd.DataFrame) -> Figure:
    """Recall per class, a dot per arm; `shares` has classes as rows and arms as columns."""
    figure, axes = subplots(9, 3.0)
    axis = axes[0][0]
    for at, (arm, color) in enumerate(zip(shares.columns, COLORS, strict=False)):
        beside = np.arange(len(shares)) + 0.15 * (at - (len(shares.columns) - 1) / 2)
        axis.plot(beside, 100 * shares[arm], "o", color=color, label=str(arm), markersize=7)
    axis.set_xticks(range(len(shares)), shares.index)
    axis.set_xlabel("class")
    axis.set_ylabel("recall, %")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def losses(history: pd.DataFrame) -> Figure:
    """Losses, and what else was noted in training (`PANELS`), over steps.

    Mean over the generators, and the range of all.
    """
    shown: dict[str, list[str]] = {title: [] for title in ("loss", *PANELS.values())}
    for name in history.columns.drop(["step", "budget", "seed"]):
        shown[panel(name)].append(name)
    shown = {title: columns for title, columns in shown.items() if columns}
    figure, axes = subplots(max(9, PANEL_INCH * len(shown)), 3.0, 1, len(shown))
    for axis, (title, columns) in zip(axes[0], shown.items(), strict=True):
        for name, color in zip(columns, COLORS, strict=False):
            grouped = history.groupby("step")[name]
            mean = grouped.mean()
            axis.plot(mean.index, mean, color=color, label=name.replace("_learning_rate", ""))
            axis.fill_between(
                mean.index, grouped.min(), grouped.max(), color=color, alpha=0.15, linewidth=0
            )
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.legend(fontsize=8)
    return figure


def panel(name: str) -> str:
    """The title of the panel that a column of a history belongs to."""
    ends = (title for end, title in PANELS.items() if f"_{name}".endswith(f"_{end}"))
    return next(ends, "loss")


def sheets(panels: dict[str, Images], columns: int, class_names: list[str] | None) -> Figure:
    """Image sheets side by side, each filled row by row with `columns` images per row.

    With `class_names`, row k of every sheet is class k and says so.
    """
    some = next(iter(panels.values()))
    rows = len(some) // columns
    width, height = columns * IMAGE_INCH + 0.4, rows * IMAGE_INCH + 0.5
    across = min(len(panels), max(1, int(WIDEST_INCH / width)))
    down = math.ceil(len(panels) / across)
    figure, axes = subplots(across * width, down * height, down, across)
    for axis in axes.ravel()[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, images) in zip(axes.ravel(), panels.items(), strict=False):
        axis.imshow(mosaic(images, columns), cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(title)
        axis.grid(visible=False)
        axis.set_xticks([])
        side = images.shape[2] + 1
        ticks = [row * side + side / 2 for row in range(rows)] if class_names else []
        axis.set_yticks(ticks, class_names or [])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    return figure


def mosaic(images: Images, columns: int) -> NDArray[np.uint8]:
    """Images (n, c, h, w) as one picture, row by row, with a pixel between neighbors."""
    rows = len(images) // columns
    paper = 0 if images.shape[1] == 1 else 255  # ink is what counts up in gray, light in color
    padded = np.pad(
        images[: rows * columns], ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=paper
    )
    _, channels, height, width = padded.shape
    grid = padded.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = grid.reshape(rows * height, columns * width, channels)
    return picture[..., 0] if channels == 1 else picture

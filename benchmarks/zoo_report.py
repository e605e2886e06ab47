"""The results of `benchmarks.zoo` as tables and figures; computes only means and intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.claims import BALANCE, GAMMAS, PLAYERS, QUALITY, TEXTBOOK_BATCH, Result
from benchmarks.wording import Row, markdown, mean_text
from pipeline.report import figures

# Of a Keras tutorial on this network, validated on 10,000 images of MNIST; quoted, not measured.
REPORTED_PERCENT = 99.55

WGAN = """\
Textbooks: the loss of a Wasserstein critic shows how good the samples are, that of a plain
discriminator does not. Spearman's correlation, over ten points of one training, of a number with
the CAS: the accuracy on {num_scored:,} held-out images of a small CNN trained on samples of the
current weights at that point. Mean over seeds [minimum, maximum]; 1: the higher the loss, the
better the samples. The loss of a Wasserstein critic is minus its estimate of the distance, but with
`mismatch`, as in the preset, the critic also rejects wrong labels, and the loss may be positive.
The last column is the correlation of the step alone with the CAS.

{table}

![losses and CAS](wgan.png)
"""
BEGAN = """\
Textbooks: a low gamma gives good images with little diversity, a high one diverse images. Measured
in the features of a judge that was trained on other held-out images, mean over classes; the last
row has real images instead of synthetic ones. 95 % t intervals over seeds; the difference is paired
by seed.

{table}

![k and the convergence measure](began.png)
"""
SRGAN = """\
Textbooks: a network upsamples images better than bicubic interpolation. Peak signal-to-noise ratio
of {num_scored:,} held-out images that were downsampled to half the size and upsampled, mean over
images; 95 % t intervals over seeds.

{table}

![upsampled digits](srgan.png)
"""
TEXTBOOK = """\
A textbook reports {reported} %. Here: with the affine transform of params.yaml and AdamW with a
one-cycle schedule, on {num_trained:,} training images, scored on {num_scored:,} others, with
Wilson's 95 % interval; {steps:,} steps of {batch} images, peak learning rate {rate}.

{table}
"""
SPEED = """\
No generator should be slower than its plain recipe with equal work (`benchmarks/plain.py`): the
same sizes, augmentation and batches as in a textbook, in float32, with a data loader and optimizers
that are not fused. Ours uses the precision of the fit loop ({precisions}). Both alternate; median
over rounds [minimum, maximum] of plain seconds divided by ours. Slower by the median: {slower}. The
last column is the speed of sampling, with all steps of a diffusion model.

{table}
"""


def wgan_text(result: Result) -> str:
    """A row per family."""
    rows: list[Row] = []
    for family, runs in by_family(result).items():
        tells = {
            name: ranged([run["tells"][name] for run in runs], 2) for name in (*PLAYERS, "step")
        }
        rows.append(
            {
                "family": family,
                "n": str(len(runs)),
                "CAS % at the last mark": mean_text([100 * run["cas"][-1] for run in runs], 2),
                **{f"{player}'s loss": tells[player] for player in PLAYERS},
                "the step": tells["step"],
            }
        )
    return WGAN.format(num_scored=result["num_scored"], table=markdown(rows))


def began_text(result: Result) -> str:
    """A row per gamma, one for their difference, one for real images."""
    by_gamma = {
        gamma: {run["seed"]: run["quality"] for run in result["runs"] if run["gamma"] == gamma}
        for gamma in GAMMAS
    }
    first, second = by_gamma.values()
    differences = [
        {name: second[seed][name] - first[seed][name] for name in QUALITY}
        for seed in first
        if seed in second
    ]
    parts = {str(gamma): list(runs.values()) for gamma, runs in by_gamma.items()}
    low, high = parts
    parts |= {f"{high} minus {low}": differences, "real images": [result["floor"]]}
    rows = [
        {
            "gamma": title,
            "n": str(len(values)),
            **{
                name.replace("_", " "): mean_text([run_values[name] for run_values in values], 3)
                for name in QUALITY
            },
        }
        for title, values in parts.items()
    ]
    return BEGAN.format(table=markdown(rows))


def srgan_text(result: Result) -> str:
    """One row."""
    runs = result["runs"]
    row = {
        "n": str(len(runs)),
        "network dB": mean_text([run["doubled_db"] for run in runs], 2),
        "bicubic dB": mean_text([run["bicubic_db"] for run in runs], 2),
        "difference dB": mean_text([run["doubled_db"] - run["bicubic_db"] for run in runs], 2),
        "network better, % of images": mean_text([100 * run["better_frac"] for run in runs], 1),
    }
    return SRGAN.format(num_scored=result["num_scored"], table=markdown([row]))


def textbook_text(result: Result) -> str:
    """A row per seed."""
    rows = [
        {
            "seed": str(run["seed"]),
            "wrong": str(result["num_scored"] - run["right"]),
            "accuracy %": f"{100 * run['accuracy']:.2f} [{100 * run['low']:.2f}, "
            f"{100 * run['high']:.2f}]",
            "training s": f"{run['train_s']:,.0f}",
        }
        for run in result["runs"]
    ]
    return TEXTBOOK.format(
        reported=REPORTED_PERCENT,
        num_trained=result["num_trained"],
        num_scored=result["num_scored"],
        steps=result["config"]["steps"],
        batch=TEXTBOOK_BATCH,
        rate=result["config"]["learning_rate"],
        table=markdown(rows),
    )


def speed_text(result: Result) -> str:
    """A row per member."""
    rows, slower = [], []
    for run in result["runs"]:
        ours, plain = (
            np.array([timing[name] for timing in run["rounds"]]) for name in ("ours_s", "plain_s")
        )
        images, ratios = run["steps"] * run["batch_size"], plain / ours
        slower += [run["family"]] if np.median(ratios) < 1 else []
        rows.append(
            {
                "family": run["family"],
                "precision of ours": run["precision"],
                "batch": str(run["batch_size"]),
                "steps per round": str(run["steps"]),
                "rounds": str(len(ratios)),
                "ours images/s": f"{images / np.median(ours):,.0f}",
                "plain images/s": f"{images / np.median(plain):,.0f}",
                "times as fast": f"{np.median(ratios):.2f} "
                f"[{ratios.min():.2f}, {ratios.max():.2f}]",
                "draws images/s": f"{run['drawn_per_s']:,.0f}",
            }
        )
    return SPEED.format(
        slower=", ".join(slower) or "none",
        table=markdown(rows),
        precisions=", ".join(sorted({run["precision"] for run in result["runs"]})),
    )


def by_family(result: Result) -> dict[str, list[Result]]:
    """The runs of every family, in the order of the runs."""
    names = dict.fromkeys(run["family"] for run in result["runs"])
    return {name: [run for run in result["runs"] if run["family"] == name] for name in names}


def ranged(values: Iterable[float | None], digits: int) -> str:
    """The mean with minimum and maximum, and the number of values that are undefined."""
    every = list(values)
    finite = [value for value in every if value is not None]
    lacking = f", {len(every) - len(finite)} unknown" if len(finite) < len(every) else ""
    if not finite:
        return f"-{lacking}"
    least, largest = min(finite), max(finite)
    return f"{np.mean(finite):.{digits}f} [{least:.{digits}f}, {largest:.{digits}f}]{lacking}"


def wgan_figure(result: Result) -> Figure:
    """Top: loss and CAS by step. Bottom: CAS by loss. A column per family."""
    families = by_family(result)
    figure, axes = figures.subplots(9, 5.4, 2, len(families))
    for (family, runs), (above, below) in zip(families.items(), axes.T, strict=True):
        beside = above.twinx()
        above.set_title(family)
        for run, color in zip(runs, itertools.cycle(figures.COLORS)):
            losses, cas = run["losses"]["discriminator"], [100 * score for score in run["cas"]]
            steps, every = (
                [row[key] for row in run["history"]] for key in ("step", "discriminator")
            )
            above.plot(steps, every, color=color, alpha=0.3, linewidth=0.7)
            above.plot(run["marks"], losses, color=color)
            beside.plot(run["marks"], cas, "o--", color=color, markersize=3, linewidth=0.7)
            below.plot(losses, cas, "o", color=color, markersize=4)
        label(above, "step", "discriminator's loss (lines)")
        label(beside, "step", "CAS, % (dots)")
        label(below, "discriminator's loss", "CAS, %")
    return figure


def began_figure(result: Result) -> Figure:
    """k and the convergence measure by step, a line per seed, a color per gamma."""
    figure, axes = figures.subplots(9, 3.0, 1, len(BALANCE))
    for axis, name in zip(axes[0], BALANCE, strict=True):
        for gamma, color in zip(GAMMAS, figures.COLORS, strict=False):
            runs = [run for run in result["runs"] if run["gamma"] == gamma]
            for place, run in enumerate(runs):
                steps, values = ([row[key] for row in run["history"]] for key in ("step", name))
                axis.plot(
                    steps, values, color=color, alpha=0.8, label=None if place else f"gamma {gamma}"
                )
        label(axis, "step", name)
        axis.legend(fontsize=8)
    return figure


def label(axis: Axes, x: str, y: str) -> None:
    """Label both axes."""
    axis.set_xlabel(x)
    axis.set_ylabel(y)

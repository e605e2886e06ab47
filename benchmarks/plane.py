"""The example of introductory texts: a linear GAN learns a normal distribution in the plane.

`mlp_gan` without hidden layers in its generator can only generate normal points; the texts' example
has the mean and the covariance below. Points are images of two pixels, with gray levels a tenth of
a unit apart.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.claims import Job, Result, sections, tried
from benchmarks.wording import Row, markdown
from pipeline.config.validation import Member, member_config
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.generators.base import create
from pipeline.generators.fit import fit
from pipeline.generators.gan.mlp_gan import MLPGAN, MLPGANConfig
from pipeline.generators.sampling import sample_images
from pipeline.report import figures
from pipeline.runtime.seeds import derive_seed, numpy_rng

Points = NDArray[np.float64]  # (n, 2)

MEAN = np.array([1.0, 2.0])
COVARIANCE = np.array([[1.01, 1.95], [1.95, 4.25]])
NUM_POINTS = 20_000
NUM_SHOWN = 500
REACH = 12.0  # pixel 0 is minus this coordinate, 255 plus
PLANE = ImageSpec(channels=1, height=1, width=2, num_classes=1)
# A linear generator against two narrow layers.
SETTINGS: Member = {
    "steps": 3000,
    "batch_size": 256,
    "latent_dim": 2,
    "ema_decay": 0.998,
    "decay_from": 0.3,
    "augmentation": {"degrees": 0, "translate": 0, "scale": 0, "shear": 0},
    "precision": "float32",
    "generator_learning_rate": 0.002,
    "discriminator_learning_rate": 0.01,
    "generator_widths": [],
    "discriminator_widths": [64, 64],
    "output": "linear",
    "realness": 1.0,
    "mismatch": 0.0,
}

TEXT = """\
Textbooks: a GAN learns a normal distribution in the plane. `mlp_gan` with a linear generator, from
{num_points:,} points; mean and covariance of equally many samples. `farthest`: the largest relative
error of the five numbers, in percent.

{table}

![points](plane.png)
"""


def points(seed: int) -> Points:
    """The training points of a seed."""
    return numpy_rng("plane", seed).multivariate_normal(MEAN, COVARIANCE, NUM_POINTS)


def as_images(points: Points) -> Images:
    """Points as images of two pixels."""
    pixels = ((points / REACH + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return pixels.reshape(-1, 1, 1, 2)


def learned(real: Points, seed: int, **changes: object) -> Points:
    """Samples of a generator that was trained on `real`; `changes` replace settings."""
    section = {**sections()["mlp_gan"], **SETTINGS, **changes}
    config = member_config(MLPGANConfig, section, "generators.mlp_gan")
    generator = create(MLPGAN, config, PLANE, derive_seed("initial", seed))
    labels = np.zeros(NUM_POINTS, dtype=np.int64)
    with tempfile.TemporaryDirectory() as folder:
        fit(generator, LabeledImages(as_images(real), labels), seed, Path(folder))
    samples = sample_images(generator, labels, list(range(NUM_POINTS)))
    return (samples.reshape(-1, 2) / 127.5 - 1) * REACH


def measure(job: Job) -> Result:
    """Mean and covariance of the samples by seed, and some points for the figure."""

    def run(seed: int) -> Result:
        real = points(seed)
        samples = learned(real, seed, **({} if job.steps is None else {"steps": job.steps}))
        shown = {"real": real[:NUM_SHOWN], "drawn": samples[:NUM_SHOWN]}
        return {
            "mean": samples.mean(axis=0).tolist(),
            "covariance": np.cov(samples.T).tolist(),
            "points": {name: coordinates.tolist() for name, coordinates in shown.items()},
        }

    return tried(run, [{"seed": seed} for seed in range(job.seeds)])


def text(result: Result) -> str:
    """A row for the true distribution and one per seed."""
    truth = {"mean": MEAN.tolist(), "covariance": COVARIANCE.tolist()}
    rows = [_row("truth", truth), *(_row(str(run["seed"]), run) for run in result["runs"])]
    return TEXT.format(num_points=NUM_POINTS, table=markdown(rows))


def _row(title: str, run: dict[str, Any]) -> Row:
    mean, covariance = np.array(run["mean"]), np.array(run["covariance"])
    off = np.concatenate([mean / MEAN - 1, (covariance / COVARIANCE - 1).ravel()])
    return {
        "seed": title,
        "mean": ", ".join(f"{value:.2f}" for value in mean),
        "variances": ", ".join(f"{value:.2f}" for value in np.diag(covariance)),
        "covariance": f"{covariance[0, 1]:.2f}",
        "farthest": f"{100 * abs(off).max():.1f}",
    }


def figure(measured: Result) -> Figure:
    """Real and sampled points of the first run."""
    shown = measured["runs"][0]["points"]
    result, axes = figures.subplots(7, 3.5, 1, len(shown))
    for axis, (name, coordinates), color in zip(
        axes[0], shown.items(), figures.COLORS, strict=False
    ):
        axis.scatter(*np.array(coordinates).T, s=6, color=color, alpha=0.6, linewidths=0)
        axis.set_title(name)
        axis.set(xlim=(-3, 5), ylim=(-6, 10), xlabel="x", ylabel="y")
    return result

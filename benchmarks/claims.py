"""Claims of textbooks about generators, measured; `benchmarks.zoo` runs the parts.

Generators have the settings of presets/zoo.yaml and learn from a labeled subset, a new one per
seed. Everything is scored on held-out training images.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from benchmarks.command_line import ROOT
from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN
from pipeline.classifiers.cnn_textbook import CNNTextbook
from pipeline.classifiers.judge import JUDGE, JUDGE_AUGMENTATION
from pipeline.commands import presets
from pipeline.config.schema import Params, load_params
from pipeline.config.validation import Member, member_config, parse_yaml, validate
from pipeline.data import splits
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.evaluation import fidelity
from pipeline.evaluation.metrics import accuracy, wilson_interval
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, create
from pipeline.generators.fit import fit
from pipeline.generators.gan.blocks import resized
from pipeline.generators.gan.srgan import SRGAN, psnr
from pipeline.generators.sampling import sample_classes
from pipeline.nn.augment import affine
from pipeline.nn.checkpoint import History
from pipeline.nn.fit import Clock, passes_mark
from pipeline.nn.tensors import to_pixels, to_signed_input
from pipeline.report import figures, sheets
from pipeline.runtime.errors import TrialError
from pipeline.runtime.seeds import derive_seed, numpy_rng
from pipeline.training_sets.transforms.building import build_transform, transform_spec

TELLING = ("wgan", "wgan_gp", "plain_dcgan")  # the last: its loss is said to show nothing
PLAYERS = ("discriminator", "generator")
MARKS = 10
CAS_PER_CLASS = 200
SCORER = JUDGE.model_copy(update={"steps": 300})  # once per mark
GAMMAS = (0.5, 1.0)
BALANCE = ("k", "convergence")  # of BEGAN's history
COMPARED = 200  # images per class and set in neighborhood measures
QUALITY = ("precision", "density", "label_fidelity", "recall", "coverage", "spread")
SHOWN = 40
DOUBLE_BATCH = 1000
TEXTBOOK_BATCH = 64

Numbers = dict[str, float]
Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The input of the parts: images and options."""

    pool: LabeledImages  # training images, to take subsets from
    held: LabeledImages  # other training images, to score on
    out: Path
    seeds: int
    per_class: int
    steps: int | None  # of every generator; None: those of the preset
    epochs: float  # of the textbook classifier
    learning_rate: float  # of the same, the peak of the one-cycle schedule

    def subset(self, seed: int) -> LabeledImages:
        """The labeled images of a seed."""
        rng = numpy_rng("benchmark", seed)
        return self.pool.take(splits.split_subset(self.pool.labels, self.per_class, rng))

    def generator(self, name: str, spec: ImageSpec, seed: int, **changes: object) -> Generator:
        """An untrained generator; `changes` replace values of its section."""
        overrides = {} if self.steps is None else {"steps": self.steps}
        section = {**sections()[name], **overrides, **changes}
        config = member_config(GENERATORS[name].Config, section, f"generators.{name}")
        return create(GENERATORS[name], config, spec, derive_seed("initial", seed))


@functools.cache
def sections() -> dict[str, Member]:
    """All settings of every family, as in preset `zoo`, defaults included."""
    members = preset("zoo").generators
    return {
        name: member_config(GENERATORS[name].Config, members[name].settings, name).model_dump()
        for name in members
        if name in GENERATORS
    }


def preset(name: str) -> Params:
    """The params of a preset."""
    file = presets.FOLDER / f"{name}.yaml"
    return validate(Params, parse_yaml(file.read_text("utf-8"), str(file)), str(file))


def train(
    generator: Generator, data: LabeledImages, seed: int, clock: Clock | None = None
) -> History:
    """Fit `generator`, with its checkpoints in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return fit(generator, data, seed, Path(folder), clock)


class Marks:
    """A clock by steps that keeps samples of the current weights, not of the average, at marks.

    The losses are those of the current weights. Every step of a fit has its own seed, so sampling
    between two steps changes nothing.
    """

    def __init__(self, generator: Generator, steps: int, seed: int) -> None:
        self.generator, self.steps, self.seed = generator, steps, seed
        self.samples: dict[int, LabeledImages] = {}  # by step, with the same noise

    def __call__(self, step: int) -> float:
        """The share of the steps that is done; see `Clock`."""
        done = step / self.steps
        if passes_mark((step - 1) / self.steps, done, MARKS):
            self.samples[step] = sample_classes(self.generator, CAS_PER_CLASS, self.seed)
        return done


def wgan(job: Job) -> Result:
    """Whether the critic's loss shows how good the samples are: Arjovsky et al. (2017), figure 3.

    At marks of the training: the losses, the CAS of a small CNN, and their rank correlation.
    """
    runs = [{"family": name, "seed": seed} for name in TELLING for seed in range(job.seeds)]
    return {**tried(functools.partial(telling_run, job), runs), "num_scored": len(job.held)}


def tried(measure: Callable[..., Result], settings: list[Result]) -> Result:
    """The results of `measure` for all settings, and the reasons of those that failed.

    Raises the last `TrialError` if all failed.
    """
    runs: list[Result] = []
    failed: list[str] = []
    for names in settings:
        title = ", ".join(f"{key} {value}" for key, value in names.items())
        try:
            runs.append({**names, **measure(**names)})
        except TrialError as error:
            failed.append(f"{title}: {error}")
            if len(failed) == len(settings):
                raise
        print(f"{title}: done", flush=True)
    return {"runs": runs, "failed": failed}


def telling_run(job: Job, family: str, seed: int) -> Result:
    """Losses and CAS at the marks of one training, and their rank correlations."""
    data = job.subset(seed)
    generator = job.generator(family, data.spec(), seed)
    steps = generator.config.num_steps(len(data))
    marks = Marks(generator, steps, derive_seed("marks", seed))
    rows = train(generator, data, seed, marks).rows
    cas = []
    for synthetic in marks.samples.values():
        scorer = CNN(SCORER, derive_seed("score", seed)).fit(plain(synthetic))
        cas.append(accuracy(job.held.labels, scorer.predict_proba(job.held.images)))
    near = [stretch(rows, mark, steps / MARKS) for mark in marks.samples]
    losses = {player: [mean(moment, player) for moment in near] for player in PLAYERS}
    compared = {**losses, "step": list(map(float, marks.samples))}
    return {
        "marks": list(marks.samples),
        "cas": cas,
        "losses": losses,
        "history": [{key: row[key] for key in ("step", *PLAYERS)} for row in rows],
        "tells": {key: rank_correlation(values, cas) for key, values in compared.items()},
    }


def stretch(rows: list[Numbers], mark: int, length: float) -> list[Numbers]:
    """The rows of a history around a mark, since the loss of a single batch is noisy.

    The nearest row if there is none, as with fewer rows than marks.
    """
    near = [row for row in rows if abs(row["step"] - mark) <= length / 2]
    return near or [min(rows, key=lambda row: abs(row["step"] - mark))]


def mean(rows: list[Numbers], name: str) -> float:
    """The mean of one number over all rows."""
    return float(np.mean([row[name] for row in rows]))


def rank_correlation(first: list[float], second: list[float]) -> float | None:
    """Spearman's rank correlation, -1..1; None if one of the two is constant."""
    if min(np.ptp(first), np.ptp(second)) == 0:
        return None
    return float(stats.spearmanr(first, second).statistic)


def began(job: Job) -> Result:
    """Whether gamma trades quality for diversity: Berthelot et al. (2017), section 4.

    Real images instead of synthetic ones give the upper bound.
    """
    judge, reference, floor = judged(job.held)

    def measure(gamma: float, seed: int) -> Result:
        data = job.subset(seed)
        generator = job.generator("began", data.spec(), seed, gamma=gamma)
        rows = train(generator, data, seed).rows
        synthetic = sample_classes(generator, COMPARED, derive_seed("image", seed))
        return {
            "quality": quality(judge, synthetic, reference),
            "history": [{key: row[key] for key in ("step", *BALANCE)} for row in rows],
        }

    runs = [{"gamma": gamma, "seed": seed} for gamma in GAMMAS for seed in range(job.seeds)]
    return {**tried(measure, runs), "floor": quality(judge, floor, reference)}


def judged(held: LabeledImages) -> tuple[CNN, LabeledImages, LabeledImages]:
    """The judge of the audits, trained on half of the held-out images, and two quarters of them.

    The first quarter is the reference, the other replaces the synthetic images.
    """
    half, quarter = len(held) // 2, len(held) // 4
    places = np.arange(len(held))
    learned, reference, floor = np.split(places, [half, half + quarter])
    judge = CNN(JUDGE, derive_seed("judge")).fit(
        plain(held.take(learned), affine(JUDGE_AUGMENTATION, held.background))
    )
    return judge, held.take(reference), held.take(floor)


def quality(judge: CNN, synthetic: LabeledImages, reference: LabeledImages) -> Numbers:
    """`QUALITY`, mean over classes: neighborhoods in the judge's features, diversity in pixels."""
    rows = []
    for label in range(reference.num_classes):
        ours, theirs = (
            data.images[data.labels == label][:COMPARED] for data in (synthetic, reference)
        )
        count = min(len(ours), len(theirs))
        diversity = fidelity.diversity(ours[:count], theirs[:count])
        named = judge.predict_proba(ours[:count]).argmax(axis=1)
        rows.append(
            {
                **fidelity.prdc(judge.embed(theirs[:count]), judge.embed(ours[:count])),
                "spread": cast("float", diversity),  # real images of a class differ
                "label_fidelity": float((named == label).mean()),
            }
        )
    return {name: mean(rows, name) for name in QUALITY}


def srgan(job: Job) -> Result:
    """Whether a network upsamples better than bicubic interpolation: Ledig et al. (2017), table 2.

    The network as after a fit: averaged weights, batch statistics of synthetic images.
    """
    runs = [{"seed": seed} for seed in range(job.seeds)]
    return {**tried(functools.partial(doubling_run, job), runs), "num_scored": len(job.held)}


def doubling_run(job: Job, seed: int) -> Result:
    """The error of upsampled images, and a picture of some of them."""
    data = job.subset(seed)
    gan = cast("SRGAN", job.generator("srgan", data.spec(), seed))
    train(gan, data, seed)
    values = [ratios(gan, part) for part in parts(job.held.images, DOUBLE_BATCH)]
    ours, bicubic = torch.cat(values, dim=1)
    real = job.held.images[:SHOWN]
    panels = dict(
        zip(
            ("doubled", "bicubic"), map(to_pixels, doubled(gan, to_signed_input(real))), strict=True
        )
    )
    figures.save(sheets.sheets({"real": real, **panels}, 10, None), job.out / "srgan.png")
    return {
        "doubled_db": float(ours.mean()),
        "bicubic_db": float(bicubic.mean()),
        "better_frac": float((ours > bicubic).float().mean()),
    }


@torch.no_grad()
def doubled(gan: SRGAN, real: Tensor) -> tuple[Tensor, Tensor]:
    """Images in -1..1, downsampled, then upsampled by the network and by bicubic interpolation."""
    small = resized(real, gan.size)
    return gan.doubler(small), resized(small, (real.shape[2], real.shape[3]))


def ratios(gan: SRGAN, images: Images) -> Tensor:
    """Peak signal-to-noise ratio in decibels of every image, (2, n): network, bicubic."""
    real = to_signed_input(images)
    errors = [(restored - real).square().flatten(1).mean(dim=1) for restored in doubled(gan, real)]
    return psnr(torch.stack(errors))


def parts(images: Images, size: int) -> Iterator[Images]:
    """The images in parts of `size`."""
    return (images[start : start + size] for start in range(0, len(images), size))


def textbook(job: Job) -> Result:
    """The accuracy of the convolutional classifier of introductory texts, on all training images.

    Layers as in the preset `textbook`. Batches are sampled with replacement; an epoch is as many
    sampled images as there are training images.
    """
    params = load_params(ROOT)
    steps = max(2, round(job.epochs * len(job.pool) / TEXTBOOK_BATCH))
    section: Member = {
        **preset("textbook").classifiers["cnn_textbook"].settings,
        "steps": steps,
        "batch_size": TEXTBOOK_BATCH,
        "learning_rate": job.learning_rate,
    }
    config = member_config(CNNTextbook.Config, section, "classifiers.cnn_textbook")
    view = build_transform(transform_spec("affine", params.transforms), job.pool.background)

    def measure(seed: int) -> Result:
        begun = time.perf_counter()
        network = CNNTextbook(config, derive_seed("textbook", seed)).fit(plain(job.pool, view))
        seconds = time.perf_counter() - begun
        predicted = network.predict_proba(job.held.images).argmax(axis=1)
        right = int((predicted == job.held.labels).sum())
        low, high = wilson_interval(right, len(job.held))
        return {
            "right": right,
            "accuracy": right / len(job.held),
            "low": low,
            "high": high,
            "train_s": seconds,
        }

    return {
        **tried(measure, [{"seed": seed} for seed in range(job.seeds)]),
        "config": config.model_dump(),
        "num_trained": len(job.pool),
        "num_scored": len(job.held),
    }

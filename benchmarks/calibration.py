"""How often the pipeline's statistics are wrong when the truth is known.

`python -m benchmarks.calibration` prints four tables and writes them to `calibration.md`:

* simulated studies in which no arm differs from the baseline, for several kinds of noise;
* simulated studies of small datasets in which every seed has its own test set: one comparison, and
  all verdicts of a study, on arms and on classes;
* whole small studies of real digits with the pipeline's code, with an arm that repeats its images
  (no effect) and one with twice the labels (an effect that must be detected).

A simulated study has a baseline and five claims with two classifiers: ten comparisons, the first of
which is the primary one. Verdicts come from `pipeline.evaluation.decisions.decide`, with a
smallest effect of 0, so that no verdict is *equivalent*.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from benchmarks.command_line import ROOT, machine
from benchmarks.holdouts import NUM_FAMILY_STUDIES, family_table, holdout_table
from benchmarks.judging import (
    CLAIMS,
    LEVEL,
    NUM_ARMS,
    NUM_CLASSIFIERS,
    RULES,
    Floats,
    judge,
    limit,
    percent,
    t_ends,
)
from benchmarks.wording import Row, markdown
from pipeline.classifiers import CLASSIFIERS
from pipeline.config.arms import RealArm
from pipeline.config.schema import (
    FRESH,
    SUBSETS,
    Params,
    load_params,
)
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.digits import Digits
from pipeline.data.holdout import hold_out
from pipeline.data.images import LabeledImages, content_ids
from pipeline.data.splits import split_subset
from pipeline.evaluation import decisions, statistics
from pipeline.evaluation.metrics import accuracy
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.seeds import derive_seed, library_versions, numpy_rng
from pipeline.training_sets.arms import assemble, recipe_of

OUTPUT = Path(__file__).with_suffix(".md")

NUM_STUDIES = 2_000
NUM_SEEDS = (6, 10, 20)
NUM_TEST = 500  # test images of the crossed simulation

NUM_REPLICATES = 200
STUDY_SEEDS = 10
BUDGET = 5
TEST_PER_CLASS = 40
SECTIONS: dict[str, dict[str, float]] = {
    "cnn": {
        "steps": 40,
        "batch_size": 32,
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "channels": 8,
        "features": 32,
        "dropout": 0.0,
    },
    "lgbm": {
        "num_trees": 8,
        "num_leaves": 4,
        "learning_rate": 0.3,
        "min_hessian_frac": 1e-6,
        "colsample_frac": 0.2,
    },
}
ARMS = {
    "real": RealArm(inputs=SUBSETS, per_class=0),
    "oversample": RealArm(inputs=SUBSETS, per_class=BUDGET, role="must_not_differ"),
    "fresh": RealArm(inputs=FRESH, per_class=BUDGET, role="must_help"),
}

Scores = dict[tuple[str, str], Floats]  # accuracies (seeds,) by classifier and arm
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]

# The noise of training in an accuracy, as a share of test images; every mean is zero.
NOISES: dict[str, Noise] = {
    "normal": lambda rng, shape: rng.normal(0, 0.01, shape),
    "skewed": lambda rng, shape: 0.01 * (1 - rng.exponential(1, shape)),  # rare bad failures
    "heavy-tailed": lambda rng, shape: 0.01 * rng.standard_t(3, shape),
    "tied": lambda rng, shape: rng.normal(0, 0.001, shape).round(3),  # a few thousandths
}


def simulate(noise: str, n: int, exchangeable: bool, num_studies: int) -> Row:
    """The error rates of `num_studies` studies of `n` seeds without any effect.

    `exchangeable`: whether the baseline has its own noise, of the same distribution as the arms'.
    Promises are made for such arms only.
    """
    rng = numpy_rng("calibration", noise, n, int(exchangeable))
    deltas = null_deltas(NOISES[noise], n, exchangeable, num_studies, rng)
    low, high = t_ends(deltas)
    p_values = np.apply_along_axis(statistics.sign_flip_p, -1, deltas)
    words = [judge(*study) for study in zip(deltas, low, high, p_values, strict=True)]
    claimed = np.isin(np.array(words), CLAIMS)
    tables = (null_table(NOISES[noise], n, exchangeable, rng) for _ in range(num_studies))
    crossed = [statistics.two_level_interval(table, RULES.confidence_level) for table in tables]
    t_covers = np.mean((low <= statistics.ROUNDING) & (high >= -statistics.ROUNDING))
    two_level_covers = np.mean([interval.low <= 0 <= interval.high for interval in crossed])
    errors = (np.mean(p_values <= LEVEL), claimed[:, 0].mean(), claimed[:, 1:].any(axis=1).mean())
    is_calibrated = 0.93 <= t_covers <= 0.97 and two_level_covers >= 0.93 and max(errors) <= 0.06
    return {
        "deltas": noise if exchangeable else f"{noise}, arm only",
        "seeds": str(n),
        "t covers": percent(t_covers),
        "two-level covers": percent(two_level_covers),
        "p <= .05": percent(errors[0]),
        "primary errs": percent(errors[1]),
        "family errs": percent(errors[2]),
        "promise": ("kept" if is_calibrated else "BROKEN") if exchangeable else "none made",
    }


def null_deltas(
    noise: Noise, n: int, exchangeable: bool, num_studies: int, rng: np.random.Generator
) -> Floats:
    """Deltas (num_studies, comparisons, n) of arms that share each seed's subset with the baseline.

    Without `exchangeable` the baseline has no noise, so a delta has the distribution of the noise.
    """
    shape = (num_studies, NUM_CLASSIFIERS, NUM_ARMS, n)
    of_draw = rng.normal(0.9, 0.02, (num_studies, 1, 1, n)).round(3)
    baseline = of_draw
    if exchangeable:
        baseline = of_draw + noise(rng, (num_studies, NUM_CLASSIFIERS, 1, n))
    deltas = of_draw + noise(rng, shape) - baseline
    return np.asarray(deltas.reshape(num_studies, -1, n))


def null_table(
    noise: Noise, n: int, exchangeable: bool, rng: np.random.Generator
) -> NDArray[np.int8]:
    """Arm correct minus baseline correct, (n, test images), with equal expected accuracy.

    Each has an effect per seed, from the noise, and a uniform effect per test image. An image is
    correct if a uniform number that arm and baseline share is below their sum.
    """
    luck = rng.random((n, NUM_TEST))
    right = []
    for is_noisy in (True, exchangeable):
        of_seed = noise(rng, (n, 1)) if is_noisy else np.zeros((n, 1))
        right.append(luck < 0.8 + of_seed + rng.uniform(-0.17, 0.17, NUM_TEST))
    return np.asarray(right[0].astype(np.int8) - right[1])


def replicate(number: int, data: LabeledImages, params: Params) -> Scores:
    """One whole study with new random images and seeds; every other one has fresh labels."""
    names = ("calibration", "digits", number)
    arms = [arm for arm in ARMS if number % 2 == 0 or ARMS[arm].role != "must_help"]
    scores: dict[tuple[str, str], list[float]] = {}
    with deterministic():
        wanted = np.full(data.num_classes, TEST_PER_CLASS)
        held = hold_out(data.labels, wanted, numpy_rng(*names, "test"))
        pool, test = data.take(~held), data.take(held)
        for seed in range(STUDY_SEEDS):
            index = split_subset(pool.labels, 2 * BUDGET, numpy_rng(*names, "draw", seed))
            subset, fresh = (pool.take(part) for part in np.split(index, 2))
            for classifier, arm in itertools.product(SECTIONS, arms):
                added = fresh if ARMS[arm].inputs == FRESH else None
                trial_seed = derive_seed(*names, "classifier", classifier, seed)
                recipe = recipe_of(ARMS[arm], params.transforms)
                arm_set = assemble(recipe, subset, added, trial_seed)
                family = CLASSIFIERS[classifier]
                model = family(family.Config.model_validate(SECTIONS[classifier]), trial_seed)
                model.fit(arm_set.training_set)
                score = accuracy(test.labels, model.predict_proba(test.images))
                scores.setdefault((classifier, arm), []).append(score)
    return {key: np.array(values) for key, values in scores.items()}


def outcome(classifier: str, arm: str, studies: Sequence[Scores]) -> Row:
    """The verdicts of an arm over all studies, with its raw p as for a primary comparison."""
    deltas = [
        study[classifier, arm] - study[classifier, "real"]
        for study in studies
        if (classifier, arm) in study
    ]
    intervals = [statistics.t_interval(study, RULES.confidence_level) for study in deltas]
    words = [
        decisions.decide(decisions.evidence(study, interval, statistics.sign_flip_p(study)), RULES)
        for study, interval in zip(deltas, intervals, strict=True)
    ]
    gain, harm = (words.count(word) / len(words) for word in CLAIMS)
    helps = ARMS[arm].role == "must_help"
    return {
        "classifier": classifier,
        "arm": arm,
        "studies": str(len(words)),
        "mean delta": f"{100 * np.mean(deltas):+.2f}",
        "t covers 0": percent(np.mean([study.low <= 0 <= study.high for study in intervals])),
        "gain": percent(gain),
        "harm": percent(harm),
        "promised": "gain >= 90.0" if helps else f"gain + harm <= {percent(limit(len(words)))}",
        "promise": "kept"
        if (gain >= 0.9 if helps else gain + harm <= limit(len(words)))
        else "BROKEN",
    }


def ordered(data: LabeledImages) -> LabeledImages:
    """`data` sorted by content id: the order of the library does not matter."""
    return data.take(np.argsort(content_ids(data.images), kind="stable"))


def digit_studies(num_replicates: int, workers: int) -> list[Scores]:
    """`replicate` for every number below `num_replicates`, `workers` at a time."""
    data = ordered(Digits(BuiltIn(), ROOT).load().images)
    params = load_params(ROOT)
    calls = (delayed(replicate)(number, data, params) for number in range(num_replicates))
    return list(Parallel(n_jobs=workers)(calls))


TEXT = """\
# How often the statistics are wrong

Written by `python -m benchmarks.calibration`: {num_studies} simulated studies per row of the first
table, {num_replicates} studies of digits in the second, confidence {confidence_level} %.
{machine}; {seconds}.

## Simulated studies without any effect

*t covers*, *two-level covers*: intervals that contain the truth, over seeds, and over seeds and
{num_test} test images. *p <= .05*: sign-flip tests that reject. *primary errs*: the primary verdict
is *gain* or *harm*. *family errs*: so is one of the nine others at least, after Holm's correction.
With six seeds no verdict is ever *gain* or *harm*. All numbers are percentages.

Promised where arm and baseline have noise of one kind: t covers 93 to 97, two-level covers at least
93, all errors at most 6. Nothing is promised for *skewed, arm only*: rare, bad failures that the
baseline never has. A delta is then as skewed as they are, which violates the assumptions of the t
interval and of the sign-flip test; the rows show what to expect.

{simulated}

## Small datasets with a test set per seed

Arm and baseline are equally good at new images. The test sets of two seeds have images in common,
so their deltas are correlated: intervals that ignore it (*uncorrected*) are too narrow. *images
decide*: *alone* if correctness depends on the test image only, *in part* if it depends on training
as well, which lowers the correlation. Promised: the primary verdict errs in at most 5 % of studies,
plus two standard errors.

{holdouts}

The same with all verdicts of a study, {num_family_studies} studies per row: the ten comparisons of
the first table, and the recalls of ten classes in each of them. *arms*: the verdict on one at least
of the nine comparisons that are corrected together is *gain* or *harm*. *classes*: so is that on
one of the 100 recalls. *uncorrected*: with p-values that ignore common images, those of the
sign-flip test with Holm's correction, and of max-T. Promised, plus two standard errors: *arms* and
*classes* err in at most 5 % of studies.

{families}

## Whole studies of digits

{num_seeds} seeds, {budget} labels per class, {num_images} test images, small classifiers; every
study has new random numbers. *oversample* repeats the images of the labeled subset: no effect, so
claims are errors, at most 5 % and two standard errors. *fresh*, in every other study, has twice the
labels: an effect that must be detected. Mean deltas are in points of accuracy, the numbers after
them are percentages of studies.

{studies}
"""


def report(num_studies: int, num_replicates: int, workers: int) -> str:
    """All tables and the text that explains them, in Markdown."""
    started = time.perf_counter()
    kinds = [(noise, n, True) for noise in NOISES for n in NUM_SEEDS]
    kinds += [("skewed", n, False) for n in NUM_SEEDS]
    simulated = markdown([simulate(*kind, num_studies) for kind in kinds])
    holdouts = holdout_table(num_studies)
    num_family_studies = min(num_studies, NUM_FAMILY_STUDIES)
    families = family_table(num_family_studies)
    between = time.perf_counter()
    studies = digit_studies(num_replicates, workers)
    pairs = itertools.product(SECTIONS, [arm for arm in ARMS if arm != "real"])
    rows = markdown([outcome(*pair, studies) for pair in pairs])
    versions = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    seconds = f"{between - started:.0f} s and {time.perf_counter() - between:.0f} s"
    return TEXT.format(
        num_studies=num_studies,
        num_replicates=num_replicates,
        num_seeds=STUDY_SEEDS,
        confidence_level=percent(RULES.confidence_level),
        machine=f"{machine()}; {versions}",
        seconds=seconds,
        budget=BUDGET,
        num_test=NUM_TEST,
        num_images=10 * TEST_PER_CLASS,
        simulated=simulated,
        holdouts=holdouts,
        num_family_studies=num_family_studies,
        families=families,
        studies=rows,
    )


def main() -> None:
    """Print the report and write it to `calibration.md`."""
    text = report(NUM_STUDIES, NUM_REPLICATES, workers=os.cpu_count() or 1)
    OUTPUT.write_text(text, encoding="utf-8", newline="\n")
    print(text, end="")


if __name__ == "__main__":
    main()

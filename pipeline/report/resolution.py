"""Whether a study can detect the smallest effect of interest, and what size would be enough.

Two things limit it: the number of seeds, and the number of test images. The first is measured by
the minimum detectable effect, the second by the interval for new test images, and by a bound that
holds for any arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from pipeline.config.schema import Params
from pipeline.evaluation.statistics import OVERLAP_THAT_MATTERS, SEEDS_FOR_A_TEST
from pipeline.report.comparisons import KEYS
from pipeline.report.formatting import format_seeds, size

POWER = 0.8
MANY = 100_000  # seeds; more count as infeasible


@dataclass(frozen=True)
class Needed:
    """About how many test images and seeds would show an effect; infinite where none would."""

    num_test: float
    num_seeds: float


def sentences(
    deltas: pd.DataFrame,
    diagnostics: pd.DataFrame,
    manifest: Mapping[str, Any],
    params: Params,
) -> list[str]:
    """Says so if the primary comparison cannot detect the smallest effect of interest; else empty.

    With fewer than six seeds, only bounds that hold for any number of seeds.
    """
    row, effect = _primary(deltas, diagnostics, params), params.report.smallest_effect
    num_test, confidence_level = manifest["test"]["num_images"], params.report.confidence_level
    if row is None or effect == 0 or num_test == 0:
        return []
    least = least_test_images(effect, confidence_level)
    bound = (
        f"The test set is too small for the smallest effect of interest, {size(effect)} points: "
        f"one of {num_test:,} images is {size(1 / num_test)} points, and the standard error of a "
        f"paired difference of that size is at least "
        f"{size(least_standard_error(effect, num_test))} points."
    )
    bounds = [bound] if num_test < least else []
    if row["n"] < SEEDS_FOR_A_TEST or not row["smallest_detectable"] > 0:
        needs = f"It would take at least {_rounded(least)} test images, whatever the seeds."
        return [*bounds, needs] if bounds else []

    detectable, new = row["smallest_detectable"], _for_new_images(row)
    if max(detectable, new) <= effect:
        return []
    more = f", and from {size(new)} points on new test images" if new > detectable else ""
    first = (
        f"The smallest effect of interest, {size(effect)} points, is below what this study can "
        f"show: with {format_seeds(row['n'])} and {num_test:,} test images, the primary comparison "
        f"detects differences from {size(detectable)} points up with 80 % power{more}."
    )
    words = _in_words(needed(row, effect, num_test, confidence_level), row["n"], num_test)
    return [first, *bounds, words]


def _primary(
    deltas: pd.DataFrame, diagnostics: pd.DataFrame, params: Params
) -> dict[str, Any] | None:
    """The primary comparison with its diagnostics, or None where there is no such row."""
    primary, report = params.report.primary, params.report
    metric = report.metric
    chosen = deltas[
        (deltas["classifier"] == primary.classifier)
        & (deltas["arm"] == primary.arm)
        & (deltas["baseline"] == report.baseline)
        & (deltas["budget"] == primary.budget)
        & (deltas["metric"] == metric)
    ]
    rows: list[dict[Any, Any]] = chosen.merge(diagnostics, on=KEYS).to_dict("records")
    return rows[0] if rows else None


def _for_new_images(row: Mapping[str, Any]) -> float:
    """The minimum detectable effect with new test images; with the present ones if unknown."""
    ends, new = (row[f"{name}_high"] - row[f"{name}_low"] for name in ("ci", "new_images"))
    is_known = math.isfinite(new) and ends > 0
    return float(row["smallest_detectable"] * (new / ends if is_known else 1.0))


def least_standard_error(effect: float, num_test: int) -> float:
    """The smallest standard error of a paired difference of shares, for new test images.

    If two arms differ by `effect`, they disagree on at least that share of the images, and on no
    more if one of them is never worse; this is the standard deviation of that indicator.
    """
    return math.sqrt(effect * (1 - effect) / num_test)


def least_test_images(effect: float, confidence_level: float) -> int:
    """Fewer test images cannot show `effect` with 80 % power, whatever the number of seeds."""
    factor = stats.norm.ppf((1 + confidence_level) / 2) + stats.norm.ppf(POWER)
    return math.ceil(factor**2 * (1 - effect) / effect)


def needed(row: Mapping[str, Any], effect: float, num_test: int, confidence_level: float) -> Needed:
    """How many test images and seeds the primary comparison would need.

    Takes the observed variances as the true ones and assigns half of the allowed variance to the
    test images: a rough plan, not a result.
    """
    allowed = effect**2
    of_seeds = row["smallest_detectable"] ** 2
    of_images = max(0.0, _for_new_images(row) ** 2 - of_seeds)
    images = max(
        num_test,
        least_test_images(effect, confidence_level),
        num_test * of_images / (allowed / 2),
    )

    # The variance of the mean over n seeds is proportional to 1 / n + correlation / (1 - it).
    rho = row["overlap"] if row["overlap"] >= OVERLAP_THAT_MATTERS else 0.0
    constant = rho / (1 - rho) if rho < 1 else math.inf
    left = allowed - of_images * num_test / images
    inverse = left / of_seeds * (1 / row["n"] + constant) - constant
    seeds = max(row["n"], 1 / inverse) if inverse > 0 else math.inf
    return Needed(images, seeds)


def _in_words(found: Needed, n: int, num_test: int) -> str:
    parts = []
    if found.num_test > num_test:
        parts.append(f"about {_rounded(found.num_test)} test images")
    if found.num_seeds > MANY:
        parts.append("seeds that overlap less, since no number of these is enough")
    elif found.num_seeds > n:
        parts.append(f"about {_rounded(found.num_seeds)} seeds")
    return f"It would take {' and '.join(parts)}."


def _rounded(count: float) -> str:
    """A whole number of two significant digits, rounded up: `1,600`."""
    unit = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return f"{math.ceil(count / unit) * unit:,}"

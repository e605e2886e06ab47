"""The verdicts: one table of names, meanings, relations, colors and explanations.

These words are defined only here. Figures, the page, the terminal and the documents take them from
`VERDICTS`; `decisions.DECISIONS` decides by name which one applies. The sentences that go with a
row of the table of deltas are made here as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.evaluation.statistics import SEEDS_FOR_A_CLAIM, SEEDS_FOR_A_TEST
from pipeline.report.formatting import (
    Row,
    format_budget,
    format_seeds,
    interval,
    metric_name,
    percent,
    points,
    size,
)


@dataclass(frozen=True)
class Color:
    """A color on light and on dark paper, as `#rrggbb`."""

    light: str
    dark: str


GREEN = Color("#2e7d32", "#7ccf80")
RED = Color("#c62828", "#ff8a80")
BLUE = Color("#33658a", "#8ec5ee")
AMBER = Color("#a05a00", "#f0b35e")
GRAY = Color("#5b6b76", "#a9b6bf")


@dataclass(frozen=True)
class Verdict:
    """The texts and the color of one verdict.

    `relation` stands between an arm and its baseline: "dcgan *is better than* real". `explanation`
    is the second of two sentences for readers without statistics, with the fields of `_fields`.
    """

    meaning: str
    relation: str
    explanation: str
    color: Color = GRAY


VERDICTS: dict[str, Verdict] = {
    "gain": Verdict(
        "better than the baseline, by more than chance explains",
        "is better than",
        "All {seeds} together put the true difference {between}, which is above zero, so chance "
        "is an unlikely explanation.",
        GREEN,
    ),
    "harm": Verdict(
        "worse than the baseline, by more than chance explains",
        "is worse than",
        "All {seeds} together put the true difference {between}, which is below zero, so chance "
        "is an unlikely explanation.",
        RED,
    ),
    "equivalent": Verdict(
        "no difference that matters: the whole interval is below the smallest effect of interest",
        "makes no difference that matters compared with",
        "The true difference most likely lies {between}, all of it less than the {smallest_effect} "
        "points that would matter.",
        BLUE,
    ),
    "no evidence": Verdict(
        "these seeds do not show a difference, which does not prove that there is none",
        "is not shown to differ from",
        "{no_evidence}",
    ),
    "exploratory": Verdict(
        "fewer than six seeds, or a difference or its absence seen in six to nine: run more seeds "
        "before relying on it",
        "has too few seeds for a comparison with",
        "{exploratory}",
        AMBER,
    ),
    "weak reference": Verdict(
        "better than a reference that is itself worse than the baseline, which is no evidence for "
        "the added images",
        "is better than",
        "All {seeds} together put the true difference {between}, but {baseline} is itself worse "
        "than the baseline here: an arm that adds nothing would look better than it, too.",
        AMBER,
    ),
    "degenerate": Verdict(
        "every seed gave the same difference, so that its variation cannot be estimated",
        "differs by the same amount in every seed from",
        "Every seed gave exactly this difference, so the role of chance cannot be estimated.",
    ),
    "invalid": Verdict(
        "a control failed, so this comparison cannot be trusted",
        "cannot be compared, because a control failed, with",
        "A control arm failed, so do not rely on this number: {failed_controls}.",
        RED,
    ),
    "passed": Verdict(
        "a control with the outcome that it must have",
        "passed as a control against",
        "This is a control arm, and it has the expected outcome.",
        GREEN,
    ),
    "failed": Verdict(
        "a control without the outcome that it must have",
        "failed as a control against",
        "This is a control arm without the expected outcome, so the comparisons that depend on it "
        "cannot be trusted.",
        RED,
    ),
    "not judged": Verdict(
        "too few seeds that finished, with images where the arm adds them, or a control with fewer "
        "than ten seeds",
        "is a control with too few seeds for a comparison with",
        "{not_judged}",
    ),
    "measure": Verdict(
        "an arm that is measured and makes no claim",
        "is measured, without a claim, in comparison with",
        "{measure}",
    ),
    "baseline": Verdict(
        "the arm that the others are compared with", "is the baseline of", "It is the baseline."
    ),
}

# What a control must show; the text follows the arm's name where it does not.
ROLES = {
    "must_not_differ": "must not differ from the baseline (else repeating images has an effect)",
    "must_not_help": "must not be better than the baseline (else wrong labels help)",
    "must_help": "must be better than the baseline (else the study is too small to detect "
    "the effect of twice as many labels)",
}


def css_class(verdict: str) -> str:
    """The name of a verdict as a CSS class: `no-evidence`."""
    return verdict.replace(" ", "-")


def markdown() -> str:
    """The table of verdicts in Markdown, for the documents."""
    rows = [f"| {name} | {verdict.meaning} |" for name, verdict in VERDICTS.items()]
    return "\n".join(["| verdict | meaning |", "| --- | --- |", *rows])


def answer(row: Row) -> str:
    """The verdict of one row of the table of deltas as a sentence, without numbers."""
    scope = f"for {row['classifier']}, {format_budget(row['budget'])}"
    if row["verdict"] == "not judged" and _lacks_usable_seeds(row):
        return f"{row['arm']} against {row['baseline']}, {scope}, is not judged: {unusable(row)}"
    aside = ""
    baseline_regime = row.get("baseline_regime", "labeled")
    if row.get("regime", "labeled") != baseline_regime:
        saw = "no" if baseline_regime == "labeled" else "the"
        aside = f", which used {saw} unlabeled images,"
    if row["verdict"] == "weak reference":
        aside += ", which is itself worse than the baseline here"
        scope = f"({scope}): this is no evidence for the generated images"
    relation = VERDICTS[row["verdict"]].relation
    return f"{row['arm']} {relation} {row['baseline']}{aside} {scope}"


def numbers(row: Row, confidence_level: float) -> str:
    """The numbers behind an answer."""
    return (
        f"{percent(row['mean_baseline'])} to {percent(row['mean_arm'])}, {points(row['delta'])} "
        f"points, {100 * confidence_level:g} % interval {interval(row)}, {format_seeds(row['n'])}"
    )


def sentence(row: Row, confidence_level: float) -> str:
    """The answer and its numbers as one sentence."""
    return f"{answer(row)} ({numbers(row, confidence_level)})."


def explanation(row: Row, smallest_effect: float) -> str:
    """Two sentences for a reader without statistics: the result, and how far to trust it."""
    arm, baseline, delta = row["mean_arm"], row["mean_baseline"], row["delta"]
    word = "better" if delta > 0 else "worse"
    change = f"{word} on average by {size(delta)} points" if delta else "no difference"
    failed = ""
    if row.get("num_failed"):
        failed = f", where {row['num_failed']} of {row['n']} seeds failed and count as the baseline"
    elif row.get("num_without_images") and not math.isclose(delta, arm - baseline, abs_tol=1e-9):
        count = f"{row['num_without_images']} of {row['n']}"
        failed = f", where {count} seeds without added images count as no gain"
    metric = row.get("metric", "accuracy")
    scores = f"has a {metric_name(metric)} of {percent(arm)} on the test images"
    if metric == "accuracy":
        scores = f"classifies {percent(arm)} of the test images correctly"
    first = (
        f"With {format_budget(row['budget'])}, {row['classifier']} {scores} with {row['arm']} and "
        f"{percent(baseline)} with {row['baseline']}: {change}{failed}."
    )
    second = VERDICTS[row["verdict"]].explanation.format(**_fields(row, smallest_effect))
    return f"{first} {second}"


def _fields(row: Row, smallest_effect: float) -> dict[str, str]:
    """The fields of `Verdict.explanation`."""
    between = f"between {points(row['ci_low'])} and {points(row['ci_high'])} points"
    return {
        "between": between,
        "seeds": f"{row['n']} seeds, each with other labeled images,",
        "baseline": row["baseline"],
        "smallest_effect": size(smallest_effect),
        "failed_controls": row.get("failed_controls", ""),
        "no_evidence": _no_evidence(row, between),
        "exploratory": _exploratory(row, between),
        "not_judged": _not_judged(row),
        "measure": _measure(row, between),
    }


def _no_evidence(row: Row, between: str) -> str:
    if row["ci_low"] > 0 or row["ci_high"] < 0:
        return (
            "For this comparison alone, chance would be unlikely, but among so many comparisons a "
            "difference of this size can occur by chance."
        )
    if math.isnan(row["ci_low"]):
        return "All seeds had the same labeled images, so they cannot show what others would give."
    return (
        f"The true difference may lie anywhere {between}, so these seeds neither show one nor rule "
        f"it out; taken alone, a difference of {size(row['smallest_detectable'])} points would "
        "have been detected in four cases out of five."
    )


def _exploratory(row: Row, between: str) -> str:
    decide = f"run at least {needed_seeds(row)} seeds before relying on it"
    seeds = format_seeds(row["n"])
    if row["n"] < SEEDS_FOR_A_TEST or math.isnan(row["ci_low"]):
        return f"With {seeds} that can easily be chance, so {decide}."
    return (
        f"The true difference most likely lies {between}, but {seeds} are too few for a claim, so "
        f"{decide}."
    )


def needed_seeds(row: Row) -> int:
    """How many seeds can decide a comparison: `seeds_to_decide`, or more for enough power.

    Both are columns of the table of diagnostics; without them it is the minimum of a claim.
    """
    columns = ("seeds_to_decide", "seeds_for_power")
    known = [row[name] for name in columns if name in row and math.isfinite(row[name])]
    return max([SEEDS_FOR_A_CLAIM, *(int(value) for value in known)])


def _lacks_usable_seeds(row: Row) -> bool:
    """Whether a comparison has seeds enough, but too few that finished with their images."""
    return bool(row["n"] - row.get("num_unusable", 0) < SEEDS_FOR_A_TEST <= row["n"])


def unusable(row: Row) -> str:
    """Why too few seeds of a comparison can be judged: `9 of 10 seeds failed`."""
    of_all = f"of {format_seeds(row['n'])}"
    failed = row.get("num_failed", 0)
    # A table of an earlier version has no `num_unusable`.
    count = row.get("num_unusable", row.get("num_without_images", 0))
    if count == failed:
        return f"{failed} {of_all} failed"
    if not failed:
        return f"no synthetic image was used in {count} {of_all}"
    return f"{count} {of_all} failed or had no synthetic image"


def _not_judged(row: Row) -> str:
    if _lacks_usable_seeds(row):
        return f"It is not judged: {unusable(row)}, so the number says nothing about this arm."
    if row["n"] >= SEEDS_FOR_A_CLAIM:
        return (
            f"{row['baseline']} leaves less to gain than the smallest effect of interest, so this "
            "control cannot show whether the study is large enough."
        )
    return f"This is a control arm; {SEEDS_FOR_A_CLAIM} seeds are needed to judge it."


def _measure(row: Row, between: str) -> str:
    if math.isnan(row["ci_low"]):
        return "This arm is measured without a claim, and the role of chance cannot be estimated."
    return (
        f"For this arm alone, the true difference most likely lies {between}, but among many such "
        "arms some look good by chance, so this arm makes no claim."
    )


def label_equivalent(row: Row) -> str:
    """The label equivalent of an arm: `36 [30, 44]`, with words beyond the measured budgets."""
    value, low, high = (beyond(row[name], row) for name in ("label_equivalent", "low", "high"))
    return value if value == low == high else f"{value} [{low}, {high}]"


def beyond(value: float, row: Row) -> str:
    """A number of labels, or on which side of the measured budgets it lies."""
    if math.isinf(value):
        return f"more than {row['most']}" if value > 0 else f"fewer than {row['least']}"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


# Verdicts against the baseline for which a label equivalent has no meaning.
NO_LABEL_EQUIVALENT = {
    "invalid": "is unknown, because a control failed",
    "not judged": "is unknown, because too few seeds finished with the images of the arm",
}


def label_equivalent_sentence(row: Row) -> str:
    """`For cnn, 10 labels per class with dcgan perform like 36 [30, 44] labels per class alone.`"""
    budget = format_budget(row["budget"])
    if reason := NO_LABEL_EQUIVALENT.get(row["verdict"]):
        return (
            f"For {row['classifier']}, the label equivalent of {budget} with {row['arm']} {reason}."
        )
    more = " and unlabeled images" if row.get("regime", "labeled") != "labeled" else ""
    return (
        f"For {row['classifier']}, {budget} with {row['arm']}{more} perform like "
        f"{label_equivalent(row)} labels per class alone."
    )

"""What to do with this dataset and budget, per classifier: the first sentences of every report.

Pure functions over the report's tables; the terminal and the page print the same sentences. An arm
is recommended only if it is a gain over the baseline and better than its reference, where it has
one, and an arm with images of a generator or labels of a teacher only if it is also better than the
best arm of labeled images alone (`alternatives`); among those the one with the highest mean of
`report.metric`. A reference that is below the baseline blocks no arm that beats both, and to be
better than it is no evidence by itself. An arm whose controls failed, that was not judged, or that
only measures is never recommended. A recommended arm that is worse on a class says so, and so does
one that learned from labels of a teacher that must not be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.evaluation.statistics import SEEDS_FOR_A_CLAIM
from pipeline.report.alternatives import PASSING, Required, comparisons_to_win, over_the_reference
from pipeline.report.class_words import harmed_classes
from pipeline.report.formatting import (
    Row,
    as_written,
    format_budget,
    format_seconds,
    format_seeds,
    metric_name,
    percent,
    points,
)
from pipeline.report.recipes import added_images, cost, describe
from pipeline.report.teacher_words import labeling_teacher, warning
from pipeline.report.verdicts import (
    NO_LABEL_EQUIVALENT,
    VERDICTS,
    label_equivalent,
    needed_seeds,
    unusable,
)


@dataclass(frozen=True)
class Tables:
    """The tables that a recommendation is computed from, as the report writes them.

    `timings` may be empty: seconds are known only where trials were computed on this machine.
    `classes` and the tables of teachers are empty in reports of an earlier version.
    """

    deltas: pd.DataFrame
    diagnostics: pd.DataFrame
    label_equivalents: pd.DataFrame
    trials: pd.DataFrame
    timings: pd.DataFrame
    classes: pd.DataFrame = field(default_factory=pd.DataFrame)
    teachers: pd.DataFrame = field(default_factory=pd.DataFrame)
    teachers_classes: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Recommendation:
    """What to do for one classifier and budget; `arm` is None where nothing is shown to help."""

    classifier: str
    budget: int
    arm: str | None
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def recommend(tables: Tables, params: Params) -> list[Recommendation]:
    """One recommendation per budget and classifier, in the order of budgets and of params.yaml."""
    rows = _rows(tables, params)
    recommendations = []
    for budget in sorted(params.study.budgets):
        for classifier in params.classifiers:
            cell = [
                row for row in rows if (row["classifier"], row["budget"]) == (classifier, budget)
            ]
            if cell:
                recommendations.append(_recommend(cell, tables, params))
    return recommendations


def _rows(tables: Tables, params: Params) -> list[dict[str, Any]]:
    """The comparisons of `report.metric` with the number of seeds that each needs.

    Numbers are rounded as in the CSV files, so that both readers print the same digits.
    """
    deltas = tables.deltas[tables.deltas["metric"] == params.report.metric]
    keys = ["classifier", "arm", "baseline", "budget"]
    needed = tables.diagnostics[[*keys, "seeds_to_decide", "seeds_for_power"]]
    rows: list[dict[Any, Any]] = deltas.merge(needed, on=keys, how="left").to_dict("records")
    return [{str(name): as_written(value) for name, value in row.items()} for row in rows]


def _recommend(cell: Sequence[Row], tables: Tables, params: Params) -> Recommendation:
    baseline = params.report.baseline
    claims = [
        row
        for row in cell
        if row["baseline"] == baseline != row["arm"] and params.arms[row["arm"]].role == "claim"
    ]
    required = comparisons_to_win(cell, claims, tables.trials, tables.diagnostics, params)
    best_first = sorted(
        (row for row in claims if _is_shown(row, required)), key=lambda row: -row["mean_arm"]
    )
    classifier, budget = cell[0]["classifier"], cell[0]["budget"]
    scope = f"{classifier} with {format_budget(budget)}"

    sentences: list[str] = []
    best = best_first[0] if best_first else None
    if best is None:
        sentences += _nothing(scope, cell, claims, required, params)
    else:
        sentences += _use(scope, best, required, tables, params)
        sentences += _without_unlabeled(best, best_first, params)
        sentences += _why_no_added_images(best, claims, required, params)
    sentences += _better_than_the_reference(cell, tables, params)
    sentences += _distrusted(best, claims, tables, params)
    sentences += _invalid(claims)
    sentences += _more_labels(cell, tables, params)
    return Recommendation(classifier, budget, best["arm"] if best else None, tuple(sentences))


def _is_shown(row: Row, required: Required) -> bool:
    """Whether an arm is a gain over the baseline and wins all other comparisons that it has to.

    A reference below the baseline is no evidence for the added images, but it takes nothing from a
    gain over the baseline.
    """
    return row["verdict"] == "gain" and all(
        found["verdict"] in PASSING for found in required[row["arm"]]
    )


def _use(scope: str, row: Row, required: Required, tables: Tables, params: Params) -> list[str]:
    """The recommended arm, what its added images contribute and cost, its label equivalent."""
    arm = row["arm"]
    failed = f" ({row['num_failed']} of {row['n']} seeds failed)" if row["num_failed"] else ""
    first = f"{scope}: use {arm} ({describe(arm, params)}), {_scores(row)}, {_change(row)}{failed}"
    seconds = cost(arm, row["budget"], tables.timings, params)
    price = "" if math.isnan(seconds) else f"{format_seconds(seconds)} per replicate"
    sentences = [first + "."]
    sentences += harmed_classes(tables.classes, row)
    made = added_images(arm, params)
    weak = [found for found in required[arm] if found["verdict"] == "weak reference"]
    sentences += [_worse_than_nothing(row, found, made) for found in weak]
    others = [found for found in required[arm] if found["verdict"] != "weak reference"]
    if others:
        # Of several, the comparison with the best arm decides.
        hardest = max(others, key=lambda found: found["mean_baseline"])
        contribution = _contribution(hardest, made, params)
        sentences.append(f"{contribution}{f' for {price}' if price else ''}.")
    else:
        if not weak and made and params.reference(arm) is None:
            sentences.append(f"It has no reference, so what the {made} contribute is unknown.")
        if price:
            sentences.append(f"It takes {price}.")
    equivalents: list[dict[Any, Any]] = tables.label_equivalents.to_dict("records")
    for equivalent in equivalents:
        names = ("classifier", "arm", "budget")
        is_same = all(equivalent[name] == row[name] for name in names)
        if is_same and equivalent["verdict"] not in NO_LABEL_EQUIVALENT:
            labels = label_equivalent(equivalent)
            metric = metric_name(params.report.metric)
            sentences.append(f"That is the {metric} of {labels} labels per class alone.")
    return sentences


def _contribution(reference: Row, made: str, params: Params) -> str:
    """How much better the recommended arm is than its reference.

    That is the part of the added images only if both arms have the same transform.
    """
    arm, other = reference["arm"], reference["baseline"]
    if params.arms[arm].transform != params.arms[other].transform:
        return f"This is {_change(reference)} better than {other}"
    what = f"{made} contribute" if made else "change contributes"
    return f"Of this, the {what} {_change(reference)} over {other}"


def _worse_than_nothing(row: Row, reference: Row, made: str) -> str:
    """That a reference below the baseline does not show what the added images contribute."""
    accuracy, nothing = percent(reference["mean_baseline"]), percent(row["mean_baseline"])
    worse = "worse" if accuracy != nothing else "no better"
    return (
        f"Its reference {reference['baseline']} ({accuracy}) is itself {worse} than doing nothing "
        f"({nothing}), so to be better than it ({_change(reference)}) is no evidence for the "
        f"{made or 'change'}; the gain over {row['baseline']} is."
    )


def _without_unlabeled(best: Row, best_first: Sequence[Row], params: Params) -> list[str]:
    """The best arm without unlabeled images, where the best of all needs them."""
    if best["regime"] == "labeled":
        return []
    for row in best_first:
        if row["regime"] == "labeled":
            text = f"use {row['arm']} ({describe(row['arm'], params)}), {_scores(row)}"
            return [f"Without unlabeled images: {text}, {_change(row)}."]
    return ["Without unlabeled images, no arm is shown to help."]


def _why_no_added_images(
    best: Row, claims: Sequence[Row], required: Required, params: Params
) -> list[str]:
    """Why no arm with synthetic or pseudo-labeled images is recommended, by the best of them."""
    made = [row for row in claims if added_images(row["arm"], params)]
    if added_images(best["arm"], params) or not made:
        return []
    shown = [row for row in made if _is_shown(row, required)]
    if shown:
        row = max(shown, key=lambda row: row["mean_arm"])
        return [f"{row['arm']} helps as well, but less: {_scores(row)}."]
    row = max(made, key=lambda row: row["mean_arm"])
    what = added_images(row["arm"], params).capitalize()
    judged = f"{what} are not shown to improve this: {_judgment(row, required)}."
    return [judged, *_only_beats_harm(row, required)]


def _nothing(
    scope: str,
    cell: Sequence[Row],
    claims: Sequence[Row],
    required: Required,
    params: Params,
) -> list[str]:
    """Nothing is shown to help, and what the best arm lacks."""
    accuracy = cell[0]["mean_baseline"]
    for row in cell:
        if row["baseline"] == params.report.baseline:
            accuracy = row["mean_baseline"]
    keep = f"keep {params.report.baseline} ({percent(accuracy)})"
    n = cell[0]["n"]
    if n < SEEDS_FOR_A_CLAIM:
        are = "is" if n == 1 else "are"
        sentences = [
            f"{scope}: {format_seeds(n)} {are} too few to show that an arm helps, at least "
            f"{_fewest_seeds(claims)} are needed; {keep} for now."
        ]
    else:
        sentences = [f"{scope}: no arm is shown to help; {keep}."]
    judged = [row for row in claims if row["verdict"] != "invalid"]
    if judged:
        row = max(judged, key=lambda row: row["mean_arm"])
        metric = params.report.metric
        arm = f"The arm with the highest {metric_name(metric)}"
        arm = "The most accurate arm" if metric == "accuracy" else arm
        sentences.append(f"{arm}: {_judgment(row, required)}.")
        sentences += _only_beats_harm(row, required)
    return sentences


def _only_beats_harm(row: Row, required: Required) -> list[str]:
    """That an arm which is not recommended is better than a reference that harms."""
    return [
        f"That {row['arm']} is better than {found['baseline']} ({_change(found)}) shows only that "
        f"{found['baseline']} harms: with {percent(found['mean_baseline'])} it is itself worse "
        f"than {row['baseline']} ({percent(row['mean_baseline'])})."
        for found in required[row["arm"]]
        if found["verdict"] == "weak reference" and row["verdict"] != "gain"
    ]


def _better_than_the_reference(cell: Sequence[Row], tables: Tables, params: Params) -> list[str]:
    """Another arm of labeled images alone that is shown to be better than `report.reference`."""
    found = over_the_reference(cell, tables.trials, tables.diagnostics, params)
    if found is None:
        return []
    scores = f"{percent(found['mean_baseline'])} to {percent(found['mean_arm'])}"
    return [
        f"The reference {found['baseline']} is not the best that the labeled images alone allow: "
        f"{found['arm']} is better ({scores}, {_change(found)}; as the best arm of several, "
        "without a correction), and arms with other images have to beat it as well."
    ]


def _distrusted(
    best: Row | None, claims: Sequence[Row], tables: Tables, params: Params
) -> list[str]:
    """That the labels of a teacher must not be trusted, for the arm that the text is about."""
    taught = [row for row in claims if labeling_teacher(params, row["arm"])]
    if best is not None and best in taught:
        taught = [best]
    if not taught:
        return []
    row = max(taught, key=lambda row: row["mean_arm"])
    teacher = str(labeling_teacher(params, row["arm"]))
    text = warning(tables.teachers, tables.teachers_classes, teacher, row["budget"])
    return [text] if text else []


def _fewest_seeds(claims: Sequence[Row]) -> int:
    """The smallest number of seeds at which any of the claims can be decided."""
    known = [row["seeds_to_decide"] for row in claims if math.isfinite(row["seeds_to_decide"])]
    return int(min(known, default=SEEDS_FOR_A_CLAIM))


def _judgment(row: Row, required: Required) -> str:
    """Why an arm is not recommended: the comparison that decides it, with its numbers."""
    lost = [found for found in required[row["arm"]] if found["verdict"] not in PASSING]
    reference = lost[0] if lost else row
    if row["verdict"] != "gain" and reference["verdict"] != "harm":
        reference = row
    if reference["verdict"] == "not judged":
        return (
            f"{row['arm']} against {reference['baseline']} is not judged, since "
            f"{unusable(reference)}"
        )
    if reference["verdict"] == "exploratory":
        return (
            f"{row['arm']} against {reference['baseline']}, {_change(reference)} over "
            f"{format_seeds(row['n'])}, is exploratory, and at least {needed_seeds(reference)} "
            "seeds are needed to decide"
        )
    relation = VERDICTS[reference["verdict"]].relation
    return f"{row['arm']} {relation} {reference['baseline']} ({_change(reference)})"


def _invalid(claims: Sequence[Row]) -> list[str]:
    """The arms that cannot be recommended because a control failed, and the controls."""
    invalid = [row for row in claims if row["verdict"] == "invalid"]
    if not invalid:
        return []
    arms = ", ".join(row["arm"] for row in invalid)
    controls = dict.fromkeys(row["failed_controls"] for row in invalid)
    return [f"Not considered, because a control failed: {arms} ({'; '.join(controls)})."]


def _more_labels(cell: Sequence[Row], tables: Tables, params: Params) -> list[str]:
    """What more labels would give: measured with fresh labels, else by the learning curve."""
    classifier, budget = cell[0]["classifier"], cell[0]["budget"]
    for row in cell:
        role = params.arms[row["arm"]].role
        if role == "must_help" and row["verdict"] != "failed":
            return [
                f"Instead, {budget} more label{'' if budget == 1 else 's'} per class would give "
                f"{_change(row)}."
            ]
    trials = tables.trials
    own = trials[(trials["classifier"] == classifier) & (trials["arm"] == params.report.baseline)]
    means = own.groupby("budget")[params.report.metric].mean()
    larger = [int(other) for other in means.index if other > budget]
    if not larger:
        return []
    change = as_written(float(means[min(larger)] - means[budget]))
    return [
        f"Instead, {min(larger) - budget} more labels per class would give {points(change, 1)} "
        "points, by the learning curve."
    ]


def _scores(row: Row) -> str:
    """The metric of baseline and arm: `80.0 to 85.0 %`, with its name if it is not accuracy."""
    name = "" if row["metric"] == "accuracy" else f"{metric_name(row['metric'])} "
    return f"{name}{100 * row['mean_baseline']:.1f} to {percent(row['mean_arm'])}"


def _change(row: Row) -> str:
    """A difference with its interval: `+1.0 [+0.5, +1.6] points`."""
    if math.isnan(row["ci_low"]):
        return f"{points(row['delta'], 1)} points"
    low, high = points(row["ci_low"], 1), points(row["ci_high"], 1)
    return f"{points(row['delta'], 1)} [{low}, {high}] points"

"""Whether the labels of a teacher can be trusted, in sentences.

Pure functions over `reports/teachers.csv` and `teachers_classes.csv`; the page, the terminal and
the recommendation use them. True labels of the pool decide, which no training has seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.config.schema import Params
from pipeline.evaluation.pseudo_labels import MIN_CONFIDENT_PRECISION, MIN_RECALL
from pipeline.report.formatting import Row, format_budget, format_seeds, percent
from pipeline.report.names import in_sentence

MOST_NAMED = 5  # classes in a sentence; the table has all


def labeling_teacher(params: Params, arm: str) -> str | None:
    """The teacher whose labels an arm, or the generator of its images, learned from; None: none."""
    recipe = params.arms[arm]
    generator = recipe.generator or recipe.discriminator_of
    return params.generators[generator].teacher if generator else recipe.teacher


def labeling_teachers(params: Params) -> list[str]:
    """The teachers whose labels an arm or a generator learns from, not those that only filter."""
    names = dict.fromkeys(labeling_teacher(params, arm) for arm in params.arms)
    return [name for name in names if name is not None]


def warnings(teachers: pd.DataFrame, classes: pd.DataFrame, params: Params) -> list[str]:
    """A sentence for every teacher and budget whose labels are used and must not be trusted."""
    found = [
        warning(teachers, classes, name, budget)
        for name in labeling_teachers(params)
        for budget in sorted(params.study.budgets)
    ]
    return [text for text in found if text]


def warning(teachers: pd.DataFrame, classes: pd.DataFrame, name: str, budget: int) -> str:
    """Why the labels of a teacher must not be trusted at a budget. Empty if there is no reason.

    Without a true label in the pool, that this is unknown.
    """
    rows = _of(teachers, name, budget)
    if rows.empty or "flags" not in rows:
        return ""
    labels = f"The labels of {name} with {format_budget(budget)}"
    if (rows["num_unlabeled"] > 0).any() and rows["label_accuracy"].isna().all():
        return f"{labels}: the pool has no true labels, so how many of them are right is unknown."

    flagged = rows["flags"].fillna("").str.split("; ")
    by_flag = {
        flag: rows["seed"][[flag in flags for flags in flagged]]
        for flag in ("held_out_labels", "confident_labels", "recall", "missing_class")
    }
    num_flagged = int((rows["flags"].fillna("") != "").sum())
    if not num_flagged:
        return ""
    by_class = _of(classes, name, budget)
    reasons = [
        *_held_out(rows, by_flag["held_out_labels"]),
        *_confident(rows, by_flag["confident_labels"]),
        *_low_recalls(by_class, by_flag["recall"]),
        *_missing(by_class, by_flag["missing_class"]),
    ]
    seeds = f"{num_flagged} of {format_seeds(len(rows))}"
    return f"{labels} must not be trusted ({seeds}): {'; '.join(reasons)}."


def _of(table: pd.DataFrame, name: str, budget: int) -> pd.DataFrame:
    if table.empty:
        return table
    return table[(table["teacher"] == name) & (table["budget"] == budget)]


def _held_out(rows: pd.DataFrame, seeds: pd.Series) -> list[str]:
    """That a teacher is not confident about any label, with the accuracy on held-out labels."""
    if seeds.empty:
        return []
    part = rows[rows["seed"].isin(seeds)]
    accuracy, count = part["held_out_accuracy"].mean(), part["num_held_out"].mean()
    return [
        f"in {format_seeds(len(seeds))} the teacher is not confident about any label, because only "
        f"{percent(accuracy)} of {count:.0f} held-out labels are predicted correctly"
    ]


def _confident(rows: pd.DataFrame, seeds: pd.Series) -> list[str]:
    """The share of confident labels that are right, with the interval of a seed."""
    if seeds.empty:
        return []
    part = rows[rows["seed"].isin(seeds)]
    accuracy, low, high = (
        part[key].mean() for key in ("confident_accuracy", "confident_low", "confident_high")
    )
    return [
        f"of the confident ones {percent(accuracy)} [{100 * low:.1f}, {100 * high:.1f}] are right "
        f"in {format_seeds(len(seeds))}, where {100 * MIN_CONFIDENT_PRECISION:.0f} % is the least"
    ]


def _low_recalls(classes: pd.DataFrame, seeds: pd.Series) -> list[str]:
    """The classes of which too few images are recognized, the worst first."""
    if seeds.empty or classes.empty:
        return []
    part = classes[classes["seed"].isin(seeds) & (classes["recall"] < MIN_RECALL)]
    means = part.groupby(["label", "class_name"], sort=False)["recall"].agg(["mean", "size"])
    ordered = means.sort_values("mean", kind="stable").reset_index().to_dict("records")
    named = [
        f"class {in_sentence(row['class_name'])} ({percent(row['mean'])} in "
        f"{format_seeds(row['size'])})"
        for row in ordered
    ]
    return [f"it recognizes fewer than {100 * MIN_RECALL:.0f} % of {_listed(named)}"]


def _missing(classes: pd.DataFrame, seeds: pd.Series) -> list[str]:
    """The classes that get no pseudo-label, or no confident one."""
    if seeds.empty or classes.empty:
        return []
    part = classes[classes["seed"].isin(seeds) & (classes["num_images"] > 0)]
    found = []
    for key, word in (("num_pseudo", "no pseudo-label"), ("num_confident", "no confident label")):
        rows = part[part[key] == 0]
        if key == "num_confident":
            rows = rows[rows["num_pseudo"] > 0]
        counts = rows.groupby(["label", "class_name"], sort=True).size()
        named = [
            f"class {in_sentence(class_name)} (in {format_seeds(int(count))})"
            for (_, class_name), count in counts.items()
        ]
        if named:
            found.append(f"{word} for {_listed(named)}")
    return found


def _listed(named: Sequence[str]) -> str:
    """The first names, and how many others there are."""
    more = len(named) - MOST_NAMED
    text = ", ".join(named[:MOST_NAMED])
    return text + (f" and {more} other{'' if more == 1 else 's'}" if more > 0 else "")


def trust(row: Row) -> str:
    """Whether the labels of a teacher are trusted, as a cell: in how many seeds they are not.

    One whose labels nothing learns from (`is_learned` is false) is not judged.
    """
    if not row["is_learned"]:
        return "only filters"
    if pd.isna(row["label_accuracy"]):
        return "unknown"
    return (
        f"not in {row['num_flagged']:.0f} of {row['n']:.0f} seeds" if row["num_flagged"] else "yes"
    )

"""The tables of the page about generators: ranking, quality, training, sampling.

Pure functions over `ReportTables` and params; means are over seeds.
"""

from __future__ import annotations

import math

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import formatting, ranking
from pipeline.report.captions import FLAGS, UNKNOWN, WARNINGS, warning
from pipeline.report.columns import (
    BUDGET,
    MISSING,
    PERCENT,
    SHARE,
    Column,
    Format,
    Table,
    counted,
    interval,
    left,
    means,
    number,
    points,
    share_interval,
    table,
    with_floor,
)
from pipeline.report.formatting import Row
from pipeline.report.names import readable
from pipeline.report.results import ReportTables

GENERATOR = left("generator", "marked")
DISTANCES_OF_KINDS = ("precision", "recall", "density", "coverage")


def ranked(results: ReportTables, timings: pd.DataFrame, params: Params) -> Table:
    """Generators in the order of their CAS; empty with a single generator."""
    learners = ranking.learners(params)
    deltas = [
        column
        for name in learners
        for column in (
            Column(f"delta, {name}, points", f"delta_{name}", points),
            Column("interval", f"ci_low_{name}", interval(f"ci_low_{name}", f"ci_high_{name}")),
        )
    ]
    columns = [
        GENERATOR,
        BUDGET,
        left("arm", "arm"),
        Column("rank by CAS", "cas_place", number("%.0f")),
        Column("CAS, %", "cas", number("%.1f", 100), hint="classification accuracy score"),
        Column(
            f"{100 * params.report.confidence_level:g} % interval",
            "cas_low",
            share_interval("cas_low", "cas_high"),
        ),
        Column("label fidelity, %", "label_fidelity", number("%.1f", 100)),
        Column("rank by delta", "delta_place", number("%.0f")),
        *deltas,
        Column("seeds", "n"),
        Column("failed seeds", "num_failed"),
        Column("seconds", "seconds", number("%.1f"), hint="median of training one generator"),
    ]
    rows = ranking.with_places(results.ranking, timings, params)
    rows = rows if len(params.generators) > 1 else rows[:0]
    return table("Generators by CAS", columns, mark_generators(rows))


def best_of_kinds(results: ReportTables, timings: pd.DataFrame, params: Params) -> Table:
    """The best generator of every kind at the primary budget, if there are two kinds.

    Means over seeds, and the median seconds of training one.
    """
    budget = params.report.primary.budget
    best = ranking.champions(results.ranking, results.kinds, budget)
    seconds = ranking.with_places(results.ranking, timings, params)
    means = seed_means(results.fidelity, "flags").merge(
        seconds[["generator", "budget", "regime", "seconds"]], on=["generator", "budget"]
    )
    by_name = means[means["budget"] == budget].set_index("generator", drop=False)
    rows = by_name.loc[list(best.values())].assign(kind=list(best))
    columns = [
        GENERATOR,
        left("kind", "kind", lambda row, key: kind_name(row[key])),
        BUDGET,
        Column("CAS", "cas", PERCENT),
        Column("label fidelity", "label_fidelity", judged(PERCENT)),
        *(Column(name, name, judged(SHARE)) for name in DISTANCES_OF_KINDS),
        Column("seconds", "seconds", number("%.1f")),
    ]
    return table("The best generator of every kind", columns, mark_generators(rows))


def kind_name(kind: str) -> str:
    """A kind of generator for people: `GAN`, `variational autoencoder`."""
    return "GAN" if kind == "gan" else kind


def judged(form: Format) -> Format:
    """The format of a number that needs a judge: `unknown` in rows without a reliable judge."""

    def cell(row: Row, key: str) -> str:
        text = form(row, key)
        return UNKNOWN if row.get("unknown") and text.startswith(MISSING) else text

    return cell


def why_unknown(results: ReportTables) -> list[str]:
    """Why numbers that need a judge are unknown, each reason once, as sentences without a dot."""
    reasons = [reason for reason in results.fidelity.get("unknown", ()) if _is_reason(reason)]
    return [f"{reason[0].upper()}{reason[1:]}" for reason in dict.fromkeys(reasons)]


def _is_reason(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def fidelity(results: ReportTables) -> Table:
    """How good the images are, in brackets what real images score."""
    columns = [
        left("generator", "generator"),
        BUDGET,
        Column("label fidelity", "label_fidelity", judged(with_floor("%.1f %%", 100))),
        Column("wrong labels", "wrong_label_frac", judged(PERCENT)),
        Column("CAS", "cas", PERCENT),
        Column("Fréchet distance", "frechet", judged(with_floor("%.1f"))),
        Column("kernel distance", "kernel", judged(with_floor("%.1f"))),
        *(
            Column(name, name, judged(with_floor("%.2f")))
            for name in ("precision", "recall", "density", "coverage")
        ),
    ]
    return table("Quality of the synthetic images", columns, seed_means(results.fidelity, "flags"))


def memorization(results: ReportTables) -> Table:
    """Whether the images repeat those that the generator was trained on."""
    columns = [
        left("generator", "generator"),
        BUDGET,
        Column("exact copies", "exact_copies", number("%.1f")),
        Column("near copies", "near_copies_frac", with_floor("%.1f %%", 100)),
        Column("copying, pixels", "copying_pixels", with_floor("%.2f")),
        Column("copying, features", "copying_features", judged(with_floor("%.2f"))),
        Column("nearest labeled image", "nearest_drawn", with_floor("%.1f")),
        Column("copies above", "near_copies_limit", copy_limits),
        left("flags", "flags", counted(lambda flag: FLAGS[flag])),
    ]
    return table("Memorization", columns, seed_means(results.fidelity, "flags"))


def copy_limits(row: Row, key: str) -> str:
    """The limits above which images count as copied: near copies, scores in pixels and features."""
    near = number("%.1f %%", 100)(row, key)
    scores = [number("%.2f")(row, f"copying_{space}_limit") for space in ("pixels", "features")]
    return MISSING if near == MISSING else "; ".join([near, *scores])


def min_compared(results: ReportTables) -> int:
    """How many images of each set the distances need; 0 where no audit says so."""
    return int(results.fidelity.get("min_compared", pd.Series([0])).fillna(0).max())


def is_blank(results: ReportTables) -> bool:
    """Whether an audit left distances out because it had too few images, though it has a judge."""
    fidelity = results.fidelity
    if "num_compared" not in fidelity or not min_compared(results):
        return False
    return bool((fidelity["num_compared"] < fidelity["min_compared"]).any())


def classes(results: ReportTables, class_names: list[str]) -> Table:
    """Quality by class."""

    def ends(row: Row, key: str) -> str:
        if math.isnan(row["label_fidelity_low"]):
            return MISSING
        return formatting.share_interval(row, "label_fidelity_low", "label_fidelity_high")

    columns = [
        left("generator", "generator"),
        BUDGET,
        left("class", "label", lambda row, key: readable(class_names[int(row[key])])),
        Column("label fidelity", "label_fidelity", judged(PERCENT)),
        Column("interval of one seed, %", "label_fidelity_low", judged(ends)),
        Column("coverage", "coverage", judged(SHARE)),
        Column("diversity", "diversity", SHARE),
    ]
    keys = ["generator", "budget", "label"]
    rows = means(results.fidelity_classes, keys)
    if why := why_unknown(results):
        rows = rows.assign(unknown=why[0])
    return table("Quality by class", columns, rows)


def health(results: ReportTables) -> Table:
    """GAN diagnostics; empty where no generator has a discriminator."""
    means = mean_health(results.health)

    def noticed(row: Row, key: str) -> str:
        return counted(warning, "none" if row["has_discriminator"] else "-")(row, key)

    doubling, balance = "doubling_accuracy" in means, "k" in means
    columns = [
        left("generator", "generator"),
        BUDGET,
        Column("discriminator accuracy at the end", "accuracy", PERCENT),
        Column("accuracy of the upsampling discriminator", "doubling_accuracy", PERCENT)
        if doubling
        else None,
        Column("k at the end", "k", SHARE) if balance else None,
        Column("smallest diversity of a class", "min_diversity", SHARE),
        left("warnings", "warnings", noticed),
    ]
    return table("GAN diagnostics", columns, means)


def tuning(results: ReportTables, params: Params) -> Table:
    """The standard deviation of the noise and the filter's threshold, with their counts."""

    def used(row: Row, key: str) -> str:
        counts, is_fixed = row[key], len(getattr(params.tune, key)) == 1
        if len(counts) == 1 and is_fixed:
            return f"{next(iter(counts)):g}, fixed"
        return counted(lambda value: f"{float(value):g}")(row, key)

    columns = [
        left("generator", "generator"),
        BUDGET,
        left("standard deviation of the noise", "latent_std", used),
        left("smallest probability that the filter accepts", "min_probability", used),
    ]
    return table("Sampling and filtering", columns, count_values(results.tuning))


def mean_health(health: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds and counted warnings; no rows where no generator has a discriminator.

    `has_discriminator`: whether this one has.
    """
    means = seed_means(health, "warnings")
    others = ["generator", "budget", "least_spread", "min_diversity", "n", "warnings"]
    numbers = means.drop(columns=others, errors="ignore")
    means = means.assign(has_discriminator=numbers.notna().any(axis=1))
    return means if means["has_discriminator"].any() else means[:0]


def seed_means(table: pd.DataFrame, words: str) -> pd.DataFrame:
    """Means over seeds by generator and budget; in how many seeds each of `words` occurs.

    `words` names a column of words joined by `; `, which become a mapping to their number.
    """
    rows = []
    for names, group in table.groupby(["generator", "budget"], sort=False):
        raised = [word for cell in group[words] for word in cell.split("; ") if word]
        counts = {word: raised.count(word) for word in dict.fromkeys(raised)}
        columns = ["generator", "budget", "seed", words, "unknown"]
        means = group.drop(columns=columns, errors="ignore").mean()
        keys = dict(zip(("generator", "budget"), names, strict=True))
        why = [reason for reason in group.get("unknown", ()) if _is_reason(reason)]
        unknown = {"unknown": why[0]} if why else {}
        rows.append({**keys, **means, "n": len(group), words: counts, **unknown})
    return pd.DataFrame(rows)


def count_values(tuning: pd.DataFrame) -> pd.DataFrame:
    """In how many seeds each value was used, by generator and budget."""
    rows = []
    for names, group in tuning.groupby(["generator", "budget"], sort=False):
        keys = dict(zip(("generator", "budget"), names, strict=True))
        counts = {
            name: group[name].value_counts().sort_index().to_dict()
            for name in ("latent_std", "min_probability")
        }
        rows.append({**keys, **counts, "n": len(group)})
    return pd.DataFrame(rows)


def mark_generators(rows: pd.DataFrame) -> pd.DataFrame:
    """Generators that were trained on unlabeled images get an asterisk, in `marked`."""
    star = (rows["regime"] != "labeled").map({True: "*", False: ""})
    return rows.assign(marked=rows["generator"] + star)


def warning_meanings() -> list[tuple[str, str]]:
    """The warnings of GAN training with their meanings."""
    return list(WARNINGS.values())

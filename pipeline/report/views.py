"""The tables of the page: what each of them shows, from the tables of the report.

Pure functions over `ReportTables` and params; means are over seeds.
"""

from __future__ import annotations

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import comparisons, formatting, ranking
from pipeline.report.captions import FLAGS, REGIMES, WARNINGS, warning
from pipeline.report.columns import (
    BUDGET,
    PERCENT,
    SHARE,
    Column,
    Table,
    counted,
    interval,
    left,
    needed,
    number,
    p_value,
    points,
    share_interval,
    table,
    with_floor,
)
from pipeline.report.formatting import Row
from pipeline.report.results import ReportTables
from pipeline.report.verdicts import ROLES

CLASSIFIER = left("classifier", "classifier")
GENERATOR = left("generator", "marked")
VERDICT = Column("verdict", "verdict", align="left", is_verdict=True)
CI = interval("ci_low", "ci_high")


def control_arms(results: ReportTables, params: Params) -> Table:
    """The controls: what each must show, and whether it does."""
    main = comparisons.main_rows(results.deltas, params)
    role = main["arm"].map(lambda arm: params.arms[arm].role)
    rows = _mark(main.assign(role=role)[role.isin(ROLES)], params)
    columns = [
        left("control", "marked"),
        left("what must hold", "role", lambda row, key: ROLES[row[key]]),
        CLASSIFIER,
        BUDGET,
        Column("delta, points", "delta", points),
        Column("interval", "ci_low", CI),
        Column("p, corrected", "p_holm", p_value),
        Column("outcome", "verdict", align="left", is_verdict=True),
    ]
    return table("Control arms", columns, rows)


def accuracies(results: ReportTables, params: Params) -> list[Table]:
    """Every comparison of accuracies: a table per classifier, budget and kind of images.

    Arms that were trained on unlabeled images as well are in tables of their own.
    """
    columns = [
        left("arm", "name"),
        Column("accuracy", "mean_arm", PERCENT),
        Column("delta, points", "delta", points, hint="paired difference from the baseline"),
        VERDICT,
        Column(f"{100 * params.report.confidence_level:g} % interval", "ci_low", CI),
        Column("p", "p_value", p_value, hint="exact sign-flip test"),
        Column("p, Holm", "p_holm", p_value, hint="corrected for many comparisons"),
    ]
    rows = comparisons.table_rows(results.deltas, params)
    tables = []
    for (classifier, budget, regime), part in rows.groupby(
        ["classifier", "budget", "regime"], sort=False
    ):
        title = f"{classifier}, {formatting.format_budget(budget)}"
        more = "" if regime == "labeled" else f", {REGIMES[str(regime)]}"
        tables.append(table(title + more, columns, part))
    return tables


def diagnostics(results: ReportTables, params: Params) -> Table:
    """What else a careful reader asks about every comparison."""
    columns = [
        left("arm", "marked"),
        left("against", "against"),
        CLASSIFIER,
        BUDGET,
        Column("delta, points", "delta", points),
        Column("interval, these test images", "ci_low", CI),
        Column(
            "interval, new test images",
            "new_images_low",
            interval("new_images_low", "new_images_high"),
        ),
        Column(
            "McNemar, seeds better / worse",
            "mcnemar_better",
            lambda row, key: f"{row['mcnemar_better']} / {row['mcnemar_worse']}",
        ),
        Column("overlap of subsets", "overlap", PERCENT),
        Column(
            "minimum detectable effect (80 % power), points",
            "smallest_detectable",
            number("%.2f", 100),
        ),
        Column("seeds to decide", "seeds_to_decide", needed),
        Column("seeds for 80 % power", "seeds_for_power", needed),
    ]
    rows = comparison_rows(results)
    against = rows["baseline"].map(params.marked) if len(rows) else rows["baseline"]
    return table("Diagnostics", columns, _mark(rows, params).assign(against=against))


def comparison_rows(results: ReportTables) -> pd.DataFrame:
    """The comparisons of accuracies with their diagnostics."""
    accuracy = results.deltas[results.deltas["metric"] == comparisons.PRIMARY_METRIC]
    return results.diagnostics.merge(accuracy, on=comparisons.KEYS)


def failures(results: ReportTables) -> Table:
    """Failed trials with their reasons."""
    columns = [
        left("stage", "stage"),
        left("of", "item"),
        left("classifier", "classifier"),
        BUDGET,
        Column("seed", "seed"),
        left("reason", "reason"),
    ]
    return table("Failed trials", columns, results.failures)


def without_failures(results: ReportTables, params: Params) -> list[str]:
    """The comparisons with failed seeds once more, without these."""
    rows = comparison_rows(results)
    sentences = []
    for row in comparisons.rows_of(rows[rows["num_failed"] > 0]):
        ends = formatting.interval(row, "completed_low", "completed_high")
        rest = f"{formatting.points(row['completed_delta'])} ({ends})"
        sentences.append(
            f"{params.marked(row['arm'])} against {params.marked(row['baseline'])} for "
            f"{row['classifier']}, {formatting.format_budget(row['budget'])}: {row['num_failed']} "
            f"of {row['n']} seeds failed; with them {formatting.points(row['delta'])} "
            f"({formatting.interval(row)}), without them "
            f"{rest if row['completed_n'] else 'no seed is left'}."
        )
    return sentences


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
        Column("label fidelity", "label_fidelity", PERCENT),
        *(Column(name, name, SHARE) for name in ("precision", "recall", "density", "coverage")),
        Column("seconds", "seconds", number("%.1f")),
    ]
    return table("The best generator of every kind", columns, mark_generators(rows))


def kind_name(kind: str) -> str:
    """A kind of generator for people: `GAN`, `variational autoencoder`."""
    return "GAN" if kind == "gan" else kind


def fidelity(results: ReportTables) -> Table:
    """How good the images are, in brackets what real images score."""
    columns = [
        left("generator", "generator"),
        BUDGET,
        Column("label fidelity", "label_fidelity", with_floor("%.1f %%", 100)),
        Column("wrong labels", "wrong_label_frac", PERCENT),
        Column("CAS", "cas", PERCENT),
        Column("Fréchet distance", "frechet", with_floor("%.1f")),
        Column("kernel distance", "kernel", with_floor("%.1f")),
        *(
            Column(name, name, with_floor("%.2f"))
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
        Column("copying, features", "copying_features", with_floor("%.2f")),
        Column("nearest labeled image", "nearest_drawn", with_floor("%.1f")),
        left("flags", "flags", counted(lambda flag: FLAGS[flag])),
    ]
    return table("Memorization", columns, seed_means(results.fidelity, "flags"))


def classes(results: ReportTables, class_names: list[str]) -> Table:
    """Quality by class."""

    def ends(row: Row, key: str) -> str:
        return formatting.share_interval(row, "label_fidelity_low", "label_fidelity_high")

    columns = [
        left("generator", "generator"),
        BUDGET,
        Column("class", "label", lambda row, key: class_names[int(row[key])]),
        Column("label fidelity", "label_fidelity", PERCENT),
        Column("interval of one seed, %", "label_fidelity_low", ends),
        Column("coverage", "coverage", SHARE),
        Column("diversity", "diversity", SHARE),
    ]
    keys = ["generator", "budget", "label"]
    return table("Quality by class", columns, _means(results.fidelity_classes, keys))


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


def teachers(results: ReportTables) -> Table:
    """How accurate the pseudo-labels are."""
    columns = [
        left("teacher", "teacher"),
        BUDGET,
        Column("unlabeled images", "num_unlabeled", number("%.0f")),
        Column("label accuracy", "label_accuracy", number("%.2f %%", 100)),
        Column("confident", "confident_frac", PERCENT),
        Column("accuracy of confident", "confident_accuracy", number("%.2f %%", 100)),
        Column("unknown classes", "unknown_frac", PERCENT),
        Column("unknown among labeled", "unknown_labeled_frac", PERCENT),
        Column("unknown among confident", "unknown_confident_frac", number("%.2f %%", 100)),
        Column("OOD AUROC", "ood_auroc", number("%.3f")),
        Column("distance rank", "distance_rank", SHARE),
    ]
    return table("Pseudo-label accuracy", columns, teacher_means(results))


def teacher_means(results: ReportTables) -> pd.DataFrame:
    """The teachers' table, averaged over seeds."""
    return _means(results.teachers, ["teacher", "budget"])


def filters(results: ReportTables, params: Params) -> Table:
    """How many images the filters rejected."""
    columns = [
        left("arm", "marked"),
        BUDGET,
        Column("candidates", "num_candidates", number("%.0f")),
        Column("rejected", "num_rejected", number("%.0f")),
        Column("used", "num_used", number("%.0f")),
    ]
    rows = _means(results.filters, ["arm", "budget"])
    return table("Images rejected by the filter", columns, _mark(rows, params))


def run_time(timings: pd.DataFrame) -> Table:
    """Seconds by stage and item; empty where results came from a cache."""
    columns = [
        left("stage", "stage"),
        left("of", "item"),
        Column("trials", "n"),
        Column("core seconds, all", "total", number("%.0f")),
        Column("seconds, median trial", "median", number("%.1f")),
        Column("images/s", "images_per_s", number("%.0f")),
    ]
    rows = [
        {
            "stage": stage,
            "item": item,
            "n": len(part),
            "total": part["seconds"].sum(),
            "median": part["seconds"].median(),
            "images_per_s": part["images_per_s"].median(),
        }
        for (stage, item), part in timings.groupby(["stage", "item"], sort=False)
    ]
    return Table("Run time", columns, rows)


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
        means = group.drop(columns=["generator", "budget", "seed", words]).mean()
        keys = dict(zip(("generator", "budget"), names, strict=True))
        rows.append({**keys, **means, "n": len(group), words: counts})
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


def _mark(rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    return rows.assign(marked=[params.marked(arm) for arm in rows["arm"]])


def _means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return rows.drop(columns="seed").groupby(keys, sort=False).mean().reset_index()

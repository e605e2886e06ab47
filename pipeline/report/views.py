"""The tables of the page: what each of them shows, from the tables of the report.

Pure functions over `ReportTables` and params; means are over seeds.
"""

from __future__ import annotations

import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import comparisons, formatting
from pipeline.report.captions import REGIMES
from pipeline.report.columns import (
    BUDGET,
    PERCENT,
    Column,
    Table,
    interval,
    left,
    means,
    needed,
    number,
    p_value,
    points,
    table,
)
from pipeline.report.results import ReportTables
from pipeline.report.verdicts import ROLES

CLASSIFIER = left("classifier", "classifier")
VERDICT = Column("verdict", "verdict", align="left", is_verdict=True)
CI = interval("ci_low", "ci_high")


def control_arms(results: ReportTables, params: Params) -> Table:
    """The controls: what each must show, and whether it does."""
    main = comparisons.main_rows(results.deltas, params)
    role = main["arm"].map(lambda arm: params.arms[arm].role)
    rows = _mark(main.assign(role=role)[role.isin(ROLES)], params)
    columns = [
        left("control", "marked"),
        Column("outcome", "verdict", align="left", is_verdict=True),
        CLASSIFIER,
        BUDGET,
        Column("delta, points", "delta", points),
        Column("interval", "ci_low", CI),
        Column("p, corrected", "p_holm", p_value),
        left("what must hold", "role", lambda row, key: ROLES[row[key]]),
    ]
    return table("Control arms", columns, rows)


def accuracies(results: ReportTables, params: Params) -> list[Table]:
    """Every comparison of `report.metric`: a table per classifier, budget and kind of images.

    Arms that were trained on unlabeled images as well are in tables of their own.
    """
    columns = [
        left("arm", "name"),
        Column(formatting.metric_name(params.report.metric), "mean_arm", PERCENT),
        Column("delta, points", "delta", points, hint="paired difference from the baseline"),
        VERDICT,
        Column(f"{100 * params.report.confidence_level:g} % interval", "ci_low", CI),
        Column("p", "p_value", p_value, hint="sign-flip test; corrected t test if seeds overlap"),
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
    """Diagnostics of every comparison: new test images, single seeds, power."""
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
    rows = comparison_rows(results, params)
    against = rows["baseline"].map(params.marked) if len(rows) else rows["baseline"]
    return table("Diagnostics", columns, _mark(rows, params).assign(against=against))


def comparison_rows(results: ReportTables, params: Params) -> pd.DataFrame:
    """The comparisons of `report.metric` with their diagnostics."""
    declared = results.deltas[results.deltas["metric"] == params.report.metric]
    return results.diagnostics.merge(declared, on=comparisons.KEYS)


def failures(results: ReportTables) -> Table:
    """Failed trials with their reasons."""
    columns = [
        left("stage", "stage"),
        left("item", "item"),
        left("classifier", "classifier"),
        BUDGET,
        Column("seed", "seed"),
        left("reason", "reason"),
    ]
    return table("Failed trials", columns, results.failures)


def without_failures(results: ReportTables, params: Params) -> list[str]:
    """The comparisons with failed seeds, repeated without those seeds."""
    rows = comparison_rows(results, params)
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


def filters(results: ReportTables, params: Params) -> Table:
    """How many images the filters rejected."""
    columns = [
        left("arm", "marked"),
        BUDGET,
        Column("candidates", "num_candidates", number("%.0f")),
        Column("rejected", "num_rejected", number("%.0f")),
        Column("used", "num_used", number("%.0f")),
    ]
    rows = means(results.filters, ["arm", "budget"])
    return table("Images rejected by the filter", columns, _mark(rows, params))


def run_time(timings: pd.DataFrame) -> Table:
    """Seconds by stage and item; empty where results came from a cache."""
    columns = [
        left("stage", "stage"),
        left("item", "item"),
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


def _mark(rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    return rows.assign(marked=[params.marked(arm) for arm in rows["arm"]])

"""The report as one self-contained page: tables, figures and provenance; no scripts, no network.

Renders what it is given with the partials of `templates/`. Seconds and the commit appear on the
page only, so the page is the one product that differs between two runs with equal results.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from pipeline.config.schema import Params
from pipeline.report import (
    captions,
    class_views,
    comparisons,
    data_views,
    formatting,
    generator_views,
    ranking,
    resolution,
    teacher_views,
    teacher_words,
    verdicts,
    views,
)
from pipeline.report.names import figure_names, readable
from pipeline.report.plots import Pictures
from pipeline.report.recommendation import Tables, recommend
from pipeline.report.results import ReportTables
from pipeline.runtime.files import file_digest
from pipeline.runtime.seeds import library_versions

TEMPLATE = "page.html.j2"
PAGE = Path("reports/report.html")
Answer = tuple[str, str]  # a sentence, and its explanation


def render_page(
    root: Path,
    params: Params,
    results: ReportTables,
    timings: pd.DataFrame,
    pictures: Pictures,
    manifest: Mapping[str, Any],
) -> str:
    """The page as text; `manifest` is that of `data/splits`.

    Reads of the project at `root` only params.yaml, the commit and what `stamp` needs.
    """
    template = environment().get_template(TEMPLATE)
    return template.render(
        params=params,
        confidence=f"{100 * params.report.confidence_level:g} %",
        metric=formatting.metric_name(params.report.metric),
        manifest=manifest,
        stamp=stamp(root),
        pictures=pictures,
        verdicts=verdicts.VERDICTS,
        css_class=verdicts.css_class,
        **answers(results, timings, params),
        **evidence(results, timings, params, manifest["class_names"]),
        **dataset(manifest, results, params),
        commit=commit(root),
        versions=library_versions(),
        params_text=(root / "params.yaml").read_text(encoding="utf-8"),
    )


def environment() -> jinja2.Environment:
    """Templates that escape every value and refuse unknown names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        embedded=embedded, readable=readable, showcase_caption=captions.showcase_caption
    )
    return environment


def answers(results: ReportTables, timings: pd.DataFrame, params: Params) -> dict[str, Any]:
    """What the page says in words: the recommendation first, then every comparison."""
    needed = results.diagnostics[[*comparisons.KEYS, "seeds_to_decide", "seeds_for_power"]]
    declared = results.deltas[results.deltas["metric"] == params.report.metric]
    rows = declared.merge(needed, on=comparisons.KEYS, how="left")
    is_claim = rows["arm"].map(lambda arm: params.arms[arm].role == "claim")
    is_main = rows["baseline"] == params.report.baseline
    claims = rows[is_main & is_claim & (rows["arm"] != rows["baseline"])]
    equivalents: list[dict[Any, Any]] = results.worth.to_dict("records")
    found = Tables(
        results.deltas,
        results.diagnostics,
        results.worth,
        results.trials,
        timings,
        results.classes,
        results.teachers,
        results.teachers_classes,
    )
    return {
        "recommendations": recommend(found, params),
        "answers": [_answer(row, params) for row in primary_first(claims, params)],
        "reference_answers": reference_answers(rows[~is_main], params),
        "equivalents": [verdicts.label_equivalent_sentence(row) for row in equivalents],
        "equivalent_budgets": (equivalents[0]["least"], equivalents[0]["most"])
        if equivalents
        else None,
    }


def evidence(
    results: ReportTables, timings: pd.DataFrame, params: Params, class_names: list[str]
) -> dict[str, Any]:
    """The tables of the page, and the few facts that its notes need."""
    teachers: list[dict[Any, Any]] = teacher_views.teacher_means(results).to_dict("records")
    compared = results.deltas[results.deltas["baseline"] != params.report.baseline]["arm"]
    return {
        "controls": views.control_arms(results, params),
        "accuracies": views.accuracies(results, params),
        "choices": results.choices,
        "has_unlabeled": len({*results.deltas["regime"]}) > 1,
        "unlabeled_note": captions.UNLABELED_NOTE,
        "diagnostics": views.diagnostics(results, params),
        "ranked": generator_views.ranked(results, timings, params),
        "learners": ranking.learners(params),
        "untuned": captions.UNTUNED,
        "best": generator_views.best_of_kinds(results, timings, params),
        "class_recalls": class_views.class_recalls(results, params),
        "class_sentences": class_views.class_sentences(results, params),
        "failures": views.failures(results),
        "without_failures": views.without_failures(results, params),
        "fidelity": generator_views.fidelity(results),
        "memorization": generator_views.memorization(results),
        "min_compared": generator_views.min_compared(results),
        "has_blank_distances": generator_views.is_blank(results),
        "classes": generator_views.classes(results, class_names),
        "health": generator_views.health(results),
        "warnings": generator_views.warning_meanings(),
        "tuning": generator_views.tuning(results, params),
        "augmentations": results.augmentations,
        "compared_generators": {params.arms[arm].generator for arm in compared},
        "teachers": teacher_views.teachers(results, params),
        "teacher_classes": teacher_views.teacher_classes(results),
        "teacher_warnings": teacher_words.warnings(
            results.teachers, results.teachers_classes, params
        ),
        "num_unlabeled": min((row["num_unlabeled"] for row in teachers), default=0),
        "distance_warnings": [text for row in teachers if (text := captions.distance_warning(row))],
        "filters": views.filters(results, params),
        "run_time": views.run_time(timings),
    }


def dataset(manifest: Mapping[str, Any], results: ReportTables, params: Params) -> dict[str, Any]:
    """The dataset, and what a test set of its size can show, for the page."""
    return {
        "data_facts": data_views.facts(manifest),
        "data_notes": data_views.notes(manifest),
        "data_classes": data_views.classes(manifest),
        "data_conflicts": data_views.conflicts(manifest),
        "resolution": resolution.sentences(results.deltas, results.diagnostics, manifest, params),
        "per_seed": captions.PER_SEED if params.data.per_seed else "",
        "numbered": figure_names(manifest["class_names"]).numbered,
        "why_unknown": generator_views.why_unknown(results),
    }


def stamp(root: Path) -> str:
    """A digest of the settings and results at `root` that a page is made from."""
    files = [root / "params.yaml", root / "reports/trials.csv", root / "reports/deltas.csv"]
    return "-".join(file_digest(file)[:16] if file.is_file() else "none" for file in files)


def is_current(root: Path) -> bool:
    """Whether the page at `root` exists and is made from the present settings and results.

    DVC brings back results of another commit, but not the page: the page is no output of a stage.
    """
    path = root / PAGE
    return path.is_file() and f'content="{stamp(root)}"' in path.read_text(encoding="utf-8")


def _answer(row: Mapping[str, Any], params: Params) -> Answer:
    return verdicts.answer(row), verdicts.explanation(row, params.report.smallest_effect)


def reference_answers(rows: pd.DataFrame, params: Params) -> dict[str, dict[str, list[Answer]]]:
    """The comparisons with references by the question that they answer: claims, then the rest."""
    questions = {
        f"Are synthetic images better than augmentation alone ({params.report.reference})?": (
            "labeled"
        ),
        "Are synthetic images better than the pseudo-labels that the generator was trained on?": (
            "labeled+unlabeled"
        ),
    }
    is_claim = rows["verdict"] != "measure"
    return {
        question: {
            kind: [_answer(row, params) for row in selected.to_dict("records")]
            for kind, selected in {
                "claims": rows[is_claim & (rows["regime"] == regime)],
                "measured": rows[~is_claim & (rows["regime"] == regime)],
            }.items()
        }
        for question, regime in questions.items()
    }


def primary_first(rows: pd.DataFrame, params: Params) -> list[dict[str, Any]]:
    """Rows as mappings, the primary comparison first."""
    primary = params.report.primary
    first = (primary.classifier, primary.arm, primary.budget)
    records: list[dict[str, Any]] = rows.to_dict("records")
    return sorted(records, key=lambda row: (row["classifier"], row["arm"], row["budget"]) != first)


def embedded(file: Path) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def commit(root: Path) -> str:
    """The checked-out commit, marked when files differ from it; `none` outside a repository."""
    if not (root / ".git").exists():
        return "none (not a git repository)"
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

"""The report as one self-contained page: tables, figures and provenance; no scripts, no network.

Renders what it is given. Seconds and the commit appear on the page only, so the page is the one
product that differs between two runs with equal results.
"""

from __future__ import annotations

import base64
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from pipeline.config.schema import Params
from pipeline.evaluation.statistics import SEEDS_FOR_A_TEST
from pipeline.report import verdicts
from pipeline.report.ranking import learners
from pipeline.runtime.files import file_digest, write_text
from pipeline.runtime.seeds import library_versions

TEMPLATE = "page.html.j2"
PAGE = Path("reports/report.html")


@dataclass(frozen=True)
class Pictures:
    """PNG files: figures by title, galleries by generator and exhibit, in the order of the page."""

    figures: Mapping[str, Path]
    galleries: Mapping[str, Mapping[str, Path]]
    side_by_side: Path | None  # the best generator of every kind, where there are several


def write_page(
    path: Path,
    params: Params,
    tables: Mapping[str, pd.DataFrame],
    pictures: Pictures,
    manifest: Mapping[str, Any],
) -> None:
    """Render the page to `path`.

    `tables` are those of the report, each with one row per line of the page; `manifest` is that of
    `data/splits`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        beyond=verdicts.beyond,
        interval=verdicts.interval,
        percent=verdicts.percent,
        embedded=embedded,
        showcase_caption=verdicts.showcase_caption,
        p_value=p_value,
        points=verdicts.points,
        share_interval=verdicts.share_interval,
        warning=verdicts.warning,
        label_equivalent_sentence=verdicts.label_equivalent_sentence,
        apart=verdicts.apart,
    )
    root = path.parent.parent
    main = tables["main"]
    is_claim = main["arm"].map(lambda arm: params.arms[arm].role == "claim")
    compared = sort_rows(main[is_claim & (main["arm"] != main["baseline"])], params)
    text = environment.get_template(TEMPLATE).render(
        params=params,
        stamp=stamp(root),
        tables={name: table.to_dict("records") for name, table in tables.items()},
        answers=[_answer(row, params) for row in compared],
        reference_answers=reference_answers(tables["reference"], params),
        referenced={params.arms[arm].generator for arm in tables["reference"]["arm"]},
        regimes=verdicts.REGIMES,
        augmentations=augmentations(params),
        verdicts=verdicts.VERDICTS,
        roles=verdicts.ROLES,
        flags=verdicts.FLAGS,
        warnings=verdicts.WARNINGS,
        learners=learners(params),
        untuned=verdicts.UNTUNED,
        kinds=verdicts.KINDS,
        cost=cost(tables["timings"]),
        pictures=pictures,
        manifest=manifest,
        params_text=(root / "params.yaml").read_text(encoding="utf-8"),
        versions=library_versions(),
        commit=commit(root),
    )
    write_text(path, text)


def p_value(value: float, row: Mapping[str, Any]) -> str:
    """A p-value, where there is one and enough seeds to speak of it."""
    is_told = (
        not math.isnan(value) and row["n"] >= SEEDS_FOR_A_TEST and row["arm"] != row["baseline"]
    )
    return f"{value:.3f}" if is_told else "-"


def stamp(root: Path) -> str:
    """A digest of the settings and results at `root` that a page tells of."""
    files = [root / "params.yaml", root / "reports/trials.csv", root / "reports/deltas.csv"]
    return "-".join(file_digest(file)[:16] if file.is_file() else "none" for file in files)


def is_current(root: Path) -> bool:
    """Whether the page at `root` is there and tells of the settings and results that lie there.

    DVC brings back results of another commit, but not the page: the page is no output of a stage.
    """
    path = root / PAGE
    return path.is_file() and f'content="{stamp(root)}"' in path.read_text(encoding="utf-8")


def _answer(row: Mapping[str, Any], params: Params) -> tuple[str, str]:
    return verdicts.answer(row), verdicts.explanation(row, params.report.smallest_effect)


def reference_answers(
    rows: pd.DataFrame, params: Params
) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """What is said of arms and their references, by the question it answers: of claims, the
    rest.
    """
    questions = {
        "And is it better than simply augmenting the images at hand "
        f"({params.report.reference})?": "labeled",
        "Are a generator's images better than the unlabeled images and labels it learned from?": "labeled+unlabeled",
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


def augmentations(params: Params) -> dict[str, dict[str, float]]:
    """How generators' real images were moved, of those whose were."""
    used = {
        name: generator.settings.get("augmentation", {})
        for name, generator in params.generators.items()
    }
    return {name: view for name, view in used.items() if any(view.values())}


def sort_rows(rows: pd.DataFrame, params: Params) -> list[dict[str, Any]]:
    """Rows as mappings, the primary comparison first."""
    primary = params.report.primary
    records: list[dict[str, Any]] = rows.to_dict("records")
    return sorted(
        records,
        key=lambda row: (
            (row["classifier"], row["arm"], row["budget"])
            != (primary.classifier, primary.arm, primary.budget)
        ),
    )


def cost(timings: pd.DataFrame) -> list[dict[str, Any]]:
    """By stage and item: number of trials, core seconds of all, of the median one, its images/s."""
    return [
        {
            "stage": stage,
            "item": item,
            "n": len(rows),
            "total": rows["seconds"].sum(),
            "median": rows["seconds"].median(),
            "images_per_s": rows["images_per_s"].median(),
        }
        for (stage, item), rows in timings.groupby(["stage", "item"], sort=False)
    ]


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

"""report: tables, verdicts, figures and the page, from the results of the other stages.

Everything declared in dvc.yaml is the same to the byte for the same results. `timings.csv` and
`report.html` contain seconds and the commit as well, so they are written but not declared.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.config.schema import Params
from pipeline.report import comparisons, plots, tables
from pipeline.report.html import PAGE, render_page
from pipeline.report.results import build_tables, write_csv, write_tables
from pipeline.report.sheets import subject_of
from pipeline.runtime.files import read_json, require, write_json, write_text


def run(params: Params, root: Path) -> None:
    """Write `reports/`; raises `IntegrityError` before that when results do not fit together."""
    reports = root / "reports"
    manifest = read_json(require(root / "data/splits/manifest.json", "prepare"))

    results = build_tables(params, root, manifest["dataset"])
    timings = tables.timings_table(params, root)

    write_tables(reports, results)
    write_json(reports / "metrics.json", comparisons.headline(results.deltas, params))
    plots.write_plots(reports, results, params, root, subject_of(manifest))
    write_csv(reports / "timings.csv", timings)
    pictures = plots.pictures(reports, params)
    write_text(root / PAGE, render_page(root, params, results, timings, pictures, manifest))

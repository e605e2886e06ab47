"""What `python -m pipeline show` prints of one generator, and of several."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ZOO, leave_study

from pipeline.config.schema import load_params
from pipeline.report import terminal
from pipeline.report.captions import UNTUNED
from pipeline.report.recommendation import Tables, recommend
from pipeline.report.results import ReportTables, build_tables, write_csv, write_tables
from pipeline.report.tables import timings_table


def left(root: Path) -> Path:
    """The tables of a report, as `report` writes them, in the study at `root`."""
    results_left(root)
    return root


def results_left(root: Path) -> ReportTables:
    params = load_params(root)
    results = build_tables(params, root, "toy")
    write_tables(root / "reports", results)
    write_csv(root / "reports/timings.csv", timings_table(params, root))
    return results


def test_the_recommendation_comes_first_and_is_that_of_the_page(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, params = results_left(project), load_params(project)
    timings = timings_table(params, project)
    parts = (results.deltas, results.diagnostics, results.worth, results.trials, timings)
    on_page = recommend(Tables(*parts), params)
    found = terminal.recommendations(project, params)
    assert found == on_page
    assert len(found) == 2 * 2
    terminal.show(project, params)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[:4] == [str(each) for each in found]


def test_one_generator_is_not_ranked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = load_params(left(project))
    deltas = terminal.read_deltas(project)
    first, second = terminal.report_markdown(project, params).split("\n\n")
    assert first.startswith("* cnn with 2 labels per class: ")
    assert second == terminal.markdown(deltas, params)
    terminal.show(project, params)
    assert "Generators" not in capsys.readouterr().out


def test_several_are_ranked_below_the_headline_table(
    zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = load_params(left(zoo))
    _, first, second, third = terminal.report_markdown(zoo, params).split("\n\n")
    assert third == UNTUNED
    assert first == terminal.markdown(terminal.read_deltas(zoo), params)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in second.split("\n")]
    assert {len(row) for row in rows} == {len(terminal.ranking_columns(params))}
    assert tuple(rows[0]) == terminal.ranking_columns(params)
    assert [row[0] for row in rows[2:]] == ["1", "2", "-"] * 2
    assert [row[2] for row in rows[2:]] == ["2"] * 3 + ["4"] * 3
    assert rows[4][1:5] == ["acgan", "2", "-", "none"]
    assert {row[-1] for row in rows[2:]} == {"2.5"}
    assert {row[-2] for row in rows[2:]} == {"0 of 4"}
    terminal.show(zoo, params)
    shown = capsys.readouterr().out
    assert shown.index("Test accuracy") < shown.index("Generators by CAS") < shown.index("report:")
    assert UNTUNED in shown
    for row in rows[2:]:
        assert all(cell in shown for cell in row)


def test_names_that_look_like_missing_values_are_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ZOO.replace("  acgan: {inputs", "  na1: {family: acgan, inputs")
    for before, after in (("dcgan_classical", "nan"), ("cvae_only", '"null"')):
        text = text.replace(f"  {before}:", f"  {after}:")
    root = left(leave_study(tmp_path, text))
    params = load_params(root)
    deltas = terminal.read_deltas(root)
    assert {"nan", "null"} <= set(params.arms) == set(deltas["arm"])
    assert deltas["mean_arm"].dtype == deltas["num_without_images"].astype(float).dtype == float
    assert "| nan over classical |" in terminal.markdown(deltas, params)
    generators = {row[1] for row in terminal.ranking_lines(root, params)}
    assert generators == {"dcgan", "cvae", "na1"}
    terminal.show(root, params)
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in ("nan", "null", "na1"))
    assert "For cnn, 2 labels per class with nan" in shown


def test_without_recorded_seconds_there_is_a_dash(zoo: Path) -> None:
    params = load_params(left(zoo))
    (zoo / "reports/timings.csv").unlink()
    assert {row[-1] for row in terminal.ranking_lines(zoo, params)} == {"-"}

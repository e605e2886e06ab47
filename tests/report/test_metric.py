"""Another metric than accuracy: verdicts, tables, figures, page and terminal are about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_classes import LABELS, OVERLAPS, scored
from test_classes import params as params  # noqa: PLC0414  # a fixture
from test_html import Page, render

from pipeline.config.schema import Params, load_params
from pipeline.report import comparisons, plots, tables, terminal, verdicts
from pipeline.report.diagnostics import diagnostics_table
from pipeline.report.results import build_tables, write_tables


def with_metric(params: Params, metric: str) -> Params:
    return params.model_copy(update={"report": params.report.model_copy(update={"metric": metric})})


@pytest.fixture(scope="module")
def trials(params: Params) -> tables.ScoredTrials:
    """dcgan gains on the largest class and loses the smallest."""
    return scored(params, {"dcgan": [0.25, 0.0, -0.4]})


def test_the_declared_metric_decides(trials: tables.ScoredTrials, params: Params) -> None:
    found = {}
    for metric in ("accuracy", "balanced_accuracy"):
        declared = with_metric(params, metric)
        table = tables.trials_table("toy", trials, metric)
        deltas = comparisons.deltas_table(table, declared, OVERLAPS)
        rows = comparisons.main_rows(deltas, declared).set_index(["classifier", "arm"])
        assert set(rows["metric"]) == {metric}
        found[metric] = rows.loc[("cnn", "dcgan"), "verdict"]
        numbers = comparisons.headline(deltas, declared)["cnn"]["budget_2"]["dcgan"]
        assert set(numbers) == {metric, "delta", "ci_low", "ci_high"}
    assert found == {"accuracy": "gain", "balanced_accuracy": "harm"}


def test_balanced_accuracy_is_the_last_column_of_an_unbalanced_test_set(
    trials: tables.ScoredTrials,
) -> None:
    table = tables.trials_table("toy", trials)
    assert list(table.columns)[-1] == "balanced_accuracy"
    (_, arrays), *_ = trials
    weights = tables.image_weights(trials, "balanced_accuracy")
    assert weights.mean() == pytest.approx(1)
    is_right = arrays["probabilities"].argmax(axis=1) == LABELS
    assert (weights * is_right).mean() == pytest.approx(table["balanced_accuracy"].iloc[0])
    assert tables.image_weights(trials, "accuracy") is None


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_interval_over_test_images_is_about_the_metric(
    metric: str, trials: tables.ScoredTrials, params: Params
) -> None:
    declared = with_metric(params, metric)
    table = tables.trials_table("toy", trials, metric)
    correct = tables.correct_mask(trials)
    weights = tables.image_weights(trials, metric)
    found = diagnostics_table(table, correct, declared, OVERLAPS, weights)
    deltas = comparisons.deltas_table(table, declared, OVERLAPS)
    rows = found.merge(comparisons.main_rows(deltas, declared), on=comparisons.KEYS)
    middle = (rows["new_images_low"] + rows["new_images_high"]) / 2
    if metric == "macro_f1":
        assert middle.isna().all()
    else:
        np.testing.assert_allclose(middle, rows["delta"], atol=1e-12)
        assert (rows["new_images_low"] <= rows["ci_low"] + 1e-12).all()


def test_explanations_name_the_metric() -> None:
    row = {
        "classifier": "cnn",
        "arm": "dcgan",
        "baseline": "real",
        "budget": 2,
        "metric": "balanced_accuracy",
        "n": 10,
        "mean_arm": 0.9,
        "mean_baseline": 0.8,
        "delta": 0.1,
        "ci_low": 0.05,
        "ci_high": 0.15,
        "verdict": "gain",
    }
    text = verdicts.explanation(row, 0.005)
    assert "cnn has a balanced accuracy of 90.0 % on the test images with dcgan and 80.0 %" in text
    text = verdicts.explanation(row | {"metric": "accuracy"}, 0.005)
    assert "cnn classifies 90.0 % of the test images correctly with dcgan and 80.0 %" in text


def test_the_whole_report_is_about_the_metric(project: Path) -> None:
    path = project / "params.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("  confidence_level", "  metric: macro_f1\n  confidence_level"))
    params = load_params(project)
    results = build_tables(params, project, "toy")
    write_tables(project / "reports", results)

    page = Page(render(project, params, results, tables.timings_table(params, project)))
    assert "Test macro F1 of every arm" in page.sections
    rows = page.sections["Test macro F1 of every arm"].tables[0]
    assert rows[0][1] == "macro F1"
    captions = [*plots.pictures(project / "reports", params).figures]
    assert not [caption for caption in captions if caption.startswith("Accuracy")]

    shown = terminal.report_markdown(project, params)
    assert "| macro F1 |" in shown
    assert "| accuracy |" not in shown
    lines = terminal.lines(terminal.read_deltas(project), params)
    main = comparisons.main_rows(results.deltas, params)
    macro = results.deltas[results.deltas["metric"] == "macro_f1"]
    pd.testing.assert_frame_equal(main.sort_index()[macro.columns], macro.loc[sorted(main.index)])
    assert len(lines) == len(macro)

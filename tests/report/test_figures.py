"""Figures depend on their input alone, and pictures stand where they should."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Params
from pipeline.data.images import LabeledImages
from pipeline.report import comparisons, figures, gallery, sheets, tables
from pipeline.report.sheets import Subject
from pipeline.report.verdicts import VERDICTS


@pytest.fixture(scope="module")
def trials(finished_study: Path, study: Params) -> pd.DataFrame:
    return tables.trials_table("toy", list(tables.read_trials(study, finished_study)))


def test_a_mosaic_fills_rows_first_and_leaves_a_pixel_between() -> None:
    images = np.arange(1, 7, dtype=np.uint8).repeat(4).reshape(6, 1, 2, 2)
    picture = sheets.mosaic(images, columns=3)
    assert picture.shape == (6, 9)
    assert picture[0].tolist() == [1, 1, 0, 2, 2, 0, 3, 3, 0]
    assert picture[3].tolist() == [4, 4, 0, 5, 5, 0, 6, 6, 0]
    assert not picture[2].any()


def test_a_mosaic_keeps_colors_apart() -> None:
    images = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    images[1, 2] = 9
    picture = sheets.mosaic(images, columns=2)
    assert picture.shape == (5, 10, 3)
    assert picture[0, 5].tolist() == [0, 0, 9]


def test_the_same_figure_is_the_same_file(trials: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figures.save(figures.learning_curves(trials), tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_the_forest_has_a_line_for_every_comparison(trials: pd.DataFrame, study: Params) -> None:
    overlaps = {2: 0.0, 4: 0.0, 8: 0.0}
    rows = comparisons.main_rows(comparisons.deltas_table(trials, study, overlaps), study)
    axes = figures.forest(rows, 0.005).axes
    assert [axis.get_title() for axis in axes] == list(study.classifiers)
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert sorted(names) == sorted(
        f"{arm} ({budget} per class)"
        for arm in study.arms
        if arm != "real"
        for budget in study.study.budgets
    )
    for axis in axes:
        texts = {text.get_text() for text in axis.texts}
        assert {text.split(" ", 1)[1] for text in texts} <= {*VERDICTS}
        colors = {text.get_color() for text in axis.texts}
        assert colors <= {verdict.color.light for verdict in VERDICTS.values()}


def test_one_budget_is_not_repeated_on_every_line(trials: pd.DataFrame, study: Params) -> None:
    overlaps = {2: 0.0, 4: 0.0, 8: 0.0}
    rows = comparisons.main_rows(comparisons.deltas_table(trials, study, overlaps), study)
    axes = figures.forest(rows[rows["budget"] == 2], 0.005).axes
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert sorted(names) == sorted(arm for arm in study.arms if arm != "real")


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=30), gap=st.floats(0.01, 3))
def test_labels_are_apart_in_order_and_inside(values: list[float], gap: float) -> None:
    places = figures.spread(values, gap, 0, 10)
    assert all(-1e-9 <= place <= 10 + 1e-9 for place in places)
    order = sorted(range(len(values)), key=lambda at: values[at])
    heights = [places[at] for at in order]
    least = min(gap, 10 / max(1, len(values) - 1))
    assert all(high - low >= least - 1e-9 for low, high in itertools.pairwise(heights))


def test_every_arm_is_named_beside_its_learning_curve(trials: pd.DataFrame, study: Params) -> None:
    for axis in figures.learning_curves(trials).axes:
        colors = {line.get_label(): line.get_color() for line in axis.get_lines()}
        labels = {text.get_text(): text.get_color() for text in axis.texts}
        assert list(labels) == list(study.arms)
        assert all(colors[arm] == color for arm, color in labels.items())


def test_lines_of_many_arms_are_told_apart() -> None:
    arms = [f"arm{number}" for number in range(31)]
    rows = [
        {"classifier": "cnn", "arm": arm, "budget": budget, "accuracy": 0.5}
        for arm in arms
        for budget in (1, 2)
    ]
    (axis,) = figures.learning_curves(pd.DataFrame(rows)).axes
    drawn = [line for line in axis.get_lines() if line.get_label() in arms]
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn]
    assert len(set(looks)) == 31
    assert {look[1:] for look in looks[: len(figures.COLORS)]} == {("o", "-")}


def test_a_confusion_matrix_shows_shares_of_the_true_class() -> None:
    figure = figures.confusion_matrices({"real": np.array([[3, 1], [0, 4]])}, ["zero", "one"])
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[0.75, 0.25], [0, 1]])
    assert {text.get_text() for text in figure.axes[0].texts} == {"75", "25", "100"}


def test_rows_of_a_sheet_are_named_after_their_class() -> None:
    images = np.zeros((6, 1, 4, 4), dtype=np.uint8)
    axes = sheets.sheets({"real": images, "made": images}, 2, ["a", "b", "c"]).axes
    assert [axis.get_title() for axis in axes] == ["real", "made"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_what_is_no_loss_has_a_panel_of_its_own() -> None:
    names = [
        "step",
        "generator",
        "generator_learning_rate",
        "mask",
        "accuracy",
        "k",
        "convergence",
        "doubling_psnr",
        "doubling_accuracy",
        "seed",
        "budget",
    ]
    axes = figures.losses(pd.DataFrame(1.0, index=range(3), columns=names)).axes
    found = {
        axis.get_title(): [text.get_text() for text in axis.get_legend().get_texts()]
        for axis in axes
    }
    assert found == {
        "loss": ["generator", "mask"],
        "accuracy": ["accuracy", "doubling_accuracy"],
        "learning rate": ["generator"],
        "balance": ["k", "convergence"],
        "signal to noise, dB": ["doubling_psnr"],
    }


def test_only_gray_images_on_black_are_inverted() -> None:
    gray = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    color = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    shown = {
        ("gray", (0,)): (gray, "gray_r"),
        ("gray", (255,)): (gray, "gray"),
        ("gray", None): (gray, "gray"),
        ("color", (0,)): (color, "gray"),
    }
    for (_, background), (images, colors) in shown.items():
        (axis,) = sheets.sheets({"real": images}, 2, None, background).axes
        assert axis.images[0].get_cmap().name == colors
        assert Subject(["a", "b"], background).paper(images) == (0 if colors == "gray_r" else 255)


@pytest.mark.parametrize("background", [(250, 250, 250), (9, 9, 9), (0,), None])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_line_between_images_differs_from_the_background(
    background: tuple[int, ...] | None, channels: int
) -> None:
    level = 200 if background is None else background[0]
    images = np.full((4, channels, 8, 12), level, dtype=np.uint8)
    picture = sheets.mosaic(images, 2, sheets.line_value(images, background)).astype(int)
    is_inverted = sheets.is_inverted(images, background)
    line, inside = picture[8, 12], picture[0, 0]
    assert is_inverted or np.abs(line - inside).min() > 20
    assert picture.shape[:2] == (2 * 9, 2 * 13)


def test_oblong_images_keep_their_shape_and_area() -> None:
    for height, width in ((16, 40), (40, 16), (28, 28), (64, 64)):
        cell = sheets.cell_inches(np.zeros((1, 3, height, width), dtype=np.uint8))
        assert cell[0] / cell[1] == pytest.approx(height / width)
        assert sheets.IMAGE_INCH**2 <= cell[0] * cell[1] + 1e-9 <= sheets.MAX_IMAGE_INCH**2 + 1e-6


def test_a_class_without_images_keeps_its_row_in_a_sheet() -> None:
    images = np.full((2, 3, 4, 4), 7, dtype=np.uint8)
    data = LabeledImages(images, np.array([0, 2]))
    rows = gallery.sheet(data, Subject(["a", "b", "c"], (250, 250, 250))).reshape(3, -1)
    assert rows[:, 0].tolist() == [7, 255, 7]

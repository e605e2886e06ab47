"""What the page says of the dataset, of a test set that is too small, and of a missing judge."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_html import Page, changed_page, manifest, render, results_of
from test_names import NAMES

from pipeline.config.schema import Params
from pipeline.report import data_views, resolution, terminal
from pipeline.report.captions import PER_SEED
from pipeline.report.names import readable
from pipeline.report.sheets import subject_of
from pipeline.runtime.files import read_json, write_json
from pipeline.stages import report

PART = {"num_images": 60, "sha256": "0" * 64, "per_class": [30, 20, 10], "num_unlabeled": 4}
OWN: dict[str, Any] = {
    "shape": [3, 32, 40],
    "background": [250, 250, 240],
    "imbalance": "natural",
    "labels_per_class": {"10": [15, 10, 5]},
    "per_seed": True,
    "pool": PART,
    "test": PART | {"num_unlabeled": 0},
    "test_images": {"min": 58, "max": 60},
    "reading": {
        "num_files": 130,
        "skipped": {"hidden": 2},
        "skipped_examples": {"hidden": [".DS_Store", "a/._<b>.jpg"]},
        "converted": {"rotated by EXIF": 3, "CMYK to RGB": 0},
        "modes": {"RGB": 120, "L": 10},
        "smallest": [20, 30],
        "largest": [3024, 4032],
        "num_sizes": 7,
        "resize": {
            "size": [32, 40],
            "policy": "crop",
            "num_enlarged": 5,
            "num_cropped_much": 1,
            "mean_lost_area": 0.123,
        },
    },
    "duplicates": {
        "within_class": 2,
        "from_train": 1,
        "across_classes": [["a/<i>.png", "a", "b"]],
        "num_across_classes": 2,
        "across_parts": [["b/1.png", "b", "a"]],
        "num_across_parts": 1,
    },
    "groups": {
        "rule": {"column": None, "name": "(.*)_"},
        "num_groups": 12,
        "largest": 9,
        "num_in_test": 3,
    },
}


def test_a_dataset_of_files_tells_what_happened_to_them(finished_study: Path) -> None:
    params, results, timings = results_of(finished_study)
    page = Page(render(finished_study, params, results, timings, **OWN))
    section = page.sections["Your data"]
    assert dict(section.tables[0]) == {
        "images": "32 x 40 pixels (height x width), RGB, background of color (250, 250, 240)",
        "pool": "60 images, 4 of them without a label",
        "test set": "58 to 60 images, held out anew by every seed",
        "class balance": "labeled subsets have the class shares of the dataset",
        "groups": "12 groups (name (.*)_), the largest of 9 images; no group is on two sides of a "
        "split",
    }
    assert section.items == [
        "130 files read: 120 RGB, 10 L.",
        "Skipped, hidden: 2 files (.DS_Store, a/._<b>.jpg).",
        "Converted: 3 rotated by EXIF.",
        "Sizes before resizing: 20 x 30 to 3024 x 4032 pixels (height x width), 7 sizes.",
        "Resized to 32 x 40 pixels (crop): cut at both ends of the longer side.",
        "This cut away 12.3 % of the area of an image on average, and more than 20 % of 1 image.",
        "5 smaller than that were enlarged, which adds no detail.",
        "Exact copies within a class: 2 dropped, one of each kept.",
        "Images that are in the test set as well: 1 dropped from the pool.",
        "1 of these has another label in the test set, so at least one of the two is wrong; "
        "see the list below.",
        "Images of groups that are in the test set: 3 dropped from the pool (of the first seed).",
        "Equal images with different labels: all 2 dropped, since at least one of the labels is "
        "wrong; they are listed below.",
    ]
    classes, conflicts = section.tables[1:]
    assert classes == [
        ["number", "class", "pool", "test", "labeled, budget 10"],
        ["#0", "a", "30", "30", "15"],
        ["#1", "b", "20", "20", "10"],
        ["#2", "c", "10", "10", "5"],
    ]
    assert conflicts[1:] == [["a/<i>.png", "a", "b"], ["b/1.png", "b", "a"]]
    assert not page.unbalanced


def test_a_manifest_without_the_new_keys_has_a_short_section(finished_study: Path) -> None:
    section = changed_page(finished_study).sections["Your data"]
    assert [row[0] for row in section.tables[0]] == ["pool", "test set"]
    assert section.items == []
    assert section.tables[1][0] == ["number", "class"]


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([0], "black background"),
        ([255, 255, 255], "white background"),
        ([9], "gray (9 of 255) background"),
        (None, "no background (photos)"),
    ],
)
def test_a_background_has_a_name(levels: list[int] | None, words: str) -> None:
    assert data_views.background_name(levels) == words


def test_figures_know_the_background_of_the_manifest() -> None:
    assert subject_of(manifest()).background == (0,)
    assert subject_of(manifest(background=None)).background is None
    assert subject_of(manifest(background=[255, 255, 255])).background == (255, 255, 255)


def test_names_of_every_kind_are_text_on_the_page(finished_study: Path) -> None:
    params, results, timings = results_of(finished_study)
    for start in range(0, len(NAMES) - 2, 3):
        names = list(NAMES[start : start + 3])
        page = Page(render(finished_study, params, results, timings, class_names=names))
        assert not page.unbalanced
        assert not [tag for tag, _ in page.tags if tag in ("b", "script", "i")]
        page.source.encode()
        shown = [row["class"] for row in page.table("Your data", 1)]
        assert shown == [" ".join(readable(name).split()) for name in names]
        by_class = page.table("Quality of the synthetic images", 2)
        assert {row["class"] for row in by_class} == set(shown)
        assert "\x1b" not in page.source
        assert "\u202e" not in page.source


def small(study: Params, effect: float) -> Params:
    return study.model_copy(
        update={"report": study.report.model_copy(update={"smallest_effect": effect})}
    )


def comparison(**changes: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The primary comparison of `study`: ten seeds that show 2 points, 4 on new test images."""
    keys = {"classifier": "cnn", "arm": "dcgan", "baseline": "real", "budget": 2}
    delta = keys | {"metric": "accuracy", "n": 10, "smallest_detectable": 0.02}
    delta |= {"ci_low": -0.01, "ci_high": 0.01}
    found = keys | {"new_images_low": -0.02, "new_images_high": 0.02, "overlap": 0.0} | changes
    return pd.DataFrame([delta]), pd.DataFrame([found])


def test_a_test_set_that_is_too_small_is_named_with_what_it_would_take(study: Params) -> None:
    first, second, third = resolution.sentences(
        *comparison(), {"test": {"num_images": 60}}, small(study, 0.01)
    )
    assert "The smallest effect of interest, 1.00 points, is below" in first
    assert "with 10 seeds and 60 test images" in first
    assert "differences from 2.00 points up" in first
    assert "and from 4.00 points on new test images" in first
    assert "one of 60 images is 1.67 points" in second
    assert "at least 1.28 points" in second  # sqrt(0.01 * 0.99 / 60)
    assert third == "It would take about 1,500 test images and about 80 seeds."


def test_a_study_that_shows_the_smallest_effect_says_nothing(study: Params) -> None:
    for effect in (0.0, 0.05):
        tables = comparison()
        data = {"test": {"num_images": 60_000}}
        assert resolution.sentences(*tables, data, small(study, effect)) == []


def test_overlapping_subsets_can_make_more_seeds_useless(study: Params) -> None:
    tables = comparison(overlap=0.9)
    *_, last = resolution.sentences(*tables, {"test": {"num_images": 60}}, small(study, 0.01))
    assert "no number of these is enough" in last


def test_the_bound_of_test_images_is_that_of_the_normal_distribution() -> None:
    needed = resolution.least_test_images(0.01, 0.95)
    error = resolution.least_standard_error(0.01, needed)
    assert 0.01 / error == pytest.approx(1.96 + 0.8416, abs=0.01)


def test_test_sets_of_every_seed_have_their_note(finished_study: Path, study: Params) -> None:
    params, results, timings = results_of(finished_study)
    data = params.data.model_copy(update={"test_per_class": None})
    per_seed = data.model_validate(
        data.model_dump(exclude={"test"}) | {"test": {"frac": 0.2, "per_seed": True}}
    )
    changed = params.model_copy(update={"data": per_seed})
    page = Page(render(finished_study, changed, results, timings, per_seed=True))
    assert PER_SEED in page.text
    assert PER_SEED not in changed_page(finished_study).text


def test_without_a_judge_its_numbers_are_unknown(finished_study: Path) -> None:
    _, results, _ = results_of(finished_study)
    judged = [
        "label_fidelity",
        "label_fidelity_floor",
        "wrong_label_frac",
        "coverage",
        "coverage_floor",
        "copying_features",
        "copying_features_floor",
    ]
    fidelity = results.fidelity.assign(
        **dict.fromkeys(judged, np.nan), unknown="the pool leaves 3 images"
    )
    of_classes = results.fidelity_classes.assign(
        label_fidelity=np.nan, label_fidelity_low=np.nan, label_fidelity_high=np.nan
    )
    page = changed_page(finished_study, fidelity=fidelity, fidelity_classes=of_classes)
    section = page.sections["Quality of the synthetic images"]
    for row in page.table("Quality of the synthetic images"):
        assert row["label fidelity"] == row["coverage"] == row["wrong labels"] == "unknown"
        assert row["CAS"] not in ("-", "unknown")
    for row in page.table("Quality of the synthetic images", 1):
        assert row["copying, features"] == "unknown"
        assert row["copying, pixels"] != "unknown"
    assert {row["label fidelity"] for row in page.table("Quality of the synthetic images", 2)} == {
        "unknown"
    }
    assert "The pool leaves 3 images." in section.text


def test_a_whole_report_has_names_of_every_kind(project: Path, study: Params) -> None:
    path = project / "data/splits/manifest.json"
    names = ["مرحبا", "<b>bold", "$5_x^2"]
    background = [255]
    write_json(path, read_json(path) | {"class_names": names, "background": background})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        report.run(study, project)
    page = Page((project / "reports/report.html").read_text("utf-8"))
    assert [row["class"] for row in page.table("Your data", 1)] == names
    assert not page.unbalanced
    assert "white background" in page.sections["Your data"].text
    limits = terminal.limits(project, study)
    # Four seeds are too few to say more than what holds for any number of seeds.
    assert limits.startswith("The test set is too small for the smallest effect of interest")
    assert limits.endswith("It would take at least 1,600 test images, whatever the seeds.")
    assert limits in " ".join(page.text.split())

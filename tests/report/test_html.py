"""The page loads nothing, runs nothing, shows hostile text as text, and says what the tables say.

Pages are parsed into sections with tables of cells. The hand-made study is read once per session;
what depends on a few cells of its tables is tested on changed copies of them.
"""

from __future__ import annotations

import base64
import functools
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config.schema import Params, load_params
from pipeline.report import comparisons, generator_views, html, tables, views
from pipeline.report.captions import SHOWCASE_CAPTIONS, UNTUNED, WARNINGS
from pipeline.report.plots import Pictures
from pipeline.report.results import ReportTables, build_tables
from pipeline.report.teachers import TEACHER_COLUMNS
from pipeline.report.verdicts import VERDICTS, explanation
from pipeline.trials.grid import pairs

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}&amp;\x1b[31m'
VOID = {"meta", "img", "br", "hr", "link", "input"}
Rows = list[list[str]]


@dataclass
class Section:
    """What stands below one heading of the page."""

    tables: list[Rows] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    text: str = ""


class Page(HTMLParser):
    """A page: its tags, whether they are closed, and its sections by their h2."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.sections: dict[str, Section] = {"": Section()}
        self.now = self.sections[""]
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.now.tables.append([])
        elif tag == "tr":
            self.now.tables[-1].append([])
        if tag in ("td", "th", "li", "summary", "figcaption", "h2"):
            self.parts = []

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)
        words = " ".join("".join(self.parts).split())
        if tag in ("td", "th"):
            self.now.tables[-1][-1].append(words)
        elif tag in ("li", "summary", "figcaption"):
            name = {"li": "items", "summary": "summaries", "figcaption": "captions"}[tag]
            getattr(self.now, name).append(words)
        elif tag == "h2":
            self.now = self.sections.setdefault(words, Section())

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
        self.now.text += data

    @property
    def text(self) -> str:
        return "".join(section.text for section in self.sections.values())

    def table(self, title: str, number: int = 0) -> list[dict[str, str]]:
        """The rows of a section's table, by column title."""
        head, *rows = self.sections[title].tables[number]
        return [dict(zip(head, row, strict=True)) for row in rows]


@functools.cache
def results_of(root: Path) -> tuple[Params, ReportTables, pd.DataFrame]:
    """The tables of the study at `root`, computed once."""
    params = load_params(root)
    return params, build_tables(params, root, "toy"), tables.timings_table(params, root)


def manifest(**changes: Any) -> dict[str, Any]:
    part = {"num_images": 120, "sha256": "0" * 64}
    plain = {"dataset": "toy", "class_names": ["a", "b", "c"], "pool": part, "test": part}
    return plain | changes


@functools.cache
def a_picture(folder: Path) -> Path:
    picture = folder / "figure-of-tests.png"
    Image.new("L", (2, 2)).save(picture)
    return picture


def render(
    root: Path, params: Params, results: ReportTables, timings: pd.DataFrame, **changes: Any
) -> str:
    """The page of these tables, with `changes` to its manifest."""
    picture = a_picture(root.parent)
    pictures = Pictures(
        headline=("Deltas", picture),
        figures={"A figure of " + str(changes.get("dataset", "toy")): picture},
        galleries={name: {"sheet": picture, "other": picture} for name in params.generators},
        side_by_side=picture,
    )
    return html.render_page(root, params, results, timings, pictures, manifest(**changes))


def rendered(params: Params, root: Path) -> str:
    """The page of the results at `root`."""
    timings = tables.timings_table(params, root)
    return render(root, params, build_tables(params, root, "toy"), timings)


def changed_page(root: Path, **tables_changed: Any) -> Page:
    """The page of the study at `root` with some of its tables replaced."""
    params, results, timings = results_of(root)
    return Page(render(root, params, replace(results, **tables_changed), timings))


def page_with(root: Path, params: Params) -> Page:
    """The page of the same results under other params."""
    return Page(rendered(params, root))


@pytest.fixture(scope="session")
def page(finished_study: Path) -> Page:
    return changed_page(finished_study)


@pytest.fixture(scope="session")
def zoo_page(finished_zoo: Path) -> Page:
    return changed_page(finished_zoo)


def test_the_page_has_no_scripts_and_loads_nothing(page: Page) -> None:
    source = page.source.lower()
    for text in ("<script", "http://", "https://", "url(", "@import"):
        assert text not in source
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "link", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "data", "action", "srcset"):
            assert (attributes.get(name) or "data:image/png").startswith("data:image/png")


def test_the_page_forbids_the_browser_to_load_anything(page: Page) -> None:
    policies = [
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src" not in policies[0]


def test_hostile_names_and_params_are_shown_as_text(finished_study: Path, tmp_path: Path) -> None:
    params, results, timings = results_of(finished_study)
    text = (finished_study / "params.yaml").read_text("utf-8")
    root = tmp_path / "project"
    root.mkdir()
    hostile = f"{text}# {HOSTILE} </pre></html> https://example.org/x.js\n"
    (root / "params.yaml").write_text(hostile, "utf-8")
    failed = pd.DataFrame([dict.fromkeys(tables.FAILURE_COLUMNS, HOSTILE)])
    results = replace(results, failures=failed)
    page = Page(render(root, params, results, timings, dataset=HOSTILE, class_names=[HOSTILE] * 3))
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe")]
    assert all(set(a) == {"src", "alt"} for tag, a in page.tags if tag == "img")
    assert not any(attributes.get("src") == "x" for _, attributes in page.tags)
    assert "49" not in page.text.partition("params.yaml")[2].partition("example.org")[0]
    assert page.text.count("<script>alert(1)</script>") >= 3
    assert page.table("Failed trials")[0]["reason"] == " ".join(HOSTILE.split())


def test_every_tag_that_is_opened_is_closed(page: Page, zoo_page: Page) -> None:
    for each in (page, zoo_page):
        assert not each.unbalanced
        assert not each.open
        assert {"table", "details", "figure", "ul"} <= {tag for tag, _ in each.tags}


def test_wide_tables_scroll_in_their_own_box_and_dark_mode_has_colors(page: Page) -> None:
    assert page.source.count('<div class="scroll"><table>') == sum(
        tag == "table" for tag, _ in page.tags
    )
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    for name, verdict in VERDICTS.items():
        assert f".{name.replace(' ', '-')} {{ color: {verdict.color.light}" in style
        assert f".{name.replace(' ', '-')} {{ color: {verdict.color.dark}" in style


def test_the_recommendation_comes_first(page: Page) -> None:
    headings = [heading for heading in page.sections if heading]
    assert headings[:3] == [
        "Recommendation",
        "Primary comparison",
        "Test accuracy of every arm",
    ]
    lead = page.source.partition('<div class="lead">')[2].partition("</div>")[0]
    assert lead.count("<p>") == 2 * 2
    assert "cnn with 2 labels per class: 4 seeds are too few to show that an arm helps" in lead
    assert "are needed; keep real" in lead


def test_the_primary_comparison_is_the_declared_one(page: Page) -> None:
    text = page.sections["Primary comparison"].text.strip()
    assert text.startswith("dcgan has too few seeds for a comparison with real for cnn, 2 labels")


def test_every_arm_of_every_classifier_and_budget_has_its_row(page: Page, study: Params) -> None:
    section = page.sections["Test accuracy of every arm"]
    assert len(section.tables) == 2 * 2
    for number in range(4):
        rows = page.table("Test accuracy of every arm", number)
        assert len(rows) == len(pairs(study))
        assert [row["arm"] for row in rows[: len(study.arms)]] == list(study.arms)
        assert sum(row["arm"] == "dcgan over classical" for row in rows) == 1
        assert {row["verdict"] for row in rows} <= {*VERDICTS}


def test_cells_are_those_of_the_table_of_deltas(page: Page, finished_study: Path) -> None:
    _, results, _ = results_of(finished_study)
    deltas = results.deltas
    first = deltas[(deltas["classifier"] == "cnn") & (deltas["budget"] == 2)]
    first = first[(first["metric"] == "accuracy") & (first["baseline"] == "real")]
    rows = page.table("Test accuracy of every arm", 0)
    for cells, row in zip(rows, comparisons.rows_of(first), strict=False):
        assert cells["accuracy"] == f"{100 * row['mean_arm']:.1f} %"
        assert cells["delta, points"] == f"{100 * row['delta']:+.2f}"
        assert cells["95 % interval"] == (
            f"{100 * row['ci_low']:+.2f} to {100 * row['ci_high']:+.2f}"
        )
        assert cells["p"] == "-"  # four seeds are too few


def test_verdicts_have_their_class_and_are_all_explained(page: Page) -> None:
    items = page.sections["Test accuracy of every arm"].items
    assert items == [f"{name}: {verdict.meaning}." for name, verdict in VERDICTS.items()]
    assert 'class="left exploratory">exploratory</td>' in page.source
    assert 'class="left not-judged">not judged</td>' in page.source


def test_the_assumptions_are_one_click_away_from_the_answer(page: Page) -> None:
    part = page.source.partition("<h2>Primary comparison</h2>")[2]
    shown, _, hidden = part.partition("<details>")
    assert "Student" not in shown
    assert "Assumed:" in hidden.partition("</details>")[0]


def test_every_answer_has_its_explanation(page: Page, finished_study: Path) -> None:
    params, results, _ = results_of(finished_study)
    main = comparisons.main_rows(results.deltas, params)
    claims = [arm for arm, recipe in params.arms.items() if recipe.role == "claim"]
    rows = main[main["arm"].isin(claims) & (main["arm"] != "real")]
    text = " ".join(page.sections["Primary comparison"].text.split())
    for row in comparisons.rows_of(rows):
        needed = {"seeds_to_decide": 10}
        first = explanation({**row, **needed}, 0.005).partition(". ")[0]
        assert first in text
    items = [item for item in page.sections["Primary comparison"].items if "too few" in item]
    assert len(items) == 3 * 2 * 2 - 1 + 2 * 2 * 2


def test_controls_have_a_table_of_their_own(page: Page) -> None:
    rows = page.table("Control arms")
    assert len(rows) == 3 * 2 * 2
    assert {row["outcome"] for row in rows} == {"not judged"}
    assert {row["control"] for row in rows} == {"oversample", "shuffled", "fresh_real"}


def test_label_equivalents_are_in_words(page: Page) -> None:
    items = page.sections["Primary comparison"].items
    equivalents = [item for item in items if "labels per class alone" in item]
    assert len(equivalents) == 3 * 2 * 2
    assert not [item for item in equivalents if "inf" in item or "nan" in item]


def test_flags_are_counted_over_seeds(page: Page) -> None:
    section = page.sections["Quality of the synthetic images"]
    _, *rows = section.tables[1]
    assert len(rows) == 2
    assert all(row[-1].endswith("(1 of 4 seeds)") for row in rows)


def test_without_failures_nothing_is_said_of_them(page: Page) -> None:
    assert "Failed trials" not in page.sections


@pytest.mark.parametrize("how_many", [1, 4])
def test_failures_are_listed_with_a_line_without_them(how_many: int, finished_study: Path) -> None:
    _, results, _ = results_of(finished_study)
    failures = pd.DataFrame(
        [
            {"stage": "train_classifiers", "item": "dcgan", "classifier": "cnn", "budget": 2}
            | {"seed": seed, "reason": "step 3: no"}
            for seed in range(how_many)
        ]
    )
    names = ["classifier", "arm", "baseline", "budget"]
    key = ("cnn", "dcgan", "real", 2)
    deltas, diagnostics = results.deltas.copy(), results.diagnostics.copy()
    for table in (deltas, diagnostics):
        here = (table[names] == list(key)).all(axis=1)
        if "num_failed" in table:
            table.loc[here, "num_failed"] = how_many
        else:
            table.loc[here, "completed_n"] = 4 - how_many
            if how_many == 4:
                table.loc[here, ["completed_delta", "completed_low", "completed_high"]] = np.nan
    page = changed_page(finished_study, failures=failures, deltas=deltas, diagnostics=diagnostics)
    assert [row["reason"] for row in page.table("Failed trials")] == ["step 3: no"] * how_many
    (line,) = page.sections["Failed trials"].items
    assert f"dcgan against real for cnn, 2 labels per class: {how_many} of 4 seeds failed" in line
    assert ("no seed is left" in line) == (how_many == 4)
    assert "nan" not in line


def test_a_failed_classifier_without_a_name_has_a_dash(finished_study: Path) -> None:
    failed = pd.DataFrame([{"stage": "tune", "item": "dcgan", "budget": 2, "seed": 0}])
    failed = failed.assign(classifier=np.nan, reason="x")
    page = changed_page(finished_study, failures=failed)
    assert page.table("Failed trials")[0]["classifier"] == "-"


def test_a_study_whose_generator_always_fails_still_has_a_page(finished_study: Path) -> None:
    _, results, _ = results_of(finished_study)
    keys = ["generator", "budget", "seed"]
    page = changed_page(
        finished_study,
        fidelity=results.fidelity[[*keys, "cas", "flags"]],
        fidelity_classes=results.fidelity_classes[:0],
        tuning=results.tuning[:0],
        health=results.health.assign(accuracy=np.nan, min_diversity=np.nan),
    )
    rows = page.table("Quality of the synthetic images")
    assert {row["label fidelity"] for row in rows} == {"- (-)"}
    assert "GAN diagnostics" not in page.sections
    assert "Sampling and filtering" not in page.sections


def test_a_study_without_controls_reference_or_curve_has_a_page(
    study: Params, finished_study: Path
) -> None:
    params = study.model_copy(
        update={
            "arms": {name: study.arms[name] for name in ("real", "dcgan")},
            "study": study.study.model_copy(update={"curve_budgets": [], "budgets": [2]}),
            "report": study.report.model_copy(update={"reference": None}),
        }
    )
    page = page_with(finished_study, params)
    assert "Control arms" not in page.sections
    assert "Label equivalents" not in page.text
    assert "dcgan has too few seeds for a comparison with real" in page.text
    text = " ".join(page.text.split())
    assert "its arms already contain part of the effect of augmentation" in text
    assert "what the generator itself contributes" not in page.text


def test_measuring_arms_are_compared_with_the_reference_apart_from_claims(
    finished_study: Path,
) -> None:
    _, results, _ = results_of(finished_study)
    over = (results.deltas["arm"] == "dcgan_classical") & (results.deltas["baseline"] != "real")
    deltas = results.deltas.copy()
    deltas.loc[over, "verdict"] = "measure"
    source = changed_page(finished_study, deltas=deltas).source
    part = source.partition("better than augmentation alone (classical)?")[2]
    claims, _, measured = part.partition("Label equivalents")[0].partition("<details>")
    assert claims.count("<li><strong>dcgan has") == 2 * 2
    assert measured.count("<li><strong>dcgan_classical is measured, without a claim,") == 2 * 2
    assert "dcgan_classical" not in claims


@pytest.mark.parametrize("name", ["page", "zoo_page"])
def test_no_number_is_printed_as_nan(name: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(name)
    for title, section in page.sections.items():
        if title != "Provenance":
            assert not re.search(r"\bnan\b|\binf\b", section.text, re.IGNORECASE)
            assert "None" not in section.text


def test_a_study_of_one_seed_is_printed_without_nan(study: Params, finished_study: Path) -> None:
    one = study.model_copy(update={"study": study.study.model_copy(update={"seeds": [3]})})
    page = page_with(finished_study, one)
    assert "nan" not in page.text.partition("Provenance")[0].lower()
    assert {row["95 % interval"] for row in page.table("Test accuracy of every arm")} == {"none"}


def test_without_recorded_seconds_the_page_says_so(finished_study: Path) -> None:
    params, results, timings = results_of(finished_study)
    page = Page(render(finished_study, params, results, timings[:0]))
    assert "no seconds were recorded" in page.sections["Run time"].text


def test_the_cost_of_a_stage_is_summed_over_its_trials() -> None:
    timings = pd.DataFrame(
        {
            "stage": ["a", "a", "b"],
            "item": ["x", "x", "x"],
            "seconds": [1.0, 3.0, 5.0],
            "images_per_s": [8.0, 4.0, np.nan],
        }
    )
    table = views.run_time(timings)
    cells = [[column.cell(row) for column in table.columns] for row in table.rows]
    assert cells == [["a", "x", "2", "4", "2.0", "6"], ["b", "x", "1", "5", "5.0", "-"]]


def test_the_augmentation_of_a_generator_is_named(page: Page) -> None:
    text = " ".join(page.text.split())
    assert (
        "dcgan was trained with augmentation (rotation up to 10 degrees, translation up to 5 % of "
        "the side, scaling up to 10 %, shear up to 8 degrees)"
    ) in text
    assert "comparison with classical shows what the generator itself contributes" in text


def tuned(finished_study: Path, study: Params, values: list[float], used: list[float]) -> Page:
    _, results, timings = results_of(finished_study)
    params = study.model_copy(update={"tune": study.tune.model_copy(update={"latent_std": values})})
    tuning = results.tuning.assign(latent_std=used * 2)
    return Page(render(finished_study, params, replace(results, tuning=tuning), timings))


def test_values_that_were_fixed_are_shown_as_fixed(finished_study: Path, study: Params) -> None:
    page = tuned(finished_study, study, [1.0], [1.0] * 4)
    rows = page.table("Sampling and filtering")
    assert [list(row.values())[2:] for row in rows] == [["1, fixed", "0.5, fixed"]] * 2
    assert "Fixed before the run" in page.sections["Sampling and filtering"].text


def test_values_that_were_selected_are_counted(finished_study: Path, study: Params) -> None:
    page = tuned(finished_study, study, [1.0, 1.5], [1.5, 1.0, 1.0, 1.0])
    rows = page.table("Sampling and filtering")
    expected = ["1 (3 of 4 seeds); 1.5 (1 of 4 seeds)", "0.5, fixed"]
    assert [list(row.values())[2:] for row in rows] == [expected] * 2
    text = page.sections["Sampling and filtering"].text
    assert "in 2 folds" in text
    assert "Fixed before" not in text


def test_one_generator_is_neither_ranked_nor_compared_with_another(page: Page) -> None:
    assert "Generators by CAS" not in page.sections
    assert "The best generator of every kind" not in page.sections
    assert "<details open><summary>Gallery of dcgan</summary>" in page.source


def test_several_generators_are_ranked(zoo_page: Page) -> None:
    rows = zoo_page.table("Generators by CAS")
    assert len(rows) == 3 * 2
    assert [row["generator"] for row in rows[:3]] == ["cvae", "dcgan", "acgan"]
    assert [row["rank by CAS"] for row in rows[:3]] == ["1", "2", "-"]
    text = " ".join(zoo_page.sections["Generators by CAS"].text.split())
    assert "not corrected for the number of generators" in text
    assert UNTUNED in text


def test_the_best_of_every_kind_are_compared(zoo_page: Page) -> None:
    rows = zoo_page.table("The best generator of every kind")
    assert [(row["generator"], row["kind"]) for row in rows] == [
        ("cvae", "variational autoencoder"),
        ("dcgan", "GAN"),
    ]
    assert len(zoo_page.sections["The best generator of every kind"].captions) == 1


def test_galleries_of_several_generators_are_closed(zoo_page: Page) -> None:
    section = zoo_page.sections["Figures"]
    assert section.summaries == [f"Gallery of {name}" for name in ("cvae", "acgan", "dcgan")]
    assert section.captions[1:] == [SHOWCASE_CAPTIONS["sheet"], "other"] * 3
    assert "<details open>" not in zoo_page.source


def test_a_balance_and_a_second_discriminator_have_columns_of_their_own(
    finished_zoo: Path,
) -> None:
    _, results, _ = results_of(finished_zoo)
    health = results.health.assign(k=np.nan, doubling_accuracy=np.nan)
    is_acgan, is_dcgan = (health["generator"] == name for name in ("acgan", "dcgan"))
    health.loc[is_acgan, ["accuracy", "k"]] = [np.nan, 0.75]
    health.loc[is_dcgan, "doubling_accuracy"] = 0.9
    rows = changed_page(finished_zoo, health=health).table("GAN diagnostics")
    shown = {row["generator"]: list(row.values())[2:] for row in rows}
    assert {name: cells[:3] for name, cells in shown.items()} == {
        "acgan": ["-", "-", "0.75"],
        "dcgan": ["75.0 %", "90.0 %", "-"],
        "cvae": ["-", "-", "-"],
    }
    assert {name: cells[-1] for name, cells in shown.items()} == {
        "acgan": "none",
        "dcgan": "none",
        "cvae": "-",
    }


def test_warnings_are_counted_over_seeds_and_explained(finished_study: Path) -> None:
    _, results, _ = results_of(finished_study)
    health = results.health.copy()
    lost = (health["budget"] == 2) & health["seed"].isin([0, 2])
    health.loc[lost, ["accuracy", "warnings"]] = [1.0, "discriminator_wins"]
    page = changed_page(finished_study, health=health)
    first, second = page.table("GAN diagnostics")
    assert first["discriminator accuracy at the end"] == "87.5 %"
    assert first["warnings"] == "discriminator saturated (2 of 4 seeds)"
    assert second["discriminator accuracy at the end"] == "75.0 %"
    assert second["warnings"] == "none"
    items = page.sections["GAN diagnostics"].items
    assert items == [f"{name}: {meaning}" for name, meaning in WARNINGS.values()]


def test_without_discriminators_there_are_no_gan_diagnostics(finished_zoo: Path) -> None:
    _, results, _ = results_of(finished_zoo)
    health = results.health
    assert len(generator_views.mean_health(health)) == 3 * 2
    assert generator_views.mean_health(health[health["generator"] == "cvae"]).empty


def test_few_seeds_name_the_seeds_that_would_decide(finished_study: Path) -> None:
    page = changed_page(finished_study)
    _, results, _ = results_of(finished_study)
    primary = results.diagnostics.iloc[0]
    assert primary["seeds_to_decide"] >= 10
    assert "so run at least" in page.sections["Primary comparison"].text
    head = page.sections["Diagnostics"].tables[0][0]
    assert head[-2:] == ["seeds to decide", "seeds for 80 % power"]
    assert "minimum detectable effect (80 % power), points" in head


@pytest.mark.parametrize("unknown_frac", [0.0, 0.25])
def test_columns_of_unknown_classes_are_shown_where_there_are_such(
    unknown_frac: float, finished_study: Path
) -> None:
    columns = [*TEACHER_COLUMNS[3:], *tables.ALIASES.values()]
    row = {"teacher": "graph", "budget": 2, "seed": 0, **dict.fromkeys(columns, 0.9)}
    teachers = pd.DataFrame([row | {"unknown_frac": unknown_frac, "flags": "", "choice": ""}])
    page = changed_page(finished_study, teachers=teachers)
    (cells,) = page.table("Pseudo-label accuracy")
    assert cells["teacher"] == "graph"
    assert ("OOD AUROC" in cells) == ("unknown classes" in cells) == (unknown_frac > 0)
    assert "farther from the unlabeled" in page.sections["Pseudo-label accuracy"].text


def test_pictures_are_inside_the_page(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    kind, _, content = html.embedded(tmp_path / "x.png").partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == b"\x89PNG"


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert html.commit(tmp_path).startswith("none")


def test_a_broken_repository_does_not_stop_the_report(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert html.commit(tmp_path) == "unknown"


def test_templates_have_short_lines() -> None:
    folder = Path(html.__file__).parent / "templates"
    files = sorted(folder.glob("*.j2"))
    assert len(files) >= 8
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    assert max(map(len, lines)) <= 160

"""The page loads nothing, runs nothing, and shows hostile text as text."""

from __future__ import annotations

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config.schema import Params, load_params
from pipeline.report import html, tables
from pipeline.report.verdicts import SHOWCASE_CAPTIONS, UNTUNED, VERDICTS, WARNINGS
from pipeline.runtime.files import file_digest, read_json, read_npz, write_json, write_npz
from pipeline.stages.report import build_tables, mean_health, page_tables
from pipeline.trials.grid import pairs
from pipeline.trials.integrity import artifacts
from pipeline.trials.provenance import manifest_of

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}&amp;\x1b[31m'


class Elements(HTMLParser):
    """Collects tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def manifest(**changes: Any) -> dict[str, Any]:
    part = {"num_images": 120, "sha256": "0" * 64}
    plain = {"dataset": "toy", "class_names": ["a", "b", "c"], "pool": part, "test": part}
    return plain | changes


def rendered(params: Params, root: Path, **changes: Any) -> str:
    """The page of the hand-made results, with `changes` to its manifest."""
    picture = root / "figure.png"
    Image.new("L", (2, 2)).save(picture)
    timings = tables.timings_table(params, root)
    path = root / "reports/report.html"
    pictures = html.Pictures(
        figures={"A figure of " + str(changes.get("dataset", "toy")): picture},
        galleries={name: {"sheet": picture, "other": picture} for name in params.generators},
        side_by_side=picture,
    )
    found = page_tables(build_tables(params, root, "toy"), timings, params)
    html.write_page(path, params, found, pictures, manifest(**changes))
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(study: Params, finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page") / "project"
    return rendered(study, Path(shutil.copytree(finished_study, folder)))


def test_the_page_has_no_scripts_and_loads_nothing(text: str) -> None:
    assert "<script" not in text.lower()
    assert "http://" not in text
    assert "https://" not in text
    for tag, attributes in Elements(text).found:
        assert tag not in ("script", "iframe", "link", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "data", "action", "srcset"):
            assert (attributes.get(name) or "data:image/png").startswith("data:image/png")
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_forbids_the_browser_to_load_anything(text: str) -> None:
    policies = [
        attributes["content"] or ""
        for tag, attributes in Elements(text).found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src" not in policies[0]


def test_hostile_names_and_params_are_shown_as_text(study: Params, project: Path) -> None:
    with (project / "params.yaml").open("a", encoding="utf-8") as file:
        file.write(f"# {HOSTILE} </pre></html> https://example.org/x.js\n")
    text = rendered(study, project, dataset=HOSTILE, class_names=[HOSTILE] * 3)
    elements = Elements(text)
    assert [tag for tag, _ in elements.found if tag in ("script", "iframe")] == []
    assert all(set(a) == {"src", "alt"} for tag, a in elements.found if tag == "img")
    assert "49" not in elements.text.partition("params.yaml")[2].partition("example.org")[0]
    assert elements.text.count("<script>alert(1)</script>") >= 2
    assert not any(attributes.get("src") == "x" for _, attributes in elements.found)


def test_values_that_were_fixed_are_shown_as_fixed(text: str) -> None:
    part = text.partition("How the images were drawn and kept")[2].partition("<h2>")[0]
    rows = [
        list(filter(None, map(str.strip, Elements(row).text.splitlines())))
        for row in part.split("<tr>")[2:]
    ]
    assert len(rows) == 2
    assert "1, fixed0.5, fixed" in rows[0][0]
    assert "Fixed before the run" in part


def test_moved_images_are_confessed(text: str) -> None:
    assert (
        "turned by up to 10 degrees, shifted by up to 5 % of the side, scaled by up to 10 %" in text
    )
    assert "the comparison with classical tells" in text


def test_measuring_arms_are_held_against_the_reference_apart_from_claims(
    study: Params, project: Path
) -> None:
    arms = study.arms | {
        "dcgan_classical": study.arms["dcgan_classical"].model_copy(update={"role": "measure"})
    }
    text = rendered(study.model_copy(update={"arms": arms}), project)
    part = text.partition("better than simply augmenting")[2].partition("How many real labels")[0]
    claims, _, measured = part.partition("<details>")
    assert claims.count("<li><strong>dcgan was") == 2 * 2
    assert measured.count("<li><strong>dcgan_classical measures, and claims nothing,") == 2 * 2
    assert "dcgan_classical" not in claims


def test_where_nothing_is_compared_with_the_reference_nobody_is_sent_there(
    study: Params, project: Path
) -> None:
    params = study.model_copy(
        update={"report": study.report.model_copy(update={"reference": None})}
    )
    text = rendered(params, project)
    assert "arms pass on what classical augmentation knows" in text
    assert "Whether the generator itself is worth anything" not in text


def test_values_that_were_chosen_are_counted(study: Params, project: Path) -> None:
    tune = study.tune.model_copy(update={"latent_std": [1.0, 1.5]})
    params = study.model_copy(update={"tune": tune})
    for artifact in artifacts(params):
        if artifact.names["stage"] == "synthesize":
            path = project / "data/synthetic/dcgan" / artifact.replicate.file(".npz")
            wide = 1.5 if artifact.replicate.seed == 3 else 1.0
            write_npz(path, **read_npz(path) | {"latent_std": np.array(wide)})
            record = read_json(manifest_of(path))
            record["params"]["tune"] = params.section("tune")
            record["outputs"] = {path.name: file_digest(path)}
            write_json(manifest_of(path), record)
    part = rendered(params, project).partition("How the images were drawn and kept")[2]
    part = part.partition("<h2>")[0]
    assert part.count("1 (in 3 of 4 seeds), 1.5 (in 1 of 4 seeds)") == 2
    assert part.count("0.5, fixed") == 2
    assert "in 2 folds" in part
    assert "Fixed before" not in part


def test_every_tag_that_is_opened_is_closed(text: str) -> None:
    for tag in ("table", "tr", "td", "ul", "li", "details", "figure", "p", "pre", "h2"):
        opened = sum(found == tag for found, _ in Elements(text).found)
        assert opened == text.count(f"</{tag}>")
        assert opened > 0


def test_the_primary_comparison_comes_first(text: str, study: Params) -> None:
    lead = text.partition('class="lead"')[2].partition("</p>")[0]
    assert ">dcgan " in lead
    assert " for cnn, 2 labels per class." in lead


def test_every_arm_of_every_classifier_and_budget_has_its_row(text: str, study: Params) -> None:
    main = text.partition("Test accuracy of every arm")[2].partition("</table>")[0]
    assert main.count("<tr>") == 1 + len(pairs(study)) * 2 * 2
    assert main.count(">dcgan over classical<") == 2 * 2
    for arm in study.arms:
        assert f">{arm}<" in main


def test_the_assumptions_are_one_click_away_from_the_answer(text: str) -> None:
    lead = text.partition('class="lead"')[2].partition("</div>")[0]
    shown, _, hidden = lead.partition("<details>")
    assert "Student" not in shown
    assert "Assumed:" in hidden


def test_every_answer_has_two_sentences(text: str) -> None:
    answers = text.partition("Every other comparison in words")[2].partition("</details>")[0]
    items = re.findall(r"<li><strong>.*?</strong> (.*?)</li>", answers)
    assert len(items) == 3 * 2 * 2 - 1
    for item in items:
        assert len(re.findall(r"\.(?= [A-Z]|$)", item)) == 2, item


def test_controls_have_a_table_of_their_own(text: str) -> None:
    controls = text.partition("Does the study itself hold?")[2].partition("</table>")[0]
    assert controls.count("<tr>") == 1 + 3 * 2 * 2
    assert controls.count(">not judged<") == 3 * 2 * 2


def test_labels_worth_are_in_words(text: str) -> None:
    worth = text.partition("How many real labels is each arm worth?")[2].partition("</ul>")[0]
    assert worth.count("<li>") == 3 * 2 * 2
    assert "inf" not in worth
    assert "nan" not in worth


def test_flags_are_counted_over_seeds(text: str) -> None:
    copies = text.partition("Does the generator repeat")[2].partition("</table>")[0]
    assert copies.count("(in 1 of 4 seeds)") == 2


def test_without_failures_nothing_is_said_of_them(text: str) -> None:
    assert "What came to nothing" not in text


@pytest.mark.parametrize("how_many", [1, 4])
def test_failures_are_listed_with_a_line_without_them(
    how_many: int, study: Params, project: Path
) -> None:
    for seed in range(how_many):
        path = project / f"results/dcgan/budget-0002/seed-{seed:02d}.cnn.npz"
        record = read_json(manifest_of(path)) | {"failure": ["step 3", HOSTILE, "wait"]}
        write_json(manifest_of(path), record | {"outputs": {}, "consumed": {}})
        path.unlink()
    text = rendered(study, project)
    failed = text.partition("What came to nothing")[2].partition("Test accuracy")[0]
    assert failed.count("&lt;script&gt;alert(1)") == how_many
    assert f"{how_many} of 4 seeds came to nothing" in failed
    assert ("nothing is left" in failed) == (how_many == 4)


def test_a_study_whose_generator_always_fails_still_has_a_page(
    study: Params, project: Path
) -> None:
    for path in (project / "data/audit").rglob("*.manifest.json"):
        path.with_name(path.name.replace(".manifest", "")).unlink()
        write_json(path, read_json(path) | {"failure": ["a", "b", "c"], "outputs": {}})
    assert "How good the synthetic images are" in rendered(study, project)


def test_a_study_without_controls_reference_or_curve_has_a_page(
    study: Params, project: Path
) -> None:
    params = study.model_copy(
        update={
            "arms": {name: study.arms[name] for name in ("real", "dcgan")},
            "study": study.study.model_copy(update={"curve_budgets": [], "budgets": [2]}),
            "report": study.report.model_copy(update={"reference": None}),
        }
    )
    text = rendered(params, project)
    assert "Does the study itself hold?" not in text
    assert "How many real labels" not in text
    assert "dcgan was tried on too few seeds" in text


def test_every_verdict_is_explained(text: str) -> None:
    shown = Elements(text).text
    assert all(meaning in shown for meaning in VERDICTS.values())


def test_no_number_is_printed_as_nan(study: Params, project: Path) -> None:
    arms = {name: arm for name, arm in study.arms.items() if name != "dcgan_only"}
    text = rendered(study.model_copy(update={"arms": arms}), project)
    assert "nan" not in text.partition("<body>")[2].partition("Provenance")[0].lower()


def test_a_study_of_one_seed_is_printed_without_nan(study: Params, project: Path) -> None:
    one = study.model_copy(update={"study": study.study.model_copy(update={"seeds": [3]})})
    text = rendered(one, project)
    assert "nan" not in text.partition("<body>")[2].partition("Provenance")[0].lower()


def test_without_recorded_seconds_the_page_says_so(study: Params, project: Path) -> None:
    for file in (project / ".trials/timings").iterdir():
        file.unlink()
    assert "no seconds were recorded" in rendered(study, project)


def test_the_cost_of_a_stage_is_summed_over_its_trials() -> None:
    timings = pd.DataFrame(
        {
            "stage": ["a", "a", "b"],
            "item": ["x", "x", "x"],
            "seconds": [1.0, 3.0, 5.0],
            "images_per_s": [8.0, 4.0, np.nan],
        }
    )
    found = html.cost(timings)
    assert [(row["stage"], row["n"], row["total"], row["median"]) for row in found] == [
        ("a", 2, 4.0, 2.0),
        ("b", 1, 5.0, 5.0),
    ]
    assert found[0]["images_per_s"] == 6.0


def test_pictures_travel_inside_the_page(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    kind, _, content = html.embedded(tmp_path / "x.png").partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == b"\x89PNG"


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert html.commit(tmp_path).startswith("none")


def test_a_broken_repository_does_not_stop_the_report(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert html.commit(tmp_path) == "unknown"


@pytest.fixture(scope="module")
def zoo_text(finished_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = Path(shutil.copytree(finished_zoo, tmp_path_factory.mktemp("page") / "zoo"))
    return rendered(load_params(folder), folder)


def test_one_generator_is_neither_ranked_nor_set_beside_another(text: str) -> None:
    assert "Generators, ranked" not in text
    assert "side by side" not in text.lower()
    assert "<details open><summary>Gallery of dcgan</summary>" in text


def test_several_generators_are_ranked(zoo_text: str) -> None:
    part = zoo_text.partition("Generators, ranked")[2].partition("<h2>")[0]
    assert part.count("<tr>") == 1 + 3 * 2
    rows = [Elements(row).text for row in part.split("<tr>")[2:]]
    assert [re.sub(r"\d.*", "", row.strip()) for row in rows[:3]] == ["cvae", "dcgan", "acgan"]
    assert "nan" not in part.lower()
    assert "not corrected for the number of generators" in part
    assert UNTUNED in part


def test_the_best_of_every_kind_stand_side_by_side(zoo_text: str) -> None:
    part = zoo_text.partition("The best of every kind side by side")[2].partition("<h2>")[0]
    assert part.count("<img") == 1
    assert re.findall(r'<tr><td>(\w+)</td><td class="text">([\w ]+)</td>', part) == [
        ("cvae", "variational autoencoder"),
        ("dcgan", "GAN"),
    ]


def test_galleries_of_several_generators_are_closed(zoo_text: str) -> None:
    for name in ("dcgan", "cvae", "acgan"):
        gallery = zoo_text.partition(f"<details><summary>Gallery of {name}</summary>")[2]
        gallery = gallery.partition("</details>")[0]
        captions = re.findall("<figcaption>(.*?)</figcaption>", gallery)
        assert captions == [SHOWCASE_CAPTIONS["sheet"], "other"]


def change_history(root: Path, name: str, seed: int, old: str, new: str) -> None:
    """Replace `old` in what was noted of one generator, as if its training had left that."""
    path = root / f"models/{name}/budget-0002/seed-{seed:02d}.history.csv"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    manifest = manifest_of(path.with_name(f"seed-{seed:02d}.npz"))
    record = read_json(manifest)
    write_json(manifest, record | {"outputs": record["outputs"] | {path.name: file_digest(path)}})


def test_a_balance_and_a_second_game_have_columns_of_their_own(zoo: Path) -> None:
    for seed in range(4):
        change_history(zoo, "acgan", seed, ",accuracy", ",k")
        change_history(zoo, "dcgan", seed, "step,", "doubling_accuracy,step,")
        change_history(zoo, "dcgan", seed, "\n5,", "\n0.9,5,")
        change_history(zoo, "dcgan", seed, "generator_learning_rate", "doubling_generator")
        change_history(zoo, "dcgan", seed, "discriminator_learning_rate", "doubling_discriminator")
    params = load_params(zoo)
    assert list(tables.health_table(params, zoo))[-2:] == ["doubling_accuracy", "k"]
    part = rendered(params, zoo).partition("Did training stay healthy?")[2].partition("<h2>")[0]
    rows = {
        row.partition("<")[0]: re.findall("<td[^>]*>(.*?)</td>", row)
        for row in part.split("<tr><td>")[1:]
        if "<td>2<" in row
    }
    assert rows["acgan"][1:4] == ["-", "-", "0.75"]
    assert rows["dcgan"][1:4] == ["75.0 %", "90.0 %", "-"]
    assert rows["cvae"][1:4] == ["-", "-", "-"]
    assert {name: cells[-1] for name, cells in rows.items()} == {
        "acgan": "nothing",
        "dcgan": "nothing",
        "cvae": "-",
    }
    assert "nan" not in part


def test_warnings_are_counted_over_seeds_and_explained(study: Params, project: Path) -> None:
    for seed in (0, 2):
        change_history(project, "dcgan", seed, "0.75", "1.0")
    text = rendered(study, project)
    part = text.partition("Did training stay healthy?")[2].partition("<h2>")[0]
    first, second = part.split("<tr>")[2:]
    assert "87.5 %" in first
    assert "discriminator sure of itself (in 2 of 4 seeds)" in first
    assert "75.0 %" in second
    assert ">nothing<" in second
    assert all(meaning in Elements(part).text for _, meaning in WARNINGS.values())


def test_a_study_without_discriminators_has_no_word_on_their_health(finished_zoo: Path) -> None:
    health = tables.health_table(load_params(finished_zoo), finished_zoo)
    assert len(mean_health(health)) == 3 * 2
    assert mean_health(health[health["generator"] == "cvae"]).empty

"""Tables and numbers of README.md and docs/ are the committed ones; what they name exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from docs import tables
from pipeline.__main__ import app
from pipeline.commands import presets
from pipeline.config.schema import Params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.evaluation.decisions import DECISIONS
from pipeline.report import terminal
from pipeline.report.verdicts import VERDICTS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in tables.pages()}
TEXTS = {**PAGES, **{name: (ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md",)}}
LINES_OF_README = 180


def committed(root: Path, file: str, folder: Path) -> Path:
    """A copy of `file` as last committed: the working tree may hold a user's own study."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:{file}"], cwd=root, capture_output=True, check=False
    )
    if shown.returncode:
        pytest.skip("not a git repository with committed results")
    path = folder / Path(file).name
    path.write_bytes(shown.stdout)
    return path


@pytest.fixture
def study(root: Path, tmp_path: Path) -> tuple[pd.DataFrame, Params]:
    """The committed table of deltas and the params that it was made with."""
    deltas = terminal.read_table(committed(root, "reports/deltas.csv", tmp_path))
    text = committed(root, FILE, tmp_path).read_text("utf-8")
    return deltas, validate(Params, parse_yaml(text, FILE), FILE)


@pytest.mark.parametrize("page", PAGES)
def test_tables_and_numbers_are_the_committed_ones(
    page: str, study: tuple[pd.DataFrame, Params]
) -> None:
    deltas, params = study
    assert PAGES[page] == tables.updated(PAGES[page], deltas, params), "run python -m docs.tables"
    assert not list(tables.other_verdicts(PAGES[page], deltas))


def test_every_committed_table_is_on_exactly_one_page(study: tuple[pd.DataFrame, Params]) -> None:
    names = [match[1] for text in PAGES.values() for match in tables.BLOCK.finditer(text)]
    assert sorted(names) == sorted(tables.committed_tables(*study))


def test_no_promise_of_the_statistics_is_broken(root: Path) -> None:
    assert "BROKEN" not in (root / "benchmarks/calibration.md").read_text("utf-8")


def test_every_generator_of_the_preset_is_ranked(root: Path) -> None:
    block = re.search(
        r"<!-- ranking -->\n(.*?)<!-- /ranking -->", PAGES["docs/generators.md"], re.S
    )
    assert block is not None
    ranked = {tables.cells(row)[1] for row in block[1].strip().splitlines()[2:]}
    preset = parse_yaml((root / "presets/zoo.yaml").read_text("utf-8"), "zoo")
    assert ranked == {"dcgan", *preset["generators"]}


def test_the_words_of_verdicts_are_those_of_the_code() -> None:
    section = README.partition("## Reading a verdict")[2].partition("\n## ")[0]
    rows = [tables.cells(row)[0] for row in section.splitlines() if row.startswith("| ")]
    assert {word for row in rows[2:] for word in row.split(", ")} == {*VERDICTS} - {"baseline"}

    rules = PAGES["docs/verdicts.md"].partition("## The decision table")[2].partition("\n## ")[0]
    order = [tables.cells(row)[1] for row in rules.splitlines() if row.startswith("| ")]
    decided = [word for word in order[2:] if word != "not judged"]
    assert decided == [word for word, _ in DECISIONS]


def test_the_readme_is_short_and_its_first_two_commands_are_run_and_test() -> None:
    assert len(README.splitlines()) <= LINES_OF_README
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    commands = [line.split("#")[0].strip() for line in block[1].splitlines()]
    assert commands == ["make run", "make test"]


def test_commands_and_presets_that_pages_name_exist() -> None:
    named = {
        match
        for text in TEXTS.values()
        for match in re.findall(r"-m pipeline (\w+)(?: (\w+))?", text)
    }
    assert named
    for command, argument in named:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
        assert argument in ("", "NAME", "PATH") or argument in presets.names()
    for preset in re.findall(r"^\| `(\w+)` \|", README.partition("## What you get")[0], re.M):
        assert preset in presets.names()


def test_make_targets_that_pages_name_exist(root: Path) -> None:
    makefile = (root / "Makefile").read_text("utf-8")
    targets = {target for text in TEXTS.values() for target in re.findall(r"`make (\w+)", text)}
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_pages_link_to_or_name_exist(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXTS[page]) if "://" not in link]
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    paths = re.findall(
        r"`((?:pipeline|tests|benchmarks|presets|docs)/[\w/]+(?:\.\w+)?/?)`", TEXTS[page]
    )
    # `NAME` stands for the name of a new member.
    missing += [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
    assert not missing


def test_names_in_code_spans_beside_a_file_are_in_it() -> None:
    # `split_subset` in [pipeline/data/splits.py](...), `FILTERS` in `pipeline/.../filters.py`
    pattern = r"`(\w+)`[^`\[\n]{0,20} in (?:\[|`)(pipeline/[\w/]+\.py)"
    named = {match for text in TEXTS.values() for match in re.findall(pattern, text)}
    assert len(named) >= 8
    for name, path in named:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), f"{name} in {path}"

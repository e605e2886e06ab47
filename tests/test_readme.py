"""The README's table is the committed result, and its commands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.commands import presets
from pipeline.config.schema import Params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.report import terminal

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def committed(root: Path, file: str, folder: Path) -> Path:
    """A copy of `file` as last committed: what is in the working tree may be a user's own study."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:{file}"], cwd=root, capture_output=True, check=False
    )
    if shown.returncode:
        pytest.skip("not a git repository with committed results")
    path = folder / Path(file).name
    path.write_bytes(shown.stdout)
    return path


def test_the_table_is_what_the_command_prints(root: Path, tmp_path: Path) -> None:
    deltas = pd.read_csv(committed(root, "reports/deltas.csv", tmp_path))
    text = committed(root, FILE, tmp_path).read_text("utf-8")
    params = validate(Params, parse_yaml(text, FILE), FILE)
    block = re.search(r"<!-- table -->\n(.*?)\n<!-- /table -->", README, re.DOTALL)
    assert block is not None
    assert block[1] == terminal.markdown(deltas, params)


def test_the_table_of_errors_is_the_committed_one(root: Path) -> None:
    block = re.search(r"<!-- calibration -->\n(.*?)\n<!-- /calibration -->", README, re.DOTALL)
    assert block is not None
    written = (root / "benchmarks/calibration.md").read_text("utf-8")
    assert block[1] == written.strip().split("\n\n")[-1]
    assert "BROKEN" not in written


def test_the_table_of_generators_is_part_of_the_committed_one(root: Path) -> None:
    block = re.search(r"<!-- generator -->\n(.*?)\n<!-- /generator -->", README, re.DOTALL)
    assert block is not None
    written = (root / "benchmarks/generator.md").read_text("utf-8")
    ours, theirs = (cells(each) for each in (block[1], written.partition("## After")[2]))
    columns = [theirs[0].index(name) for name in ours[0]]
    assert ours == [[row[column] for column in columns] for row in theirs[: len(ours)]]
    assert ours[-1][0] == "real"


def test_the_tables_of_few_labels_are_the_committed_ones(root: Path) -> None:
    block = re.search(r"<!-- semi -->\n(.*?)\n<!-- /semi -->", README, re.DOTALL)
    assert block is not None
    written = (root / "benchmarks/semi.md").read_text("utf-8")
    assert block[1] == written.strip().split("\n\n", 2)[2]


def test_the_ranking_of_generators_is_the_committed_one(root: Path) -> None:
    block = re.search(r"<!-- ranking -->\n(.*?)\n<!-- /ranking -->", README, re.DOTALL)
    assert block is not None
    written = (root / "benchmarks/ranking.md").read_text("utf-8")
    ours, whole = cells(block[1]), cells(written[written.index("| place |") :])
    columns = [whole[0].index(name) for name in ours[0]]
    assert ours == [[row[column] for column in columns] for row in whole[: len(ours)]]
    preset = parse_yaml((root / "presets/zoo.yaml").read_text("utf-8"), "zoo")
    assert {row[1] for row in ours[2:]} == {"dcgan", *preset["generators"]}


def cells(text: str) -> list[list[str]]:
    """The cells of the Markdown tables in `text`, row by row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_first_two_commands_are_run_and_test() -> None:
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    commands = [line.split("#")[0].strip() for line in block[1].splitlines()]
    assert commands == ["make run", "make test"]


def test_commands_and_presets_it_names_exist() -> None:
    named = re.findall(r"python -m pipeline (\w+)(?: (\w+))?", README)
    assert named
    for command, argument in named:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
        assert not argument or argument in presets.names()


@pytest.mark.parametrize("target", re.findall(r"`make (\w+)`", README))
def test_make_targets_it_names_exist(root: Path, target: str) -> None:
    assert re.search(rf"^{target}:", (root / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_files_it_links_to_exist(root: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (root / target).exists(), target

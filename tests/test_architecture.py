"""The rules of the house, as tests: imports go down, a stage declares the code it runs."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.config.schema import Params
from pipeline.stages.__main__ import ITEMS
from pipeline.trials import layout
from pipeline.trials.code import import_closure, imported_modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    {"runtime"},
    {"config"},
    {"data", "nn"},
    {"generators", "teachers", "classifiers", "trials", "evaluation"},
    {"training_sets", "report"},
    {"stages", "commands", "__main__"},
)
LONG_FILE, LONG_FUNCTION = 400, 60  # lines: above these a warning, for a second look
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "core", "manager"}
FORBIDDEN_CALLS = {
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "torch.load",
    "torch.jit.load",
    "torch.hub.load",
    "torch.export.load",
    "os.system",
    "eval",
    "exec",
    "globals",
    "shelve.open",
}


def room(path: Path) -> str:
    """The folder or module directly below `pipeline/` that `path` belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(path: Path) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(path) in rooms)


def pipeline_stages() -> dict[str, dict]:
    loaded = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_imports_only_go_down() -> None:
    arrows = [
        (path, target)
        for path in MODULES
        if path != PACKAGE / "__init__.py"
        for target in imported_modules(path) - {PACKAGE / "__init__.py"}
        if room(target) != room(path)
    ]
    upward = [
        (str(path.relative_to(PACKAGE)), str(target.relative_to(PACKAGE)))
        for path, target in arrows
        if floor(target) > floor(path) or (floor(target) == floor(path) and floor(path) < 5)
    ]
    assert len(arrows) > 100
    assert not upward


def test_every_room_is_in_the_package_docstring() -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))) or ""
    assert set(re.findall(r"`([a-z_]+)/?`", text)) == set().union(*FLOORS)


@pytest.mark.filterwarnings("default")
def test_long_files_and_functions_are_named() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(PACKAGE))
        assert path.stem not in FORBIDDEN_NAMES, name
        assert "# fmt: skip" not in text, name

        lengths = {
            f"{name}: {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef)
        }
        if (lines := len(text.splitlines())) > LONG_FILE:
            warnings.warn(f"{name} has {lines} lines", stacklevel=1)
        for function, length in lengths.items():
            if length > LONG_FUNCTION:
                warnings.warn(f"{function} has {length} lines", stacklevel=1)


def test_nothing_loads_code_from_data() -> None:
    for path in MODULES:
        for call in calls(path):
            called = ast.unparse(call.func)
            assert called not in FORBIDDEN_CALLS, f"{path}: {called}"
            assert not [word for word in call.keywords if word.arg == "shell"], f"{path}: {called}"


@pytest.mark.parametrize("name", pipeline_stages())
def test_a_stage_depends_on_exactly_the_code_it_imports(name: str) -> None:
    # A room stands for all of its files; registries (`__init__.py`) come with their room.
    needed = {
        path.relative_to(ROOT)
        for path in import_closure(PACKAGE / "stages" / f"{name}.py")
        if path.parent not in (PACKAGE, PACKAGE / "stages") or path.stem == name
    }
    declared = {Path(dep) for dep in pipeline_stages()[name]["deps"] if dep.startswith("pipeline/")}

    missing = [path for path in needed if not {path, *path.parents} & declared]
    idle = [dep for dep in declared if not any({path, *path.parents} & {dep} for path in needed)]
    assert not missing
    assert not idle


def test_every_stage_is_a_module_and_every_module_a_stage() -> None:
    modules = {path.stem for path in (PACKAGE / "stages").glob("*.py")}
    assert modules - {"__init__", "__main__"} == set(pipeline_stages()) == set(ITEMS)


def test_commands_are_fixed_strings_and_groups_run_over_their_sections() -> None:
    loaded = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for name, section in ITEMS.items():
        assert pipeline_stages()[name]["cmd"] == f"python -m pipeline.stages {name}"
        assert loaded[name].get("foreach") == (f"${{{section}}}" if section else None)


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("test", {"train_classifiers"}),
        ("labels", {"train_judge", "evaluate_generator", "evaluate_teacher"}),
        ("ids", {"report"}),
    ],
)
def test_only_these_stages_may_read(name: str, readers: set[str], study: Params) -> None:
    stages, folder = pipeline_stages(), getattr(layout, f"{name}_file")(study, 0).path.parent
    readers_declared = {
        stage for stage, entry in stages.items() if folder.as_posix() in entry["deps"]
    }
    assert readers_declared == readers
    assert not [stage for stage, entry in stages.items() if "data/splits" in entry["deps"]]
    for stage in set(stages) - readers - {"prepare"}:
        text = (PACKAGE / "stages" / f"{stage}.py").read_text(encoding="utf-8")
        assert not re.search(rf"\b{name}_file\b|splits/{name}\b", text), stage


def test_stages_write_what_the_layout_says() -> None:
    for name, outputs in layout.OUTPUTS.items():
        item = "/${key}" if ITEMS[name] else ""
        assert pipeline_stages()[name]["outs"] == [f"{outputs.folder.as_posix()}{item}"]


@pytest.mark.parametrize("name", layout.OUTPUTS)
def test_a_stage_declares_the_settings_that_its_manifests_record(
    name: str, tuned_study: Params
) -> None:
    declared = {key.replace(".${key}", "") for key in pipeline_stages()[name]["params"]}
    artifacts = [found for found in layout.artifacts(tuned_study) if found.stage == name]
    for artifact in artifacts:
        for key in layout.sections(tuned_study, artifact):
            section = key.partition(".")[0]
            assert {key, section} & declared, key
    assert artifacts


def test_the_map_in_the_readme_is_the_tree() -> None:
    block = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    columns = [line.strip().split("  ")[0] for line in block[1].splitlines()]
    listed = {name.strip("/") for column in columns for name in column.split(", ")}
    below = {path.name for path in PACKAGE.iterdir()} - {"__pycache__", "__init__.py"}
    top = {
        "presets",
        "benchmarks",
        "docs",
        "tests",
        "data",
        "models",
        "results",
        "reports",
        "pipeline",
        "dvc.yaml",
        "params.yaml",
    }
    assert listed == below | top

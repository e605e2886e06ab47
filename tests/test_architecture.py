"""The rules that keep the project easy to find one's way in, as tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.stages.__main__ import ITEMS
from pipeline.store import import_closure, imported_modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipeline"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
FLOORS = (
    {"bits", "errors", "sections", "study", "recipes", "params", "images", "runtime", "store",
     "progress", "layers"},
    {"splits", "datasets", "generators", "teachers", "transforms", "classifiers", "filters",
     "metrics", "fidelity", "memorization", "stats", "health", "wording"},
    {"trials", "provenance", "arms", "tuning", "engine", "integrity", "pairing", "comparisons",
     "ranking",
     "tables", "plots", "gallery", "page", "headline"},
    {"stages", "presets", "check", "__main__"},
)  # fmt: skip
# The siblings on floor 1 that may meet: a training set carries its arm's transform, a generator
# sees real images through one, and words name the least numbers of seeds.
SIBLINGS = {("classifiers", "transforms"), ("generators", "transforms"),
            ("teachers", "transforms"), ("wording", "stats")}  # fmt: skip
MAX_LINES, MAX_FUNCTION, MAX_FIT_LOOP, MAX_ARGUMENTS, MAX_NESTING = 350, 45, 90, 6, 3
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "core", "manager"}
FORBIDDEN_CALLS = {
    "pickle.load", "pickle.loads", "joblib.load", "torch.load", "torch.jit.load", "torch.hub.load",
    "torch.export.load", "os.system", "eval", "exec", "globals", "shelve.open",
}  # fmt: skip


def part(path: Path) -> str:
    """The module or folder directly below `pipeline/` that `path` belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def floor(path: Path) -> int:
    return next(number for number, parts in enumerate(FLOORS) if part(path) in parts)


def pipeline_stages() -> dict[str, dict]:
    loaded = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert imported_modules(path) == {PACKAGE / "bits.py"}
        return
    for target in imported_modules(path) - {PACKAGE / "__init__.py"}:
        if part(target) == part(path):
            continue
        assert floor(target) <= floor(path), f"{path} imports {target} from above"
        if floor(path) == floor(target) == 1:
            assert (part(path), part(target)) in SIBLINGS, f"{path} and {target} are siblings"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in FORBIDDEN_NAMES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            is_fit_loop = path == PACKAGE / "generators/base.py" and node.name == "fit"
            assert length <= (MAX_FIT_LOOP if is_fit_loop else MAX_FUNCTION), node.name
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            assert len(names) <= MAX_ARGUMENTS, node.name
            assert nesting(node) <= MAX_NESTING, node.name


def nesting(node: ast.AST) -> int:
    """How deep loops and conditions lie inside each other below `node`."""
    deeper = (ast.For, ast.While, ast.If, ast.With, ast.Try)
    depths = [nesting(child) + isinstance(child, deeper) for child in ast.iter_child_nodes(node)]
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        depths.append(nesting(node.orelse[0]))
        depths.remove(nesting(node.orelse[0]) + 1)
    return max(depths, default=0)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_loads_code_from_data(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"{path}: {called}"
            shell = [word for word in node.keywords if word.arg == "shell"]
            assert not shell, f"{path}: {called} with a shell"


@pytest.mark.parametrize("name", pipeline_stages())
def test_a_stage_depends_on_exactly_the_code_it_imports(name: str) -> None:
    stages = PACKAGE / "stages"
    needed = import_closure(stages / f"{name}.py") | import_closure(stages / "__main__.py")
    needed = {path for path in needed if path.parts[-1] != "__init__.py" or path.parent != PACKAGE}
    declared = {dep for dep in pipeline_stages()[name]["deps"] if dep.startswith("pipeline/")}
    folders = {dep for dep in declared if (ROOT / dep).is_dir()}
    expected = set()
    for path in needed:
        relative = path.relative_to(ROOT).as_posix()
        folder = path.parent.relative_to(ROOT).as_posix()
        expected.add(folder if folder in folders else relative)
    templates = {dep for dep in declared if dep.endswith(".j2")}
    assert declared - templates == expected - {"pipeline/stages/__init__.py"}


def test_every_stage_is_a_module_and_every_module_a_stage() -> None:
    modules = {path.stem for path in (PACKAGE / "stages").glob("*.py")}
    assert modules - {"__init__", "__main__"} == set(pipeline_stages()) == set(ITEMS)


@pytest.mark.parametrize("name", pipeline_stages())
def test_commands_are_fixed_strings(name: str) -> None:
    assert pipeline_stages()[name]["cmd"] == f"python -m pipeline.stages {name}"


def test_groups_run_over_the_sections_they_belong_to() -> None:
    loaded = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for name, section in ITEMS.items():
        assert loaded[name].get("foreach") == (section and f"${{{section}}}")


@pytest.mark.parametrize("name", pipeline_stages())
def test_every_stage_is_made_anew_with_other_bits(name: str) -> None:
    assert "bits" in pipeline_stages()[name]["params"]


@pytest.mark.parametrize(
    ("file", "readers"),
    [
        ("data/splits/test.npz", {"train_classifiers"}),
        ("data/splits/labels.npz", {"audit", "audit_teacher"}),
        ("data/splits/ids.npz", {"report"}),
    ],
)
def test_only_these_stages_may_read(file: str, readers: set[str]) -> None:
    found = {name for name, stage in pipeline_stages().items() if file in stage["deps"]}
    assert found == readers
    assert not [name for name, stage in pipeline_stages().items() if "data/splits" in stage["deps"]]
    for name in set(pipeline_stages()) - readers - {"prepare"}:
        text = (PACKAGE / "stages" / f"{name}.py").read_text(encoding="utf-8")
        assert Path(file).name not in text


def test_the_map_in_the_readme_is_the_tree() -> None:
    block = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    listed = {line.split()[0].rstrip("/") for line in block[1].splitlines() if line.strip()}
    below = {
        path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "__init__.py")
    }
    top = {"presets", "benchmarks", "tests", "data", "models", "results", "reports", "pipeline",
           "dvc.yaml", "params.yaml"}  # fmt: skip
    assert listed == below | top


def test_every_module_on_a_floor_is_in_the_package_docstring() -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))) or ""
    named = set(re.findall(r"`([a-z_]+)/?`", text))
    assert named == set().union(*FLOORS)

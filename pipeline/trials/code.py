"""The digest of the code that decides a trial, from the imports of its modules."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pipeline.runtime.files import file_digest

PACKAGE = Path(__file__).resolve().parents[1]
# Packages that name, schedule and check trials: a change there changes no result. What a spec
# takes from params.yaml counts by its value.
NOT_DECISIVE = ("trials", "config")
# Decisive nevertheless: how a trial runs, what it is given, and the form of its manifest.
ALWAYS = (
    "runtime/bits.py",
    "runtime/determinism.py",
    "trials/engine.py",
    "trials/provenance.py",
    "trials/specs.py",
    "config/validation.py",
)
# Messages of failures change no result.
NEVER = ("runtime/errors.py", "runtime/progress.py")


@cache
def imported_modules(path: Path) -> frozenset[Path]:
    """Files of this package that `path` imports directly, found without running it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}

    files = set()
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE.name:
            target = PACKAGE.joinpath(*parts[1:])
            files |= {target.with_suffix(".py"), target / "__init__.py"}
    return frozenset(file for file in files if file.is_file())


@cache
def import_closure(path: Path) -> frozenset[Path]:
    """`path` and every file of this package that it imports, directly or indirectly."""
    return _closure([path.resolve()], decisive=False)


def _closure(start: Iterable[Path], decisive: bool) -> frozenset[Path]:
    """All files reached by imports from `start`; `decisive`: only those that decide a trial."""
    files: set[Path] = set()
    waiting = set(start)
    while waiting:
        current = waiting.pop()
        files.add(current)
        waiting |= {
            file
            for file in imported_modules(current)
            if file not in files and (is_decisive(file) or not decisive)
        }
    return frozenset(files)


def is_decisive(file: Path) -> bool:
    """Whether a file that a trial imports counts; see `decisive_files`."""
    room = file.relative_to(PACKAGE).parts[0]
    return file.name != "__init__.py" and room not in NOT_DECISIVE


@cache
def decisive_files(stage_file: str, *modules: str) -> frozenset[Path]:
    """The files that decide a trial of a stage which uses the families in the dotted `modules`.

    The stage and the families with everything they import. Registries (`__init__.py`) do not
    count, so a new member does not invalidate the others.
    """
    families = [PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py") for module in modules]
    files = {*_closure([Path(stage_file).resolve(), *families], decisive=True)}
    files |= {PACKAGE / name for name in ALWAYS}
    return frozenset(files - {PACKAGE / name for name in NEVER})


@cache
def trial_code(stage_file: str, *modules: str) -> str:
    """SHA-256, as hex, of the paths and contents of `decisive_files`."""
    running = hashlib.sha256()
    for file in sorted(decisive_files(stage_file, *modules)):
        running.update(f"{file.relative_to(PACKAGE).as_posix()}\0{file_digest(file)}\n".encode())
    return running.hexdigest()

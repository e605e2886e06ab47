"""The digest of the code that decides a trial, from import closures."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from pipeline.runtime.files import (
    file_digest,
)

PACKAGE = Path(__file__).resolve().parents[1]


def imported_modules(path: Path) -> set[Path]:
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
    return {file for file in files if file.is_file()}


@cache
def import_closure(path: Path) -> frozenset[Path]:
    """`path` and every file of this package that running it can reach by imports."""
    files: set[Path] = set()
    waiting = {path.resolve()}
    while waiting:
        current = waiting.pop()
        files.add(current)
        waiting |= imported_modules(current) - files
    return frozenset(files)


def code_digest(alone: tuple[str, ...], *modules: str) -> str:
    """SHA-256 over the files `alone` and the import closures of dotted `modules`.

    A package's registry is not part of it, unless imported by name, so that a new member does not
    invalidate the others; nor are the words of failures, which change no result.
    """
    files = {Path(file).resolve() for file in alone}
    for module in modules:
        files |= import_closure(PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py"))
    files.discard(PACKAGE / "runtime/errors.py")
    running = hashlib.sha256()
    for file in sorted(files):
        running.update(f"{file.relative_to(PACKAGE).as_posix()}\0{file_digest(file)}\n".encode())
    return running.hexdigest()

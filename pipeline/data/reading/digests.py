"""SHA-256 of files, remembered by path, size and time of the last change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.runtime.files import file_digest, read_json, write_json

MEMORY = Path(".trials/file-digests.json")
RECENT_NS = 2_000_000_000  # a file this young may change again within the clock's resolution


class Digests:
    """The memory of digests of one project; `save` keeps it for the next call."""

    def __init__(self, root: Path) -> None:
        self.memory = root / MEMORY
        self.known: dict[str, Any] = _read(self.memory)
        self.num_hashed = 0
        self.changed = False

    def of(self, paths: Sequence[Path]) -> list[str]:
        """SHA-256 of every file as hex; unchanged files are not read."""
        return [self.look_up(str(path), path, partial(file_digest, path)) for path in paths]

    def look_up(self, key: str, path: Path, compute: Callable[[], str]) -> str:
        """The digest called `key`, computed if the file at `path` has changed since."""
        status = os.stat(path)
        found = self.known.get(key)
        if found and found[:2] == [status.st_size, status.st_mtime_ns]:
            return found[2]
        digest = compute()
        self.num_hashed += 1
        if time.time_ns() - status.st_mtime_ns > RECENT_NS:
            self.known[key] = [status.st_size, status.st_mtime_ns, digest]
            self.changed = True
        return digest

    def save(self) -> None:
        """Write the memory if it has changed."""
        if self.changed:
            write_json(self.memory, self.known)
            self.changed = False


def _read(path: Path) -> dict[str, Any]:
    """The memory, empty if there is none or it is damaged: it only saves time."""
    try:
        known = read_json(path)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}

"""The files below a folder or in a zip, in natural order, without hidden and system files."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.runtime.errors import DataError

SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "__pycache__"})
HIDDEN, SYSTEM = "hidden", "of the operating system"
OUTSIDE, LINKED_FOLDER = "link out of the folder", "link to a folder"
MAX_FILE_BYTES = 2**30  # of a single file, unpacked
MAX_ZIP_BYTES = 2**37  # of all files of a zip, unpacked
FOREIGN_PATH = re.compile(r"^/|^[a-zA-Z]:|(^|/)\.\.(/|$)")  # would leave the folder

NaturalKey = tuple[tuple[tuple[object, ...], ...], str]


def natural(name: str) -> NaturalKey:
    """A sort key for names and paths: 1, 2, 10; upper and lower case together."""
    folded = unicodedata.normalize("NFC", name).casefold()
    parts = tuple(tuple(_pieces(part)) for part in folded.split("/"))
    return parts, name


def _pieces(text: str) -> Iterator[tuple[str, int, str]]:
    """Text and numbers in turn; a number sorts by its length without zeros, then its digits."""
    for position, piece in enumerate(re.split(r"([0-9]+)", text)):
        digits = piece.lstrip("0") if position % 2 else ""
        yield ("", len(digits), digits) if position % 2 else (piece, 0, "")


@dataclass(frozen=True)
class File:
    """A file of a tree: `name` is its path in NFC with `/`, `path` the one that opens it.

    `path` is absolute in a folder and the name of the member in a zip. `size` is in bytes.
    """

    name: str
    path: str
    size: int

    @property
    def suffix(self) -> str:
        """The extension in lower case, with its dot; empty if there is none."""
        return os.path.splitext(self.name)[1].lower()


@dataclass(frozen=True)
class Tree:
    """All files below `root`, a folder or a zip, in natural order.

    `folders` are the names of all folders, empty ones too; `skipped` names by reason.
    """

    root: Path
    files: tuple[File, ...]
    folders: tuple[str, ...] = ()
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, file: File, limit: int | None = None) -> bytes:
        """The content of a file, or its first `limit` bytes.

        Raises `DataError` for a file above `MAX_FILE_BYTES` and for a damaged member of a zip.
        """
        if limit is None and file.size > MAX_FILE_BYTES:
            raise DataError(
                file.name,
                f"expected at most {MAX_FILE_BYTES:,} bytes, found {file.size:,}",
                "remove this file",
            )
        if self._zip is None:
            with open(file.path, "rb") as stream:
                return stream.read(-1 if limit is None else limit)
        try:
            with self._zip.open(file.path) as member:
                return member.read(-1 if limit is None else limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise DataError(
                f"{self.root.name}: {file.name}",
                f"expected an intact file without a password, found: {error}",
                "pack the zip again",
            ) from None

    def sources(self, files: Iterable[File]) -> list[Path]:
        """The paths on disk of `files`: the zip itself for its members."""
        return [self.root] if self._zip else [Path(file.path) for file in files]

    def below(self, prefix: str) -> Tree:
        """The files below the folder `prefix`, which disappears from their names."""
        files = tuple(
            File(file.name.removeprefix(f"{prefix}/"), file.path, file.size)
            for file in self.files
            if file.name.startswith(f"{prefix}/")
        )
        folders = tuple(
            name.removeprefix(f"{prefix}/")
            for name in self.folders
            if name.startswith(f"{prefix}/")
        )
        return Tree(self.root, files, folders, self.skipped)

    @property
    def skipped_links(self) -> str:
        """The links that are not followed, for errors; empty if there are none."""
        counts = [
            f"{len(names)} {reason}, such as {names[0]}"
            for reason in (LINKED_FOLDER, OUTSIDE)
            if (names := self.skipped.get(reason))
        ]
        return f" (not followed: {'; '.join(counts)})" if counts else ""

    @cached_property
    def _zip(self) -> zipfile.ZipFile | None:
        return zipfile.ZipFile(self.root) if self.root.is_file() else None


def open_tree(path: Path, where: str = "data.path") -> Tree:
    """The files of a folder or a zip; `where` is the key that named it, for errors.

    Raises `DataError` if there is neither, for a damaged zip, and for a zip with outside paths.
    """
    if path.is_dir():
        return _walk(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return _members(path)
    found = "a file of another kind" if path.exists() else "none"
    raise DataError(
        where, f"expected a folder or a zip at {path}, found {found}", f"correct {where}"
    )


def _walk(root: Path) -> Tree:
    skipped: dict[str, list[str]] = defaultdict(list)
    files: list[File] = []
    folders: list[str] = []
    inside = root.resolve()
    waiting = [(str(root), "")]
    while waiting:
        folder, prefix = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = unicodedata.normalize("NFC", f"{prefix}{entry.name}")
                reason = _reason(entry.name) or _link_reason(entry, inside)
                if reason:
                    skipped[reason].append(name)
                elif entry.is_dir():
                    folders.append(name)
                    waiting.append((entry.path, f"{name}/"))
                elif entry.is_file():
                    files.append(File(name, entry.path, entry.stat().st_size))
    return _tree(root, files, folders, skipped)


def _reason(name: str) -> str | None:
    """Why a file or folder of this name is skipped, or None."""
    if name.startswith("."):
        return HIDDEN
    return SYSTEM if name.casefold() in SYSTEM_NAMES else None


def _link_reason(entry: os.DirEntry[str], inside: Path) -> str | None:
    """Why a symbolic link is skipped, or None: folders could be loops, targets must be inside."""
    if not entry.is_symlink():
        return None
    if entry.is_dir():
        return LINKED_FOLDER
    return None if Path(entry.path).resolve().is_relative_to(inside) else OUTSIDE


def _members(path: Path) -> Tree:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise DataError(
            str(path), f"expected an intact zip, found: {error}", "fetch that file again"
        ) from None

    skipped: dict[str, list[str]] = defaultdict(list)
    files: list[File] = []
    folders: set[str] = set()
    for member in members:
        name = unicodedata.normalize("NFC", member.filename.replace("\\", "/"))
        if FOREIGN_PATH.search(name):
            raise DataError(
                str(path),
                f"expected names inside the zip, found {name!r}",
                "do not use this zip, or pack it again",
            )
        reasons = [reason for part in name.split("/") if (reason := _reason(part))]
        if stat.S_ISLNK(member.external_attr >> 16):
            reasons.append(OUTSIDE)
        if reasons:
            skipped[reasons[0]].append(name.rstrip("/"))
            continue
        folders |= {str(above) for above in PurePosixPath(name).parents} - {"."}
        if member.is_dir():
            folders.add(name.rstrip("/"))
        else:
            files.append(File(name, member.filename, member.file_size))
    if (total := sum(file.size for file in files)) > MAX_ZIP_BYTES:
        raise DataError(
            str(path),
            f"expected at most {MAX_ZIP_BYTES:,} bytes unpacked, found {total:,}",
            "use a smaller zip",
        )
    return _tree(path, files, folders, skipped)


def _tree(
    root: Path,
    files: Iterable[File],
    folders: Iterable[str],
    skipped: Mapping[str, Iterable[str]],
) -> Tree:
    by_reason = {reason: tuple(sorted(names, key=natural)) for reason, names in skipped.items()}
    return Tree(
        root,
        tuple(sorted(files, key=lambda file: natural(file.name))),
        tuple(sorted(folders, key=natural)),
        by_reason,
    )

"""Decoded and resized images on disk, memory-mapped, so that no image is decoded twice.

A folder of `.trials/images/` holds the images of one list of files with one set of decoding
settings: `images.npy`, uint8 RGB (n, 3, h, w), and `facts.json`, what was found in each file.
Images are identified by the digest of their file, so another list or order reuses the ones that it
shares. Files are written in chunks: memory holds a chunk, never all images.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray

from pipeline.config.schema import ResizeParams
from pipeline.data.images import Background, Images
from pipeline.data.reading.decoding import SIXTEEN_BITS, Pixels, Span, decode
from pipeline.data.reading.digests import Digests
from pipeline.data.reading.resizing import Box, Resized, refuse_other_size, refuse_size, resize
from pipeline.data.reading.tree import File, Tree
from pipeline.runtime.errors import DataError
from pipeline.runtime.files import atomic, file_digest, read_json, replacing, write_json
from pipeline.runtime.progress import Progress

CACHE = Path(".trials/images")
CHUNK = 256  # images decoded between two writes
MAX_STORES = 3  # kept per project; more would take more disk space
ABANDONED_NS = 86_400 * 10**9  # a day: no run is still writing an unfinished store of that age
MAX_WORKERS = 4  # every worker may hold one large image
TWO_VALUED = 0.98  # share of the pixels of a mask that are near its two values
LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)  # ITU-R 601-2 in 1/65536, as Pillow has it
# The code that decides the arrays.
CODE = ("cache.py", "decoding.py", "resizing.py")


@dataclass(frozen=True)
class Decoding:
    """How files become arrays.

    The final size, the color behind transparent pixels, the color that `pad` fills with (None: that
    of the image's border), and the values of gray images of 16 bits that become 0 and 255.
    """

    resize: ResizeParams | None = None
    alpha_onto: str = "white"
    background: Background = None
    span: Span = SIXTEEN_BITS

    @property
    def key(self) -> str:
        """A digest of these settings, of the code that decodes and of Pillow's version."""
        code = [file_digest(Path(__file__).with_name(name)) for name in CODE]
        size = self.resize and [self.resize.shape, self.resize.policy]
        fill = self.background if self.resize and self.resize.policy == "pad" else None
        settings = [size, self.alpha_onto, fill, self.span]
        return _short(json.dumps([*settings, code, PIL.__version__]))


@dataclass(frozen=True)
class Facts:
    """What was found in one file; `error` says why it could not be read.

    `size` (height, width) is the file's own. `gray`: all channels are equal; `two_valued`: as
    a mask, see `is_two_valued`. `box`: the part inside of padding; `span`: the lowest and
    highest value of a gray image of 16 bits.
    """

    mode: str = ""
    size: tuple[int, int] = (0, 0)
    conversions: tuple[str, ...] = ()
    enlarged: bool = False
    lost_area: float = 0.0
    gray: bool = True
    two_valued: bool = False
    box: Box | None = None
    span: Span | None = None
    error: str | None = None


Row = tuple[Pixels | None, Facts]  # the pixels (3, h, w); None: unreadable
Copy = tuple[Path, int, Facts]  # an image in another store: array, row


@dataclass(frozen=True)
class Store:
    """The images of a list of files, and what was found in each; unreadable ones are black."""

    folder: Path
    facts: tuple[Facts, ...]

    def images(self, index: NDArray[np.int64], gray: bool) -> Images:
        """Images (len(index), 1 or 3, h, w) at the positions `index`, in that order, read-only.

        They are memory-mapped: what is not read takes no memory.
        """
        whole = np.load(self.folder / "images.npy", mmap_mode="r")
        if not gray and np.array_equal(index, np.arange(len(whole))):
            return whole
        path = self.folder / f"selected-{_short(f'{gray} {index.tolist()}')}.npy"
        if not path.exists():
            shape = (len(index), 1 if gray else 3, *whole.shape[2:])
            with atomic(path) as temporary, temporary.open("wb") as file:
                _write_header(file, shape)
                for start in range(0, len(index), CHUNK):
                    # Mapped again for every chunk, so that the pages already read are released.
                    whole = np.load(self.folder / "images.npy", mmap_mode="r")
                    part = whole[index[start : start + CHUNK]]
                    file.write((to_gray(part) if gray else part).tobytes())
        return np.load(path, mmap_mode="r")


def to_gray(images: Images) -> Images:
    """RGB images (n, 3, h, w) as (n, 1, h, w); equal channels keep their value."""
    weighted = np.tensordot(LUMA, images.astype(np.uint32), axes=(0, 1))
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[:, None]


def decode_files(
    tree: Tree, files: Sequence[File], root: Path, decoding: Decoding = Decoding()
) -> Store:
    """The images of `files`, decoded unless the project `root` has them already.

    Unreadable files do not stop it: their `Facts.error` says why. Raises `DataError` when images
    differ in size and `decoding.resize` is None, and when no file is readable.
    """
    digests = content_digests(tree, files, root)
    parent = root / CACHE
    folder = parent / f"{decoding.key}-{_short(' '.join(digests))}"
    if (folder / "facts.json").exists():
        return Store(
            folder, tuple(_facts(row) for row in read_json(folder / "facts.json")["facts"])
        )

    earlier = _earlier(parent, decoding.key)
    num_known = sum(digest in earlier for digest in digests)
    with (
        replacing(folder) as temporary,
        Progress("images", len(files) - num_known, num_known, "images to decode") as progress,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # Pillow's; errors are raised or recorded in `Facts`
        path, read = temporary / "images.npy", partial(_read, tree, decoding)
        copies = [earlier.get(digest) for digest in digests]
        facts = _write(path, files, copies, read, decoding.resize, progress)
        record = {"digests": digests, "facts": [asdict(each) for each in facts]}
        write_json(temporary / "facts.json", record)
    _forget(parent, folder)
    return Store(folder, tuple(facts))


def content_digests(tree: Tree, files: Sequence[File], root: Path) -> list[str]:
    """SHA-256 of every file's content as hex; remembered in the project `root`."""
    memory = Digests(root)
    if tree.root.is_file():
        found = [
            memory.look_up(
                f"{tree.root}::{file.path}", tree.root, partial(_content_digest, tree, file)
            )
            for file in files
        ]
    else:
        found = memory.of([Path(file.path) for file in files])
    memory.save()
    return found


def _content_digest(tree: Tree, file: File) -> str:
    return hashlib.sha256(tree.read(file)).hexdigest()


def _write(
    path: Path,
    files: Sequence[File],
    copies: Sequence[Copy | None],
    read: Callable[[File], Row],
    params: ResizeParams | None,
    progress: Progress,
) -> list[Facts]:
    """Write the images of `files` in order, decoded by `read` where there is no copy of them."""
    facts: list[Facts] = []
    shape = params.shape if params else None
    with path.open("wb") as output, ThreadPoolExecutor(_num_workers()) as pool:
        for start in range(0, len(files), CHUNK):
            chunk = range(start, min(start + CHUNK, len(files)))
            decoded = pool.map(read, [files[at] for at in chunk if copies[at] is None])
            rows: list[Row] = []
            for at in chunk:
                copy = copies[at]
                rows.append(next(decoded) if copy is None else _copied(*copy))
                if copy is None:
                    progress.advance()
            facts += [found for _, found in rows]

            # Without resizing, the first image decides the size of all.
            if params is None:
                shape = _common_size(files, facts, start)
            black = np.zeros((3, *(shape or (1, 1))), dtype=np.uint8)
            if start == 0:
                _write_header(output, (len(files), *black.shape))
            for pixels, _ in rows:
                output.write((black if pixels is None else pixels).tobytes())
    return facts


def _common_size(files: Sequence[File], facts: Sequence[Facts], start: int) -> tuple[int, int]:
    """(height, width) of all readable images, compared from `start` on."""
    first = next((at for at, found in enumerate(facts) if found.error is None), None)
    if first is None:
        refuse_unreadable(files, facts)
        return (1, 1)
    shape = facts[first].size
    refuse_size(files[first].name, *shape)
    for at in range(start, len(facts)):
        if facts[at].error is None:
            refuse_other_size((files[first].name, files[at].name), shape, facts[at].size)
    return shape


def _read(tree: Tree, decoding: Decoding, file: File) -> Row:
    """The pixels (3, h, w) of one file and what was found, or None and why not."""
    params = decoding.resize
    at_least = 2 * max(params.shape) if params else None
    try:
        content = tree.read(file)
        decoded = decode(content, file.name, decoding.alpha_onto, at_least, decoding.span)
    except DataError as error:
        return None, Facts(error=error.args[1])
    except OSError as error:
        return None, Facts(error=f"expected a readable file, found: {error.strerror or error}")

    pixels = decoded.pixels
    resized = Resized(pixels)
    if params is not None:
        resized = resize(pixels, params, decoded.size, decoding.background)
    final = resized.pixels
    is_gray = bool((final == final[:, :, :1]).all())
    facts = Facts(
        decoded.mode,
        decoded.size,
        decoded.conversions,
        resized.enlarged,
        round(resized.lost_area, 4),
        is_gray,
        two_valued=is_gray and is_two_valued(pixels),
        box=resized.box,
        span=decoded.span,
    )
    channels_first = np.moveaxis(final, 2, 0)
    return np.broadcast_to(channels_first, (3, *final.shape[:2])), facts


def is_two_valued(pixels: Pixels) -> bool:
    """Whether the image is binary, up to noise: almost all values are the lowest or the highest."""
    low, high = int(pixels.min()), int(pixels.max())
    margin = (high - low) // 10
    near = (pixels <= low + margin) | (pixels >= high - margin)
    return bool(near.mean() >= TWO_VALUED)


def refuse_unreadable(files: Sequence[File], facts: Sequence[Facts]) -> None:
    """Raise `DataError` naming the first file that could not be read, and how many others."""
    failures = [(file, found) for file, found in zip(files, facts, strict=False) if found.error]
    if failures:
        file, found = failures[0]
        others = f" ({len(failures) - 1} more files are unreadable)" if failures[1:] else ""
        fix = "replace or remove it, or set data.on_error: skip"
        if "git lfs" in str(found.error).lower():
            fix = "run `git lfs pull` in the folder of the images"
        raise DataError(file.name, f"{found.error}{others}", fix)


def _earlier(parent: Path, key: str) -> dict[str, Copy]:
    """Images of other stores that were decoded in the same way: array, row and facts by digest."""
    found: dict[str, Copy] = {}
    for folder in sorted(parent.glob(f"{key}-*")):
        try:
            record = read_json(folder / "facts.json")
        except (OSError, ValueError):  # of a run that was killed, or being replaced
            continue
        for row, (digest, values) in enumerate(
            zip(record["digests"], record["facts"], strict=True)
        ):
            found.setdefault(digest, (folder / "images.npy", row, _facts(values)))
    return found


def _forget(parent: Path, newest: Path) -> None:
    """Delete all but the last stores, and what runs that were killed left behind."""
    stores: list[tuple[int, Path]] = []
    unfinished: list[tuple[int, Path]] = []
    for path in parent.iterdir():
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:  # of a run that has just finished
            continue
        if path.is_dir() and path != newest:
            (unfinished if path.name.startswith(".") else stores).append((changed, path))

    too_many = sorted(stores, reverse=True)[MAX_STORES - 1 :]
    too_old = [each for each in unfinished if each[0] < time.time_ns() - ABANDONED_NS]
    for _, path in (*too_many, *too_old):
        shutil.rmtree(path, ignore_errors=True)


def _copied(path: Path, row: int, facts: Facts) -> Row:
    """One image of another store."""
    if facts.error is not None:
        return None, facts
    return np.array(np.load(path, mmap_mode="r")[row]), facts


def _facts(values: Mapping[str, Any]) -> Facts:
    """The facts in a record; JSON has lists in place of tuples."""
    tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Facts(**{**values, **tuples})


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _num_workers() -> int:
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]

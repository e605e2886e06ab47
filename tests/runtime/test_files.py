"""Rows of an array are written as the array would be, a chunk at a time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime import files
from pipeline.runtime.files import Rows, read_npz, release, to_npz, write_npz


def packed(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 2**24])
def test_rows_have_the_bytes_of_the_array(
    chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", chunk_bytes)
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (300, 3, 9, 7)) // 16).astype(np.uint8)
    positions = rng.permutation(300)[:211]
    labels = np.arange(211)
    expected = packed(images=images[positions], labels=labels)
    write_npz(tmp_path / "rows.npz", images=Rows(images, positions), labels=labels)
    assert (tmp_path / "rows.npz").read_bytes() == expected
    assert to_npz(images=images[positions], labels=labels) == expected


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 1, 2, 2), dtype=np.uint8), np.array(1.5), np.array(["a", "bc"]), np.eye(3).T],
)
def test_other_arrays_have_the_bytes_that_numpy_writes(array: np.ndarray) -> None:
    assert to_npz(values=array) == packed(values=array)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        to_npz(values=np.array([{}], dtype=object))


def test_no_rows_are_an_empty_array(tmp_path: Path) -> None:
    rows = Rows(np.ones((4, 1, 2, 2), dtype=np.uint8), np.zeros(0, dtype=np.int64))
    write_npz(tmp_path / "rows.npz", images=rows)
    assert read_npz(tmp_path / "rows.npz")["images"].shape == (0, 1, 2, 2)


def test_large_arrays_are_stored_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STORED_FROM_BYTES", 1000)
    large = np.zeros(1000, dtype=np.uint8)
    write_npz(tmp_path / "large.npz", large=Rows(large, np.arange(1000)), small=large[:10])
    assert (tmp_path / "large.npz").stat().st_size > 1000
    np.testing.assert_array_equal(read_npz(tmp_path / "large.npz")["large"], large)


def test_released_pages_of_a_mapped_file_can_be_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.arange(100_000))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    total = int(mapped.sum())
    release(mapped[10:])
    assert int(mapped.sum()) == total

    changed = np.load(tmp_path / "images.npy", mmap_mode="c")
    changed[0] = 7
    release(changed)
    assert changed[0] == 7


def test_progress_is_told_the_rows_of_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 40)
    counts: list[int] = []
    for _ in Rows(np.zeros((25, 10), dtype=np.uint8), np.arange(25), counts.append).chunks():
        pass
    assert counts == [4] * 6 + [1]

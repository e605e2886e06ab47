"""An image is decoded once, whatever list it is in; a changed one alone is decoded again."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import encoded, leave, leave_images, photo

from pipeline.config.schema import ResizeParams
from pipeline.data.reading import cache
from pipeline.data.reading.cache import Decoding, Store, decode_files, to_gray
from pipeline.data.reading.decoding import Decoded, decode
from pipeline.data.reading.tree import open_tree
from pipeline.runtime.errors import DataError

NAMES = [f"{number}.png" for number in range(10)]
AS_THEY_ARE = Decoding()
SMALL = Decoding(ResizeParams(size=6))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of images, as they are decoded."""
    names: list[str] = []

    def watched(content: bytes, where: str, *settings: Any) -> Decoded:
        names.append(where)
        return decode(content, where, *settings)

    monkeypatch.setattr(cache, "decode", watched)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return leave_images(tmp_path / "set", NAMES)


def stored(folder: Path, root: Path, decoding: Decoding = AS_THEY_ARE) -> Store:
    tree = open_tree(folder)
    return decode_files(tree, tree.files, root, decoding)


def everything(store: Store, gray: bool = False) -> np.ndarray:
    return store.images(np.arange(len(store.facts)), gray)


def test_images_are_those_of_the_files_in_order(folder: Path, tmp_path: Path) -> None:
    images = everything(stored(folder, tmp_path))
    expected = np.stack([np.moveaxis(photo(seed), 2, 0) for seed in range(10)])
    np.testing.assert_array_equal(images, expected)
    assert isinstance(images, np.memmap)


@pytest.mark.parametrize("chunk", [1, 3, 10, 256])
def test_the_size_of_chunks_changes_nothing(
    chunk: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(stored(folder, tmp_path / "one", SMALL))
    monkeypatch.setattr(cache, "CHUNK", chunk)
    np.testing.assert_array_equal(everything(stored(folder, tmp_path / "other", SMALL)), expected)


def test_a_second_call_decodes_nothing(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    before = everything(stored(folder, tmp_path))
    assert sorted(decoded) == NAMES
    decoded.clear()
    np.testing.assert_array_equal(everything(stored(folder, tmp_path)), before)
    assert not decoded


def test_a_changed_image_alone_is_decoded_again(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    before = everything(stored(folder, tmp_path))
    decoded.clear()
    leave(folder / "4.png", encoded(photo(99)))
    leave(folder / "12.png", encoded(photo(98)))
    (folder / "0.png").unlink()
    images = everything(stored(folder, tmp_path))
    assert sorted(decoded) == ["12.png", "4.png"]
    np.testing.assert_array_equal(images[:3], before[1:4])
    np.testing.assert_array_equal(images[3], np.moveaxis(photo(99), 2, 0))


def test_other_settings_decode_again(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    stored(folder, tmp_path)
    for settings in (SMALL, Decoding(ResizeParams(size=6, policy="pad")), Decoding(None, "red")):
        decoded.clear()
        stored(folder, tmp_path, settings)
        assert sorted(decoded) == NAMES


def test_a_selection_is_written_in_its_order(folder: Path, tmp_path: Path) -> None:
    store, index = stored(folder, tmp_path), np.array([7, 2, 3])
    images = everything(store)
    for _ in range(2):
        np.testing.assert_array_equal(store.images(index, gray=False), images[index])
        np.testing.assert_array_equal(store.images(index, gray=True), to_gray(images[index]))


def test_equal_channels_keep_their_value_in_gray() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(to_gray(np.repeat(levels, 3, axis=1)), levels)


def test_a_zip_has_the_images_of_its_folder(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    expected = everything(stored(folder, tmp_path))
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in NAMES:
            archive.write(folder / name, name)
    decoded.clear()
    np.testing.assert_array_equal(everything(stored(packed, tmp_path)), expected)
    assert not decoded  # the content is known


def test_files_that_did_not_change_are_not_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        os.utime(folder / name, (10**9, 10**9))
    before = everything(stored(folder, tmp_path))
    monkeypatch.setattr("pipeline.data.reading.digests.file_digest", pytest.fail)
    np.testing.assert_array_equal(everything(stored(folder, tmp_path)), before)


def test_unreadable_files_are_named_with_their_reasons(folder: Path, tmp_path: Path) -> None:
    leave(folder / "5.png", b"")
    leave(folder / "6.png", encoded(photo(0, 50, 50))[:90])
    for _ in range(2):
        store = stored(folder, tmp_path)
        errors = {name: facts.error for name, facts in zip(NAMES, store.facts, strict=True)}
        assert [name for name in NAMES if errors[name]] == ["5.png", "6.png"]
        assert "empty" in str(errors["5.png"])
        tree = open_tree(folder)
        with pytest.raises(DataError, match=r"5\.png: .*empty file \(1 more files"):
            cache.refuse_unreadable(tree.files, store.facts)


@pytest.mark.parametrize("chunk", [2, 256])
def test_two_sizes_are_refused_with_both_names_and_the_key(
    chunk: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", chunk)
    leave(folder / "7.png", encoded(photo(0, 12, 9)))
    with pytest.raises(DataError) as refused:
        stored(folder, tmp_path)
    for words in ("0.png", "8 x 8", "7.png", "9 x 12", "resize: {size: 32}"):
        assert words in str(refused.value)
    assert not list((tmp_path / cache.CACHE).glob("*/facts.json"))


def test_what_a_killed_run_leaves_does_no_harm(folder: Path, tmp_path: Path) -> None:
    before = everything(stored(folder, tmp_path))
    key = next((tmp_path / cache.CACHE).iterdir()).name
    (tmp_path / cache.CACHE / key / "facts.json").write_text("{")
    (tmp_path / cache.CACHE / key / "facts.json").unlink()
    leave(tmp_path / ".trials/file-digests.json", "[")
    np.testing.assert_array_equal(everything(stored(folder, tmp_path)), before)


def test_only_the_last_stores_are_kept(folder: Path, tmp_path: Path) -> None:
    for side in range(4, 10):
        store = stored(folder, tmp_path, Decoding(ResizeParams(size=side)))
        assert everything(store).shape[2] == side
    assert len(list((tmp_path / cache.CACHE).iterdir())) == cache.MAX_STORES


def test_what_a_killed_run_left_behind_is_no_store(folder: Path, tmp_path: Path) -> None:
    parent = tmp_path / cache.CACHE
    running, killed = parent / ".running.tmp", parent / ".killed.tmp"
    for path in (running, killed):
        path.mkdir(parents=True)
    os.utime(killed, (0, 0))
    for size in range(5, 5 + cache.MAX_STORES):
        stored(folder, tmp_path, Decoding(ResizeParams(size=size)))
    names = {path.name for path in parent.iterdir()}
    assert running.name in names
    assert killed.name not in names
    assert len(names) == 1 + cache.MAX_STORES

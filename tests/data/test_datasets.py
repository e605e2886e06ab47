"""Every source keeps the contract, and IDX files that are damaged in any way are refused."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from folders import encoded, leave
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.schema import DataParams, UnknownClassesParams
from pipeline.data.datasets import DATASETS, load_dataset, mnist, open_dataset
from pipeline.data.datasets.base import RawDataset
from pipeline.data.datasets.idx import find_idx, read_idx
from pipeline.data.images import LabeledImages, content_ids, digest
from pipeline.runtime.errors import DataError

STEMS = list(mnist.SHA256)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def tiny_mnist(folder: Path, packed: bool = True) -> dict[str, np.ndarray]:
    """Four IDX files of 8 x 8 random images, three and two per class; the arrays by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, per_class in (("train", 3), ("t10k", 2)):
        labels = np.tile(np.arange(10), per_class)
        arrays[f"{prefix}-images-idx3-ubyte"] = rng.integers(0, 256, (len(labels), 8, 8))
        arrays[f"{prefix}-labels-idx1-ubyte"] = labels
    for stem, array in arrays.items():
        content = idx(array)
        name = f"{stem}.gz" if packed else stem
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return arrays


def leave_files(folder: Path) -> dict[str, dict[str, str]]:
    """A small version of every dataset of files, with a test set; its settings by name."""
    arrays = tiny_mnist(folder / "mnist")
    tiny_mnist(folder / "FashionMNIST/raw")
    rows = ["file_name,label,split"]
    parts: dict[str, np.ndarray] = {}
    for stem, part in (("train", "train"), ("t10k", "test")):
        images = arrays[f"{stem}-images-idx3-ubyte"].astype(np.uint8)
        labels = arrays[f"{stem}-labels-idx1-ubyte"]
        parts |= {f"{part}_images": images, f"{part}_labels": labels[:, None]}
        for at, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            content = encoded(pixels[:, :, None])
            leave(folder / f"folder/{part}/{label}/{at}.png", content)
            leave(folder / f"table/{part}{at}.png", content)
            rows.append(f"{part}{at}.png,{label},{part}")
    leave(folder / "table/metadata.csv", "\n".join(rows))
    np.savez(folder / "set.npz", **parts)
    return {
        "idx": {"path": str(folder / "mnist")},
        "image_folder": {"path": str(folder / "folder")},
        "mnist": {"path": str(folder / "mnist")},
        "npz": {"path": str(folder / "set.npz")},
        "table": {"path": str(folder / "table")},
        "torchvision": {"path": str(folder), "dataset": "FashionMNIST"},
    }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[RawDataset]]:
    """Every source, loaded twice."""
    folder = tmp_path_factory.mktemp("datasets")
    settings = leave_files(folder)
    found = {}
    for name in DATASETS:
        params = DataParams(
            name=name, unknown_classes=UnknownClassesParams(), settings=settings.get(name, {})
        )
        assert bool(open_dataset(params, folder).files()) == (name in settings)
        found[name] = [load_dataset(params, folder), load_dataset(params, folder)]
    return found


FILES = ("idx", "image_folder", "mnist", "npz", "table", "torchvision")


@pytest.mark.parametrize("name", FILES)
def test_the_same_images_come_from_files_of_every_kind(
    name: str, loaded: dict[str, list[RawDataset]]
) -> None:
    raw, expected = loaded[name][0], loaded["mnist"][0]
    assert raw.test is not None
    assert expected.test is not None
    for one, other in ((raw.images, expected.images), (raw.test, expected.test)):
        pairs = (
            sorted(zip(content_ids(part.images), part.labels, strict=True)) for part in (one, other)
        )
        assert next(pairs) == next(pairs)


@pytest.mark.parametrize("name", [name for name in FILES if name != "mnist"])
def test_a_source_of_files_records_what_it_read(
    name: str, loaded: dict[str, list[RawDataset]]
) -> None:
    record = loaded[name][0].reading
    assert record["modes"] == {"L": 50}
    assert record["smallest"] == record["largest"] == [8, 8]
    assert record["resize"] is None
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("name", DATASETS)
def test_a_source_gives_labeled_images_of_every_class(
    name: str, loaded: dict[str, list[RawDataset]]
) -> None:
    raw = loaded[name][0]
    assert len(raw.class_names) == len(set(raw.class_names)) >= 2
    for part in (raw.images, raw.test or raw.images):
        assert set(part.labels) == set(range(len(raw.class_names)))
        assert part.source
        assert part.images.shape[1] in (1, 3)
        assert part.images.shape[1:] == raw.images.images.shape[1:]


@pytest.mark.parametrize("name", DATASETS)
def test_a_source_uses_the_whole_range_with_dark_background(
    name: str, loaded: dict[str, list[RawDataset]]
) -> None:
    images = loaded[name][0].images.images
    assert images.max() > 200
    if name not in FILES:  # theirs are random
        assert images.mean() < 127


@pytest.mark.parametrize("name", DATASETS)
def test_a_source_gives_the_same_twice(name: str, loaded: dict[str, list[RawDataset]]) -> None:
    one, other = loaded[name]
    assert digest(one.images) == digest(other.images)
    assert one.images.images is not other.images.images


@pytest.mark.parametrize("name", DATASETS)
def test_a_test_set_of_its_own_shares_no_image_with_the_rest(
    name: str, loaded: dict[str, list[RawDataset]]
) -> None:
    raw = loaded[name][0]
    if raw.test is None:
        assert name not in FILES
    else:
        assert not np.isin(content_ids(raw.test.images), content_ids(raw.images.images)).any()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 0], ("only",)),
        ([0, 0], ("a", "b")),
        ([1, 2], ("a", "b", "c")),
        ([0, 1, 2], ("a", "b")),
        ([0, 1, 255], ("a", "b", "c")),
        ([0, -1], ("a", "b")),
        ([-1, -1], ("a", "b")),
        ([], ("a", "b")),
    ],
)
def test_classes_that_do_not_match_their_names_are_refused(
    labels: list[int], names: tuple[str, ...]
) -> None:
    pixels = np.zeros((len(labels), 1, 4, 4), dtype=np.uint8)
    data = LabeledImages(pixels, np.array(labels, dtype=np.int64), "somewhere")
    with pytest.raises(DataError, match="somewhere") as refused:
        RawDataset(data, None, names)
    assert str(sorted({*labels} - {-1})) in str(refused.value)


def test_training_images_may_be_unlabeled_and_test_images_not() -> None:
    pixels = np.zeros((3, 1, 4, 4), dtype=np.uint8)
    data = LabeledImages(pixels, np.array([0, 1, -1]), "somewhere")
    assert len(RawDataset(data, None, ("a", "b")).images) == 3
    with pytest.raises(DataError, match="somewhere"):
        RawDataset(data, data, ("a", "b"))


def test_a_class_that_only_the_training_part_has_is_refused() -> None:
    pixels = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    whole = LabeledImages(pixels, np.array([0, 1]), "train")
    with pytest.raises(DataError, match="test"):
        RawDataset(whole, LabeledImages(pixels, np.array([0, 0]), "test"), ("a", "b"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["mnist", "my dátä (1)/set"])
def test_mnist_is_read_pixel_for_pixel(packed: bool, place: str, tmp_path: Path) -> None:
    arrays = tiny_mnist(tmp_path / place, packed)
    raw = mnist.Mnist(mnist.MnistConfig(path=place), tmp_path).load()
    for part, prefix in ((raw.images, "train"), (raw.test, "t10k")):
        np.testing.assert_array_equal(part.images[:, 0], arrays[f"{prefix}-images-idx3-ubyte"])
        np.testing.assert_array_equal(part.labels, arrays[f"{prefix}-labels-idx1-ubyte"])


def read_mnist(folder: Path) -> RawDataset:
    return mnist.Mnist(mnist.MnistConfig(path=str(folder)), folder).load()


def test_a_folder_that_is_not_there_is_refused_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path") as refused:
        read_mnist(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(refused.value)


@pytest.mark.parametrize("stem", STEMS)
def test_a_missing_file_is_refused_with_every_name_it_may_have(stem: str, tmp_path: Path) -> None:
    tiny_mnist(tmp_path)
    (tmp_path / f"{stem}.gz").unlink()
    with pytest.raises(DataError) as refused:
        read_mnist(tmp_path)
    for name in (f"{stem}.gz", stem, stem.replace("-idx", ".idx")):
        assert name in str(refused.value)


@pytest.mark.parametrize("stem", STEMS)
def test_the_names_of_other_distributions_are_found(stem: str, tmp_path: Path) -> None:
    path = tmp_path / stem.replace("-idx", ".idx")
    path.write_bytes(b"")
    assert find_idx(tmp_path, stem) == path


def test_labels_and_images_of_different_counts_are_refused_with_both(tmp_path: Path) -> None:
    tiny_mnist(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.arange(29) % 10)))
    with pytest.raises(DataError) as refused:
        read_mnist(tmp_path)
    for word in ("30", "29", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        assert word in str(refused.value)


def test_swapped_images_and_labels_are_refused_as_swapped(tmp_path: Path) -> None:
    tiny_mnist(tmp_path)
    one, other = (tmp_path / f"{stem}.gz" for stem in STEMS[:2])
    swapped = one.read_bytes(), other.read_bytes()
    one.write_bytes(swapped[1])
    other.write_bytes(swapped[0])
    with pytest.raises(DataError, match="swapped"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("wrong", [10, 255])
def test_a_label_beyond_the_classes_is_refused_with_its_value(wrong: int, tmp_path: Path) -> None:
    labels = tiny_mnist(tmp_path)["train-labels-idx1-ubyte"].copy()
    labels[7] = wrong
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(DataError) as refused:
        read_mnist(tmp_path)
    assert str(wrong) in str(refused.value)


PIXELS = np.arange(60).reshape(3, 4, 5)


def refused_idx(folder: Path, content: bytes, num_dims: int = 3) -> str:
    path = folder / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_idx(path, num_dims)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("array", [PIXELS, np.arange(7), np.zeros((1, 1, 1))])
def test_content_decides_whether_a_file_is_unpacked(
    pack, array: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array)))
    found = read_idx(path, array.ndim)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "empty" in refused_idx(tmp_path, b"")


def test_an_empty_gzip_member_is_refused(tmp_path: Path) -> None:
    assert "IDX header" in refused_idx(tmp_path, gzip.compress(b""))


def test_a_gzip_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(idx(PIXELS), mtime=0)
    for length in range(len(whole)):
        refused_idx(tmp_path, whole[:length])


def test_a_plain_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    whole = idx(PIXELS)
    for length in range(len(whole)):
        refused_idx(tmp_path, whole[:length])


def test_any_flipped_bit_of_a_gzip_file_is_refused_or_harmless(tmp_path: Path) -> None:
    whole = gzip.compress(idx(PIXELS), mtime=0)
    path = tmp_path / "file.gz"
    num_refused = 0
    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            found = read_idx(path, 3)
        except DataError:
            num_refused += 1
        else:
            np.testing.assert_array_equal(found, PIXELS)
    assert num_refused > len(whole) * 6


@pytest.mark.parametrize("extra", [b"\1", b"junk", bytes(8)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_bytes_beyond_the_header_are_refused_with_both_counts(
    pack, extra: bytes, tmp_path: Path
) -> None:
    text = refused_idx(tmp_path, pack(idx(PIXELS) + extra))
    assert "60 values" in text
    assert str(60 + len(extra)) in text


def test_junk_after_a_gzip_file_is_refused(tmp_path: Path) -> None:
    refused_idx(tmp_path, gzip.compress(idx(PIXELS)) + b"junk")


def test_two_gzip_members_in_a_row_are_refused(tmp_path: Path) -> None:
    refused_idx(tmp_path, gzip.compress(idx(PIXELS)) * 2)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_web_page_in_place_of_the_data_is_recognized(pack, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    assert "HTML" in refused_idx(tmp_path, pack(page))


@pytest.mark.parametrize("kind", [0, 9, 11, 12, 13, 14, 255])
def test_values_of_another_type_are_refused(kind: int, tmp_path: Path) -> None:
    assert f"type {kind}" in refused_idx(tmp_path, idx(PIXELS, kind))


@pytest.mark.parametrize("shape", [(), (60,), (3, 20), (3, 4, 5, 1), (1,) * 9])
def test_another_number_of_dimensions_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    text = refused_idx(tmp_path, idx(np.zeros(shape)))
    assert f"found {len(shape)}" in text


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (0, 0, 0)])
def test_a_file_without_values_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    assert "at least one value" in refused_idx(tmp_path, idx(np.zeros(shape)))


def test_a_header_in_the_wrong_byte_order_is_refused(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3]) + struct.pack("<3I", *PIXELS.shape)
    refused_idx(tmp_path, header + PIXELS.astype(np.uint8).tobytes())


@pytest.mark.parametrize("size", [2**32 - 1, 2**31, 2**16])
def test_a_header_that_promises_more_than_memory_is_refused_at_once(
    size: int, tmp_path: Path
) -> None:
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", size, size, size) + bytes(100)
    assert str(size**3) in refused_idx(tmp_path, content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.tuples(*[st.integers(0, 4)] * 3), count=st.integers(0, 30), packed=st.booleans())
def test_header_and_length_must_agree(
    shape: tuple[int, int, int], count: int, packed: bool, tmp_path: Path
) -> None:
    content = idx(np.zeros(shape))[:16] + bytes(count)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if packed else content)
    if count == np.prod(shape) > 0:
        assert read_idx(path, 3).shape == shape
    else:
        with pytest.raises(DataError):
            read_idx(path, 3)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine with the folders `good`, `bad` (another file) and `gone` (none)."""
    tiny_mnist(tmp_path / "served" / "good")
    sums = {}
    (tmp_path / "served" / "bad").mkdir()
    for stem in STEMS:
        content = (tmp_path / "served/good" / f"{stem}.gz").read_bytes()
        sums[stem] = hashlib.sha256(content).hexdigest()
        (tmp_path / "served/bad" / f"{stem}.gz").write_bytes(content[:-1] + b"\1")
    monkeypatch.setattr(mnist, "SHA256", sums)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("before", [[], ["gone"], ["bad"], ["gone", "bad"]])
def test_the_first_mirror_with_the_right_bytes_is_used(
    before: list[str], mirror: str, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    mirrors = tuple(f"{mirror}/{name}/" for name in [*before, "good"])
    raw = read_mnist(mnist.download(folder, mirrors))
    assert len(raw.images) == 30
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{s}.gz" for s in STEMS)


def test_a_download_with_other_bytes_never_takes_its_final_name(
    mirror: str, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(DataError) as refused:
        mnist.download(folder, (f"{mirror}/gone/", f"{mirror}/bad/"))
    assert f"{mirror}/gone/" in str(refused.value)
    assert f"{mirror}/bad/" in str(refused.value)
    assert [path.name for path in folder.iterdir()] == []


def test_a_damaged_file_in_the_cache_is_fetched_again(mirror: str, tmp_path: Path) -> None:
    folder = mnist.download(tmp_path / "cache", (f"{mirror}/good/",))
    path = folder / f"{STEMS[0]}.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    mnist.download(folder, (f"{mirror}/good/",))
    assert path.read_bytes() == whole


def test_files_that_are_there_are_not_fetched_again(mirror: str, tmp_path: Path) -> None:
    folder = mnist.download(tmp_path / "cache", (f"{mirror}/good/",))
    assert mnist.download(folder, (f"{mirror}/gone/",)) == folder


def test_downloads_are_encrypted_and_every_file_has_a_digest() -> None:
    assert all(address.startswith("https://") for address in mnist.MIRRORS)
    assert all(len(bytes.fromhex(known)) == 32 for known in mnist.SHA256.values())

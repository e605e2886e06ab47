"""Arrays in npz files, IDX pairs and torchvision's files become the right images or a sentence."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from folders import leave, opened
from scipy.io import savemat
from torchvision import datasets as theirs

from pipeline.data.datasets import torchvision
from pipeline.data.datasets.base import RawDataset
from pipeline.data.datasets.idx import read_idx
from pipeline.runtime.errors import DataError, ParamsError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 8, 10), dtype=np.uint8)
RGB = RNG.integers(0, 256, (12, 8, 10, 3), dtype=np.uint8)
LABELS = np.tile(np.arange(3), 4)


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "set.npz", **arrays)
    return folder / "set.npz"


def loaded(name: str, path: Path, resize: object = None, **settings: object) -> RawDataset:
    dataset = opened(name, path, path.parent, resize, **settings)
    assert all(file.is_file() for file in dataset.files())
    return dataset.load()


def refused(name: str, path: Path, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        loaded(name, path, **settings)
    return str(error.value)


NAMES = [
    ("images", "labels"),
    ("X", "y"),
    ("data", "targets"),
    ("arr_0", "arr_1"),
    ("x_train", "y_train"),
    ("train_images", "train_labels"),
    ("X", "Y"),
]


@pytest.mark.parametrize("names", NAMES)
def test_the_names_of_arrays_say_what_they_are(names: tuple[str, str], tmp_path: Path) -> None:
    raw = loaded("npz", npz(tmp_path, **dict(zip(names, (GRAY, LABELS), strict=True))))
    np.testing.assert_array_equal(raw.images.images[:, 0], GRAY)
    np.testing.assert_array_equal(raw.images.labels, LABELS)
    assert raw.class_names == ("0", "1", "2")
    assert raw.reading["num_images"] == 12


def test_parts_of_medmnist(tmp_path: Path) -> None:
    column = LABELS[:, None].astype(np.uint8)
    arrays = {f"{part}_images": RGB for part in ("train", "val", "test")}
    arrays |= {f"{part}_labels": column for part in ("train", "val", "test")}
    path = npz(tmp_path, **arrays)
    raw = loaded("npz", path)
    assert raw.test is not None
    assert (raw.images.images.shape, len(raw.test)) == ((24, 3, 8, 10), 12)
    assert len(loaded("npz", path, val="ignore").images) == 12


@pytest.mark.parametrize("order", ["nhwc", "nchw"])
def test_channels_are_found_at_either_place(order: str, tmp_path: Path) -> None:
    images = RGB if order == "nhwc" else np.moveaxis(RGB, 3, 1)
    raw = loaded("npz", npz(tmp_path, images=images, labels=LABELS))
    np.testing.assert_array_equal(raw.images.images, np.moveaxis(RGB, 3, 1))


def test_an_order_that_is_not_clear_is_asked_for(tmp_path: Path) -> None:
    path = npz(tmp_path, images=np.moveaxis(RGB, 3, 1)[:, :, :, :3], labels=LABELS)
    assert "data.layout" in refused("npz", path)
    raw = loaded("npz", path, {"size": 8}, layout="nchw")
    assert raw.images.images.shape == (12, 3, 8, 8)


@pytest.mark.parametrize("scale", ["0..1", "-1..1"])
def test_decimal_numbers_need_their_range(scale: str, tmp_path: Path) -> None:
    values = GRAY / 255 if scale == "0..1" else GRAY / 127.5 - 1
    path = npz(tmp_path, images=values.astype(np.float32), labels=LABELS)
    assert "set data.scale" in refused("npz", path)
    raw = loaded("npz", path, scale=scale)
    np.testing.assert_array_equal(raw.images.images[:, 0], GRAY)
    if scale == "-1..1":
        assert "correct data.scale" in refused("npz", path, scale="0..1")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS + 1, ("1", "2", "3")),
        (np.array(["b", "a", "c"])[LABELS], ("a", "b", "c")),
        (np.array([b"b", b"a", b"c"])[LABELS], ("a", "b", "c")),
        (np.eye(3)[LABELS], ("0", "1", "2")),
        (LABELS.astype(np.float64), ("0", "1", "2")),
        (LABELS[:, None], ("0", "1", "2")),
    ],
)
def test_labels_of_any_kind(labels: np.ndarray, names: tuple[str, ...], tmp_path: Path) -> None:
    raw = loaded("npz", npz(tmp_path, images=GRAY, labels=labels))
    assert raw.class_names == names
    chosen = np.array(names)[raw.images.labels]
    if labels.ndim == 1 and labels.dtype.kind in "iU":
        assert chosen.tolist() == labels.astype(str).tolist()


def test_minus_one_and_images_alone_are_unlabeled(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[5] = -1
    arrays = {"images": GRAY, "labels": labels, "unlabeled_images": GRAY[:2]}
    found = loaded("npz", npz(tmp_path, **arrays)).images.labels
    assert found.tolist() == [*labels, -1, -1]


def test_several_labels_per_image_are_refused(tmp_path: Path) -> None:
    many = RNG.integers(0, 2, (12, 14))
    assert "multi-label" in refused("npz", npz(tmp_path, images=GRAY, labels=many))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": GRAY}, "rename the arrays"),
        ({"foo": GRAY, "bar": LABELS}, "foo, bar"),
        ({"images": GRAY, "labels": LABELS[:5]}, "12 labels"),
        ({"images": GRAY, "labels": LABELS + 0.5}, "float64"),
        ({"images": GRAY.astype(np.int64), "labels": LABELS}, "int64"),
        ({"images": RGB[..., :2], "labels": LABELS}, "1 or 3 channels"),
        ({"images": GRAY, "x": GRAY, "labels": LABELS}, "one array of images"),
        ({"images": GRAY[:, :3], "labels": LABELS}, "sides of 4 to 128"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict, words: str, tmp_path: Path) -> None:
    assert words in refused("npz", npz(tmp_path, **arrays))


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    path = npz(tmp_path, images=GRAY, labels=np.array([{}] * 12, dtype=object))
    assert "Python objects" in refused("npz", path)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"<html>"])
def test_a_file_that_is_no_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "fetch" in refused("npz", leave(tmp_path / "set.npz", content))


def test_names_of_classes_are_given_by_the_user(tmp_path: Path) -> None:
    path = npz(tmp_path, images=GRAY, labels=LABELS + 1)
    raw = loaded("npz", path, class_names=["Shirt", "Bag", "Coat"])
    assert raw.class_names == ("Shirt", "Bag", "Coat")
    assert raw.images.labels.tolist() == LABELS.tolist()
    assert "class_names" in refused("npz", path, class_names=["a", "b"])


def test_arrays_are_resized_like_files(tmp_path: Path) -> None:
    raw = loaded("npz", npz(tmp_path, images=RGB, labels=LABELS), {"size": [6, 12]})
    assert raw.images.images.shape == (12, 3, 6, 12)
    assert raw.reading["resize"]["num_enlarged"] == 12


def test_equal_channels_are_gray(tmp_path: Path) -> None:
    images = np.repeat(GRAY[..., None], 3, axis=3)
    raw = loaded("npz", npz(tmp_path, images=images, labels=LABELS))
    np.testing.assert_array_equal(raw.images.images[:, 0], GRAY)
    assert raw.images.images.shape[1] == 1


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


PAIRS = [
    {"train": ("images.idx3-ubyte", "labels.idx1-ubyte")},
    {"train": ("X_shapes.bin", "y_shapes.bin")},
    {"train": ("photos", "answers")},
    {
        "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    },
    {
        "train": ("shapes-train-images.idx3.gz", "shapes-train-labels.idx1.gz"),
        "val": ("shapes-val-images.idx3.gz", "shapes-val-labels.idx1.gz"),
        "test": ("shapes-test-images.idx3.gz", "shapes-test-labels.idx1.gz"),
    },
]


@pytest.mark.parametrize("pairs", PAIRS)
def test_pairs_of_idx_files_are_found_under_any_name(pairs: dict, tmp_path: Path) -> None:
    for at, names in enumerate(pairs.values()):
        for name, array in zip(names, (GRAY + np.uint8(at), LABELS), strict=True):
            content = idx(array)
            leave(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    leave(tmp_path / "readme.txt", "shapes")
    raw = loaded("idx", tmp_path, class_names=["circle", "square", "star"])
    assert raw.class_names == ("circle", "square", "star")
    np.testing.assert_array_equal(raw.images.images[:12, 0], GRAY)
    assert (raw.test is not None) == ("test" in pairs)
    assert len(opened("idx", tmp_path, tmp_path).files()) == 2 * len(pairs)
    assert loaded("idx", tmp_path).class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    "names",
    [("a-images", "b-images"), ("a-images",), (), ("a-images", "a-labels", "b-images", "b-labels")],
)
def test_files_without_a_clear_partner_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        leave(tmp_path / name, idx(LABELS if "labels" in name else GRAY))
    refused("idx", tmp_path)


def test_a_file_that_unpacks_to_more_than_its_header_says_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(idx(GRAY) + bytes(2**26))
    with pytest.raises(DataError, match="expected 960 values") as error:
        read_idx(leave(tmp_path / "bomb.gz", bomb), 3)
    found = int(str(error.value).partition("found ")[2].partition(".")[0])
    assert 960 < found < 2**21


def leave_idx_set(folder: Path, stems: tuple[str, str], images: np.ndarray, labels) -> None:
    for stem in stems:
        leave(folder / f"{stem}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
        leave(folder / f"{stem}-labels-idx1-ubyte", idx(labels))


TEN = np.tile(np.arange(10), 2)
SHAPES = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST", "MNIST"])
@pytest.mark.parametrize("inner", ["{name}/raw", "raw", ""])
def test_idx_sets_of_torchvision_are_found_where_it_puts_them(
    name: str, inner: str, tmp_path: Path
) -> None:
    leave_idx_set(tmp_path / inner.format(name=name), ("train", "t10k"), SHAPES, TEN)
    raw = loaded("torchvision", tmp_path, dataset=name)
    np.testing.assert_array_equal(raw.images.images[:, 0], SHAPES)
    classes = [each.partition(" - ")[0] for each in getattr(theirs, name).classes]
    assert list(raw.class_names) == classes


@pytest.mark.parametrize("split", list(torchvision.EMNIST_CLASSES))
def test_emnist_is_turned_upright_and_has_torchvisions_names(split: str, tmp_path: Path) -> None:
    names = [name for name in theirs.EMNIST.classes_split_dict[split] if name != "N/A"]
    first = 1 if split == "letters" else 0
    labels = np.arange(first, first + len(names))
    images = RNG.integers(0, 256, (len(names), 28, 28), dtype=np.uint8)
    stems = (f"emnist-{split}-train", f"emnist-{split}-test")
    leave_idx_set(tmp_path / "EMNIST/raw", stems, images, labels)
    raw = loaded("torchvision", tmp_path, dataset="EMNIST", split=split)
    assert list(raw.class_names) == names
    np.testing.assert_array_equal(raw.images.images[:, 0], images.swapaxes(1, 2))
    assert "transposed" in raw.reading["notes"][0]


def test_usps_has_the_pixels_that_torchvision_reads(tmp_path: Path) -> None:
    values = RNG.uniform(-1, 1, (20, 256)).round(3)
    lines = [
        f"{label + 1} " + " ".join(f"{at + 1}:{value}" for at, value in enumerate(row))
        for label, row in zip(TEN, values, strict=True)
    ]
    for name in ("usps.bz2", "usps.t.bz2"):
        leave(tmp_path / name, bz2.compress("\n".join(lines).encode()))
    raw = loaded("torchvision", tmp_path, dataset="USPS")
    expected = theirs.USPS(str(tmp_path))
    np.testing.assert_array_equal(raw.images.images[:, 0], expected.data)
    assert raw.images.labels.tolist() == expected.targets
    leave(tmp_path / "usps.bz2", b"BZh9 no")
    assert "usps.bz2" in refused("torchvision", tmp_path, dataset="USPS")


def test_svhn_calls_its_tenth_class_zero(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(tmp_path / name, {"X": images, "y": (TEN + 1)[:, None].astype(np.uint8)})
    raw = loaded("torchvision", tmp_path, dataset="SVHN")
    np.testing.assert_array_equal(raw.images.images, images.transpose(3, 2, 0, 1))
    assert raw.images.labels.tolist() == ((TEN + 1) % 10).tolist()


def test_stl10_has_unlabeled_images(tmp_path: Path) -> None:
    folder = tmp_path / "stl10_binary"
    images = RNG.integers(0, 256, (20, 3, 96, 96), dtype=np.uint8)
    for name in ("train_X.bin", "test_X.bin", "unlabeled_X.bin"):
        leave(folder / name, images.swapaxes(2, 3).tobytes())
    for name in ("train_y.bin", "test_y.bin"):
        leave(folder / name, (TEN + 1).astype(np.uint8).tobytes())
    leave(folder / "class_names.txt", "\n".join("abcdefghij"))
    raw = loaded("torchvision", tmp_path, dataset="STL10")
    np.testing.assert_array_equal(raw.images.images[:20], images)
    assert raw.images.labels.tolist() == [*TEN, *[-1] * 20]
    assert raw.class_names == tuple("abcdefghij")


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_cifar_is_read_after_its_checksum(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = "" if name == "CIFAR10" else "fine_"
    key, names_key = f"{fine}labels", f"{fine}label_names"
    dataset = opened("torchvision", tmp_path, tmp_path, dataset=name)
    images = RNG.integers(0, 256, (20, 3 * 32 * 32), dtype=np.uint8)
    folder, sums = tmp_path / dataset.known.folders[0], {}
    for path in dataset.known.names(folder):
        batch = {"data": images, key: TEN.tolist(), names_key: list("abcdefghij")}
        leave(path, pickle.dumps(batch, protocol=2))
        sums[path.name] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    with pytest.raises(DataError, match="with MD5"):
        dataset.load()
    monkeypatch.setattr(torchvision, "CIFAR_MD5", sums)
    raw = dataset.load()
    assert raw.class_names == tuple("abcdefghij")
    np.testing.assert_array_equal(raw.images.images[:20], images.reshape(-1, 3, 32, 32))


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_checksums_are_torchvisions(name: str) -> None:
    known = getattr(theirs, name)
    sums = dict([*known.train_list, *known.test_list])
    sums[known.meta["filename"]] = known.meta["md5"]
    assert sums.items() <= torchvision.CIFAR_MD5.items()


class Harmful:
    def __reduce__(self) -> tuple:
        return (print, ("code of the pickle",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", [Harmful(), {"data": Harmful()}, Path("x"), {"f": eval}])
def test_a_pickle_that_names_code_is_refused_and_runs_nothing(
    content: object, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="do not use this file"):
        torchvision.unpickled(pickle.dumps(content, protocol), "batch")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_text_and_dicts_are_read(protocol: int) -> None:
    content = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "name": "x"}
    found = torchvision.unpickled(pickle.dumps(content, min(protocol, 2)), "batch")
    np.testing.assert_array_equal(found["data"], content["data"])
    assert found["labels"] == [1, 2]


@pytest.mark.parametrize(("wrong", "hint"), [("FashionMnist", "FashionMNIST"), ("CIFAR", "CIFAR")])
def test_an_unknown_class_is_refused_with_the_nearest_one(
    wrong: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ParamsError, match="did you mean") as error:
        opened("torchvision", tmp_path, tmp_path, dataset=wrong)
    assert f"did you mean {hint}" in str(error.value)


def test_files_that_are_not_there_are_named_with_the_places(tmp_path: Path) -> None:
    for name in torchvision.NAMES:
        text = refused("torchvision", tmp_path, dataset=name)
        assert str(tmp_path) in text
        assert name in text

"""Folders mean classes, in every layout that people have, with every fault that they meet."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from folders import encoded, leave, leave_images, opened, photo
from PIL import Image

from pipeline.data.background import resolve_background
from pipeline.data.datasets.base import RawDataset
from pipeline.data.reading.tree import natural
from pipeline.runtime.errors import DataError, ParamsError

SHARED = Path(__file__).resolve().parents[3].parent / "shared/datasets"
PAIR = ["cat/1.png", "dog/1.png"]


def loaded(folder: Path, resize: object = None, **settings: object) -> RawDataset:
    dataset = opened("image_folder", folder, folder.parent, resize, **settings)
    raw = dataset.load()
    read = {*raw.origins.paths, *raw.test_origins.paths}
    if folder.is_dir():
        listed = {unicodedata.normalize("NFC", str(path)) for path in dataset.files()}
        assert all(any(path.endswith(name) for path in listed) for name in read)
    else:
        assert dataset.files() == [folder]
    return raw


def refused(folder: Path, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        loaded(folder, **settings)
    return str(error.value)


def counts(raw: RawDataset) -> dict[str, int]:
    labels = raw.images.labels
    return {name: int((labels == at).sum()) for at, name in enumerate(raw.class_names)}


def test_the_first_folder_is_the_class(tmp_path: Path) -> None:
    names = ["cat/1.png", "cat/deep/er/2.png", "dog/10.png", "dog/9.PNG", "dog/a b.png"]
    raw = loaded(leave_images(tmp_path / "set", names))
    assert counts(raw) == {"cat": 2, "dog": 3}
    assert raw.test is None
    assert raw.origins.paths == tuple(sorted(names, key=natural))
    for seed, name in enumerate(names):
        at = raw.origins.paths.index(name)
        np.testing.assert_array_equal(raw.images.images[at], np.moveaxis(photo(seed), 2, 0))
    assert raw.reading["num_files"] == 5
    assert raw.reading["modes"] == {"RGB": 5}


def test_classes_sort_by_their_numbers(tmp_path: Path) -> None:
    raw = loaded(leave_images(tmp_path / "set", [f"{at}/x.png" for at in range(1, 11)]))
    assert raw.class_names == tuple(map(str, range(1, 11)))


@pytest.mark.parametrize("names", [["NA", "null"], ["001", "1a"], ["$5", "<b>bold"], ["قط", "猫"]])
def test_any_name_is_a_class(names: list[str], tmp_path: Path) -> None:
    raw = loaded(leave_images(tmp_path / "set", [f"{name}/x.png" for name in names]))
    assert raw.class_names == tuple(sorted(names, key=natural))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_class_names_are_composed(form: str, tmp_path: Path) -> None:
    name = unicodedata.normalize(form, "Äpfel")
    raw = loaded(leave_images(tmp_path / "set", [f"{name}/x.png", "b/x.png"]))
    assert unicodedata.normalize("NFC", "Äpfel") in raw.class_names


def test_classes_that_differ_in_case_are_refused_with_both_names(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["Cat/1.png", "cat/2.png", "dog/1.png"])
    text = refused(folder)
    assert "'Cat'" in text
    assert "'cat'" in text
    assert loaded(folder, classes=["cat", "dog"]).class_names == ("cat", "dog")


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN"])
@pytest.mark.parametrize("test", ["test", "Testing", "eval"])
def test_parts_are_found_in_any_case(train: str, test: str, tmp_path: Path) -> None:
    names = [f"{part}/{kind}/{part}.png" for part in (train, test) for kind in ("cat", "dog")]
    raw = loaded(leave_images(tmp_path / "set", names))
    assert raw.class_names == ("cat", "dog")
    assert raw.test is not None
    assert (len(raw.images), len(raw.test)) == (2, 2)
    assert raw.test_origins.paths == (f"{test}/cat/{test}.png", f"{test}/dog/{test}.png")


@pytest.mark.parametrize(
    ("parts", "val", "num_train", "num_test"),
    [
        (("train", "valid", "test"), "auto", 4, 2),
        (("train", "dev"), "auto", 2, 2),
        (("train", "val"), "train", 4, 0),
        (("train", "val", "test"), "ignore", 2, 2),
        (("train", "val", "test"), "test", 2, 4),
        (("train",), "auto", 2, 0),
    ],
)
def test_the_validation_part_joins_another(
    parts: tuple[str, ...], val: str, num_train: int, num_test: int, tmp_path: Path
) -> None:
    names = [f"{part}/{kind}/{part}.png" for part in parts for kind in ("cat", "dog")]
    raw = loaded(leave_images(tmp_path / "set", names), val=val)
    assert len(raw.images) == num_train
    assert (len(raw.test) if raw.test else 0) == num_test
    assert any("validation" in note for note in raw.reading["notes"]) == (len(parts) > 1)


def test_a_split_name_among_classes_is_a_class(tmp_path: Path) -> None:
    raw = loaded(leave_images(tmp_path / "set", ["dev/1.png", "ops/1.png"]))
    assert raw.class_names == ("dev", "ops")


def test_parts_beside_classes_are_refused(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["train/a/1.png", "test/a/1.png", "extra/a/1.png"])
    assert "test, train beside extra" in refused(folder)


@pytest.mark.parametrize("above", ["data", "data/more"])
def test_folders_around_the_parts_are_no_classes(above: str, tmp_path: Path) -> None:
    names = [f"{above}/{part}/{pair}" for part in ("train", "test") for pair in PAIR]
    raw = loaded(leave_images(tmp_path / "set", names))
    assert raw.class_names == ("cat", "dog")
    assert raw.test is not None
    assert "no class" in raw.reading["notes"][0]


def test_a_folder_within_each_part_is_no_class(tmp_path: Path) -> None:
    names = [f"{part}/images/{pair}" for part in ("train", "test") for pair in PAIR]
    assert loaded(leave_images(tmp_path / "set", names)).class_names == ("cat", "dog")


def test_parts_inside_classes_are_explained(tmp_path: Path) -> None:
    names = [f"{kind}/{part}/1.png" for part in ("train", "test") for kind in ("cat", "dog")]
    assert "inside the class folders" in refused(leave_images(tmp_path / "set", names))


@pytest.mark.parametrize("loose", ["unlabeled/1.png", "Unlabeled/deep/1.png", "1.png"])
@pytest.mark.parametrize("part", ["", "train/"])
def test_images_outside_class_folders_are_unlabeled(loose: str, part: str, tmp_path: Path) -> None:
    names = [*(f"{part}{pair}" for pair in PAIR), f"{part}{loose}", f"{part}cat/2.png"]
    raw = loaded(leave_images(tmp_path / "set", names))
    assert raw.class_names == ("cat", "dog")
    assert raw.images.labels.tolist() == [0, 0, 1, -1]
    assert raw.origins.paths[-1].endswith("1.png")


def test_a_test_part_without_classes_is_unlabeled(tmp_path: Path) -> None:
    names = [*(f"train/{pair}" for pair in PAIR), "test/1.png", "test/2.png"]
    raw = loaded(leave_images(tmp_path / "set", names))
    assert raw.test is None
    assert raw.images.labels.tolist() == [0, 1, -1, -1]


def test_an_empty_class_is_named_until_it_is_left_out(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", PAIR)
    (folder / "bird").mkdir()
    assert "found none of 'bird'" in refused(folder)
    assert loaded(folder, classes=["dog", "cat"]).class_names == ("dog", "cat")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("test/bird/1.png", "among the training images, found none of 'bird' (1 in the test set)"),
        ("train/bird/1.png", "in the test set, found none of 'bird' (1 among the training images)"),
    ],
)
def test_a_class_in_one_part_only_is_named(extra: str, words: str, tmp_path: Path) -> None:
    names = [f"{part}/{pair}" for part in ("train", "test") for pair in PAIR]
    folder = leave_images(tmp_path / "set", [*names, extra])
    assert words in refused(folder)
    raw = loaded(folder, classes=["cat", "dog"])
    assert raw.reading["skipped"] == {"of a class that data.classes leaves out": 1}


@pytest.mark.parametrize("classes", [["cat", "bird"], ["cat", "cat"], ["cat"]])
def test_wrong_classes_are_refused(classes: list[str], tmp_path: Path) -> None:
    refused(leave_images(tmp_path / "set", PAIR), classes=classes)


def test_leftovers_and_other_files_are_counted_by_reason(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", [*PAIR, ".ipynb_checkpoints/1.png", "cat/._1.png"])
    leave(folder / ".DS_Store", b"x")
    leave(folder / "cat/notes.txt", "none")
    leave(folder / "dog/2.dat", encoded(photo(50)))
    raw = loaded(folder)
    assert raw.class_names == ("cat", "dog")
    assert raw.reading["skipped"] == {"hidden": 3, "no image (.txt)": 1}
    assert raw.reading["skipped_examples"]["no image (.txt)"] == ["cat/notes.txt"]
    assert counts(raw) == {"cat": 1, "dog": 2}


def test_a_folder_without_images_says_what_it_has(tmp_path: Path) -> None:
    for name in ("a/1.txt", "a/2.txt", "b/1.mat"):
        leave(tmp_path / "set" / name, "x")
    assert "2 .txt, 1 .mat" in refused(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    assert "no file at all" in refused(tmp_path / "empty")


def test_flat_images_alone_have_no_classes(tmp_path: Path) -> None:
    assert "at least two classes" in refused(leave_images(tmp_path / "set", ["1.png", "2.png"]))


BROKEN = {
    "cut.jpg": encoded(photo(0, 64, 64), "JPEG")[:400],
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
    "page.jpg": b"<!DOCTYPE html><html></html>",
    "empty.jpg": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_unreadable_file_stops_with_its_name_or_is_counted(name: str, tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", PAIR)
    leave(folder / "cat" / name, BROKEN[name])
    assert f"cat/{name}: expected" in refused(folder)
    raw = loaded(folder, on_error="skip")
    assert counts(raw) == {"cat": 1, "dog": 1}
    assert raw.reading["skipped"] == {"unreadable": 1}
    assert raw.reading["skipped_examples"]["unreadable"][0].startswith(f"cat/{name}: ")


def test_a_class_whose_files_are_all_skipped_is_named(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", PAIR)
    leave(folder / "dog/1.png", b"")
    assert "found none of 'dog'" in refused(folder, on_error="skip")


def test_the_fix_for_a_pointer_is_to_fetch_it(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", PAIR)
    leave(folder / "cat/2.jpg", BROKEN["pointer.jpg"])
    assert "run `git lfs pull`" in refused(folder)


@pytest.mark.parametrize(
    ("channels", "colored", "expected"),
    [("auto", False, 1), ("auto", True, 3), ("gray", True, 1), ("rgb", False, 3)],
)
def test_gray_or_rgb_is_one_choice_for_all(
    channels: str, colored: bool, expected: int, tmp_path: Path
) -> None:
    folder = leave_images(tmp_path / "set", ["cat/1.png"], channels=1)
    gray = np.repeat(photo(5, channels=1), 3, axis=2)
    leave(folder / "dog/1.png", encoded(photo(6) if colored else gray))
    raw = loaded(folder, channels=channels)
    assert raw.images.images.shape == (2, expected, 8, 8)
    np.testing.assert_array_equal(raw.images.images[0, 0], photo(0, channels=1)[:, :, 0])


def test_masks_beside_photos_are_left_out(tmp_path: Path) -> None:
    names = [f"{kind}/Imgs/{at}.jpg" for kind in ("cat", "dog") for at in range(3)]
    folder = leave_images(tmp_path / "set", names, channels=1)
    for at, name in enumerate(names):
        mask = np.zeros((8, 8, 1), np.uint8)
        mask[:at, :at] = 255
        leave(folder / name.replace(".jpg", ".png"), encoded(mask))
    raw = loaded(folder)
    assert counts(raw) == {"cat": 3, "dog": 3}
    assert raw.reading["skipped"] == {"masks beside photos": 6}
    assert counts(loaded(folder, masks="keep")) == {"cat": 6, "dog": 6}


def test_drawings_in_two_formats_are_no_masks(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for at, kind in enumerate(("cat", "dog")):
        drawing = np.zeros((8, 8, 1), np.uint8)
        drawing[at:4] = 255
        leave(folder / kind / "1.png", encoded(drawing))
        leave(folder / kind / "1.bmp", encoded(drawing, "BMP"))
    assert counts(loaded(folder)) == {"cat": 2, "dog": 2}


def test_modes_sizes_and_conversions_are_recorded(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", PAIR)
    tags = Image.Exif()
    tags[0x0112] = 6
    leave(folder / "cat/turned.jpg", encoded(photo(7, 20, 30), "JPEG", exif=tags))
    leave(folder / "dog/clear.png", encoded(Image.new("RGBA", (16, 16))))
    record = loaded(folder, {"size": 12}).reading
    assert record["modes"] == {"RGB": 3, "RGBA": 1}
    assert record["converted"] == {"alpha composited onto white": 1, "rotated by EXIF": 1}
    assert (record["smallest"], record["largest"], record["num_sizes"]) == ([8, 8], [30, 20], 3)
    assert record["resize"]["num_enlarged"] == 2
    assert record["resize"]["num_cropped_much"] == 1


def test_a_zip_is_as_good_as_its_folder(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", [*PAIR, "cat/2.png", "__MACOSX/cat/._1.png"])
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, f"set/{path.relative_to(folder)}")
    raw, expected = loaded(packed), loaded(folder)
    np.testing.assert_array_equal(raw.images.images, expected.images.images)
    assert raw.class_names == expected.class_names


def test_a_path_is_relative_to_the_project_or_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_images(tmp_path / "set", PAIR)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("set", "~/set", str(tmp_path / "set")):
        assert len(opened("image_folder", Path(path), tmp_path).load().images) == 2


@pytest.mark.parametrize("settings", [{"alpha_onto": "wite"}, {"val": "no"}, {"clases": ["a"]}])
def test_wrong_settings_are_refused(settings: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=next(iter(settings))):
        opened("image_folder", tmp_path, tmp_path, **settings)


def shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not beside the project")
    return SHARED / name


def real(name: str, project: Path, **resize: object) -> RawDataset:
    return opened("image_folder", shared(name), project, resize).load()


def test_signs_of_hands_are_upright_and_small(tmp_path: Path) -> None:
    raw = real("sign_digits", tmp_path, size=32)
    assert raw.images.images.shape == (2062, 3, 32, 32)
    assert raw.class_names == tuple("0123456789")
    assert raw.reading["converted"] == {"rotated by EXIF": 3}


def test_opaque_components_are_rgb(tmp_path: Path) -> None:
    raw = real("components_rgba", tmp_path, size=48)
    assert raw.images.images.shape == (250, 3, 48, 48)
    assert raw.reading["converted"] == {}
    assert set(counts(raw).values()) == {50}


def test_masks_of_tiles_are_not_taken_for_photos(tmp_path: Path) -> None:
    raw = real("magnetic_tile", tmp_path, size=32, policy="pad")
    assert raw.images.images.shape[1:] == (1, 32, 32)
    assert list(counts(raw).values()) == [39, 26, 18, 11, 60, 34]
    assert raw.reading["skipped"] == {"masks beside photos": 188}


def test_sixteen_bits_have_one_range_so_that_dark_and_bright_classes_differ(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, start in (("bright", 3000), ("dark", 100)):
        for number in range(3):
            values = rng.integers(start, start + 100, (8, 8)).astype(np.uint16)
            leave(tmp_path / f"set/{name}/{number}.png", encoded(Image.fromarray(values)))
    raw = opened("image_folder", tmp_path / "set", tmp_path).load()
    assert raw.reading["converted"] == {"16 bits, 0 to 4095 scaled to 0 to 255": 6}
    bright, dark = (raw.images.images[raw.images.labels == label] for label in (0, 1))
    assert 180 < bright.min() <= bright.max() < 200
    assert 0 < dark.min() <= dark.max() < 20


def wide_photos(folder: Path) -> Path:
    """Photos of noise in two classes, three times as wide as high."""
    rng = np.random.default_rng(0)
    for number in range(40):
        image = rng.integers(0, 200, (16, 48, 3))
        leave(folder / f"{'ab'[number % 2]}/{number}.png", encoded(image.astype(np.uint8)))
    return folder


def test_padding_gives_photos_no_background(tmp_path: Path) -> None:
    folder = wide_photos(tmp_path / "set")
    resize = {"size": 24, "policy": "pad"}
    raw = opened("image_folder", folder, tmp_path, resize).load()
    assert raw.boxes is not None
    assert raw.boxes.tolist() == [[8, 0, 8, 24]] * 40
    assert resolve_background("auto", raw.images.images, raw.boxes) is None
    assert resolve_background("auto", raw.images.images) is not None
    assert opened("image_folder", folder, tmp_path, {"size": 24}).load().boxes is None


def test_padding_has_the_background_of_params_yaml(tmp_path: Path) -> None:
    folder = wide_photos(tmp_path / "set")
    resize = {"size": 24, "policy": "pad"}
    params = opened("image_folder", folder, tmp_path, resize)
    params.background = (250, 240, 7)
    images = params.load().images.images
    assert (images[:, :, :8] == np.array([250, 240, 7])[:, None, None]).all()
    params.background = None
    assert not (params.load().images.images[:, :, :8] == 250).all()


def test_links_that_are_not_followed_are_named_in_errors(tmp_path: Path) -> None:
    elsewhere = leave_images(tmp_path / "blobs", ["1.png", "2.png"])
    folder = leave_images(tmp_path / "set", ["cat/1.png", "cat/2.png"])
    (folder / "dog").symlink_to(elsewhere)
    with pytest.raises(DataError, match=r"found 'cat' \(not followed: 1 link to a folder.*dog"):
        opened("image_folder", folder, tmp_path).load()

    snapshot = tmp_path / "snapshot/cat"
    snapshot.mkdir(parents=True)
    (snapshot / "1.png").symlink_to(elsewhere / "1.png")
    with pytest.raises(DataError, match=r"no file at all \(not followed: 1 link out of the folder"):
        opened("image_folder", tmp_path / "snapshot", tmp_path).load()

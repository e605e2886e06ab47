"""Tables of every common kind name images; cells stay text; what has no partner is reported."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from folders import leave, leave_images, opened, photo
from pyarrow import parquet

from pipeline.data.datasets.base import RawDataset
from pipeline.data.reading.cells import read_cells
from pipeline.runtime.errors import DataError

NAMES = ["1.png", "2.png", "sub/3.png", "4.png"]
LABELS = ["cat", "dog", "cat", "dog"]


def loaded(path: Path, root: Path, **settings: object) -> RawDataset:
    dataset = opened("table", path, root, **settings)
    raw = dataset.load()
    assert len(dataset.files()) == len(set(dataset.files()))
    return raw


def refused(path: Path, root: Path, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        loaded(path, root, **settings)
    return str(error.value)


def labels(raw: RawDataset) -> dict[str, str]:
    """The class of every training image by its name; "" for unlabeled ones."""
    names = (*raw.class_names, "")
    return {
        path: names[label] for path, label in zip(raw.origins.paths, raw.images.labels, strict=True)
    }


def rows(names: list[str], separator: str = ",", header: str = "file_name,label") -> str:
    pairs = [(header.split(",")), *zip(names, LABELS, strict=True)]
    return "\n".join(separator.join(pair) for pair in pairs) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", ", ", "|"])
@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv", "train.csv", "mine.tsv"])
def test_a_table_beside_the_images_is_found(separator: str, name: str, tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", NAMES)
    table = leave(folder / name, rows(NAMES, separator))
    for path in (folder, table):
        raw = loaded(path, tmp_path)
        assert labels(raw) == dict(zip(NAMES, LABELS, strict=True))
        assert raw.origins.columns["label"] == ("cat", "dog", "cat", "dog")
    at = raw.origins.paths.index("sub/3.png")
    np.testing.assert_array_equal(raw.images.images[at], np.moveaxis(photo(2), 2, 0))
    files = opened("table", folder, tmp_path).files()
    assert sorted(files) == sorted([table, *(folder / name for name in NAMES)])


def test_jsonl_and_parquet_are_tables(tmp_path: Path) -> None:
    for kind in ("jsonl", "parquet"):
        folder = leave_images(tmp_path / kind, NAMES)
        if kind == "jsonl":
            lines = [json.dumps({"file_name": name, "label": label, "size": 3.5, "by": None})
                     for name, label in zip(NAMES, LABELS, strict=True)]  # fmt: off
            leave(folder / "metadata.jsonl", "\n".join(lines))
        else:
            table = pyarrow.table({"file_name": NAMES, "label": LABELS, "size": [3.5] * 4})
            parquet.write_table(table, folder / "metadata.parquet")
        raw = loaded(folder, tmp_path)
        assert labels(raw) == dict(zip(NAMES, LABELS, strict=True))
        assert raw.origins.columns["size"] == ("3.5",) * 4


@pytest.mark.parametrize("cells", [["NA", "null"], ["001", "01"], ["$5", "None"], ["1e3", "nan"]])
def test_cells_stay_text(cells: list[str], tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["00012.png", "0012.png"])
    leave(folder / "train.csv", f"id,label\n00012,{cells[0]}\n0012,{cells[1]}\n")
    raw = loaded(folder, tmp_path)
    assert labels(raw) == {"00012.png": cells[0], "0012.png": cells[1]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_usual_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["1.png", "2.png"])
    text = "file_name,label\r\n1.png,Äpfel\r\n2.png,Küche\r\n"
    leave(folder / "labels.csv", text.encode(encoding))
    raw = loaded(folder, tmp_path)
    assert set(raw.class_names) == {"Äpfel", "Küche"}
    assert bool(raw.reading["notes"]) == (encoding == "cp1252")
    assert "data.encoding" in refused(folder, tmp_path, encoding="ascii")


def test_folder_and_suffix_complete_a_name(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["one/7.png", "one/8.png", "two/7.png"])
    leave(folder / "train.csv", "image_id,diagnosis\n7,cat\n8,dog\n")
    assert "set data.folder or data.suffix" in refused(folder, tmp_path)
    raw = loaded(folder, tmp_path, folder="one", suffix=".png")
    assert labels(raw) == {"one/7.png": "cat", "one/8.png": "dog"}
    assert raw.reading["skipped"] == {"images without row": 1}


def test_equal_names_in_the_folders_of_parts_are_those_of_the_table(tmp_path: Path) -> None:
    names = ["train/7.png", "train/8.png", "test/7.png", "test/8.png", "test/9.png"]
    folder = leave_images(tmp_path / "set", names)
    leave(folder / "train.csv", "id,label\n7,cat\n8,dog\n9,dog\n")
    leave(folder / "test.csv", "id,label\n7,dog\n8,cat\n")
    raw = loaded(folder, tmp_path)
    assert labels(raw) == {"train/7.png": "cat", "train/8.png": "dog"}
    assert raw.test is not None
    assert raw.test_origins.paths == ("test/7.png", "test/8.png")
    assert [raw.class_names[label] for label in raw.test.labels] == ["dog", "cat"]
    # Row 9 of train is not the image 9 of test.
    assert raw.reading["skipped_examples"] == {
        "images without row": ["test/9.png"],
        "rows without image": ["9"],
    }


def test_a_table_that_names_no_part_finds_images_in_every_folder(tmp_path: Path) -> None:
    names = ["train/1.png", "train/2.png", "test/3.png", "test/4.png"]
    folder = leave_images(tmp_path / "set", names)
    leave(folder / "labels.csv", rows(["1", "2", "3", "4"], header="id,label"))
    assert labels(loaded(folder, tmp_path)) == dict(zip(names, LABELS, strict=True))


def test_rows_and_images_without_partner_are_named(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", [*NAMES, "alone.png"])
    leave(folder / "metadata.csv", rows(NAMES) + "gone.png,cat\n" + "1.png,cat\n")
    record = loaded(folder, tmp_path).reading
    assert record["skipped_examples"] == {
        "images without row": ["alone.png"],
        "repeated rows": ["1.png"],
        "rows without image": ["gone.png"],
    }


def test_an_empty_label_is_unlabeled(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", [*NAMES, "5.png"])
    leave(folder / "metadata.csv", rows(NAMES) + "5.png,\n")
    assert labels(loaded(folder, tmp_path))["5.png"] == ""


def test_two_labels_for_one_image_are_refused(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", NAMES)
    leave(folder / "metadata.csv", rows(NAMES) + "1.png,dog\n")
    text = refused(folder, tmp_path)
    assert "'cat' (train) and 'dog' (train) for 1.png" in text


def test_a_column_says_the_part_of_every_row(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", NAMES)
    lines = [
        f"{name},{label},{part}"
        for name, label, part in zip(NAMES, LABELS, ["train", "Train", "TEST", "test"], strict=True)
    ]
    leave(folder / "labels.csv", "file,class,split\n" + "\n".join(lines))
    raw = loaded(folder, tmp_path)
    assert raw.test_origins.paths == ("sub/3.png", "4.png")
    assert raw.test_origins.columns["split"] == ("TEST", "test")
    leave(folder / "labels.csv", "file,class,split\n" + "\n".join(lines).replace("TEST", "held"))
    assert "'held'" in refused(folder, tmp_path, split_column="split")


def test_tables_in_the_folders_of_parts_belong_together(tmp_path: Path) -> None:
    folder = leave_images(
        tmp_path / "set", [f"{part}/{name}" for part in ("train", "test") for name in NAMES]
    )
    for part in ("train", "test"):
        leave(folder / part / "metadata.csv", rows(NAMES))
    raw = loaded(folder, tmp_path)
    assert raw.test is not None
    assert len(raw.images) == len(raw.test) == 4
    assert raw.test_origins.paths[0].startswith("test/")


def test_one_column_per_class_is_one_hot(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", [f"train/{name}" for name in NAMES])
    text = "filename, cat, dog\n1.png, 1, 0\n2.png, 0, 1\nsub/3.png, 0, 0\n4.png, 0, 1\n"
    leave(folder / "train/_classes.csv", text)
    raw = loaded(folder, tmp_path)
    assert list(labels(raw).values()) == ["cat", "dog", "dog", ""]
    leave(folder / "train/_classes.csv", text.replace("0, 0", "1, 1"))
    assert "cat, dog for sub/3.png (multi-label)" in refused(folder, tmp_path)


@pytest.mark.parametrize("space", [" ", "\t"])
def test_list_files_have_numbers_of_class_names(space: str, tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["a b.png", "2.png", "3.png", "4.png"])
    leave(folder / "labels.txt", "wild cat\ndog\n")
    leave(folder / "train_list.txt", f"a b.png{space}0\n2.png{space}1\n\n")
    leave(folder / "val_list.txt", f"3.png{space}1\n4.png{space}0\n")
    raw = loaded(folder, tmp_path)
    assert raw.class_names == ("dog", "wild cat")
    assert labels(raw) == {"a b.png": "wild cat", "2.png": "dog"}
    assert raw.test is not None
    files = opened("table", folder, tmp_path).files()
    assert {path.name for path in files} >= {"labels.txt", "train_list.txt", "val_list.txt"}
    leave(folder / "train_list.txt", "a b.png 2\n")
    assert "a number from 0 to 1" in refused(folder, tmp_path)


def test_columns_that_are_not_found_are_listed(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", NAMES)
    leave(folder / "metadata.csv", "file_name,colour,size\n1.png,red,3\n2.png,blue,5\n")
    text = refused(folder, tmp_path)
    assert "'colour', 'size'" in text
    assert "data.label_column" in text
    assert loaded(folder, tmp_path, label_column="colour").class_names == ("blue", "red")
    assert "'hue'" in refused(folder, tmp_path, label_column="hue")


def test_two_tables_for_the_same_images_are_refused(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", NAMES)
    leave(folder / "metadata.csv", rows(NAMES))
    leave(folder / "metadata.tsv", rows(NAMES, "\t"))
    assert "metadata.csv, metadata.tsv" in refused(folder, tmp_path)
    assert len(loaded(folder / "metadata.tsv", tmp_path).images) == 4


def test_a_folder_without_table_is_refused(tmp_path: Path) -> None:
    assert "found none" in refused(leave_images(tmp_path / "set", NAMES), tmp_path)


def test_a_path_in_a_table_never_leaves_the_folder(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", ["1.png", "2.png"])
    leave_images(tmp_path, ["secret.png"])
    leave(folder / "metadata.csv", "file_name,label\n1.png,a\n2.png,b\n../secret.png,a\n")
    assert loaded(folder, tmp_path).reading["skipped"] == {"rows without image": 1}


def test_names_match_in_any_unicode_form_and_with_backslashes(tmp_path: Path) -> None:
    folder = leave_images(tmp_path / "set", [unicodedata.normalize("NFD", "ä.png"), "b/2.png"])
    text = unicodedata.normalize("NFC", "file_name,label\nä.png,x\nb\\2.png,y\n")
    leave(folder / "metadata.csv", text)
    assert len(loaded(folder, tmp_path).images) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"a,a\n1,2\n", "'a' twice"),
        (b"a,b\n1,2,3\n", "found 3 in line 2"),
        (b'a,b\n"1,2\n', "rows of cells"),
    ],
)
def test_damaged_tables_are_refused_with_the_place(content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=r"t\.csv: ") as error:
        read_cells(content, "t.csv")
    assert words in str(error.value)


def test_damaged_jsonl_and_parquet_are_refused() -> None:
    with pytest.raises(DataError, match="in line 2"):
        read_cells(b'{"a": 1}\n[1]\n', "t.jsonl")
    with pytest.raises(DataError, match="parquet"):
        read_cells(b"PAR1 no", "t.parquet")

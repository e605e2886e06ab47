"""Files are listed in natural order; what systems leave, links and foreign paths are not."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from folders import leave

from pipeline.data.reading.tree import MAX_FILE_BYTES, File, Tree, natural, open_tree
from pipeline.runtime.errors import DataError

LEFTOVERS = {
    "hidden": [".DS_Store", "a/.ipynb_checkpoints/1.png", "a/._1.png", ".git/objects/x.png"],
    "of the operating system": [
        "a/Thumbs.db",
        "desktop.ini",
        "__MACOSX/a/1.png",
        "a/__pycache__/x",
    ],
}


def names(tree: Tree) -> list[str]:
    return [file.name for file in tree.files]


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_numbers_in_names_sort_by_their_value() -> None:
    ordered = ["1", "02", "2", "10", "a1b2", "a1b10", "a10b1", "A11", "b", "ä", "Ω"]
    assert sorted(set(ordered), key=natural) == ordered
    assert sorted(["a/10", "a/9", "a b/1"], key=natural) == ["a/9", "a/10", "a b/1"]
    assert natural("9" * 5000)  # more digits than Python converts


@pytest.mark.parametrize("packed", [False, True])
def test_leftovers_of_systems_are_skipped_and_counted(packed: bool, tmp_path: Path) -> None:
    members = ["a/10.png", "a/9.PNG", "top.png", *chain(*LEFTOVERS.values())]
    if packed:
        root = zipped(tmp_path / "set.zip", {name: name.encode() for name in members})
    else:
        root = tmp_path / "set"
        for name in members:
            leave(root / name, name)
    tree = open_tree(root)
    assert names(tree) == ["a/9.PNG", "a/10.png", "top.png"]
    assert {reason: len(found) for reason, found in tree.skipped.items()} == {
        "hidden": 4,
        "of the operating system": 4,
    }
    assert [tree.read(file).decode() for file in tree.files] == names(tree)
    assert tree.read(tree.files[0], 3) == b"a/9"


def test_names_are_composed_and_paths_are_left_as_they_are(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Größe/ä.png")
    leave(tmp_path / decomposed, b"x")
    (file,) = open_tree(tmp_path).files
    assert file.name == unicodedata.normalize("NFC", "Größe/ä.png")
    assert file.path.endswith(decomposed)
    assert open_tree(tmp_path).read(file) == b"x"


def test_a_name_that_is_no_utf_8_can_be_opened(tmp_path: Path) -> None:
    leave(Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png")), b"x")
    tree = open_tree(tmp_path)
    assert tree.read(tree.files[0]) == b"x"


def test_links_lead_to_no_loop_and_not_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "set"
    leave(root / "a/1.png", b"x")
    leave(tmp_path / "secret.png", b"x")
    (root / "a/loop").symlink_to(root, target_is_directory=True)
    (root / "a/out.png").symlink_to(tmp_path / "secret.png")
    (root / "a/in.png").symlink_to(root / "a/1.png")
    (root / "a/gone.png").symlink_to(root / "a/nothing.png")
    tree = open_tree(root)
    assert names(tree) == ["a/1.png", "a/in.png"]
    assert tree.skipped["link to a folder"] == ("a/loop",)
    assert tree.skipped["link out of the folder"] == ("a/out.png",)


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "..\\x"])
def test_a_zip_whose_names_leave_it_is_refused(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {name: b"x"})
    with pytest.raises(DataError, match="inside the zip"):
        open_tree(path)


def test_a_damaged_zip_and_a_damaged_member_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a.png": bytes(range(256)) * 9})
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    tree = open_tree(path)
    with pytest.raises(DataError, match=r"set\.zip: a\.png"):
        tree.read(tree.files[0])
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="a folder or a zip"):
        open_tree(path)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    file = File("a.png", str(leave(tmp_path / "a.png", b"x")), MAX_FILE_BYTES + 1)
    with pytest.raises(DataError, match=r"a\.png: expected at most"):
        open_tree(tmp_path).read(file)


def test_a_place_without_folder_or_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        open_tree(tmp_path / "gone")
    with pytest.raises(DataError, match="another kind"):
        open_tree(leave(tmp_path / "a.tar", b"x"))

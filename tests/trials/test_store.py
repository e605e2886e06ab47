"""Files are whole or absent, digests follow content, and damaged trials count as unfinished."""

from __future__ import annotations

import hashlib
import math
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.errors import IntegrityError, PipelineError
from pipeline.runtime.files import (
    atomic,
    file_digest,
    read_json,
    read_npz,
    replacing,
    require,
    to_json,
    write_json,
    write_npz,
    write_text,
)
from pipeline.trials.code import import_closure
from pipeline.trials.store import MARKER, RECORD, SCRATCH, TrialStore, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write_half(path: Path, failure: type[BaseException]) -> None:
    """Begin to write and fail."""
    path.write_text("half of the n")
    raise failure


def test_a_written_file_is_all_there_is_and_readable_by_everyone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_text(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert files_below(tmp_path) == ["new", "new/file.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    failure: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(failure), atomic(path) as temporary:
        write_half(temporary, failure)
    assert path.read_text() == "old"
    assert files_below(tmp_path) == ["file.txt"]


def test_a_file_keeps_its_old_content_until_the_new_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_text(folder / "stale.txt", "old")
    with replacing(folder) as fresh:
        (fresh / "new.txt").write_text("new")
        assert files_below(folder) == ["stale.txt"]
    assert files_below(tmp_path) == ["out", "out/new.txt"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_replacement_leaves_the_old_folder(
    failure: type[BaseException], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    write_text(folder / "kept.txt", "old")
    with pytest.raises(failure), replacing(folder) as fresh:
        write_half(fresh / "new.txt", failure)
    assert files_below(tmp_path) == ["out", "out/kept.txt"]


@given(value=st.dictionaries(st.text(max_size=3), JSON))
def test_json_text_depends_on_the_value_alone(value: dict[str, object]) -> None:
    assert to_json(dict(reversed(value.items()))) == to_json(value)
    assert to_json(value).endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_without_a_json_number_is_refused_and_not_written(
    value: float, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": value})
    assert files_below(tmp_path) == []


def test_equal_arrays_give_equal_bytes_at_any_time(tmp_path: Path) -> None:
    arrays = {"images": np.arange(500, dtype=np.uint8).reshape(5, 100), "labels": np.arange(5)}
    write_npz(tmp_path / "a.npz", **arrays)
    write_npz(tmp_path / "other" / "b.npz", **{name: each.copy() for name, each in arrays.items()})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "other" / "b.npz").read_bytes()
    for name, found in read_npz(tmp_path / "a.npz").items():
        np.testing.assert_array_equal(found, arrays[name])
        assert found.dtype == arrays[name].dtype


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_arrays_of_objects_are_refused_and_run_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    poisoned = np.array([Canary(canary)], dtype=object)
    np.savez(tmp_path / "evil.npz", images=poisoned)
    with pytest.raises(PipelineError, match="pickle"):
        read_npz(tmp_path / "evil.npz")
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "mine.npz", images=poisoned)
    assert files_below(tmp_path) == ["evil.npz"]


def test_an_output_cut_short_is_an_explained_error(tmp_path: Path) -> None:
    path = tmp_path / "pool.npz"
    write_npz(path, images=np.arange(200, dtype=np.uint8))
    content = path.read_bytes()
    for length in (0, 1, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(PipelineError, match=r"pool\.npz"):
            read_npz(path)


def test_a_file_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "x").write_bytes(content)
    assert file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_missing_output_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="prepare") as error:
        require(tmp_path / "pool.npz", "prepare")
    assert "pool.npz" in str(error.value)
    write_text(tmp_path / "pool.npz", "")
    assert require(tmp_path / "pool.npz", "prepare") == tmp_path / "pool.npz"


@given(parts=st.dictionaries(st.text(max_size=3), JSON), others=JSON)
def test_fingerprints_follow_values_not_their_order(
    parts: dict[str, object], others: object
) -> None:
    name = fingerprint(parts)
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")
    assert fingerprint(dict(reversed(parts.items()))) == name
    assert fingerprint({**parts, "one more": others}) != name


@pytest.mark.parametrize(
    "other", [{"lr": 0.1000001}, {"lr": "0.1"}, {"LR": 0.1}, {"lr": 0.1, "x": None}, {}]
)
def test_any_change_of_settings_gives_another_fingerprint(other: dict[str, object]) -> None:
    assert fingerprint(other) != fingerprint({"lr": 0.1})


@pytest.fixture(scope="module")
def imported(root: Path) -> set[Path]:
    """Files of the package that Python really loads for one stage."""
    code = (
        "import sys, pipeline.stages.train_classifiers\n"
        "for name, module in sys.modules.items():\n"
        "    if name.partition('.')[0] == 'pipeline': print(module.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    return {Path(line) for line in found.stdout.splitlines()}


def test_the_import_closure_has_everything_that_python_loads(
    root: Path, imported: set[Path]
) -> None:
    closure = import_closure(root / "pipeline/stages/train_classifiers.py")
    assert root / "pipeline/runtime/errors.py" in closure
    assert {path for path in imported if path.name != "__init__.py"} <= closure


def test_the_import_closure_leaves_out_what_is_not_imported(root: Path) -> None:
    closure = import_closure(root / "pipeline/stages/train_classifiers.py")
    assert not closure & {
        root / "pipeline/report/figures.py",
        root / "pipeline/generators/gan/dcgan.py",
    }
    assert import_closure(root / "pipeline/runtime/errors.py") == {
        root / "pipeline/runtime/errors.py"
    }


@pytest.fixture
def finished(tmp_path: Path) -> TrialStore:
    """A store with one finished trial, `abc`, of two files."""
    store = TrialStore(tmp_path, "stage")
    assert store.finished("abc") is None
    write_text(store.scratch("abc") / "checkpoint", "no longer needed")
    write_text(store.scratch("abc") / "fold-0/checkpoint", "no longer needed")
    write_text(store.folder / "abc/output.old", "of an earlier version")
    store.finish("abc", {"failure": None}, {".one.txt": b"1", ".two.txt": b"2"}, 1.5)
    return store


FILES = [RECORD, "output.one.txt", "output.two.txt"]


def test_a_finished_trial_has_its_files_and_marker_and_nothing_else(finished: TrialStore) -> None:
    folder = finished.finished("abc")
    assert folder is not None
    assert files_below(folder) == [MARKER, *FILES[1:], RECORD]
    assert read_json(folder / MARKER)["seconds"] == 1.5
    assert read_json(folder / RECORD) == {"failure": None}


def test_a_trial_that_was_never_begun_is_not_finished(tmp_path: Path) -> None:
    assert TrialStore(tmp_path, "stage").finished("abc") is None


def test_a_trial_without_its_marker_is_not_finished(finished: TrialStore) -> None:
    (finished.folder / "abc" / MARKER).unlink()
    assert finished.finished("abc") is None


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("content", [None, b"", b"3", b"1 "])
def test_a_trial_with_a_damaged_file_is_not_finished(
    file: str, content: bytes | None, finished: TrialStore
) -> None:
    path = finished.folder / "abc" / file
    path.unlink() if content is None else path.write_bytes(content)
    assert finished.finished("abc") is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"3", b'{"files": []}', b'{"files": null}', b"\xff"]
)
def test_a_marker_that_is_not_a_marker_means_unfinished(
    content: bytes, finished: TrialStore
) -> None:
    (finished.folder / "abc" / MARKER).write_bytes(content)
    assert finished.finished("abc") is None


def test_a_marker_cut_at_any_byte_means_unfinished(finished: TrialStore) -> None:
    marker = finished.folder / "abc" / MARKER
    whole = marker.read_bytes()
    for length in range(len(whole.rstrip())):
        marker.write_bytes(whole[:length])
        assert finished.finished("abc") is None


def test_a_marker_with_a_flipped_bit_is_unfinished_or_still_complete(
    finished: TrialStore,
) -> None:
    marker = finished.folder / "abc" / MARKER
    whole = marker.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        marker.write_bytes(damaged)
        if finished.finished("abc") is not None:
            record = read_json(marker)
            assert set(record["files"]) == set(FILES)
            assert isinstance(record["seconds"], float)


def test_an_interrupted_trial_finds_what_it_left(tmp_path: Path) -> None:
    store = TrialStore(tmp_path, "stage")
    write_text(store.scratch("abc") / "checkpoint", "half")
    assert store.finished("abc") is None
    assert (store.scratch("abc") / "checkpoint").read_text() == "half"


def test_a_finished_trial_is_not_written_again(finished: TrialStore) -> None:
    before = {file: file.read_bytes() for file in (finished.folder / "abc").iterdir()}
    finished.finish("abc", {}, {".one.txt": b"other"}, 1.0)
    assert {file: file.read_bytes() for file in (finished.folder / "abc").iterdir()} == before


def test_a_trial_that_is_killed_while_it_is_stored_is_unfinished(finished: TrialStore) -> None:
    (finished.folder / "abc" / MARKER).unlink()
    with (
        mock.patch("pipeline.trials.store.write_json", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        finished.finish("abc", {}, {".one.txt": b"other"}, 1.0)
    assert finished.finished("abc") is None


def test_a_failed_trial_keeps_its_checkpoints(tmp_path: Path) -> None:
    store = TrialStore(tmp_path, "stage")
    write_text(store.scratch("abc") / "checkpoint", "half")
    store.finish("abc", {"failure": ["a", "b", "c"]}, {}, 1.0, keep_scratch=True)
    folder = store.finished("abc")
    assert folder is not None
    assert files_below(folder) == [MARKER, RECORD, SCRATCH, f"{SCRATCH}/checkpoint"]

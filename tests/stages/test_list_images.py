"""The list of the user's files notices every change, and reads no file that it knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from folders import encoded, leave, leave_images, photo
from ruamel.yaml import YAML

from pipeline.config.schema import DataParams, Params, UnknownClassesParams
from pipeline.runtime.errors import DataError
from pipeline.runtime.files import read_json
from pipeline.stages import list_images
from pipeline.trials.layout import SOURCE

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"{kind}/{at}.png" for kind in ("cat", "dog") for at in range(9, 12)]


def listed(study: Params, root: Path, name: str = "image_folder", **settings: object) -> dict:
    data = DataParams(name=name, unknown_classes=UnknownClassesParams(), settings=settings)
    list_images.run(study.model_copy(update={"data": data}), root)
    return read_json(root / SOURCE.path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    leave_images(tmp_path / "set", NAMES)
    for name in NAMES:
        os.utime(tmp_path / "set" / name, (10**9, 10**9))
    return tmp_path


def test_a_dataset_without_files_gives_an_empty_list(study: Params, tmp_path: Path) -> None:
    assert listed(study, tmp_path, "toy") == {"name": "toy", "path": None, "files": []}
    assert listed(study, tmp_path, "mnist", path=None)["files"] == []


def test_every_file_has_its_size_and_digest_in_natural_order(study: Params, folder: Path) -> None:
    found = listed(study, folder, path="set")
    assert [row[0] for row in found["files"]] == NAMES
    for name, size, digest in found["files"]:
        content = (folder / "set" / name).read_bytes()
        assert size == len(content)
        assert len(bytes.fromhex(digest)) == 32


def test_the_place_of_the_folder_is_no_part_of_the_list(study: Params, folder: Path) -> None:
    one = listed(study, folder, path="set")
    (folder / "set").rename(folder / "moved")
    other = listed(study, folder, path=str(folder / "moved"))
    assert one["files"] == other["files"]


def test_known_files_are_not_read_again_and_changes_are_noticed(
    study: Params, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listed(study, folder, path="set")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.data.reading.digests.file_digest", pytest.fail)
        assert listed(study, folder, path="set") == before

    changed = folder / "set" / NAMES[0]
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1  # of the same size
    changed.write_bytes(content)
    leave(folder / "set/dog/12.png", encoded(photo(77)))
    after = listed(study, folder, path="set")["files"]
    assert [row for row in after if row not in before["files"]] == [after[0], after[-1]]


def test_a_folder_that_is_not_there_is_refused(study: Params, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder or a zip"):
        listed(study, tmp_path, path="gone")


def test_the_stage_loads_no_torch() -> None:
    code = "import sys, pipeline.stages.list_images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_dvc_prepares_again_after_a_change_and_only_then(folder: Path) -> None:
    for name in ("pipeline", "dvc.yaml", ".dvcignore"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    leave_images(
        folder / "set", [f"{kind}/{at}.png" for kind in ("cat", "dog") for at in range(40)]
    )
    leave(folder / ".dvc/config", (ROOT / ".dvc/config").read_bytes())
    leave(folder / ".dvc/config.local", "[core]\n    no_scm = true\n")
    yaml = YAML()
    params = yaml.load(ROOT / "presets/smoke.yaml")
    params["data"] = {
        "name": "image_folder",
        "path": "set",
        "test_per_class": 1,
        "unknown_classes": {"classes": [], "frac": 0.0},
    }
    yaml.dump(params, folder / "params.yaml")

    def repro() -> str:
        command = [sys.executable, "-m", "dvc", "repro", "prepare"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Running stage 'prepare'" in repro()
    output = repro()
    assert "Running stage 'list_images'" in output
    assert "Stage 'prepare' didn't change, skipping" in output
    leave(folder / "set" / NAMES[0], encoded(photo(123)))
    assert "Running stage 'prepare'" in repro()

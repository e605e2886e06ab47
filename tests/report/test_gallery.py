"""Galleries: what is drawn, in which order, and of which images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import Params, load_params
from pipeline.data.images import Images, LabeledImages
from pipeline.report import gallery
from pipeline.report.captions import SHOWCASE_CAPTIONS, showcase_caption
from pipeline.report.sheets import Subject
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import read_json, write_json
from pipeline.trials.provenance import manifest_of

SUBJECT = Subject(["a", "b", "c"])


def plot(folder: Path, name: str, params: Params, root: Path) -> dict[str, Images]:
    gallery.plot_training(folder, name, params, root, SUBJECT)
    return gallery.plot_samples(folder, name, params, root, SUBJECT)


def test_a_grid_has_equal_runs_and_blanks_where_images_are_missing() -> None:
    labels = np.r_[np.tile([0, 1, 2], 200), np.zeros(50, dtype=np.int64)]
    images = (labels.astype(np.uint8) + 1).repeat(4).reshape(-1, 1, 2, 2)
    cells = gallery.grid(LabeledImages(images, labels), 3)
    assert cells.shape == (400, 1, 2, 2)
    assert cells[:, 0, 0, 0].tolist() == [1] * 133 + [2] * 133 + [3] * 133 + [0]
    few = gallery.grid(LabeledImages(images[:6], labels[:6]), 3)
    assert few.any(axis=(1, 2, 3)).sum() == 6
    assert few[133:135].any(axis=(1, 2, 3)).all()


def test_the_first_images_of_every_class_are_taken() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(24, 1, 1, 1)
    chosen = gallery.first_columns(images, 3)
    assert chosen.reshape(3, 4).tolist() == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]


def test_everything_a_generator_has_to_show_is_drawn(finished_zoo: Path, tmp_path: Path) -> None:
    params = load_params(finished_zoo)
    plot(tmp_path / "plots", "cvae", params, finished_zoo)
    found = gallery.files(tmp_path, "cvae")
    assert list(found) == [
        "sheet",
        "over_training",
        "interpolation",
        "reconstruction",
        "something_new",
    ]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in found.values())
    assert found["sheet"].parent == tmp_path / "plots/gallery/cvae"
    assert gallery.files(tmp_path, "dcgan") == {}


def test_a_generator_that_always_failed_has_no_gallery(zoo: Path) -> None:
    params = load_params(zoo)
    for folder in ("models/acgan", "data/synthetic/acgan"):
        for path in (zoo / folder).rglob("*.manifest.json"):
            write_json(path, read_json(path) | {"failure": ["a", "b", "c"]})
    assert plot(zoo / "reports/plots", "acgan", params, zoo) == {}
    assert gallery.files(zoo / "reports", "acgan") == {}


def test_the_first_replicate_of_the_primary_budget_that_finished_is_shown(zoo: Path) -> None:
    params = load_params(zoo)
    first = zoo / "models/cvae/budget-0002/seed-03.npz"
    write_json(manifest_of(first), read_json(manifest_of(first)) | {"failure": ["a", "b", "c"]})
    (zoo / "models/cvae/budget-0002/seed-01.showcase.npz").unlink()
    with pytest.raises(IntegrityError, match=r"seed-01\.showcase\.npz"):
        plot(zoo / "reports/plots", "cvae", params, zoo)


def test_a_showcase_without_a_caption_is_called_by_its_key() -> None:
    assert showcase_caption("something_new") == "something_new"
    assert showcase_caption("morph") == SHOWCASE_CAPTIONS["morph"]
    assert all(caption.endswith(".") for caption in SHOWCASE_CAPTIONS.values())

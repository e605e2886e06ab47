"""The benchmark of negatives: its statistics, and one short run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import STUDY

from benchmarks import inverted
from pipeline.data.images import LabeledImages, arrays_of, read_images
from pipeline.runtime.files import read_npz, write_npz


def test_options_have_defaults_and_wrong_ones_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = inverted.parse(["--out", str(tmp_path)])
    assert (options.data, options.seeds, options.workers) == (None, None, 0)
    assert options.params.is_file()
    for wrong, words in (
        (["--data", "nowhere"], "expected a folder, found no nowhere"),
        (["--seeds", "0"], "expected a whole number above 0, found 0"),
    ):
        with pytest.raises(SystemExit) as stopped:
            inverted.parse(["--out", str(tmp_path), *wrong])
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err


def test_differences_of_deltas_are_paired_by_seed() -> None:
    rng = np.random.default_rng(0)
    base, gain = rng.uniform(0.5, 0.9, 10), np.linspace(0.018, 0.022, 10)
    upright = {("cnn", "real"): base, ("cnn", "dcgan"): base + gain}
    luck = 0.1 * rng.random(10)  # of both arms alike
    same = {("cnn", "real"): base + luck, ("cnn", "dcgan"): base + luck + gain}
    worse = {("cnn", "real"): base + luck, ("cnn", "dcgan"): base + luck}
    (row,) = inverted.delta_rows(upright, same)
    assert row["delta upright"] == row["delta inverted"]
    assert row["difference"] == "0.00 [0.00, 0.00]"
    assert row["covers zero"] == "yes"
    (row,) = inverted.delta_rows(upright, worse)
    assert row["difference"].startswith("-2.00 ")
    assert row["covers zero"] == "no"


@pytest.mark.parametrize(("background", "ink"), [((0,), 255), ((255,), 0), ((250, 255, 240), 0)])
def test_ink_at_the_border_is_what_differs_from_the_background(
    background: tuple[int, ...], ink: int
) -> None:
    images = np.empty((2, len(background), 6, 6), np.uint8)
    images[:] = np.array(background)[:, None, None]
    images[:, :, 2:4, 2:4] = ink
    assert inverted.ink_at_border(images, background) == 0
    images[0, :, 0, 1:4] = ink
    assert inverted.ink_at_border(images, background) == pytest.approx(3 / 40)
    assert np.isnan(inverted.ink_at_border(images, None))


def test_inverted_splits_have_the_negatives_and_nothing_else_changes(
    tmp_path: Path, few_bars: LabeledImages
) -> None:
    (tmp_path / "splits").mkdir()
    write_npz(tmp_path / "splits/part.npz", **arrays_of(few_bars), index=np.arange(30))
    write_npz(tmp_path / "splits/labels.npz", labels=few_bars.labels)
    inverted.invert_splits(tmp_path / "splits", tmp_path / "inverted")
    found = read_images(tmp_path / "inverted/part.npz")
    np.testing.assert_array_equal(found.images, 255 - few_bars.images)
    np.testing.assert_array_equal(found.labels, few_bars.labels)
    assert found.background == (255,)
    assert list(read_npz(tmp_path / "inverted/labels.npz")) == ["labels"]


@pytest.mark.slow
def test_a_short_run_writes_both_tables_and_the_figure(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(STUDY.replace("cnn: {}", "cnn: {steps: 5}"), "utf-8")
    options = ["--params", f"{tmp_path}/params.yaml", "--seeds", "2", "--workers", "1"]
    text = inverted.benchmark(inverted.parse([*options, "--out", f"{tmp_path}/out"]))
    assert (tmp_path / "out/inverted.md").read_text("utf-8") == text
    assert (tmp_path / "out/inverted.png").read_bytes()[1:4] == b"PNG"
    assert text.count("| cnn | ") == text.count("| lgbm | ") == 2
    assert "2 labels\nper class" in text

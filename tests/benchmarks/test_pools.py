"""The benchmark of teachers on any images."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import pools
from pipeline.data.images import LabeledImages, arrays_of
from pipeline.runtime.files import read_json, write_npz


def test_a_split_shares_no_image_and_makes_every_other_class_rare() -> None:
    labels = np.arange(400) % 4
    arguments = Namespace(per_class=5, test=60, pool=50, rare=3)
    subset, pool, test = pools.split(labels, arguments, 0)
    assert len(np.unique(np.concatenate([subset, pool, test]))) == len(subset) + len(pool) + 60
    np.testing.assert_array_equal(np.bincount(labels[subset]), [5] * 4)
    np.testing.assert_array_equal(np.sort(np.bincount(labels[pool])), [3, 3, 50, 50])


def test_a_row_per_seed_is_written(bars: LabeledImages, tmp_path: Path) -> None:
    write_npz(tmp_path / "images.npz", **arrays_of(bars))
    words = ["--images", str(tmp_path / "images.npz"), "--family", "ssgan", "--seeds", "0"]
    with pytest.MonkeyPatch.context() as patch:
        family = pools.TEACHERS["ssgan"]
        brief = family.Config.model_validate({"steps": 3})
        patch.setattr(family, "Config", lambda: brief)
        pools.main([*words, "--test", "20", "--out", str(tmp_path)])
    (row,) = read_json(tmp_path / "pools.json")["rows"]
    assert 0 <= row["sure_frac"] <= 1
    assert 0 <= row["pool_accuracy"] <= 1

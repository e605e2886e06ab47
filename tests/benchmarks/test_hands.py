"""The benchmark of generators on photos: its splits, its equal cost, and one short run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import hands
from pipeline.classifiers.cnn import CNNConfig
from pipeline.data.images import LabeledImages, content_ids
from pipeline.generators import GENERATORS


def photos(count: int = 60) -> LabeledImages:
    """Noise in color, of three classes."""
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return LabeledImages(images, np.arange(count) % 3, background=None)


def test_held_out_images_are_never_labeled_and_a_part_is_not_read() -> None:
    data = photos()
    splits = [hands.split(data, 3, seed) for seed in range(4)]
    held_out = {name for _, other in splits for name in content_ids(other.images)}
    labeled = {name for subset, _ in splits for name in content_ids(subset.images)}
    assert not held_out & labeled
    assert len(held_out | labeled) <= len(data) - hands.TEST_FRAC * len(data)
    for subset, other in splits:
        assert np.bincount(subset.labels).tolist() == [3, 3, 3]
        assert set(content_ids(other.images)) == held_out


def test_both_recipes_take_the_same_seconds_by_the_measured_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hands, "_seconds_ratio", lambda *_: 0.5)
    configs = hands.settings(photos(30))
    assert configs[hands.OURS] == GENERATORS[hands.OURS].Config()
    steps = {name: config.num_steps(30) for name, config in configs.items()}
    assert steps[hands.PLAIN] == steps[hands.OURS] / 2


@pytest.mark.slow
def test_a_short_run_writes_the_table_and_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos()
    for place, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = tmp_path / "photos" / f"class {label}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    brief = {"steps": 2, "steps_per_image": 0.0, "batch_size": 6}
    monkeypatch.setattr(
        hands,
        "settings",
        lambda _: {
            name: GENERATORS[name].Config.model_validate(brief)
            for name in (hands.OURS, hands.PLAIN)
        },
    )
    monkeypatch.setattr(hands, "PER_CLASS", 6)
    monkeypatch.setattr(hands, "CNNConfig", lambda: CNNConfig(steps=3))

    options = ["--data", f"{tmp_path}/photos", "--size", "8", "--per-class", "3", "--seeds", "2"]
    text = hands.benchmark(hands.parse([*options, "--out", f"{tmp_path}/out"]))
    assert (tmp_path / "out/hands.md").read_text("utf-8") == text
    assert (tmp_path / "out/hands.jpg").read_bytes()[:2] == b"\xff\xd8"
    for name in ("real", "affine", hands.OURS, hands.PLAIN):
        assert text.count(f"| {name} | ") == 1

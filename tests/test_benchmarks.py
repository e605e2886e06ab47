"""The benchmarks of generators measure what they say; short, on toy images."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import comparison, generator, semi, semi_summary
from benchmarks.textbook import TEXTBOOK
from pipeline.datasets import mnist
from pipeline.datasets.base import DIGIT_NAMES, RawDataset
from pipeline.images import ImageSpec, LabeledImages
from pipeline.runtime import deterministic
from pipeline.store import write_json

FITTED = [name for name in generator.RECIPES if name != generator.REAL]
QUALITY = ("cas", "label_fidelity", "coverage", "density")
QUICK = {"steps": 40, "batch_size": 32}


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> RawDataset:
    """Blocks of ten brightnesses as stand-ins for MNIST; few steps, few images."""
    labels = np.tile(np.arange(10), 30)
    noise = np.random.default_rng(0).integers(0, 20, (300, 1, 28, 28))
    images = (labels[:, None, None, None] * 22 + noise).astype(np.uint8)
    raw = RawDataset(
        LabeledImages(images, labels), LabeledImages(255 - images[:200], labels[:200]), DIGIT_NAMES
    )
    monkeypatch.setattr(mnist, "load", lambda params, root: raw)
    monkeypatch.setattr(generator, "SCORER", QUICK)
    monkeypatch.setattr(generator, "PER_CLASS", 20)
    monkeypatch.setattr(generator, "HELD_OUT", 100)
    return raw


def asked(tmp_path: Path, *more: str) -> generator.Run:
    return generator.parse(["--data", str(tmp_path), "--out", str(tmp_path / "out"), *more])


@pytest.mark.parametrize("recipe", ["dcgan", "mlp_gan", "real"])
def test_a_run_leaves_balanced_images_and_a_whole_result(
    recipe: str, digits: RawDataset, tmp_path: Path
) -> None:
    generator.benchmark(asked(tmp_path, "--recipe", recipe, "--seconds", "0.05", "--seed", "3"))
    data = np.load(tmp_path / "out/synthetic.npz")
    assert data["images"].shape == (len(data["labels"]), 1, 28, 28)
    assert data["images"].dtype == np.uint8
    per_class = len(data["labels"]) // 10
    assert np.bincount(data["labels"], minlength=10).tolist() == [per_class] * 10
    result = json.loads((tmp_path / "out/result.json").read_text("utf-8"))
    assert result["recipe"] == recipe
    assert result["scored_on"] == "test images"
    assert result["num_images"] == 10 * per_class <= 200
    assert set(result["as_drawn"]) == set(QUALITY)
    assert all(0 <= result["as_drawn"][name] <= 1 for name in QUALITY if name != "density")
    assert result["commit"]
    if recipe == generator.REAL:
        known = {image.tobytes() for image in digits.images.images}
        assert all(image.tobytes() in known for image in data["images"])
    else:
        assert result["steps"] >= 1
        assert result["train_s"] >= 0.05
        assert result["peak_mb"] > 50


def test_held_out_images_are_neither_trained_on_nor_of_the_test_set(
    digits: RawDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[LabeledImages] = []
    neighborhoods = generator.neighborhoods
    monkeypatch.setattr(
        generator, "neighborhoods", lambda *given: seen.extend(given[1:]) or neighborhoods(*given)
    )
    found = generator.benchmark(asked(tmp_path, "--recipe", "real", "--held-out"))
    assert found["scored_on"] == "held-out training images"
    train, test = seen[-2:]
    assert np.array_equal(train.images, digits.images.images[:200])
    assert np.array_equal(test.images, digits.images.images[200:])
    known = {image.tobytes() for image in train.images}
    assert all(
        image.tobytes() in known for image in np.load(tmp_path / "out/synthetic.npz")["images"]
    )


@pytest.mark.parametrize("recipe", FITTED)
@pytest.mark.parametrize("spec", [ImageSpec(1, 28, 28, 10), ImageSpec(3, 32, 32, 2)], ids=str)
def test_a_recipe_learns_from_any_size_and_leaves_samples_in_range(
    recipe: str, spec: ImageSpec
) -> None:
    built = generator.build(recipe, spec, 0, batch_size=8)
    before = {name: value.clone() for name, value in built.networks.named_parameters()}
    with deterministic():
        torch.manual_seed(0)
        built.networks.train()
        losses = built.update(*comparison.batch_of(built))
        images = built.sampler(torch.randn(4, built.config.latent_dim), torch.zeros(4).long())
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert images.shape == (4, spec.channels, spec.height, spec.width)
    assert images.abs().max() <= 1
    after = dict(built.networks.named_parameters())
    assert sum(not torch.equal(before[name], after[name]) for name in before) > len(before) / 2


def test_textbook_networks_have_the_sizes_of_their_recipes() -> None:
    spec = ImageSpec(1, 28, 28, 10)
    sizes = {
        name: [sum(p.numel() for p in each.parameters()) for each in built.networks.values()]
        for name, built in ((name, generator.build(name, spec, 0)) for name in TEXTBOOK)
    }
    # Layer by layer: weights and biases, batch norms, embeddings.
    mlp = [110 * 128 + 128, 128 * 256 + 256, 256 * 512 + 512, 512 * 1024 + 1024, 1024 * 784 + 784]
    assert sizes["mlp_gan"][0] == sum(mlp) + 2 * (256 + 512 + 1024) + 100
    assert sizes["mlp_gan"][1] == 794 * 512 + 512 + 2 * (512 * 512 + 512) + 513 + 100
    ac = [100 * 6272 + 6272, 128 * 128 * 9 + 128, 128 * 64 * 9 + 64, 64 * 9 + 1]
    assert sizes["ac_gan"][0] == sum(ac) + 2 * (128 + 128 + 64) + 1000


def test_the_work_of_a_convolution_is_counted_as_by_hand() -> None:
    built = generator.build("ac_gan", ImageSpec(1, 28, 28, 10), 0, batch_size=4)
    work = comparison.update_work(built)
    # The widest layer alone, forward and twice as much backward, for one pass over the batch.
    widest = 3 * 2 * 4 * 128 * 128 * 9 * 14 * 14
    assert widest < work < 10 * widest


def test_tables_have_ratios_to_ours_and_intervals_of_several_seeds() -> None:
    scores = {"cas": 0.5, "label_fidelity": 0.9, "coverage": 0.1, "density": 0.2}
    result = {**scores, "kept_frac": 0.9, "as_drawn": scores, "images_per_s": 100.0,
              "peak_mb": 500.0, "sampled_per_s": 9.0}  # fmt: skip
    found = {
        ("dcgan", 30): [result, {**result, "cas": 0.7}],
        ("mlp_gan", 30): [{"kept_frac": 0.0, "as_drawn": scores, "images_per_s": 50.0}],
        ("real", 30): [{**scores, "kept_frac": 0.99, "as_drawn": scores}],
    }
    rows = comparison.quality_rows(found)
    assert [row["recipe"] for row in rows] == ["dcgan", "mlp_gan", "real"]
    assert rows[0]["CAS %"].startswith("60.00 [")
    assert [row["CAS %"] for row in rows[1:]] == ["-", "50.00"]
    assert rows[1]["CAS as drawn %"] == "50.00"
    assert [row["ratio"] for row in rows] == ["1.00", "0.50", "-"]
    table = comparison.markdown(rows)
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_runs_are_all_different_and_compare_all_recipes_at_one_time() -> None:
    runs = list(comparison.runs())
    assert len(set(runs)) == len(runs)
    for seconds in comparison.COMPARED:
        assert {recipe for recipe, after, _ in runs if after == seconds} == set(FITTED)
    for seconds in comparison.REPEATED:
        ours = [seed for recipe, after, seed in runs if (recipe, after) == ("dcgan", seconds)]
        assert ours == list(comparison.SEEDS)
    assert {after for recipe, after, _ in runs if recipe == "dcgan"} == set(comparison.SECONDS)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--seconds", "0"], "expected seconds above 0, found 0"),
        (["--seconds", "nan"], "expected seconds above 0, found nan"),
        (["--data", "nowhere"], "expected a folder with the four files, found no nowhere"),
        (["--out", __file__], "expected a folder, found the file"),
        (["--recipe", "gan"], "invalid choice: 'gan'"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_runs(
    wrong: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        asked(tmp_path, *wrong)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_a_class_that_the_teacher_refuses_is_drawn_again_and_then_given_up(
    digits: RawDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "SCORER", {"steps": 150, "batch_size": 32})
    drawn: list[int] = []
    images, labels = digits.images.images[:200], digits.images.labels[:200]
    swapped = images.copy()
    swapped[labels == 3] = images[labels == 7]

    def draw(part: int) -> LabeledImages:
        drawn.append(part)
        return LabeledImages(swapped, labels)

    with deterministic():
        kept, frac = generator.keep(draw, digits.images, 0)
    assert drawn == list(range(generator.MOST_PARTS))
    assert len(kept) == 0
    assert 0 < frac <= 0.9


def test_a_finished_run_is_not_repeated_and_a_failed_one_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "dcgan-30-0/result.json"
    known.parent.mkdir()
    known.write_text('{"cas": 0.5}')
    assert comparison.measure(tmp_path, ("dcgan", 30, 0), tmp_path) == {"cas": 0.5}
    assert comparison.measure(tmp_path, ("dcgan", 30, 1), tmp_path) == {}
    assert "dcgan, 30 s, seed 1: error: " in capsys.readouterr().out


def wished(folder: Path, **changes: object) -> Namespace:
    return Namespace(
        **{
            "data": folder,
            "labels": 50,
            "seed": 3,
            "threads": 2,
            "arms": None,
            "foreign": None,
            **changes,
        }
    )


def test_a_replicate_with_unlabeled_images_has_its_regime_baseline_and_rival(
    tmp_path: Path,
) -> None:
    params = semi.settings(tmp_path, wished(tmp_path))
    assert params.study.budgets == [5]
    assert params.study.seeds == [3]
    assert params.engine.workers == 2
    labeled = [name for name in params.arms if params.regime(name) == "labeled"]
    assert labeled == ["real", "classical"]
    assert {"teacher", "pseudo_label", "ss_dcgan", "ss_dcgan_classical", "ss_dcgan_only"} < set(
        params.arms
    )
    assert all(each.teacher for each in params.generators.values())
    items = [item for _, item in semi.stages(params)]
    assert set(items) == {*params.teachers, *params.generators, *params.arms}


def test_a_replicate_of_chosen_arms_trains_nothing_else(tmp_path: Path) -> None:
    params = semi.settings(tmp_path, wished(tmp_path, arms=["teacher"]))
    assert set(params.arms) == {"real", "classical", "pseudo_label", "teacher"}
    assert {item for _, item in semi.stages(params)} == {*params.arms, "graph"}


def test_a_foreign_digit_is_no_task_but_lies_in_the_pool(tmp_path: Path) -> None:
    foreign = semi.settings(tmp_path, wished(tmp_path, foreign=9)).data.foreign
    assert foreign.classes == [9]
    assert foreign.frac == semi.FOREIGN_FRAC


def test_means_over_replicates_are_those_of_the_errors(tmp_path: Path) -> None:
    for seed, (own, made) in enumerate([(0.010, 0.015), (0.020, 0.023)]):
        errors = {"pseudo_label": {"cnn": own}, "ss_dcgan": {"cnn": made}, "kplus1": {"cnn": None}}
        (tmp_path / str(seed)).mkdir()
        write_json(tmp_path / str(seed) / "result.json",
                   {"labels": 100, "seed": seed, "test_error": errors})  # fmt: skip
    text = semi_summary.summary(semi_summary.read_errors(tmp_path))
    assert re.search(r"\| 100 \| `pseudo_label` \| 1\.50 \[.*\], n = 2 \|", text)
    assert re.search(r"`ss_dcgan` against `pseudo_label` \| -0\.40 \[.*\], n = 2 \|", text)
    assert "kplus1" not in text


def test_a_folder_without_replicates_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        semi_summary.main([str(tmp_path)])
    assert "found none" in capsys.readouterr().err


def test_an_arm_that_no_replicate_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        semi.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--arms", "dcgan"])
    assert "found dcgan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["0", "-10", "15", "ten"])
def test_a_number_of_labels_that_classes_cannot_share_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        semi.main(["--data", str(tmp_path), "--out", str(tmp_path), "--labels", text])
    assert "--labels" in capsys.readouterr().err

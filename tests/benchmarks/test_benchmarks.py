"""The benchmarks, in short runs on toy images."""

from __future__ import annotations

import json
import re
import shutil
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import claims, comparison, generator, plain, plane, semi, semi_summary, zoo
from benchmarks.wording import markdown
from pipeline.data.datasets import mnist
from pipeline.data.datasets.base import DIGIT_NAMES, RawDataset
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators import fit
from pipeline.generators.base import Generator
from pipeline.generators.gan.dcgan import DCGAN
from pipeline.nn.checkpoint import History
from pipeline.report import figures
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import DataError, DivergedError, ParamsError
from pipeline.runtime.files import read_json, write_json

FITTED = [name for name in generator.RECIPES if name != generator.REAL]
QUALITY = ("cas", "label_fidelity", "coverage", "density")
QUICK = {"steps": 40, "batch_size": 32}
MNIST = comparison.MNIST
EMPTY = LabeledImages(np.zeros((0, 1, 28, 28), np.uint8), np.zeros(0, np.int64))


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> RawDataset:
    """Blocks of ten brightnesses as stand-ins for MNIST; few steps, few images."""
    labels = np.tile(np.arange(10), 30)
    noise = np.random.default_rng(0).integers(0, 20, (300, 1, 28, 28))
    images = (labels[:, None, None, None] * 22 + noise).astype(np.uint8)
    raw = RawDataset(
        LabeledImages(images, labels), LabeledImages(255 - images[:200], labels[:200]), DIGIT_NAMES
    )
    monkeypatch.setattr(mnist.Mnist, "load", lambda dataset: raw)
    monkeypatch.setattr(generator, "SCORER", QUICK)
    monkeypatch.setattr(generator, "PER_CLASS", 20)
    monkeypatch.setattr(generator, "HELD_OUT", 100)
    return raw


def generator_arguments(tmp_path: Path, *more: str) -> generator.Run:
    return generator.parse(["--data", str(tmp_path), "--out", str(tmp_path / "out"), *more])


@pytest.mark.parametrize("recipe", ["dcgan", "mlp_gan", "real"])
def test_a_run_writes_balanced_images_and_a_complete_result(
    recipe: str, digits: RawDataset, tmp_path: Path
) -> None:
    generator.benchmark(
        generator_arguments(tmp_path, "--recipe", recipe, "--seconds", "0.05", "--seed", "3")
    )
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
        real = {image.tobytes() for image in digits.images.images}
        assert all(image.tobytes() in real for image in data["images"])
    else:
        assert result["steps"] >= 1
        assert result["train_s"] >= 0.05
        assert result["peak_mb"] > 50


def test_held_out_images_are_training_images_not_trained_on(
    digits: RawDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[LabeledImages] = []
    neighborhoods = generator.neighborhoods
    monkeypatch.setattr(
        generator, "neighborhoods", lambda *given: seen.extend(given[1:]) or neighborhoods(*given)
    )
    result = generator.benchmark(generator_arguments(tmp_path, "--recipe", "real", "--held-out"))
    assert result["scored_on"] == "held-out training images"
    train, test = seen[-2:]
    assert np.array_equal(train.images, digits.images.images[:200])
    assert np.array_equal(test.images, digits.images.images[200:])
    trained = {image.tobytes() for image in train.images}
    assert all(
        image.tobytes() in trained for image in np.load(tmp_path / "out/synthetic.npz")["images"]
    )


@pytest.mark.parametrize("recipe", FITTED)
@pytest.mark.parametrize("spec", [ImageSpec(1, 28, 28, 10), ImageSpec(3, 32, 32, 2)], ids=str)
def test_a_recipe_trains_on_any_size_with_samples_in_range(recipe: str, spec: ImageSpec) -> None:
    built = generator.build(recipe, spec, 0, batch_size=8)
    before = {name: value.clone() for name, value in built.networks.named_parameters()}
    with deterministic():
        torch.manual_seed(0)
        built.networks.train()
        losses = built.update(*comparison.batch_of(built))
        images = built.generator_net(torch.randn(4, built.config.latent_dim), torch.zeros(4).long())
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert images.shape == (4, spec.channels, spec.height, spec.width)
    assert images.abs().max() <= 1
    after = dict(built.networks.named_parameters())
    assert sum(not torch.equal(before[name], after[name]) for name in before) > len(before) / 2


def test_operations_of_a_convolution_are_counted() -> None:
    built = generator.build("ac_gan", ImageSpec(1, 28, 28, 10), 0, batch_size=4)
    work = comparison.update_work(built)
    # The widest layer alone, forward and twice as much backward, for one pass over the batch.
    widest = 3 * 2 * 4 * 128 * 128 * 9 * 14 * 14
    assert widest < work < 10 * widest


def test_tables_have_ratios_and_intervals() -> None:
    scores = {"cas": 0.5, "label_fidelity": 0.9, "coverage": 0.1, "density": 0.2}
    result = {
        **scores,
        "kept_frac": 0.9,
        "as_drawn": scores,
        "images_per_s": 100.0,
        "peak_mb": 500.0,
        "sampled_per_s": 9.0,
    }
    results = {
        ("dcgan", 30): [result, {**result, "cas": 0.7}],
        ("mlp_gan", 30): [{"kept_frac": 0.0, "as_drawn": scores, "images_per_s": 50.0}],
        ("real", 30): [{**scores, "kept_frac": 0.99, "as_drawn": scores}],
    }
    rows = comparison.quality_rows(results)
    assert [row["recipe"] for row in rows] == ["dcgan", "mlp_gan", "real"]
    assert rows[0]["CAS %"].startswith("60.00 [")
    assert [row["CAS %"] for row in rows[1:]] == ["-", "50.00"]
    assert rows[1]["CAS as drawn %"] == "50.00"
    assert [row["ratio"] for row in rows] == ["1.00", "0.50", "-"]
    table = markdown(rows)
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_runs_are_unique_and_compare_all_recipes() -> None:
    runs = list(comparison.runs())
    assert len(set(runs)) == len(runs)
    for seconds in comparison.COMPARED:
        assert {recipe for recipe, after, _ in runs if after == seconds} == set(FITTED)
    for seconds in comparison.REPEATED:
        ours = [seed for recipe, after, seed in runs if (recipe, after) == ("dcgan", seconds)]
        assert ours == list(comparison.SEEDS)
    assert {after for recipe, after, _ in runs if recipe == "dcgan"} == set(comparison.SECONDS)


def test_a_class_that_the_teacher_rejects_is_sampled_again_up_to_a_limit(
    digits: RawDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "SCORER", {"steps": 150, "batch_size": 32})
    sampled: list[int] = []
    images, labels = digits.images.images[:200], digits.images.labels[:200]
    swapped = images.copy()
    swapped[labels == 3] = images[labels == 7]

    def sample_part(part: int) -> LabeledImages:
        sampled.append(part)
        return LabeledImages(swapped, labels)

    with deterministic():
        kept, frac = generator.keep(sample_part, digits.images, 0)
    assert sampled == list(range(generator.MAX_PARTS))
    assert len(kept) == 0
    assert 0 < frac <= 0.9


def test_a_finished_run_is_not_repeated_and_a_failed_one_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = tmp_path / "dcgan-30-0/result.json"
    finished.parent.mkdir()
    finished.write_text('{"cas": 0.5}')
    assert comparison.measure(tmp_path, ("dcgan", 30, 0), tmp_path) == {"cas": 0.5}
    assert comparison.measure(tmp_path, ("dcgan", 30, 1), tmp_path) == {}
    assert "dcgan, 30 s, seed 1: error: " in capsys.readouterr().out


def semi_arguments(folder: Path, **changes: object) -> Namespace:
    return Namespace(
        **{
            "data": folder,
            "labels": 50,
            "seed": 3,
            "threads": 2,
            "arms": None,
            "alone": False,
            "foreign": None,
            "keep_frac": None,
            **changes,
        }
    )


def test_a_replicate_has_the_unlabeled_arms_the_baseline_and_the_reference(
    tmp_path: Path,
) -> None:
    params = semi.settings(tmp_path, semi_arguments(tmp_path))
    assert params.study.budgets == [5]
    assert params.study.seeds == [3]
    assert params.engine.workers == 2
    labeled = [name for name in params.arms if params.regime(name) == "labeled"]
    assert labeled == ["real", "classical"]
    assert {"teacher", "pseudo_label", "ss_dcgan", "ss_dcgan_classical", "ss_dcgan_only"} < set(
        params.arms
    )
    items = [item for _, item in semi.stages(params, list(params.arms))]
    learned = {name for name, section in params.generators.items() if section.teacher}
    # The supervised teacher filters images of labeled-only generators; none is left here.
    assert set(items) == {"graph", "kplus1", *learned, *params.arms}


def test_a_replicate_of_some_arms_trains_nothing_else(tmp_path: Path) -> None:
    params = semi.settings(tmp_path, semi_arguments(tmp_path, arms=["teacher"]))
    assert set(params.arms) == {"real", "classical", "pseudo_label", "teacher"}
    everything = {item for _, item in semi.stages(params, list(params.arms))}
    assert everything == {*params.arms, "graph"}
    assert {item for _, item in semi.stages(params, ["teacher"])} == {"teacher", "graph"}


def test_an_unknown_digit_is_in_the_pool_only(tmp_path: Path) -> None:
    foreign = semi.settings(tmp_path, semi_arguments(tmp_path, foreign=9)).data.unknown_classes
    assert foreign.classes == [9]
    # The rarest digit of MNIST's training images, 5, must suffice.
    assert foreign.frac / (1 - foreign.frac) * (60_000 - 5_421) <= 5_421


def test_keep_frac_is_set_for_every_teacher_that_labels_images(tmp_path: Path) -> None:
    params = semi.settings(tmp_path, semi_arguments(tmp_path, keep_frac=0.9))
    shares = {name: section.settings.get("keep_frac") for name, section in params.teachers.items()}
    assert shares == {"supervised": None, "graph": 0.9, "kplus1": 0.9}
    with pytest.raises(ParamsError, match="keep_frac"):
        semi.settings(tmp_path, semi_arguments(tmp_path, keep_frac=1.5))


def test_the_summary_has_the_means_of_the_errors(tmp_path: Path) -> None:
    for seed, (pseudo, generated) in enumerate([(0.010, 0.015), (0.020, 0.023)]):
        errors = {
            "pseudo_label": {"cnn": pseudo},
            "ss_dcgan": {"cnn": generated},
            "kplus1": {"cnn": None},
        }
        (tmp_path / str(seed)).mkdir()
        write_json(
            tmp_path / str(seed) / "result.json",
            {
                "labels": 100,
                "seed": seed,
                "threads": 1,
                "foreign": None,
                "audits": {},
                "wall_s": 600 + 60 * seed,
                "test_error": errors,
            },
        )
    foreign = {
        "labels": 90,
        "seed": 0,
        "threads": 1,
        "foreign": 9,
        "test_error": {},
        "wall_s": 60,
        "audits": {
            "graph": {
                "strangeness_auroc": 0.8125,
                "foreign_frac": 0.09,
                "foreign_labeled_frac": 0.04,
                "foreign_sure_frac": None,
            },
            "dcgan": {},
        },
    }
    for name, record in (("foreign", foreign), ("other", {"cas": 0.5})):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "result.json", record)
    (tmp_path / "preset").mkdir()
    text = semi_summary.summary(tmp_path, semi.preset(tmp_path / "preset"))
    expected = "0.81, n = 1 | 9.00, n = 1 | 4.00, n = 1 | none of 1 |"
    assert f"| 90 | `graph` | 9 | {expected}" in text
    assert re.search(r"\| 100 \| 3 \| 1 \| 10\.50 \[.*\], n = 2 \|", text)
    assert "exploratory" in text
    assert re.search(r"\| 100 \| `pseudo_label` \| 1\.50 \[.*\], n = 2 \|", text)
    assert re.search(r"`ss_dcgan` against `pseudo_label` \| -0\.40 \[.*\], n = 2 \|", text)
    assert "| 100 | `kplus1` | none of 2 |" in text
    for twice in ("0", "foreign"):
        shutil.copytree(tmp_path / twice, tmp_path / "again")
        with pytest.raises(DataError, match="several of"):
            semi_summary.summary(tmp_path, semi.preset(tmp_path / "preset"))
        shutil.rmtree(tmp_path / "again")


def test_a_pair_with_a_failed_trial_is_counted(tmp_path: Path) -> None:
    for seed, generated in enumerate([0.015, None]):
        errors = {"pseudo_label": {"cnn": 0.01}, "ss_dcgan": {"cnn": generated}}
        if seed == 0:
            errors["kplus1"] = {"cnn": 0.05}  # which the other draw did not run
        (tmp_path / str(seed)).mkdir()
        write_json(
            tmp_path / str(seed) / "result.json",
            {
                "labels": 100,
                "seed": seed,
                "foreign": None,
                "threads": 1,
                "audits": {},
                "test_error": errors,
            },
        )
    (tmp_path / "preset").mkdir()
    text = semi_summary.summary(tmp_path, semi.preset(tmp_path / "preset"))
    assert "`ss_dcgan` against `pseudo_label` | -0.50, n = 1, 1 failed |" in text
    assert "| 100 | `kplus1` | 5.00, n = 1 |" in text


@pytest.mark.parametrize(
    ("part", "values"),
    [("settings", ("1a", "2b")), ("precision", ("bfloat16", "float32")), ("arms.it", ("1a", "2b"))],
)
def test_replicates_with_different_settings_are_refused(
    part: str, values: tuple[str, str], tmp_path: Path
) -> None:
    for seed, value in enumerate(values):
        (tmp_path / str(seed)).mkdir()
        parts = {"recipes": {"it": value}} if part == "arms.it" else {part: value}
        write_json(tmp_path / str(seed) / "result.json", {"test_error": {}, **parts})
    with pytest.raises(DataError, match=f"the same {part}, found {' and '.join(values)}"):
        semi_summary.replicates(tmp_path)


def test_a_folder_without_replicates_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        semi_summary.main([str(tmp_path)])
    assert "found none" in capsys.readouterr().err


def test_an_unknown_arm_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        semi.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--arms", "dcgan"])
    assert "found dcgan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["0", "-10", "15", "ten"])
def test_labels_that_classes_cannot_share_equally_are_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        semi.main(["--data", str(tmp_path), "--out", str(tmp_path), "--labels", text])
    assert "--labels" in capsys.readouterr().err


def test_alone_needs_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        semi.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--alone"])
    assert "--alone: expected --arms" in capsys.readouterr().err


@pytest.fixture
def zoo_digits(digits: RawDataset, monkeypatch: pytest.MonkeyPatch) -> RawDataset:
    """Twice the toy images, half of them held out; small networks, hardly trained."""
    images, labels = (
        np.concatenate([array, array]) for array in (digits.images.images, digits.images.labels)
    )
    raw = RawDataset(LabeledImages(images, labels), None, DIGIT_NAMES)
    brief = claims.JUDGE.model_copy(update={"steps": 5})
    small = {
        "generator": {"channels": [8, 8, 4], "label_dim": 2, "upsample": False, "dropout": 0.0},
        "discriminator": {"channels": [4, 8], "dropout": 0.0, "minibatch_kernels": 0},
        "batch_size": 20,
    }
    members = {
        name: {**section, **{key: value for key, value in small.items() if key in section}}
        for name, section in claims.sections().items()
    }
    monkeypatch.setattr(mnist.Mnist, "load", lambda dataset: raw)
    monkeypatch.setattr(zoo, "HELD_OUT", 300)
    for module in (claims, plain):
        monkeypatch.setattr(module, "sections", lambda: members)
    for name, value in {
        "JUDGE": brief,
        "SCORER": brief,
        "COMPARED": 10,
        "CAS_PER_CLASS": 2,
        "MARKS": 3,
        "TELLING": ("wgan",),
    }.items():
        monkeypatch.setattr(claims, name, value)
    monkeypatch.setattr(plain, "WARM_UPDATES", 1)
    monkeypatch.setattr(fit, "RECALIBRATION_BATCHES", 1)
    return raw


def zoo_arguments(tmp_path: Path, *more: str) -> Namespace:
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "1"]
    return zoo.parse([*arguments, "--per-class", "5", "--steps", "3", *more])


def test_parts_are_measured_once_and_reported_together(
    zoo_digits: RawDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = zoo.benchmark(zoo_arguments(tmp_path, "--only", "began"))
    assert "(`began`)" in first
    assert "(`srgan`)" not in first
    monkeypatch.setattr(zoo, "PARTS", {**zoo.PARTS, "began": without_measure(zoo.PARTS["began"])})
    text = zoo.benchmark(zoo_arguments(tmp_path, "--only", "began", "srgan", "wgan"))
    assert text == (tmp_path / "out/zoo.md").read_text("utf-8")
    for name in ("began", "srgan", "wgan"):
        assert f"(`{name}`)" in text
        assert (tmp_path / f"out/{name}.png").read_bytes()[1:4] == b"PNG"
        assert f"({name}.png)" in text
    runs = {
        name: read_json(tmp_path / f"out/{name}.json")["result"]["runs"]
        for name in ("began", "srgan", "wgan")
    }
    assert [run["gamma"] for run in runs["began"]] == list(claims.GAMMAS)
    assert all(runs["srgan"][0][key] >= 0 for key in ("bicubic_db", "better_frac"))
    assert [run["marks"] for run in runs["wgan"]] == [[1, 2, 3]]
    assert all(len(run["cas"]) == len(run["losses"]["generator"]) == 3 for run in runs["wgan"])


def without_measure(part: zoo.Part) -> zoo.Part:
    def refuse(job: claims.Job) -> claims.Result:
        raise AssertionError("measured again")

    return replace(part, measure=refuse)


def test_failed_runs_are_reported_with_the_others(
    zoo_digits: RawDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = claims.train

    def diverge(generator: Generator, data: LabeledImages, seed: int) -> History:
        if seed == 0 or generator.config.gamma == claims.GAMMAS[1]:
            raise DivergedError("step 3", "expected a finite loss, found nan", "lower the rate")
        return train(generator, data, seed)

    monkeypatch.setattr(claims, "train", diverge)
    text = zoo.benchmark(zoo_arguments(tmp_path, "--only", "began", "--seeds", "2"))
    assert text.count("Failed: gamma") == 3
    low, high = claims.GAMMAS
    assert f"gamma {low}, seed 0: step 3: expected a finite loss" in text
    assert f"| {low} | 1 |" in text
    assert f"| {high} minus {low} | 0 | - |" in text
    with pytest.raises(DivergedError):  # nothing is left
        zoo.benchmark(zoo_arguments(tmp_path, "--only", "began", "--out", f"{tmp_path}/other"))


@pytest.mark.proof
def test_a_linear_generator_learns_mean_and_covariance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plane.SETTINGS, "steps", 1500)  # of 3000
    job = claims.Job(
        EMPTY, EMPTY, tmp_path, seeds=1, per_class=1, steps=None, epochs=1.0, learning_rate=1.0
    )
    with deterministic():
        result = plane.measure(job)
    run = result["runs"][0]
    np.testing.assert_allclose(run["mean"], plane.MEAN, rtol=0.1)
    np.testing.assert_allclose(run["covariance"], plane.COVARIANCE, rtol=0.1)
    assert "| truth | 1.00, 2.00 | 1.01, 4.25 | 1.95 | 0.0 |" in plane.text(result)
    figures.save(plane.figure(result), tmp_path / "plane.png")
    assert (tmp_path / "plane.png").read_bytes()[1:4] == b"PNG"


def test_a_part_with_other_options_is_refused(tmp_path: Path) -> None:
    record = {"options": {"seeds": 1, "per_class": 5, "steps": 7}}
    (tmp_path / "out").mkdir()
    write_json(tmp_path / "out/srgan.json", record)
    with pytest.raises(ParamsError, match=r"'steps': 3.*found.*'steps': 7"):
        zoo.benchmark(zoo_arguments(tmp_path, "--only", "srgan"))


def test_held_out_images_are_in_no_subset(zoo_digits: RawDataset, tmp_path: Path) -> None:
    job = zoo.job_of(zoo_arguments(tmp_path))
    assert np.array_equal(job.held.images, zoo_digits.images.images[300:])
    assert np.bincount(job.subset(0).labels).tolist() == [5] * 10
    assert not np.array_equal(job.subset(0).images, job.subset(1).images)
    judged = [part.images for part in claims.judged(job.held)[1:]]
    assert np.array_equal(np.concatenate(judged), job.held.images[150:])


@pytest.mark.parametrize("name", ["dcgan", "srgan"])
def test_a_plain_recipe_has_the_networks_and_optimizers_of_the_generator(
    name: str, zoo_digits: RawDataset, tmp_path: Path
) -> None:
    job = zoo.job_of(zoo_arguments(tmp_path))
    data = job.subset(0)
    ours, recipe = job.generator(name, data.spec(), 0), plain.Plain(job, name, data)
    sizes = [
        sorted(tuple(weight.shape) for weight in member.networks.parameters())
        for member in (ours, recipe.generator)
    ]
    assert sizes[0] == sizes[1]
    assert recipe.generator.precision == "float32"
    assert len(recipe.generator.optimizers) == len(ours.optimizers)
    for optimizer in recipe.generator.optimizers.values():
        assert not any(group.get("fused") for group in optimizer.param_groups)
    assert all(weight.is_contiguous() for weight in recipe.generator.networks.parameters())
    assert all(next(recipe.batches)[0].is_contiguous() for _ in range(7))
    with deterministic():
        assert plain.our_seconds(ours, data, 1) > 0
        assert recipe.seconds(1) > 0


def test_the_plain_dcgan_computes_the_same_with_channels_first() -> None:
    config = DCGAN.Config.model_validate({**claims.sections()["dcgan"], "precision": "float32"})
    ours, recipe = DCGAN(config, MNIST), plain.TextbookDCGAN(config, MNIST)
    state = ours.networks.state_dict()
    height, width, channels = ours.generator_net.start
    project = ("sampler.project.weight", "sampler.project.bias")
    for key in project:
        rows = state[key].unflatten(0, (height, width, channels))
        state[key] = rows.movedim(2, 0).flatten(0, 2)
    dense = "critic.dense.0.parametrizations.weight"
    for key, axis in ((f"{dense}.original", 1), (f"{dense}.0._v", 0)):
        rows = state[key].unflatten(axis, (3, 3, -1))
        state[key] = rows.movedim(axis + 2, axis).flatten(axis, axis + 2)
    recipe.networks.load_state_dict(state)
    z, labels = torch.randn(6, ours.noise_dim), torch.arange(6)
    for gan in (ours, recipe):
        gan.networks.eval()
    with torch.no_grad():
        images = [gan.generator_net(z, labels) for gan in (ours, recipe)]
        scores = [gan.networks["critic"](images[0], labels) for gan in (ours, recipe)]
    assert torch.allclose(*images, atol=1e-5)
    assert torch.allclose(*scores, atol=1e-5)


@pytest.mark.parametrize(
    ("parse", "wrong", "words"),
    [
        (generator_arguments, ["--seconds", "0"], "expected a number above 0, found 0"),
        (generator_arguments, ["--seconds", "nan"], "expected a number above 0, found nan"),
        (generator_arguments, ["--data", "nowhere"], "expected a folder, found no nowhere"),
        (generator_arguments, ["--out", __file__], "expected a folder, found the file"),
        (generator_arguments, ["--recipe", "gan"], "invalid choice: 'gan'"),
        (zoo_arguments, ["--seeds", "0"], "expected a whole number above 0, found 0"),
        (zoo_arguments, ["--learning-rate", "-1"], "expected a number above 0, found -1"),
        (zoo_arguments, ["--only", "gan"], "invalid choice: 'gan'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    parse: Callable[..., object],
    wrong: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(tmp_path, *wrong)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err

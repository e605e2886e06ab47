"""The contract that every generator keeps, tested on all members of the registry.

What is a property of the one fit loop, and not of a family, is tested on two families.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from sklearn.neighbors import KNeighborsClassifier

from pipeline.config.schema import load_params
from pipeline.config.validation import Member
from pipeline.data.images import BLACK, ImageSpec, LabeledImages
from pipeline.generators import GENERATORS, sampling
from pipeline.generators import fit as fitting
from pipeline.generators.base import Generator, Kind, Loss, create
from pipeline.generators.fit import fit
from pipeline.generators.gan.acgan import ACGAN
from pipeline.generators.sampling import render, sample_classes, sample_images
from pipeline.generators.showcase import COLUMNS, showcase
from pipeline.nn import fit as loop
from pipeline.nn.augment import AffineConfig
from pipeline.nn.checkpoint import History, TrainingState, newest_first
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import DivergedError, ParamsError

ROOT = Path(__file__).resolve().parents[2]
EVERY = sorted(GENERATORS)
# Families with other settings: in every run a fit of each resumes, the rest is for `make proofs`.
VARIANTS = {"infogan": "acgan", "plain_dcgan_switched": "plain_dcgan"}
ALL = [*EVERY, *VARIANTS]
FEW = ("cvae", "dcgan")  # for properties of the fit loop
# Slow tests run on these two, and on all families by `make proofs`.
FEW_FIRST = [name if name in FEW else pytest.param(name, marks=pytest.mark.proof) for name in ALL]
FAMILIES = [
    pytest.param(name, marks=pytest.mark.proof) if name in VARIANTS else name for name in ALL
]
STEPS = 20
MNIST, COLORED, LARGE = ImageSpec(1, 28, 28, 10), ImageSpec(3, 32, 32, 2), ImageSpec(1, 64, 64, 3)
SIZES = (("cvae", COLORED), ("dcgan", LARGE))
LEARNED = 350  # steps until a narrow network obeys its label
Fitted = Callable[[str], tuple[Generator, History]]


@pytest.fixture(scope="session")
def fitted(
    sections: dict[str, Member], few_bars: LabeledImages, tmp_path_factory: pytest.TempPathFactory
) -> Fitted:
    """A generator by name, trained once for all tests that only look at it, and its history."""
    folder = tmp_path_factory.mktemp("fitted")
    return functools.cache(lambda name: trained(name, sections, few_bars, folder / name))


def family_of(name: str) -> type[Generator]:
    return GENERATORS[VARIANTS.get(name, name)]


def untrained(name: str, sections: dict[str, Member], spec: ImageSpec, seed: int) -> Generator:
    family = family_of(name)
    return create(family, family.Config.model_validate(sections[name]), spec, seed)


def trained(
    name: str, sections: dict[str, Member], data: LabeledImages, folder: Path, seed: int = 0
) -> tuple[Generator, History]:
    folder.mkdir(exist_ok=True)
    with deterministic():
        generator = untrained(name, sections, data.spec(), seed)
        return generator, fit(generator, data, seed, folder)


def weights(generator: Generator) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in generator.generator_net.state_dict().items()}


def same(first: dict[Any, np.ndarray], second: dict[Any, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_have_shape_type_and_range(name: str, fitted: Fitted) -> None:
    generator, _ = fitted(name)
    images = sample_images(generator, np.array([0, 1, 2, 2, 0]), [5, 6, 7, 8, 9])
    assert images.dtype == np.uint8
    assert images.shape == (5, 1, 8, 8)
    assert images.std() > 0
    with torch.no_grad():
        output = generator.generator_net(generator.noise(list(range(30))), torch.arange(30) % 3)
    assert output.min() >= -1
    assert output.max() <= 1


@pytest.mark.parametrize("name", EVERY)
def test_a_family_says_what_it_is_and_needs_no_setting(name: str) -> None:
    family = GENERATORS[name]
    assert family.kind in get_args(Kind)
    assert family.loss in get_args(Loss)
    assert set(family.losses(family.Config()).values()) <= set(get_args(Loss))


def test_a_nested_section_names_only_what_differs() -> None:
    family = GENERATORS["plain_dcgan"]
    config = family.Config.model_validate({"discriminator": {"dropout": 0.1}})
    assert config.discriminator == family.Config().discriminator.model_copy(update={"dropout": 0.1})


def test_steps_grow_with_the_number_of_images_up_to_a_limit(sections: dict[str, Member]) -> None:
    section = sections["dcgan"] | {"steps": 700, "steps_per_image": 2, "max_steps": 5000}
    config = GENERATORS["dcgan"].Config.model_validate(section)
    assert [config.num_steps(n) for n in (10, 100, 500, 60_000)] == [720, 900, 1700, 5000]


@pytest.mark.parametrize("name", FEW)
def test_a_fit_depends_on_its_seed_and_changes_no_input_or_global_state(
    name: str, sections: dict[str, Member], few_bars: LabeledImages, fitted: Fitted, tmp_path: Path
) -> None:
    first, _ = fitted(name)
    images, labels = few_bars.images.copy(), few_bars.labels.copy()
    torch.manual_seed(99)
    np.random.seed(99)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()

    other, _ = trained(name, sections, few_bars, tmp_path / "other", seed=1)
    sample_classes(other, 2, 0)
    showcase(other, few_bars, 0)

    assert not same(weights(first), weights(other))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert np.array_equal(images, few_bars.images)
    assert np.array_equal(labels, few_bars.labels)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_showcase_has_rows_of_ten_images(
    name: str, fitted: Fitted, few_bars: LabeledImages
) -> None:
    generator, _ = fitted(name)
    found = showcase(generator, few_bars, 0)
    assert set(found) >= {"interpolation", "morph"}
    for images in found.values():
        assert images.dtype == np.uint8
        assert images.shape[1:] == few_bars.images.shape[1:]
        assert len(images) % COLUMNS == 0
    assert len(found["interpolation"]) == len(found["morph"]) == 3 * COLUMNS
    again = showcase(generator, few_bars, 0)
    assert all(np.array_equal(again[key], images) for key, images in found.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_one_hot_mixture_is_its_label_and_halves_are_between(name: str, fitted: Fitted) -> None:
    generator, _ = fitted(name)
    noise, labels = generator.noise([1, 2, 3]), torch.tensor([0, 1, 2])
    whole = render(generator.generator_net, noise, labels).astype(int)
    shares = torch.eye(3)
    assert np.abs(render(generator.generator_net, noise, shares) - whole).max() <= 1
    other = render(generator.generator_net, noise, (shares + shares.roll(1, dims=0)) / 2)
    assert np.abs(other - whole).max() > 1


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_does_not_depend_on_its_neighbors(name: str, fitted: Fitted) -> None:
    generator, _ = fitted(name)
    labels = np.arange(230) % 3
    seeds = list(range(1000, 1230))
    together = sample_images(generator, labels, seeds)
    for at in (0, 1, 99, 100, 229):
        alone = sample_images(generator, labels[at : at + 1], seeds[at : at + 1])
        assert np.array_equal(alone[0], together[at])
    backwards = sample_images(generator, labels[::-1].copy(), seeds[::-1])
    assert np.array_equal(backwards[::-1], together)


@pytest.mark.parametrize("name", FEW)
def test_another_latent_std_scales_the_same_noise(name: str, fitted: Fitted) -> None:
    generator, _ = fitted(name)
    plain = generator.noise([1, 2])
    assert torch.equal(generator.noise([1, 2], 1.0), plain)
    assert torch.equal(generator.noise([1, 2], 2.0), 2 * plain)
    labels, seeds = np.array([0, 1, 2]), [5, 6, 7]
    before = sample_images(generator, labels, seeds)
    assert np.array_equal(sample_images(generator, labels, seeds, latent_std=1.0), before)
    assert not np.array_equal(sample_images(generator, labels, seeds, latent_std=2.0), before)


@pytest.mark.parametrize("name", FEW)
def test_classes_alternate_and_more_images_begin_with_the_same_ones(
    name: str, fitted: Fitted
) -> None:
    generator, _ = fitted(name)
    few, more = (sample_classes(generator, count, 3) for count in (2, 5))
    assert few.labels.tolist() == [0, 1, 2] * 2
    assert np.array_equal(more.images[:6], few.images)
    assert not np.array_equal(sample_classes(generator, 2, 4).images, few.images)


@pytest.mark.parametrize("name", FEW_FIRST)
def test_labels_are_obeyed_after_a_short_fit(
    name: str, sections: dict[str, Member], bars: LabeledImages, tmp_path: Path
) -> None:
    section = {**sections[name], "steps": LEARNED, "batch_size": 30}
    if "realness" in section:  # narrow networks are slow to find out that the label matters
        section |= {"generator_learning_rate": 0.002, "discriminator_learning_rate": 0.004}
        section |= {"mismatch": 0.0 if family_of(name) is ACGAN else 1.0}
    if "half" in section:  # has its own family's defaults
        shared = {
            key: section[key]
            for key in ("generator_learning_rate", "discriminator_learning_rate", "mismatch")
        }
        section["half"] = {**section["half"], **shared}
    sections = {name: section}
    generator, _ = trained(name, sections, bars, tmp_path / "a")
    labels = np.arange(150) % 3
    images = sample_images(generator, labels, list(range(150)))
    judge = KNeighborsClassifier(3).fit(bars.images.reshape(180, -1), bars.labels)
    assert judge.score(images.reshape(150, -1), labels) > 0.5


@pytest.mark.parametrize("name", FAMILIES)
def test_odd_sizes_channels_and_classes_work(
    name: str, sections: dict[str, Member], tmp_path: Path
) -> None:
    try_shape(name, ImageSpec(2, 15, 17, 2), sections, tmp_path)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        pytest.param(name, spec, marks=() if (name, spec) in SIZES else pytest.mark.proof)
        for name in ALL
        for spec in (MNIST, COLORED, LARGE)
    ],
)
def test_common_and_large_images_work(
    name: str, spec: ImageSpec, sections: dict[str, Member], tmp_path: Path
) -> None:
    try_shape(name, spec, sections, tmp_path)


def try_shape(name: str, spec: ImageSpec, sections: dict[str, Member], folder: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (2 * spec.num_classes, spec.channels, spec.height, spec.width)
    data = LabeledImages(
        rng.integers(0, 256, shape, dtype=np.uint8), np.arange(shape[0]) % spec.num_classes
    )
    generator, _ = trained(name, {name: {**sections[name], "steps": 2}}, data, folder / "a")
    assert sample_images(generator, np.array([0, 1]), [1, 2]).shape == (2, *shape[1:])


@pytest.mark.parametrize("name", FEW)
def test_history_and_snapshots_cover_the_whole_fit(name: str, fitted: Fitted) -> None:
    generator, history = fitted(name)
    assert [row["step"] for row in history.rows] == list(range(1, STEPS + 1))
    assert max(history.snapshots) == STEPS
    assert len(history.snapshots) == loop.NUM_SNAPSHOTS
    for row in history.rows:
        assert np.isfinite(list(row.values())).all()
        assert {f"{each}_learning_rate" for each in generator.optimizers} < set(row)
    for images in history.snapshots.values():
        assert images.shape == (3 * sampling.SNAPSHOT_PER_CLASS, 1, 8, 8)


@pytest.mark.parametrize("name", FEW)
def test_learning_rates_stay_then_fall_to_almost_nothing(name: str, fitted: Fitted) -> None:
    generator, history = fitted(name)
    for each in generator.optimizers:
        rates = np.array([row[f"{each}_learning_rate"] for row in history.rows])
        until = int(generator.config.decay_from * STEPS)
        assert np.ptp(rates[:until]) == 0
        assert (np.diff(rates[until + 1 :]) < 0).all()
        assert rates[-1] <= rates[0] * 2 / STEPS / (1 - generator.config.decay_from)


@pytest.mark.parametrize("name", FEW)
def test_a_loss_that_is_not_finite_stops_the_fit_at_that_step(
    name: str,
    sections: dict[str, Member],
    few_bars: LabeledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, calls = family_of(name).update, []

    def poisoned(self: Generator, real: torch.Tensor, labels: torch.Tensor) -> dict:
        calls.append(1)
        losses = update(self, real, labels)
        return losses if len(calls) < 5 else {**losses, "generator": torch.tensor(float("nan"))}

    monkeypatch.setattr(family_of(name), "update", poisoned)
    with pytest.raises(DivergedError, match=r"step 5: expected a finite generator loss"):
        trained(name, sections, few_bars, tmp_path / "a")


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("at", [13, STEPS])
def test_weights_that_are_not_finite_stop_the_fit_and_its_last_good_checkpoint_stays(
    name: str,
    at: int,
    sections: dict[str, Member],
    few_bars: LabeledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, calls = family_of(name).update, []

    def poisoned(self: Generator, real: torch.Tensor, labels: torch.Tensor) -> dict:
        losses = update(self, real, labels)
        calls.append(1)
        if len(calls) == at:
            with torch.no_grad():
                next(self.generator_net.parameters()).view(-1)[0] = float("nan")
        return losses

    monkeypatch.setattr(family_of(name), "update", poisoned)
    with pytest.raises(DivergedError, match=r"step (1\d|20): expected .*finite"):
        trained(name, sections, few_bars, tmp_path / "a")
    kept = newest_first(tmp_path / "a")
    assert kept
    with safe_open(kept[0], framework="pt") as file:
        assert all(torch.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118


def test_weights_of_an_encoder_are_checked_before_distributions_are_fitted_to_its_codes(
    sections: dict[str, Member],
    few_bars: LabeledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, calls = GENERATORS["autoencoder"].update, []

    def poisoned(self: Generator, real: torch.Tensor, labels: torch.Tensor) -> dict:
        losses = update(self, real, labels)
        calls.append(1)
        if len(calls) == STEPS:
            with torch.no_grad():
                next(self.networks["encoder"].parameters()).view(-1)[0] = float("nan")
        return losses

    monkeypatch.setattr(GENERATORS["autoencoder"], "update", poisoned)
    with pytest.raises(DivergedError, match="expected finite weights"):
        trained("autoencoder", sections, few_bars, tmp_path / "a")


def test_more_steps_than_the_limit_are_refused(sections: dict[str, Member]) -> None:
    section = sections["dcgan"] | {"steps": 700, "max_steps": 10}
    with pytest.raises(ValidationError, match=r"max_steps: expected at least steps \(700\)"):
        GENERATORS["dcgan"].Config.model_validate(section)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.toy import Toy
from pipeline.generators import GENERATORS, base
from pipeline.generators.fit import fit
from pipeline.nn import fit as loop
from pipeline.runtime.determinism import deterministic
name, folder, kill_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
section = json.loads(sys.argv[4])
loop.CHECKPOINT_S = 0.0
data = Toy(BuiltIn(), Path.cwd()).load().images
with deterministic():
    config = GENERATORS[name].Config.model_validate(section)
    generator = base.create(GENERATORS[name], config, data.spec(), 0)
    update, done = generator.update, []
    def counted(real, labels):
        done.append(1)
        if len(done) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(real, labels)
    generator.update = counted
    fit(generator, data, 0, folder)
"""


def run_script(
    name: str, folder: Path, kill_at: int, section: Member
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", KILLED, name, str(folder), str(kill_at), json.dumps(section)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", ALL)
def test_an_interrupted_fit_resumes_to_the_same_bits(
    name: str,
    sections: dict[str, Member],
    few_bars: LabeledImages,
    fitted: Fitted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight, history = fitted(name)
    update, calls = family_of(name).update, []

    def interrupted(self: Generator, real: torch.Tensor, labels: torch.Tensor) -> dict:
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return update(self, real, labels)

    monkeypatch.setattr(family_of(name), "update", interrupted)
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(name, sections, few_bars, tmp_path / "b")
    torch.manual_seed(99)  # a new process has another random state
    resumed, again = trained(name, sections, few_bars, tmp_path / "b")
    assert len(calls) == 13 + STEPS - 12
    assert same(weights(straight), weights(resumed))
    assert history.rows == again.rows
    assert same(history.snapshots, again.snapshots)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(load_params(ROOT).generators))
def test_a_killed_fit_resumes_to_the_same_bits(
    name: str, bars: LabeledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = {"steps": STEPS, "steps_per_image": 0, "batch_size": 16}
    section = {**load_params(ROOT).generators[name].settings, **brief}
    straight, history = trained(name, {name: section}, bars, tmp_path / "straight")
    killed = run_script(name, tmp_path / "killed", 13, section)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = newest_first(tmp_path / "killed")[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    calls, update = [], GENERATORS[name].update

    def counted(self: Generator, real: torch.Tensor, labels: torch.Tensor) -> dict:
        calls.append(1)
        return update(self, real, labels)

    monkeypatch.setattr(GENERATORS[name], "update", counted)
    resumed, again = trained(name, {name: section}, bars, tmp_path / "killed")
    assert len(calls) == STEPS - 11
    assert again.rows == history.rows
    assert same(again.snapshots, history.snapshots)
    assert same(weights(resumed), weights(straight))


@pytest.mark.parametrize("name", FEW)
def test_a_checkpoint_holds_all_state_that_matters(
    name: str, sections: dict[str, Member], few_bars: LabeledImages, tmp_path: Path
) -> None:
    generator, history = trained(name, sections, few_bars, tmp_path / "a")
    modules = {"networks": generator.networks}
    TrainingState(modules, generator.optimizers, history).save(tmp_path, 12)
    fresh = untrained(name, sections, few_bars.spec(), 3)
    state = TrainingState({"networks": fresh.networks}, fresh.optimizers)
    assert state.resume(tmp_path) == 12
    assert same(weights(fresh), weights(generator))
    assert state.history.rows == history.rows
    for each in generator.optimizers:
        old, new = (g.optimizers[each].state_dict()["state"] for g in (generator, fresh))
        for slot in old:
            assert all(torch.equal(old[slot][key], new[slot][key]) for key in old[slot])


def test_only_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    state = TrainingState({"layer": torch.nn.Linear(2, 2)}, {})
    for step in (1, 2, 3):
        state.save(tmp_path, step)
    assert [path.stem.split("-")[1] for path in newest_first(tmp_path)] == ["00000003", "00000002"]


def test_every_update_of_a_discriminator_needs_two_images(sections: dict[str, Member]) -> None:
    section = sections["wgan"] | {"discriminator_steps": 5}
    family_of("wgan").Config.model_validate(section | {"batch_size": 10})
    for size in (5, 12):
        with pytest.raises(ValidationError, match=rf"multiple of .* \(5\), .*, found {size}"):
            family_of("wgan").Config.model_validate(section | {"batch_size": size})


def test_dcgan_refuses_sides_it_cannot_halve(sections: dict[str, Member]) -> None:
    with pytest.raises(
        ParamsError, match=r"^a generator of the family dcgan: .*at least 8, found 7 x 28"
    ):
        untrained("dcgan", sections, ImageSpec(1, 7, 28, 10), 0)


def test_augmentation_changes_images_a_little_and_never_flips_them() -> None:
    image = torch.full((1, 1, 12, 12), -1.0)
    image[0, 0, 3:9, 4:6] = 1.0
    image[0, 0, 7:9, 4:9] = 1.0  # an L: none of its mirror images is near it
    still = fitting.augmenter(AffineConfig(degrees=0, translate=0, scale=0, shear=0), BLACK)
    assert still(image) is image
    torch.manual_seed(0)
    many = image.repeat(200, 1, 1, 1)
    moved = AffineConfig(degrees=10, translate=0.05, scale=0.05, shear=5)
    seen = fitting.augmenter(moved, BLACK)(many)
    assert seen.min() >= -1
    assert seen.max() <= 1
    assert len({each.numpy().tobytes() for each in seen}) == 200
    mirrored = [image.flip(axes) for axes in ((2,), (3,), (2, 3))]
    distance = torch.stack([(seen - each).abs().mean((1, 2, 3)) for each in (image, *mirrored)])
    assert (distance.argmin(dim=0) == 0).all()

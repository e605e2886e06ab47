"""Each replicate chooses on its own draw alone, by images that reached nothing they judge."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.textbook import SETTINGS, TextbookConfig
from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.config.schema import SUBSETS, ClassifierParams, GeneratorParams, Params
from pipeline.data.images import Images, ImageSpec, LabeledImages, content_ids
from pipeline.generators.base import Generator, GeneratorConfig
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import read_json, read_npz
from pipeline.stages import prepare, synthesize, train_generator, train_teacher, tune
from pipeline.training_sets.tuning import Choice, Search, Trainers, choose, stratified

SIDE, NUM_CLASSES, PER_CLASS = 4, 3, 6
CONFIG = TextbookConfig.model_validate({**SETTINGS, "latent_dim": 64})


def search(**changes: Any) -> Search:
    """A search with some candidates, and enough images to tell them apart."""
    fixed: dict[str, Any] = {"latent_std": (1.0,), "min_probability": (0.5,), "folds": 2}
    candidates = {
        name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
    }
    return Search(**{**fixed, "per_class": 20, **candidates})


@pytest.fixture(scope="module")
def squares() -> LabeledImages:
    """Six different images of each class: a level of gray with little noise."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(NUM_CLASSES), PER_CLASS)
    levels = (60 + 60 * labels)[:, None, None, None]
    noise = rng.integers(-30, 31, (len(labels), 1, SIDE, SIDE))
    return LabeledImages((levels + noise).astype(np.uint8), labels)


class World(nn.Module):
    """Right images where the noise is about `good` wide, others where it is not.

    Others are of the next class at `faint` of the distance.
    """

    def __init__(self, good: float, faint: float) -> None:
        super().__init__()
        self.good, self.faint = good, faint

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        spread = z.std(dim=1, keepdim=True)
        is_good = ((spread - self.good).abs() < 0.4)[:, 0]
        shown = torch.where(is_good, y, y + self.faint)
        pixels = (60 + 60 * shown)[:, None, None, None] + 20 * (z[:, :16] / spread).unflatten(
            1, (1, SIDE, SIDE)
        )
        return pixels / 127.5 - 1


class Planted(Generator):
    """A generator of a `World` that nothing has to be trained for."""

    Config = GeneratorConfig

    def __init__(self, world: World, data: LabeledImages) -> None:
        super().__init__(CONFIG, data.spec())
        self.noise_dim = CONFIG.latent_dim
        self.generator_net = world

    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Never called."""
        raise NotImplementedError


class Levels(Classifier):
    """The mean gray of each class, by weight; the nearer, the more probable."""

    def fit(self, training_set: TrainingSet) -> Levels:
        """See `Classifier.fit`."""
        data, weights = training_set.data, training_set.weights
        gray = data.images.mean(axis=(1, 2, 3))
        self.means = np.array(
            [
                np.average(gray[data.labels == label], weights=weights[data.labels == label])
                for label in range(training_set.num_classes)
            ]
        )
        return self

    def digest(self) -> str:
        """Never called, like the next two."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Levels:
        raise NotImplementedError

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`."""
        scores = -(((images.mean(axis=(1, 2, 3))[:, None] - self.means) / 30) ** 2)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cast(
            "NDArray[np.float32]", (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        )


@dataclass
class Spy:
    """Trainers that note which images went into what, and what was asked about which."""

    world: World
    generators: list[LabeledImages] = field(default_factory=list)
    classifiers: list[TrainingSet] = field(default_factory=list)
    asked: list[tuple[int, Images]] = field(default_factory=list)  # which classifier, which images

    def trainers(self) -> Trainers:
        return Trainers(self.generator, self.classifier)

    def generator(self, data: LabeledImages, seed: int, folder: Path) -> Generator:
        self.generators.append(data)
        return Planted(self.world, data)

    def classifier(self, training_set: TrainingSet, seed: int) -> Classifier:
        position = len(self.classifiers)
        self.classifiers.append(training_set)
        spy = self

        class Watched(Levels):
            def predict_proba(self, images: Images) -> NDArray[np.float32]:
                spy.asked.append((position, images))
                return super().predict_proba(images)

        return Watched(None, seed).fit(training_set)


def ids(images: Images) -> set[str]:
    return set(content_ids(images).tolist())


@given(
    counts=st.lists(st.integers(3, 9), min_size=1, max_size=4),
    num_folds=st.integers(2, 3),
    seed=st.integers(0, 99),
)
def test_folds_share_every_class_evenly(counts: list[int], num_folds: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = stratified(labels, num_folds, seed)
    assert folds.shape == labels.shape
    for label, count in enumerate(counts):
        sizes = np.bincount(folds[labels == label], minlength=num_folds)
        assert len(sizes) == num_folds
        assert sizes.sum() == count
        assert sizes.min() >= 1
        assert np.ptp(sizes) <= 1
    np.testing.assert_array_equal(stratified(labels, num_folds, seed), folds)


def test_folds_are_dealt_out_at_random() -> None:
    labels = np.repeat(np.arange(2), 8)
    assert len({stratified(labels, 2, seed).tobytes() for seed in range(20)}) > 10


def test_a_class_that_is_smaller_than_the_folds_is_one_sentence() -> None:
    with pytest.raises(ParamsError) as refused:
        stratified(np.array([0, 0, 1, 1, 1]), 3, 0)
    text = str(refused.value)
    assert "tune.folds: expected at most the 2 labeled images of class 0, found 3" in text


@pytest.mark.parametrize("good", [1.0, 2.0])
@pytest.mark.parametrize("listed", [[1.0, 2.0], [2.0, 1.0]])
def test_noise_that_gives_images_of_another_class_is_not_chosen(
    good: float, listed: list[float], squares: LabeledImages, tmp_path: Path
) -> None:
    # At 0.4 of the way to the next class the teacher is still taken in.
    spy = Spy(World(good, faint=0.4))
    params = search(latent_std=listed)
    assert choose(squares, params, spy.trainers(), 3, tmp_path) == Choice(good, 0.5)


@pytest.mark.parametrize("listed", [[0.0, 0.97], [0.97, 0.0]])
@pytest.mark.parametrize("faint", [0.4, 0.0])
def test_the_filter_is_as_strict_as_the_images_need(
    faint: float, listed: list[float], squares: LabeledImages, tmp_path: Path
) -> None:
    # Misleading images are kept out by a strict filter, which right ones would not survive.
    spy = Spy(World(9.0, faint))
    if faint == 0.0:
        squares = LabeledImages(squares.images // 2 + 60, squares.labels)
    found = choose(squares, search(min_probability=listed), spy.trainers(), 3, tmp_path)
    assert found.min_probability == (0.97 if faint else 0.0)


@pytest.mark.parametrize("num_folds", [2, 3])
def test_what_judges_a_candidate_reached_neither_generator_nor_teacher_nor_student(
    num_folds: int, squares: LabeledImages, tmp_path: Path
) -> None:
    spy = Spy(World(1.0, 1.0))
    params = search(latent_std=[1.0, 2.0], min_probability=[0.2, 0.5, 0.9], folds=num_folds)
    choose(squares, params, spy.trainers(), 3, tmp_path)
    subset = ids(squares.images)
    assert len(subset) == len(squares)
    assert len(spy.generators) == num_folds
    assert len(spy.classifiers) == num_folds * (1 + 6)
    judged: set[str] = set()
    for fold, known in enumerate(spy.generators):
        held = subset - ids(known.images)
        assert len(held) == len(squares) / num_folds
        assert not held & judged
        judged |= held
        first = fold * 7  # the teacher; students follow
        assert ids(spy.classifiers[first].data.images) == ids(known.images)
        for position in range(first, first + 7):
            learned = spy.classifiers[position]
            assert ids(learned.data.images[~learned.extra]) == ids(known.images)
            assert not ids(learned.data.images) & held
            asked = [ids(images) for which, images in spy.asked if which == position]
            is_teacher = position == first
            assert all(not each & subset for each in asked) if is_teacher else asked == [held]
    assert judged == subset


def test_every_pair_weighs_its_images_like_the_arms_do(
    squares: LabeledImages, tmp_path: Path
) -> None:
    spy = Spy(World(1.0, 0.4))
    choose(squares, search(min_probability=[0.0, 0.5]), spy.trainers(), 3, tmp_path)
    students = [each for each in spy.classifiers if each.extra.any()]
    assert len(students) == 4
    for each in students:
        assert each.weights[~each.extra].sum() / each.weights.sum() == pytest.approx(0.5)


def test_a_single_candidate_trains_nothing(squares: LabeledImages, tmp_path: Path) -> None:
    spy = Spy(World(1.0, 1.0))
    params = search(latent_std=[1.5], min_probability=[0.7], folds=10)
    assert choose(squares, params, spy.trainers(), 3, tmp_path) == Choice(1.5, 0.7)
    assert not spy.generators
    assert not spy.classifiers
    assert not list(tmp_path.iterdir())


class Broken(Levels):
    """Gives no number."""

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`."""
        return np.full((len(images), NUM_CLASSES), np.nan, dtype=np.float32)


class Blind(Levels):
    """Gives every class the same probability."""

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`."""
        return np.full((len(images), NUM_CLASSES), 1 / NUM_CLASSES, dtype=np.float32)


def test_of_equal_candidates_the_first_listed_is_chosen(
    squares: LabeledImages, tmp_path: Path
) -> None:
    spy = Spy(World(1.0, 1.0))
    blind = Trainers(spy.generator, lambda training_set, seed: Blind(None, seed).fit(training_set))
    params = search(latent_std=[1.7, 1.2], min_probability=[0.9, 0.1])
    assert params.pairs()[:2] == [Choice(1.7, 0.9), Choice(1.7, 0.1)]
    assert choose(squares, params, blind, 3, tmp_path) == Choice(1.7, 0.9)


def test_a_candidate_whose_classifier_gives_no_numbers_is_not_chosen(
    squares: LabeledImages, tmp_path: Path
) -> None:
    spy = Spy(World(1.0, 1.0))
    turns = itertools.cycle([Levels, Broken, Levels])  # of each fold: teacher, first and second

    def classifier(training_set: TrainingSet, seed: int) -> Classifier:
        return next(turns)(None, seed).fit(training_set)

    params = search(latent_std=[1.0, 2.0])
    trainers = Trainers(spy.generator, classifier)
    assert choose(squares, params, trainers, 3, tmp_path).latent_std == 2.0


def test_the_choice_depends_on_nothing_but_the_subset_and_its_seed(
    squares: LabeledImages, tmp_path: Path
) -> None:
    params = search(latent_std=[1.0, 1.5, 2.0], min_probability=[0.2, 0.5, 0.9])
    spies = [Spy(World(1.5, 0.3)) for _ in range(2)]
    found = []
    for number, spy in enumerate(spies):
        torch.manual_seed(number)
        np.random.seed(number)
        found.append(choose(squares, params, spy.trainers(), 3, tmp_path / str(number)))
    assert found[0] == found[1]
    for one, other in zip(spies[0].classifiers, spies[1].classifiers, strict=True):
        np.testing.assert_array_equal(one.data.images, other.data.images)


@pytest.fixture(scope="module")
def small(study: Params) -> Params:
    """Two replicates that choose among four pairs; brief training."""
    grid = study.study.model_copy(update={"budgets": [4], "curve_budgets": [], "seeds": [0, 1]})
    tune = study.tune.model_copy(update={"latent_std": [1.0, 1.6], "min_probability": [0.3, 0.6]})
    classifier = ClassifierParams(steps=20, batch_size=8, channels=4, features=8)
    generator = GeneratorParams(
        inputs=SUBSETS,
        steps=30,
        batch_size=8,
        latent_dim=8,
        generator_channels=[8, 4],
        discriminator_channels=4,
        features=8,
    )
    return study.model_copy(
        update={
            "study": grid,
            "tune": tune,
            "classifiers": {**study.classifiers, "cnn": classifier},
            "generators": {"dcgan": generator},
        }
    )


@pytest.fixture(scope="module")
def chosen(small: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study tuned by every replicate."""
    folder = tmp_path_factory.mktemp("tuned") / "study"
    prepare.run(small, folder)
    tune.run(small, folder, "dcgan")
    return folder


def choices(folder: Path) -> dict[str, Choice]:
    return {
        path.name: Choice(**read_json(path))
        for path in (folder / "data/tuning/dcgan").rglob("seed-0?.json")
    }


def test_every_replicate_chooses_a_pair_and_keeps_no_checkpoints(
    chosen: Path, small: Params
) -> None:
    pairs = search(
        latent_std=small.tune.latent_std, min_probability=small.tune.min_probability
    ).pairs()
    assert set(choices(chosen)) == {"seed-00.json", "seed-01.json"}
    assert set(choices(chosen).values()) <= set(pairs)
    assert not [path for path in (chosen / ".trials/tune").glob("*/*") if path.is_dir()]


def test_a_single_candidate_is_written_without_training(small: Params, tmp_path: Path) -> None:
    fixed = small.tune.model_copy(update={"latent_std": [1.6], "min_probability": [0.3]})
    params = small.model_copy(update={"tune": fixed})
    prepare.run(params, tmp_path)
    with mock.patch("pipeline.stages.tune.fit", side_effect=AssertionError):
        tune.run(params, tmp_path, "dcgan")
    assert set(choices(tmp_path).values()) == {Choice(1.6, 0.3)}


def test_the_choice_makes_and_filters_the_images(chosen: Path, small: Params) -> None:
    train_teacher.run(small, chosen, "supervised")
    train_generator.run(small, chosen, "dcgan")
    synthesize.run(small, chosen, "dcgan")
    for name, choice in choices(chosen).items():
        images = (chosen / "data/synthetic/dcgan/budget-0004" / name).with_suffix(".npz")
        arrays = read_npz(images)
        found = Choice(float(arrays["latent_std"]), float(arrays["min_probability"]))
        assert found == choice


def test_the_order_of_replicates_changes_no_choice(
    chosen: Path, small: Params, tmp_path: Path
) -> None:
    study = Path(shutil.copytree(chosen, tmp_path / "study"))
    shutil.rmtree(study / ".trials/tune")
    torch.manual_seed(99)
    np.random.seed(99)
    grid = small.study.model_copy(update={"seeds": [1, 0]})
    tune.run(small.model_copy(update={"study": grid}), study, "dcgan")
    for path in (chosen / "data/tuning").rglob("*.*"):
        assert (study / path.relative_to(chosen)).read_bytes() == path.read_bytes()


def test_no_group_is_in_two_folds_and_every_fold_has_every_class() -> None:
    labels = np.repeat(np.arange(3), 20)
    groups = np.arange(60) // 2  # pairs of one class
    folds = stratified(labels, 3, 0, groups)
    for group in range(30):
        assert len(set(folds[groups == group])) == 1
    counts = [np.bincount(labels[folds == fold], minlength=3) for fold in range(3)]
    assert np.ptp(counts) <= 2


def test_too_few_groups_for_the_folds_are_refused() -> None:
    labels, groups = np.repeat(np.arange(2), 10), np.repeat(np.arange(4), 5)
    with pytest.raises(ParamsError, match=r"class 0 in each of 3 folds.*2 groups"):
        stratified(labels, 3, 0, groups)

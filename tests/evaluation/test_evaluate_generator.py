"""Planted cheaters are flagged, real images are not: the whole audit, on real MNIST digits."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import safetensors.torch

from pipeline.classifiers import judge
from pipeline.classifiers.cnn import CNN, LeNet
from pipeline.classifiers.judge import fit_judge
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.digits import Digits
from pipeline.data.datasets.mnist5k import Mnist5k
from pipeline.data.images import LabeledImages, content_ids
from pipeline.data.splits import split_subset
from pipeline.evaluation import audit as evaluation
from pipeline.evaluation.audit import DISTANCES, audit, held_out, why_unknown
from pipeline.evaluation.pool import (
    MIN_COMPARED_PER_CLASS,
    MIN_JUDGE_IMAGES,
    NUM_FOLDS,
    Pool,
    split_pool,
    why_untrained,
)
from pipeline.nn.weights import to_safetensors
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.files import to_json
from pipeline.runtime.seeds import numpy_rng

POOL_PER_CLASS = 240  # of 500: the others play what a generator made
Audit = Callable[..., dict[str, Any]]

KEYS = {
    "num_compared",
    "min_compared",
    "near_copies_limit",
    "copying_pixels_limit",
    "copying_features_limit",
    "copying_pixels_unseen",
    "copying_features_unseen",
    "label_fidelity",
    "label_fidelity_floor",
    *DISTANCES,
    *(f"{name}_floor" for name in DISTANCES),
    "nearest_drawn",
    "nearest_drawn_floor",
    "exact_copies",
    "exact_copies_floor",
    "near_copies_frac",
    "near_copies_frac_floor",
    "copying_pixels",
    "copying_pixels_p",
    "copying_features",
    "copying_features_p",
    "copying_pixels_floor",
    "copying_pixels_p_floor",
    "copying_features_floor",
    "copying_features_p_floor",
    "wrong_label_frac",
    "wrong_label_frac_low",
    "wrong_label_frac_high",
    "flags",
    "classes",
}
CLASS_KEYS = {
    "label",
    "num_images",
    "label_fidelity",
    "label_fidelity_low",
    "label_fidelity_high",
    "label_fidelity_floor",
    "coverage",
    "coverage_floor",
    "recall",
    "recall_floor",
    "spread",
    "spread_floor",
    "copying_pixels",
    "copying_pixels_floor",
    "copying_features",
    "copying_features_floor",
    "collapsed",
}


@dataclass(frozen=True)
class Splits:
    """The pool, its judges, the subsets of 10 and 1 labels per class, and images outside it."""

    pool: Pool
    judges: list[CNN]
    subsets: dict[int, tuple[LabeledImages, np.ndarray]]  # with their positions in the pool
    fresh: LabeledImages


def split(data: LabeledImages, fresh: LabeledImages, judges: list[CNN] | None = None) -> Splits:
    pool = split_pool(data.images, data.labels)
    subsets = {}
    for budget in (1, 10):
        index = split_subset(data.labels, budget, np.random.default_rng(0))
        subsets[budget] = (data.take(index), index)
    trained = judges or [fit_judge(data.take(fold.judge)) for fold in pool.folds]
    return Splits(pool, trained, subsets, fresh)


@pytest.fixture(scope="session")
def splits(root: Path) -> Splits:
    """MNIST splits and their trained judge."""
    data = Mnist5k(BuiltIn(), root).load().images
    order = split_subset(data.labels, 500, np.random.default_rng(0))
    held = POOL_PER_CLASS * 10
    # A third of the steps, after which it still detects cheaters.
    brief = judge.JUDGE.model_copy(update={"steps": judge.JUDGE.steps // 3})
    with deterministic(), mock.patch.object(judge, "JUDGE", brief):
        return split(data.take(order[:held]), data.take(order[held:]))


@pytest.fixture
def run(splits: Splits) -> Audit:
    """The audit of the given images, beside the subset of 10 labels per class."""

    def audited(data: LabeledImages, budget: int = 10, where: Splits = splits) -> dict[str, Any]:
        subset, index = where.subsets[budget]
        rng = numpy_rng("audit", "budget-0010", "seed-00")
        with deterministic():
            report = audit(where.pool, where.judges, subset, index, data, rng)
        found: dict[str, Any] = json.loads(to_json(report))
        assert set(found) == KEYS
        assert {frozenset(row) for row in found["classes"]} == {frozenset(CLASS_KEYS)}
        return found

    return audited


def fresh_images(splits: Splits, count: int = 800) -> LabeledImages:
    """Real images that neither pool nor draw holds, classes in turn."""
    return splits.fresh.take(np.arange(count))


def copies(splits: Splits, budget: int, reach: int = 0, sd: float = 0) -> LabeledImages:
    """The draw's images over and over, shifted by up to `reach` pixels, with noise of `sd`."""
    drawn, rng = splits.subsets[budget][0], np.random.default_rng(0)
    data = drawn.take(np.tile(np.arange(len(drawn)), 800 // len(drawn)))
    moved = [np.roll(each, rng.integers(-reach, reach + 1, 2), (1, 2)) for each in data.images]
    noisy = np.stack(moved) + rng.normal(0, sd, data.images.shape)
    return LabeledImages(noisy.round().clip(0, 255).astype(np.uint8), data.labels)


def test_real_images_are_not_flagged_and_score_as_real_images_do(
    run: Audit, splits: Splits
) -> None:
    found = run(fresh_images(splits))
    assert found["flags"] == []
    assert found["exact_copies"] == found["exact_copies_floor"] == 0
    for suffix in ("", "_floor"):
        assert found[f"near_copies_frac{suffix}"] < 0.04
        assert found[f"copying_pixels{suffix}"] == pytest.approx(0.5, abs=0.05)
        assert found[f"copying_features{suffix}"] == pytest.approx(0.5, abs=0.05)
        assert found[f"copying_pixels_p{suffix}"] > 0.001
    assert found["wrong_label_frac"] < 0.02
    assert found["wrong_label_frac_low"] == 0
    for row in found["classes"]:
        assert row["num_images"] == 80
        assert row["label_fidelity_low"] < row["label_fidelity"] <= row["label_fidelity_high"]
        assert row["spread"] == pytest.approx(1, abs=0.12)
        assert row["coverage"] > 0.8
        assert row["recall"] > 0.7
        assert not row["collapsed"]


def test_a_copycat_is_flagged(run: Audit, splits: Splits) -> None:
    data = copies(splits, 10)
    found = run(data)
    assert found["flags"] == ["copies"]
    assert found["exact_copies"] == len(data)
    assert found["near_copies_frac"] == found["copying_pixels"] == 1
    assert found["copying_pixels_p"] < 1e-9
    assert found["copying_features"] > 0.99
    assert found["copying_pixels_floor"] == pytest.approx(0.5, abs=0.05)
    assert found["nearest_drawn"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("reach", "sd"), [(1, 0), (1, 10), (0, 20)])
def test_a_jittered_copycat_is_flagged(run: Audit, splits: Splits, reach: int, sd: float) -> None:
    found = run(copies(splits, 10, reach, sd))
    assert "copies" in found["flags"]
    assert found["copying_features"] > 0.7
    assert found["copying_pixels"] > 0.65


def test_one_label_per_class_is_enough_to_tell(run: Audit, splits: Splits) -> None:
    assert "copies" in run(copies(splits, 1, 1, 5), budget=1)["flags"]
    assert run(fresh_images(splits), budget=1)["flags"] == []


def test_a_generator_that_ignores_its_label_is_flagged(run: Audit, splits: Splits) -> None:
    data = fresh_images(splits)
    labels = np.random.default_rng(0).permutation(data.labels)
    found = run(LabeledImages(data.images, labels))
    assert found["flags"] == ["wrong_labels"]
    assert found["wrong_label_frac"] == pytest.approx((labels != data.labels).mean(), abs=0.03)
    assert found["copying_pixels"] == pytest.approx(0.5, abs=0.06)


def test_flipped_labels_are_estimated(run: Audit, splits: Splits) -> None:
    data = fresh_images(splits, 1000)
    labels, rng = data.labels.copy(), np.random.default_rng(0)
    flipped = rng.permutation(len(data))[:200]
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, 200)) % 10
    found = run(LabeledImages(data.images, labels))
    assert found["flags"] == ["wrong_labels"]
    assert found["wrong_label_frac"] == pytest.approx(0.2, abs=0.03)
    assert found["wrong_label_frac_low"] < 0.2 < found["wrong_label_frac_high"]
    assert np.mean([row["label_fidelity"] for row in found["classes"]]) == pytest.approx(
        found["label_fidelity"], abs=0.02
    )


def test_a_collapsed_generator_is_flagged(run: Audit, splits: Splits) -> None:
    one = fresh_images(splits, 10)
    rng = np.random.default_rng(0)
    images = np.repeat(one.images, 50, axis=0) + rng.normal(0, 8, (500, 1, 28, 28))
    pixels = images.round().clip(0, 255).astype(np.uint8)
    found = run(LabeledImages(pixels, np.repeat(one.labels, 50)))
    assert "collapsed" in found["flags"]
    for row in found["classes"]:
        assert row["collapsed"]
        assert row["spread"] < 0.2
        assert row["recall"] < 0.1


def test_a_single_bad_class_shows_in_its_row(run: Audit, splits: Splits) -> None:
    data = fresh_images(splits)
    images, labels = data.images.copy(), data.labels.copy()
    images[labels == 3] = images[labels == 3][:1]
    labels[labels == 7] = 1
    found = run(LabeledImages(images, labels))
    rows = {row["label"]: row for row in found["classes"]}
    assert [label for label, row in rows.items() if row["collapsed"]] == [3]
    assert rows[1]["label_fidelity_high"] < 0.7 < rows[2]["label_fidelity_low"]
    assert rows[7]["num_images"] == 0
    empty = ("label_fidelity", "label_fidelity_low", "coverage", "spread", "copying_pixels")
    assert [rows[7][name] for name in empty] == [None] * len(empty)


def test_the_same_images_in_any_order_give_the_same_numbers(run: Audit, splits: Splits) -> None:
    data = fresh_images(splits, 300)
    first = run(data)
    assert run(data) == first
    mixed = run(data.take(np.random.default_rng(0).permutation(len(data))))
    assert mixed["flags"] == first["flags"]
    assert mixed["num_compared"] == first["num_compared"] == 300
    for name in KEYS - {"flags", "classes"}:
        assert mixed[name] == pytest.approx(first[name], rel=1e-3, abs=1e-3), name
    for one, other in zip(mixed["classes"], first["classes"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("per_class", [2, 20])
def test_small_and_colored_data_are_audited(
    run: Audit, root: Path, channels: int, per_class: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "MIN_JUDGE_SKILL", -np.inf)  # the judge below is believed
    data = Digits(BuiltIn(), root).load().images
    data = LabeledImages(np.repeat(data.images, channels, axis=1), data.labels)
    order = split_subset(data.labels, 60, np.random.default_rng(0))
    pool, fresh = data.take(order[: 10 * per_class]), data.take(order[10 * per_class :][:200])
    untrained = CNN(judge.JUDGE, 0)  # no better than chance
    untrained.network = LeNet(judge.JUDGE, pool.spec()).eval()
    found = run(fresh, budget=1, where=split(pool, fresh, [untrained] * NUM_FOLDS))
    # Fewer than 100 held-out images.
    assert (found["near_copies_frac"] is None) == (per_class == 2)
    assert "copies" not in found["flags"]
    assert "collapsed" not in found["flags"]
    assert found["frechet"] is None  # fewer than 20 images per class
    assert found["num_compared"] < found["min_compared"] == 10 * MIN_COMPARED_PER_CLASS


def test_what_the_budget_leaves_nothing_for_stays_unknown(run: Audit, splits: Splits) -> None:
    data = fresh_images(splits, 100)
    # The subset of 10 is the whole pool.
    spent = split(data, data, splits.judges * NUM_FOLDS)
    found = run(fresh_images(splits, 300), where=spent)
    assert found["num_compared"] == 0
    assert found["label_fidelity"] > 0.9
    unknown = (
        "frechet",
        "copying_pixels",
        "copying_features_p",
        "near_copies_frac_floor",
        "nearest_drawn_floor",
    )
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert found["exact_copies"] == 100
    assert found["flags"] == ["copies"]


def test_judge_reference_and_floor_share_no_image(splits: Splits) -> None:
    (fold,) = splits.pool.folds
    used = np.concatenate([fold.judge, fold.reference, fold.floor])
    np.testing.assert_array_equal(np.sort(used), np.arange(10 * POOL_PER_CLASS))
    again = split_pool(splits.pool.data.images, splits.pool.data.labels)
    np.testing.assert_array_equal(fold.floor, again.folds[0].floor)


def test_held_out_images_are_none_of_the_judge_and_none_of_the_subset(splits: Splits) -> None:
    subset, index = splits.subsets[10]
    ids = set(content_ids(held_out(splits.pool, index).images))
    assert ids
    assert not ids & set(content_ids(subset.images))
    assert not ids & set(content_ids(splits.pool.data.images[splits.pool.folds[0].judge]))


def test_a_judge_that_was_stored_and_read_predicts_the_same_bits(splits: Splits) -> None:
    pool = splits.pool.data
    weights = safetensors.torch.load(
        to_safetensors(judge.judges_state([*splits.judges, *copy.deepcopy(splits.judges)]))
    )
    for _ in range(2):
        stored = [each.embed(pool.images[:50]) for each in judge.load_judges(weights, pool.spec())]
        np.testing.assert_array_equal(*stored)
        np.testing.assert_allclose(stored[0], splits.judges[0].embed(pool.images[:50]), atol=1e-4)
    assert judge.load_judges({}, pool.spec()) == []


class Guessing:
    """A judge that says the first class to every image."""

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[np.zeros(len(images), dtype=int)]

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.ones((len(images), 4), dtype=np.float32)


@pytest.mark.parametrize("trained", [Guessing(), None])
def test_without_a_judge_that_can_be_trusted_only_pixels_are_known(
    trained: Guessing | None, bars: LabeledImages
) -> None:
    chosen = bars if trained else bars.take(np.arange(0, len(bars), 6))
    pool = split_pool(chosen.images, chosen.labels)
    index = split_subset(chosen.labels, 2, np.random.default_rng(0))
    with deterministic():
        judges = [trained] * len(pool.folds) if trained else []
        report = audit(pool, judges, chosen.take(index), index, bars, np.random.default_rng(0))
    expected = "is right on" if trained else f"it needs {MIN_JUDGE_IMAGES} of each"
    assert expected in report.pop("unknown")
    assert set(report) == KEYS
    assert all(set(row) == CLASS_KEYS for row in report["classes"])
    blank = {name for name, value in report.items() if value is None}
    assert {"label_fidelity", "wrong_label_frac", "frechet", "copying_features"} <= blank
    assert not blank & {"copying_pixels", "exact_copies", "nearest_drawn", "num_compared"}
    assert "wrong_labels" not in report["flags"]
    assert report["exact_copies"] == len(index)
    for row in report["classes"]:
        assert row["label_fidelity"] is row["coverage"] is row["copying_features"] is None
        assert row["num_images"] == 60
        assert trained is None or row["spread"] > 0


def test_a_good_judge_of_enough_images_is_believed(splits: Splits) -> None:
    assert why_untrained(splits.pool) is None
    unseen = splits.pool.data.take(splits.pool.unseen)
    with deterministic():
        correct = evaluation.agrees(splits.judges[0], unseen)
    assert why_unknown(unseen.labels, correct) is None
    wrong = np.random.default_rng(0).random(len(correct)) < 0.3
    assert "is right on" in str(why_unknown(unseen.labels, correct & ~wrong))


def test_the_parts_of_a_pool_share_no_group() -> None:
    labels, groups = np.arange(480) % 3, np.arange(480) // 6
    pool = split_pool(np.zeros((480, 1, 2, 2), dtype=np.uint8), labels, groups, (255,))
    (fold,) = pool.folds
    parts = [set(groups[part]) for part in (fold.judge, fold.reference, fold.floor)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 80
    assert [len(part) for part in parts] == [40, 20, 20]
    assert pool.data.spec().background == (255,)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_small_pool_is_cross_fitted_and_every_image_serves_on_both_sides(grouped: bool) -> None:
    labels, groups = np.arange(150) % 3, np.arange(150) // 6
    labels[-3:] = -1
    images = np.zeros((150, 1, 2, 2), dtype=np.uint8)
    pool = split_pool(images, labels, groups if grouped else None)
    assert len(pool.folds) == NUM_FOLDS
    np.testing.assert_array_equal(np.sort(pool.unseen), np.arange(147))
    for fold in pool.folds:
        np.testing.assert_array_equal(
            np.sort(np.concatenate([fold.judge, fold.unseen])), np.arange(147)
        )
        assert abs(len(fold.reference) - len(fold.floor)) <= 6
        assert 30 <= len(fold.unseen) <= 48
        assert min(np.bincount(labels[fold.judge])) >= 30
        if grouped:
            parts = [set(groups[part]) for part in (fold.judge, fold.reference, fold.floor)]
            assert sum(map(len, parts)) == len(set.union(*parts))


def test_cross_fitted_judges_tell_real_images_from_copies_and_wrong_labels(
    splits: Splits, run: Audit
) -> None:
    small = splits.pool.data.take(split_subset(splits.pool.data.labels, 30, numpy_rng("small")))
    with deterministic():
        few = split(small, splits.fresh)
    assert len(few.judges) == NUM_FOLDS
    found = run(fresh_images(splits, 400), where=few)
    assert "unknown" not in found
    assert found["flags"] == []
    assert found["label_fidelity"] > 0.85
    assert found["label_fidelity"] == pytest.approx(found["label_fidelity_floor"], abs=0.07)
    assert found["copying_features"] == pytest.approx(0.5, abs=0.1)
    assert found["frechet"] is None

    assert "copies" in run(copies(few, 10, 1, 5), where=few)["flags"]
    data = fresh_images(splits, 400)
    mixed = LabeledImages(data.images, np.random.default_rng(0).permutation(data.labels))
    assert "wrong_labels" in run(mixed, where=few)["flags"]


def test_real_images_that_are_much_alike_do_not_count_as_collapsed(
    splits: Splits, run: Audit
) -> None:
    """A class of plain backgrounds, with one label per class, which cannot tell."""
    data = splits.pool.data
    images, fresh = data.images.copy(), splits.fresh.images.copy()
    for part, labels in ((images, data.labels), (fresh, splits.fresh.labels)):
        noise = np.random.default_rng(0).integers(0, 12, part[labels == 3].shape)
        part[labels == 3] = noise.astype(np.uint8)
    plain = LabeledImages(images, data.labels)
    others = LabeledImages(fresh, splits.fresh.labels)
    where = split(plain, others, splits.judges)
    found = run(others.take(np.arange(800)), budget=1, where=where)
    assert "collapsed" not in found["flags"]

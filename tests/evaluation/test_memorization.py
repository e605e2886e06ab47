"""Copies are found, real images are not taken for copies, and scores equal their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.digits import Digits
from pipeline.data.images import LabeledImages, flat
from pipeline.data.splits import split_subset
from pipeline.evaluation import fidelity, memorization
from pipeline.evaluation.memorization import (
    Copying,
    copying,
    copying_by_class,
    copying_overall,
    exact_copies,
    group_splits,
    is_copied,
    near_copies_frac,
    real_limits,
    split_scores,
    unseen_score,
)


def distances(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.fixture(scope="module")
def real(root: Path) -> LabeledImages:
    """All 1,797 real digits of 8 x 8 pixels."""
    return Digits(BuiltIn(), root).load().images


def parts(
    real: LabeledImages, seed: int, budget: int
) -> tuple[LabeledImages, LabeledImages, LabeledImages]:
    """A draw, and two halves of the rest."""
    rng = np.random.default_rng(seed)
    index = split_subset(real.labels, budget, rng)
    rest = rng.permutation(np.setdiff1d(np.arange(len(real)), index))
    half = len(rest) // 2
    return real.take(index), real.take(rest[:half]), real.take(rest[half:])


def verdict(
    images: LabeledImages, held_out: LabeledImages, drawn: LabeledImages
) -> tuple[int, float | None, Copying, bool]:
    """Exact copies, share of near copies, the overall test and the flag, in pixels alone."""
    near = flat(drawn.images)
    ours, theirs = (
        fidelity.nearest_distance(flat(each.images), near) for each in (images, held_out)
    )
    tests = copying_by_class(ours, images.labels, theirs, held_out.labels)
    test = copying_overall(tests, images.labels)
    assert test is not None
    exact, frac = exact_copies(images.images, drawn.images), near_copies_frac(ours, theirs)
    limits = memorization.Limits()
    flagged = is_copied(exact / len(images), (frac, limits.near), [(test, limits.score)])
    return exact, frac, test, flagged


def noisy(data: LabeledImages, sd: float, repeat: int) -> LabeledImages:
    """Every image `repeat` times, with noise of `sd` gray levels."""
    images = np.repeat(data.images, repeat, axis=0).astype(np.float64)
    images += np.random.default_rng(0).normal(0, sd, images.shape)
    pixels = images.round().clip(0, 255).astype(np.uint8)
    return LabeledImages(pixels, np.repeat(data.labels, repeat))


@pytest.mark.parametrize("budget", [1, 3, 10])
def test_a_copycat_is_caught(real: LabeledImages, budget: int) -> None:
    drawn, held_out, _ = parts(real, 0, budget)
    exact, frac, test, flagged = verdict(noisy(drawn, 0, 6), held_out, drawn)
    assert flagged
    assert exact == 6 * len(drawn)
    assert frac == 1
    assert test.score == 1
    assert test.p_value < 1e-9


@pytest.mark.parametrize("budget", [1, 3, 10])
@pytest.mark.parametrize("sd", [4.0, 16.0])
def test_a_noisy_copycat_is_caught(real: LabeledImages, budget: int, sd: float) -> None:
    drawn, held_out, _ = parts(real, 0, budget)
    exact, _, test, flagged = verdict(noisy(drawn, sd, 6), held_out, drawn)
    assert flagged
    assert exact == 0
    assert test.score > 0.9


def test_one_copy_in_five_is_caught(real: LabeledImages) -> None:
    drawn, held_out, other = parts(real, 0, 10)
    copies, fresh = noisy(drawn, 4.0, 1), other.take(np.arange(400))
    mixed = LabeledImages(
        np.concatenate([copies.images, fresh.images]), np.concatenate([copies.labels, fresh.labels])
    )
    _, frac, test, flagged = verdict(mixed, held_out, drawn)
    assert flagged
    assert frac == pytest.approx(0.2, abs=0.03)
    assert test.score == pytest.approx(0.8 * 0.5 + 0.2, abs=0.05)


@pytest.mark.parametrize("budget", [1, 10])
def test_real_images_are_not_taken_for_copies(real: LabeledImages, budget: int) -> None:
    found = []
    for seed in range(20):
        drawn, held_out, other = parts(real, seed, budget)
        found.append(verdict(other, held_out, drawn))
    _, fracs, tests, flagged = zip(*found, strict=True)
    scores = np.array([test.score for test in tests])
    assert sum(flagged) <= 1
    assert abs(scores - 0.5).max() < 0.07
    assert abs(scores.mean() - 0.5) < 0.01
    assert np.mean(fracs) == pytest.approx(0.01, abs=0.006)
    assert 0.2 < np.mean([test.p_value for test in tests]) < 0.8


def test_labels_do_not_hide_copies(real: LabeledImages) -> None:
    drawn, held_out, other = parts(real, 0, 10)
    order = np.random.default_rng(0)
    for data, expected in ((noisy(drawn, 4.0, 6), True), (other, False)):
        wrong = LabeledImages(data.images, order.permutation(data.labels))
        assert verdict(wrong, held_out, drawn)[3] == expected


def test_noise_is_far_from_the_subset_and_no_copy(real: LabeledImages) -> None:
    drawn, held_out, _ = parts(real, 0, 10)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8)).astype(np.uint8)
    _, frac, test, flagged = verdict(LabeledImages(pixels, np.arange(300) % 10), held_out, drawn)
    assert not flagged
    assert frac == 0
    assert test.score < 0.05
    assert test.p_value > 0.99


@pytest.mark.parametrize("channels", [1, 3])
def test_exact_copies_are_counted_by_their_pixels(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, channels, 4, 4)).astype(np.uint8)
    drawn, images = images[:3], images[[0, 0, 2, 3, 4]].copy()
    assert exact_copies(images, drawn) == 3
    images[0, -1, 3, 3] += 1
    assert exact_copies(images, drawn) == 2
    assert exact_copies(images[:0], drawn) == 0
    assert exact_copies(images.transpose(0, 1, 3, 2), drawn) == 0


def test_near_copies_lie_below_the_first_percentile_of_real_images() -> None:
    held_out = np.arange(101, dtype=np.float32)  # its 1 % quantile is 1
    assert near_copies_frac(distances(0, 0.5, 0.99, 1, 50), held_out) == pytest.approx(3 / 5)
    assert near_copies_frac(distances(2, 3), held_out) == 0


def test_too_few_held_out_images_have_no_first_percentile() -> None:
    assert near_copies_frac(distances(0), np.ones(99, dtype=np.float32)) is None
    assert near_copies_frac(distances(), np.ones(100, dtype=np.float32)) is None
    assert near_copies_frac(distances(0), np.ones(100, dtype=np.float32)) == 1


@given(
    ours=st.lists(st.integers(0, 9), min_size=5, max_size=20),
    theirs=st.lists(st.integers(0, 9), min_size=5, max_size=20),
)
def test_the_score_counts_pairs(ours: list[int], theirs: list[int]) -> None:
    pairs = [(x < y) + 0.5 * (x == y) for x in ours for y in theirs]
    found = copying(distances(*ours), distances(*theirs))
    assert found is not None
    assert found.score == pytest.approx(np.mean(pairs))
    assert 0 <= found.p_value <= 1
    exchanged = copying(distances(*theirs), distances(*ours))
    assert exchanged is not None
    assert exchanged.score == pytest.approx(1 - found.score)


def test_the_p_value_is_that_of_mann_and_whitney() -> None:
    ours, theirs = distances(1, 2, 4, 6, 7), distances(3, 5, 8, 9, 10, 11)
    found = copying(ours, theirs)
    assert found is not None
    assert found.score == pytest.approx((6 + 6 + 5 + 4 + 4) / 30)
    # Five pairs the other way; 15 expected, with a variance of n m (n + m + 1) / 12; half a pair
    # for continuity.
    z = (5 - 15 + 0.5) / np.sqrt(5 * 6 * 12 / 12)
    assert found.p_value == pytest.approx(norm.cdf(z))


def test_few_images_and_equal_distances_say_nothing() -> None:
    assert copying(distances(1, 2, 3, 4), distances(*range(50))) is None
    assert copying(distances(*range(50)), distances(1, 2, 3, 4)) is None
    assert copying(distances(*[1] * 9), distances(*[1] * 9)) == Copying(0.5, 1.0)


def test_classes_count_by_their_images_and_p_values_by_stouffer() -> None:
    tests = {0: Copying(0.9, 0.01), 2: Copying(0.5, 0.4)}
    labels = np.array([0] * 30 + [1] * 7 + [2] * 10)
    found = copying_overall(tests, labels)
    assert found is not None
    assert found.score == pytest.approx((30 * 0.9 + 10 * 0.5) / 40)
    z = np.array([norm.isf(0.01), norm.isf(0.4)]) @ np.sqrt([30, 10]) / np.sqrt(40)
    assert found.p_value == pytest.approx(norm.sf(z))
    assert copying_overall({}, labels) is None


def test_certain_classes_of_either_kind_may_meet() -> None:
    found = copying_overall({0: Copying(1, 0.0), 1: Copying(0, 1.0)}, np.array([0, 1] * 20))
    assert found is not None
    assert 0 <= found.p_value <= 1


def test_a_frequent_class_that_lies_close_is_no_copying() -> None:
    rng = np.random.default_rng(0)
    near, far = (rng.uniform(low, low + 1, 400).astype(np.float32) for low in (1, 5))
    held_out = np.concatenate([near[:40], far[:360]])
    ours = np.concatenate([near[40:], far[360:]])
    labels, held_out_labels = np.repeat([0, 1], [360, 40]), np.repeat([0, 1], [40, 360])
    pooled = copying(ours, held_out)
    found = copying_overall(copying_by_class(ours, labels, held_out, held_out_labels), labels)
    assert pooled is not None
    assert found is not None
    assert pooled.score > 0.8
    assert found.score == pytest.approx(0.5, abs=0.1)


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_order_changes_nothing_and_inputs_stay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random(60).astype(np.float32), rng.random(120).astype(np.float32)
    labels, held_out_labels = rng.integers(0, 3, 60), rng.integers(0, 3, 120)
    inputs = (ours, labels, theirs, held_out_labels)
    kept = [each.copy() for each in inputs]

    def measure(first: np.ndarray, second: np.ndarray) -> tuple[float | None, Copying | None]:
        tests = copying_by_class(
            ours[first], labels[first], theirs[second], held_out_labels[second]
        )
        near = near_copies_frac(ours[first], theirs[second])
        return near, copying_overall(tests, labels[first])

    plain = measure(np.arange(60), np.arange(120))
    mixed = measure(rng.permutation(60), rng.permutation(120))
    assert plain[0] == mixed[0]
    assert plain[1] is not None
    assert mixed[1] is not None
    assert plain[1].score == pytest.approx(mixed[1].score)
    assert plain[1].p_value == pytest.approx(mixed[1].p_value)
    for each, before in zip(inputs, kept, strict=True):
        np.testing.assert_array_equal(each, before)


@pytest.mark.parametrize(
    ("exact_frac", "near_frac", "test", "expected"),
    [
        (0.0, 0.01, Copying(0.5, 0.5), False),
        (0.02, 0.01, Copying(0.5, 0.5), True),
        (0.0, 0.11, Copying(0.5, 0.5), True),
        (0.0, None, Copying(0.7, 1e-4), True),
        (0.0, None, Copying(0.7, 0.01), False),  # so few images score that high by chance
        (0.0, None, Copying(0.55, 1e-9), False),  # beyond doubt, but too little to matter
    ],
)
def test_each_threshold_flags(
    exact_frac: float, near_frac: float | None, test: Copying, expected: bool
) -> None:
    tests = [(Copying(0.5, 0.5), 0.6), (test, 0.6)]
    assert is_copied(exact_frac, (near_frac, 0.1), tests) == expected
    # Where real images reach further, so must copies.
    assert not is_copied(0.0, (near_frac, 0.2), [(test, 0.75)])


def test_without_any_number_nothing_is_flagged() -> None:
    assert not is_copied(0.0, (None, 0.1), [])


def test_the_quantile_needs_as_many_images_as_its_flag_assumes() -> None:
    """Of 100 held-out images at most two lie below the quantile: how often do others exceed it?"""
    n, frac = memorization.MIN_HELD_OUT, memorization.MAX_NEAR_FRAC
    chance = (1 - frac) ** n + n * frac * (1 - frac) ** (n - 1)
    assert chance < 1 / 3000


def test_limits_of_independent_images_are_the_effects_that_matter(real: LabeledImages) -> None:
    drawn, held_out, _ = parts(real, 0, 10)
    near = fidelity.nearest_distance(flat(held_out.images), flat(drawn.images))
    alone = np.arange(len(near))
    found = real_limits(near, held_out.labels, alone, len(near) // 2, np.random.default_rng(0))
    assert found == memorization.Limits()
    again = real_limits(near, held_out.labels, alone, len(near) // 2, np.random.default_rng(0))
    assert again == found


def test_few_groups_raise_the_limits() -> None:
    """Four objects, each at a distance of its own, in images that hardly differ."""
    groups = np.repeat(np.arange(4), 60)
    near = (groups + np.random.default_rng(0).random(240) / 10).astype(np.float32)
    labels = np.arange(240) % 2
    found = real_limits(near, labels, groups, 120, np.random.default_rng(0))
    assert found.near > 0.5
    assert found.score > 0.9
    alone = real_limits(near, labels, np.arange(240), 120, np.random.default_rng(0))
    assert alone.score < 0.7


def test_the_scores_of_splits_are_those_of_the_test(real: LabeledImages) -> None:
    drawn, held_out, _ = parts(real, 0, 3)
    near = fidelity.nearest_distance(flat(held_out.images), flat(drawn.images))
    splits = group_splits(np.arange(len(near)), 300, np.random.default_rng(0))
    assert (splits.sum(axis=1) == 300).all()
    labels = held_out.labels
    for first, score in zip(splits[:5], split_scores(near, labels, splits[:5]), strict=True):
        tests = copying_by_class(near[first], labels[first], near[~first], labels[~first])
        test = copying_overall(tests, labels[first])
        assert test is not None
        assert score == pytest.approx(test.score)


def test_without_a_split_the_limits_are_the_effects_that_matter() -> None:
    empty, labels = np.zeros(0, np.float32), np.zeros(0, np.int64)
    assert real_limits(empty, labels, labels, 0, np.random.default_rng(0)) == memorization.Limits()


def test_smooth_images_lie_close_to_any_image_and_copies_only_to_theirs(
    real: LabeledImages,
) -> None:
    drawn, held_out, other = parts(real, 0, 10)
    rows, labels = flat(held_out.images), held_out.labels
    means = np.stack([flat(real.images[real.labels == label]).mean(axis=0) for label in range(10)])
    smooth = 0.5 * flat(other.images) + 0.5 * means[other.labels]
    scores = [
        unseen_score(rows, labels, points, data.labels, 0)
        for points, data in (
            (flat(other.images), other),
            (flat(drawn.images), drawn),
            (smooth, other),
        )
    ]
    assert scores[0] == pytest.approx(0.5, abs=0.05)
    assert scores[1] == pytest.approx(0.5, abs=0.1)
    assert scores[2] is not None
    assert scores[2] > 0.7
    assert unseen_score(rows[:1], labels[:1], smooth, other.labels, 0) is None

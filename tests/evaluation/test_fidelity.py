"""Distances equal references written from the papers' equations, and known answers come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from pipeline.config.schema import DataParams, UnknownClassesParams
from pipeline.data.datasets import load_dataset
from pipeline.data.images import LabeledImages, flat
from pipeline.data.splits import split_subset
from pipeline.evaluation.fidelity import (
    COLLAPSED_FRAC,
    collapsed_classes,
    covered_frac,
    diversity,
    frechet_distance,
    kernel_distance,
    mean_distance,
    nearest_distance,
    prdc,
    wrong_label_frac,
)
from pipeline.evaluation.metrics import wilson_interval


def cloud(seed: int, n: int = 60, d: int = 4, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) + shift).astype(np.float32)


def papers_prdc(real: np.ndarray, synthetic: np.ndarray, k: int) -> dict[str, float]:
    """Loops over Naeem et al. (2020), equations 1 to 6, with distances between plain rows."""

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.sqrt(((one.astype(np.float64) - other) ** 2).sum()))

    def reach(points: np.ndarray, position: int) -> float:
        others = [distance(points[position], p) for i, p in enumerate(points) if i != position]
        return sorted(others)[k - 1]

    real_reach = [reach(real, i) for i in range(len(real))]
    synthetic_reach = [reach(synthetic, j) for j in range(len(synthetic))]
    held = [[distance(x, y) < r for x, r in zip(real, real_reach, strict=True)] for y in synthetic]
    return {
        "precision": float(np.mean([any(row) for row in held])),
        "recall": float(
            np.mean(
                [
                    any(distance(x, y) < r for y, r in zip(synthetic, synthetic_reach, strict=True))
                    for x in real
                ]
            )
        ),
        "density": sum(sum(row) for row in held) / (k * len(synthetic)),
        "coverage": float(np.mean([any(row[i] for row in held) for i in range(len(real))])),
    }


@settings(max_examples=15)
@given(seed=st.integers(0, 999), shift=st.floats(0, 2), neighbors=st.integers(1, 6))
def test_prdc_equals_the_equations_of_the_papers(seed: int, shift: float, neighbors: int) -> None:
    real, synthetic = cloud(seed, 18), cloud(seed + 1, 14, shift=shift)
    found = prdc(real, synthetic, neighbors)
    assert found == pytest.approx(papers_prdc(real, synthetic, neighbors))


def test_equal_sets_are_precise_and_covered_in_full() -> None:
    found = prdc(cloud(0), cloud(0))
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    assert found["density"] == pytest.approx(1, abs=0.2)


def test_disjoint_sets_share_nothing() -> None:
    assert set(prdc(cloud(0), cloud(1, shift=1000)).values()) == {0.0}


def test_a_collapsed_set_is_precise_but_covers_next_to_nothing() -> None:
    real = cloud(0)
    center = real[np.linalg.norm(real, axis=1).argmin()]
    found = prdc(real, np.repeat(center[None], 60, axis=0) + cloud(1) * 1e-3)
    assert found["precision"] == 1
    assert found["recall"] < 0.05
    assert found["coverage"] < 0.5
    assert found["density"] > 1


def test_a_set_of_one_repeated_image_recalls_nothing() -> None:
    found = prdc(cloud(0), np.zeros((60, 4), dtype=np.float32) + 3)
    assert found["recall"] == 0


def test_two_samples_of_one_distribution_are_alike() -> None:
    found = prdc(cloud(0, 300), cloud(1, 300))
    assert min(found["precision"], found["recall"], found["coverage"]) > 0.85
    assert found["density"] == pytest.approx(1, abs=0.15)


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_exchanging_the_sets_exchanges_precision_and_recall(seed: int) -> None:
    one, other = cloud(seed, 30), cloud(seed + 1, 30, shift=0.5)
    assert prdc(one, other)["precision"] == prdc(other, one)["recall"]


def closed_form(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Heusel et al. (2017): |m - w|^2 + Tr(C + D - 2 sqrt(C D))."""
    one, other = real.astype(np.float64), synthetic.astype(np.float64)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = sqrtm(first @ second)
    gap = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    return float(gap + np.trace(first + second - 2 * np.real(root)))


@pytest.mark.parametrize("shift", [0.0, 0.3, 5.0])
def test_the_frechet_distance_equals_its_closed_form(shift: float) -> None:
    real, synthetic = cloud(0, 200, 6), cloud(1, 150, 6, shift) * np.float32(1.5)
    found = frechet_distance(real, synthetic)
    assert found == pytest.approx(closed_form(real, synthetic), rel=1e-5, abs=1e-6)


def test_the_frechet_distance_of_equal_sets_is_zero() -> None:
    assert frechet_distance(cloud(0), cloud(0)) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_of_a_pure_shift_is_its_square() -> None:
    assert frechet_distance(cloud(0), cloud(0) + 2) == pytest.approx(4 * 4, rel=1e-5)


def unbiased_mmd(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Binkowski et al. (2018), equation 4, with the kernel (x y / d + 1) ^ 3."""
    n, d = real.shape
    one, other = real.astype(np.float64), synthetic.astype(np.float64)
    xx, yy, xy = (((a @ b.T) / d + 1) ** 3 for a, b in ((one, one), (other, other), (one, other)))
    inner = ((xx.sum() - np.trace(xx)) + (yy.sum() - np.trace(yy))) / (n * (n - 1))
    return float(inner - 2 * xy.mean())


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_kernel_distance_equals_the_unbiased_estimate(shift: float) -> None:
    real, synthetic = cloud(0, 80), cloud(1, 80, shift=shift)
    found = kernel_distance(real, synthetic, seed=3)
    assert found == pytest.approx(unbiased_mmd(real, synthetic), rel=1e-3, abs=1e-4)


def test_the_kernel_distance_uses_its_own_seed_and_leaves_the_global_one() -> None:
    real, synthetic = cloud(0, 600, 3), cloud(1, 550, 3)
    state = torch.get_rng_state()
    first = kernel_distance(real, synthetic, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(77)
    assert kernel_distance(real, synthetic, seed=1) == first
    assert kernel_distance(real, synthetic, seed=2) != first


def test_further_sets_are_further_by_every_distance() -> None:
    real = cloud(0, 100)
    for measure in (frechet_distance, lambda a, b: kernel_distance(a, b, 0)):
        values = [measure(real, cloud(1, 100, shift=shift)) for shift in (0, 1, 3)]
        assert values == sorted(values)


def test_the_nearest_distance_is_the_least_of_all() -> None:
    points, references = cloud(0, 20), cloud(1, 30)
    expected = cdist(points, references).min(axis=1)
    np.testing.assert_allclose(nearest_distance(points, references), expected, rtol=1e-4)
    np.testing.assert_allclose(nearest_distance(points, points), 0, atol=1e-5)
    assert nearest_distance(points[:0], references).shape == (0,)


def test_pixels_become_rows_from_zero_to_one() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    rows = flat(images)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, np.arange(24).reshape(2, 12) / 255, rtol=1e-6)


def test_the_mean_distance_is_over_all_pairs() -> None:
    points = np.array([[0, 0], [3, 4], [0, 4]], dtype=np.float32)
    assert mean_distance(points) == pytest.approx((5 + 4 + 3) / 3)
    assert mean_distance(points[:1]) is None
    assert mean_distance(points[:0]) is None


def images_of(seed: int, n: int, sd: float, channels: int = 1) -> np.ndarray:
    """`n` images of 6 x 6 pixels around one random image."""
    rng = np.random.default_rng(seed)
    center = rng.uniform(60, 190, (1, channels, 6, 6))
    return (center + rng.normal(0, sd, (n, channels, 6, 6))).round().clip(0, 255).astype(np.uint8)


def test_the_spread_is_relative_to_that_of_real_images() -> None:
    real = images_of(0, 60, 20)
    assert diversity(real, real) == pytest.approx(1)
    assert diversity(images_of(1, 60, 20), real) == pytest.approx(1, abs=0.1)
    assert diversity(images_of(2, 60, 10), real) == pytest.approx(0.5, abs=0.05)
    assert diversity(real[:4], real) is None
    assert diversity(real, real[:4]) is None
    assert diversity(real, np.repeat(real[:1], 9, axis=0)) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("budget", [1, 2, 5])
def test_a_class_that_hardly_varies_has_collapsed(channels: int, budget: int) -> None:
    drawn, synthetic = (
        LabeledImages(
            np.concatenate([images_of(k, n, sd, channels) for k, sd in enumerate(sds)]),
            np.repeat(np.arange(3), n),
        )
        for n, sds in ((budget, (30, 30, 30)), (20, (30, 2, 25)))
    )
    kept = [drawn.images.copy(), synthetic.images.copy()]
    assert collapsed_classes(synthetic, drawn) == [1]
    order = np.random.default_rng(0).permutation(len(synthetic))
    assert collapsed_classes(synthetic.take(order), drawn) == [1]
    for data, before in zip((drawn, synthetic), kept, strict=True):
        np.testing.assert_array_equal(data.images, before)


def test_the_reference_is_what_the_subset_has() -> None:
    two = np.array([[0, 0], [0, 40], [0, 100], [0, 160]], dtype=np.uint8).reshape(4, 1, 1, 2)
    drawn = LabeledImages(two, np.array([0, 0, 1, 1]))
    within = 255 * COLLAPSED_FRAC * (40 + 60) / 2 / 255
    alone = LabeledImages(two[[0, 2]], np.array([0, 1]))
    between = 255 * COLLAPSED_FRAC * 100 / 255
    for reference, bound in ((drawn, within), (alone, between)):
        for step in (1, 100):
            values = np.array([[0, step * (i % 2)] for i in range(6)], dtype=np.uint8)
            found = LabeledImages(values.reshape(6, 1, 1, 2), np.zeros(6, dtype=np.int64))
            expected = [0] if step * 0.6 < bound else []  # 9 of 15 pairs differ
            assert collapsed_classes(found, reference) == expected


@pytest.mark.parametrize("name", ["digits", "toy"])
@pytest.mark.parametrize("budget", [1, 3, 10])
def test_real_images_never_count_as_collapsed(name: str, budget: int, root: Path) -> None:
    data = load_dataset(
        DataParams(name=name, test_per_class=1, unknown_classes=UnknownClassesParams()), root
    ).images
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = data.take(split_subset(data.labels, budget, rng))
        assert collapsed_classes(data.take(split_subset(data.labels, 5, rng)), drawn) == []


@pytest.mark.parametrize("budget", [5, 10])
def test_coverage_counts_the_drawn_images_that_are_come_near_to(budget: int) -> None:
    drawn = LabeledImages(images_of(0, budget, 40), np.zeros(budget, np.int64))
    near = drawn.take(np.arange(5 * budget) % budget)
    one = flat(drawn.images)[:1].repeat(5 * budget, axis=0)
    assert covered_frac(flat(drawn.images), one) == pytest.approx(1 / budget, abs=1.01 / budget)
    assert covered_frac(flat(drawn.images), flat(near.images)) == 1
    assert covered_frac(flat(drawn.images), flat(near.images)[:-1]) is None
    assert covered_frac(flat(drawn.images)[:4], flat(near.images)) is None
    assert collapsed_classes(near, drawn) == []


@pytest.mark.parametrize("name", ["digits", "toy"])
def test_two_images_in_turns_count_as_collapsed(name: str, root: Path) -> None:
    data = load_dataset(
        DataParams(name=name, test_per_class=1, unknown_classes=UnknownClassesParams()), root
    ).images
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        drawn = data.take(split_subset(data.labels, 20, rng))
        two = data.take(np.tile(split_subset(data.labels, 2, rng), 50))
        found += collapsed_classes(two, drawn)
    assert len(found) > 0.5 * 10 * data.num_classes


@pytest.mark.parametrize("name", ["digits", "toy"])
@pytest.mark.parametrize("budget", [1, 3, 10])
def test_one_noisy_image_per_class_counts_as_collapsed(name: str, budget: int, root: Path) -> None:
    data = load_dataset(
        DataParams(name=name, test_per_class=1, unknown_classes=UnknownClassesParams()), root
    ).images
    rng = np.random.default_rng(0)
    drawn = data.take(split_subset(data.labels, budget, rng))
    one = data.take(np.repeat(split_subset(data.labels, 1, rng), 20))
    noisy = (one.images + rng.normal(0, 8, one.images.shape)).round().clip(0, 255)
    found = collapsed_classes(LabeledImages(noisy.astype(np.uint8), one.labels), drawn)
    assert found == list(range(data.num_classes))


def test_what_cannot_be_told_has_not_collapsed() -> None:
    same = LabeledImages(np.zeros((9, 1, 2, 2), np.uint8), np.zeros(9, np.int64))
    assert collapsed_classes(same, same) == []  # the draw does not vary either
    assert collapsed_classes(same, same.take(np.arange(1))) == []
    varied = LabeledImages(images_of(0, 8, 30), np.zeros(8, np.int64))
    few = varied.take(np.zeros(4, np.int64))
    assert collapsed_classes(few, varied) == []
    assert collapsed_classes(varied.take(np.arange(0)), varied) == []


def test_the_interval_is_that_of_wilson() -> None:
    z, n, p = 1.959964, 40, 0.9
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(36, 40) == pytest.approx((center - reach, center + reach), rel=1e-6)
    assert wilson_interval(5, 5) == pytest.approx((5 / (5 + z**2), 1), rel=1e-6)


@given(wrong=st.floats(0, 1), floor=st.floats(0.6, 1), num_classes=st.integers(2, 20))
def test_wrong_labels_are_counted_through_an_erring_judge(
    wrong: float, floor: float, num_classes: int
) -> None:
    agreement = (1 - wrong) * floor + wrong * (1 - floor) / (num_classes - 1)
    assert wrong_label_frac(agreement, floor, num_classes) == pytest.approx(wrong, abs=1e-9)


def test_the_share_of_wrong_labels_stays_a_share() -> None:
    assert wrong_label_frac(1.0, 0.98, 10) == 0
    assert wrong_label_frac(0.0, 0.9, 10) == 1
    assert wrong_label_frac(0.1, 0.1, 10) is None  # a judge at chance

"""Distances equal references written from the papers' equations, and known answers come out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from pipeline.fidelity import frechet_distance, kernel_distance, nearest_distance, prdc


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
        "recall": float(np.mean([
            any(distance(x, y) < r for y, r in zip(synthetic, synthetic_reach, strict=True))
            for x in real
        ])),
        "density": sum(sum(row) for row in held) / (k * len(synthetic)),
        "coverage": float(np.mean([any(row[i] for row in held) for i in range(len(real))])),
    }  # fmt: skip


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

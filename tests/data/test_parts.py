"""No group is in two parts, and the parts are about as large as they should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.parts import assign_groups, draw_groups, whole_groups


@given(seed=st.integers(0, 999), num_groups=st.integers(2, 30))
def test_groups_stay_together_at_the_same_places_for_the_same_seed(
    seed: int, num_groups: int
) -> None:
    rng = np.random.default_rng(seed)
    groups, labels = rng.integers(-1, num_groups, 120), rng.integers(-1, 3, 120)
    wanted = np.outer([0.5, 0.25, 0.25], np.bincount(labels[labels >= 0], minlength=3))
    parts = assign_groups(labels, groups, wanted, np.random.default_rng(seed))
    for group in np.unique(groups[groups != -1]):
        assert len(np.unique(parts[groups == group])) == 1
    again = assign_groups(labels, groups, wanted, np.random.default_rng(seed))
    np.testing.assert_array_equal(parts, again)


@given(seed=st.integers(0, 99))
def test_small_groups_give_stratified_parts(seed: int) -> None:
    labels = np.repeat(np.arange(4), 60)
    groups = np.arange(240) // 3  # three images of one class
    wanted = np.outer([0.7, 0.3], np.full(4, 60))
    parts = assign_groups(labels, groups, wanted, np.random.default_rng(seed))
    found = np.array([np.bincount(labels[parts == part], minlength=4) for part in (0, 1)])
    assert np.abs(found - wanted).max() <= 3


def test_an_image_without_a_group_is_one_of_its_own() -> None:
    found = whole_groups(np.array([-1, 4, -1, 4, 7]))
    assert found[1] == found[3]
    assert len(set(found)) == 4


def writers() -> np.ndarray:
    """Ten writers of 8 to 60 images, who all wrote three letters."""
    rng = np.random.default_rng(0)
    sizes = np.linspace(8, 60, 10).astype(np.int64)
    return np.array([rng.multinomial(size, [0.3, 0.3, 0.4]) for size in sizes])


def patients() -> np.ndarray:
    """Sixty patients of 1 to 12 images, each of one class."""
    counts = np.zeros((60, 3), dtype=np.int64)
    counts[np.arange(60), np.arange(60) % 3] = np.tile(np.arange(1, 13), 5)
    return counts


@pytest.mark.parametrize("counts", [writers(), patients()], ids=["writers", "patients"])
@pytest.mark.parametrize("frac", [0.2, 0.3])
def test_held_out_groups_are_random_whatever_their_size(counts: np.ndarray, frac: float) -> None:
    total, sizes = counts.sum(axis=0), counts.sum(axis=1)
    wanted = np.round(frac * total).astype(np.int64)
    draws = np.array(
        [
            draw_groups(counts, wanted, total - total // 3, np.random.default_rng(seed))
            for seed in range(200)
        ]
    )
    # The standard error of a share of 200 draws is 0.03.
    chance = draws.mean(axis=0)
    assert np.abs(chance - frac).max() < 0.15
    assert abs(np.corrcoef(sizes, chance)[0, 1]) < 0.6
    large = sizes > np.median(sizes)
    assert abs(chance[large].mean() - chance[~large].mean()) < 0.1

    # Test sets of two seeds share about as many images as independent ones.
    held = draws @ sizes
    shared = (draws[:-1] & draws[1:]) @ sizes
    overlap = (shared / np.sqrt(held[:-1] * held[1:])).mean()
    assert frac - 0.05 < overlap < frac + 0.1

    # They are stratified.
    have = draws @ counts
    assert np.abs(have.mean(axis=0) / wanted - 1).max() < 0.1
    assert np.abs(have / wanted - 1).mean() < 0.15
    assert (have > 0).all()


@given(seed=st.integers(0, 99))
def test_held_out_groups_are_the_same_for_the_same_seed_and_leave_enough(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 6, (12, 3))
    counts[:, 0] += 1
    total = counts.sum(axis=0)
    wanted, most = total // 4, total // 2
    first, again = (
        draw_groups(counts, wanted, most, np.random.default_rng(seed)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert (counts[first].sum(axis=0) > 0).all()
    assert (counts[first].sum(axis=0) <= most).all()


def test_the_only_division_is_found_among_many_classes() -> None:
    # Fifty classes of a large group, which must stay, and a small one, which must go.
    counts = np.zeros((100, 50), dtype=np.int64)
    counts[np.arange(100), np.arange(100) // 2] = np.tile([7, 2], 50)
    drawn = draw_groups(counts, np.full(50, 3), np.full(50, 3), np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, np.tile([False, True], 50))

"""No group is in two parts, and the parts are about as large as they should be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.parts import assign_groups, whole_groups


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

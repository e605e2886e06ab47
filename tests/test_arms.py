"""Training sets hold what the arm's recipe says, image for image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arms import Synthetic, assemble, balanced, first_of_each_class
from pipeline.errors import PipelineError
from pipeline.images import LabeledImages, content_ids
from pipeline.params import DRAWS, SYNTHETIC, ArmParams, Params

GENERATED = SYNTHETIC + "dcgan"


@pytest.fixture
def synthetic(bars: LabeledImages) -> Synthetic:
    """Twenty images of each class, classes in turns; the teacher doubts every other round."""
    ranked = [np.flatnonzero(bars.labels == label)[20:40] for label in range(3)]
    data = bars.take(np.stack(ranked, axis=1).reshape(-1))
    sure = np.arange(60) // 3 % 2 == 0
    probabilities = np.where(sure[:, None], np.eye(3)[data.labels], 1 / 3).astype(np.float32)
    return Synthetic(data, probabilities)


def ids(data: LabeledImages) -> list[str]:
    return content_ids(data.images).tolist()


def test_the_baseline_is_the_draw_and_nothing_else(few_bars: LabeledImages, study: Params) -> None:
    found = assemble(ArmParams(inputs=DRAWS, per_class=0), few_bars, None, study)
    training_set = found.training_set
    np.testing.assert_array_equal(training_set.data.images, few_bars.images)
    np.testing.assert_array_equal(training_set.data.labels, few_bars.labels)
    assert not training_set.extra.any()
    assert training_set.transform is None
    assert training_set.num_classes == 3
    assert (found.num_synthetic, found.num_candidates, found.num_rejected) == (0, 0, 0)


@pytest.mark.parametrize("per_class", [1, 10, 13, 25])
def test_repeated_real_images_come_from_the_draw_in_equal_shares(
    per_class: int, few_bars: LabeledImages, study: Params
) -> None:
    found = assemble(ArmParams(inputs=DRAWS, per_class=per_class), few_bars, None, study)
    training_set = found.training_set
    added = training_set.data.take(training_set.extra)
    assert len(training_set.data) == 30 + 3 * per_class
    np.testing.assert_array_equal(np.bincount(added.labels), [per_class] * 3)
    known = dict(zip(ids(few_bars), few_bars.labels, strict=True))
    assert [known[each] for each in ids(added)] == added.labels.tolist()
    times = np.unique(ids(added), return_counts=True)[1]
    assert times.max() - times.min() <= 1
    assert found.num_synthetic == 0


@pytest.mark.parametrize("per_class", [1, 7, 20])
def test_synthetic_images_are_added_to_the_draw(
    per_class: int, few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    found = assemble(ArmParams(inputs=GENERATED, per_class=per_class), few_bars, synthetic, study)
    training_set = found.training_set
    real, added = (
        training_set.data.take(mask) for mask in (~training_set.extra, training_set.extra)
    )
    assert ids(real) == ids(few_bars)
    assert ids(added) == ids(synthetic.data)[: 3 * per_class]
    np.testing.assert_array_equal(added.labels, synthetic.data.labels[: 3 * per_class])
    assert (found.num_synthetic, found.num_candidates, found.num_rejected) == (3 * per_class, 60, 0)


def test_fewer_images_per_class_are_the_beginning_of_more(
    few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    sets = [
        assemble(ArmParams(inputs=GENERATED, per_class=count), few_bars, synthetic, study)
        for count in (4, 9)
    ]
    small, large = (ids(each.training_set.data) for each in sets)
    assert large[: len(small)] == small


def test_a_filter_lets_through_what_it_keeps_and_counts_the_rest(
    few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    arm = ArmParams(inputs=GENERATED, per_class=6, filter="agreement")
    found = assemble(arm, few_bars, synthetic, study)
    added = found.training_set.data.take(found.training_set.extra)
    sure = synthetic.data.take(synthetic.probabilities.max(axis=1) > 0.5)
    assert ids(added) == ids(sure)[:18]
    assert (found.num_synthetic, found.num_candidates, found.num_rejected) == (18, 60, 30)


def test_a_class_that_the_filter_thinned_out_gets_what_is_left(
    few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    doubted = synthetic.probabilities.copy()
    doubted[synthetic.data.labels == 1] = 1 / 3
    arm = ArmParams(inputs=GENERATED, per_class=6, filter="agreement")
    found = assemble(arm, few_bars, Synthetic(synthetic.data, doubted), study)
    added = found.training_set.data.take(found.training_set.extra)
    np.testing.assert_array_equal(np.bincount(added.labels, minlength=3), [6, 0, 6])
    assert found.num_synthetic == 12
    assert found.training_set.num_classes == 3


def test_an_arm_without_real_images_has_none(
    few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    arm = ArmParams(inputs=GENERATED, per_class=6, real=False)
    training_set = assemble(arm, few_bars, synthetic, study).training_set
    assert training_set.extra.all()
    assert not set(ids(training_set.data)) & set(ids(few_bars))


def test_an_arm_that_is_left_without_any_image_is_an_explained_error(
    few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    arm = ArmParams(inputs=GENERATED, per_class=6, real=False, filter="agreement")
    nothing = Synthetic(synthetic.data, np.full((60, 3), 1 / 3, dtype=np.float32))
    with pytest.raises(PipelineError):
        assemble(arm, few_bars, nothing, study)


def test_inputs_are_left_as_they_were(
    few_bars: LabeledImages, synthetic: Synthetic, study: Params
) -> None:
    before = ids(few_bars), ids(synthetic.data)
    arm = ArmParams(inputs=GENERATED, per_class=6)
    found = assemble(arm, few_bars, synthetic, study)
    found.training_set.data.images[:] = 0
    assert (ids(few_bars), ids(synthetic.data)) == before


def test_the_transform_of_the_arm_is_handed_on(few_bars: LabeledImages, study: Params) -> None:
    arm = ArmParams(inputs=DRAWS, per_class=2, transform="affine")
    assert assemble(arm, few_bars, None, study).training_set.transform is not None


@given(extra=st.lists(st.booleans(), min_size=1, max_size=30), real_share=st.floats(0.01, 0.99))
def test_weights_give_real_images_their_share_whatever_is_added(
    extra: list[bool], real_share: float
) -> None:
    mask = np.array(extra)
    weights = balanced(mask, real_share)
    assert weights.mean() == pytest.approx(1)
    if mask.all() or not mask.any():
        np.testing.assert_array_equal(weights, 1)
    else:
        assert weights[~mask].sum() / weights.sum() == pytest.approx(real_share)
        assert np.ptp(weights[mask]) == np.ptp(weights[~mask]) == 0


@given(
    labels=st.lists(st.integers(0, 3), max_size=20), count=st.integers(0, 8), repeat=st.booleans()
)
def test_the_first_of_each_class_equal_a_plain_count(
    labels: list[int], count: int, repeat: bool
) -> None:
    by_class = {each: [k for k, at in enumerate(labels) if at == each] for each in set(labels)}
    expected = []
    for rank in range(count):
        for label in sorted(by_class):
            places = by_class[label]
            if repeat or rank < len(places):
                expected.append(places[rank % len(places)])
    found = first_of_each_class(np.array(labels, dtype=np.int64), count, repeat)
    assert found.tolist() == expected

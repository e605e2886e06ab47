"""Labeled and unlabeled images that no teacher can learn from are refused, and others are not."""

from __future__ import annotations

import numpy as np
import pytest
from test_teachers import Halves, halves

from pipeline.data.images import Images, LabeledImages, flat
from pipeline.runtime.errors import TrialError
from pipeline.runtime.seeds import numpy_rng
from pipeline.teachers.pool_checks import distance_rank, refuse_missing_class, refuse_unusable

__all__ = ["halves"]  # a fixture


def noise(count: int) -> Images:
    return numpy_rng("noise").integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)


def first_of_each_class(labeled: LabeledImages) -> LabeledImages:
    return labeled.take(np.unique(labeled.labels, return_index=True)[1])


def test_labeled_images_have_a_high_distance_rank_in_a_pool_of_another_class(
    halves: Halves,
) -> None:
    labeled, rest = halves
    assert 0.35 < distance_rank(flat(labeled.images), flat(rest.images)) < 0.65
    two_classes, third = labeled.take(labeled.labels != 2), rest.take(rest.labels == 2)
    rank = distance_rank(flat(two_classes.images), flat(third.images))
    assert rank > 0.7  # the threshold of the report's warning
    assert refuse_unusable(labeled, rest.images[:1]) == 0.5  # a pool of one


def test_a_pool_of_nothing_like_the_labeled_images_is_refused(halves: Halves) -> None:
    labeled, rest = halves
    blank = np.zeros_like(rest.images[:1]).repeat(400, axis=0)
    for pool in (noise(400), blank):
        for few_or_all in (labeled, first_of_each_class(labeled)):
            with pytest.raises(TrialError, match="like the labeled ones"):
                refuse_unusable(few_or_all, pool)


def test_a_pool_of_the_same_kind_is_not_refused_with_unknown_images_in_it(halves: Halves) -> None:
    labeled, rest = halves
    for few_or_all in (labeled, first_of_each_class(labeled)):
        refuse_unusable(few_or_all, rest.images)
        refuse_unusable(few_or_all, np.concatenate([rest.images, noise(len(rest))]))


def test_an_empty_pool_and_a_class_without_labels_are_refused(halves: Halves) -> None:
    labeled, rest = halves
    refuse_missing_class(labeled)
    with pytest.raises(TrialError, match="expected unlabeled images, found none"):
        refuse_unusable(labeled, rest.images[:0])
    for label in (0, 1):
        keep = labeled.labels != 1 if label else labeled.labels < 0
        with pytest.raises(TrialError, match=f"none of class {label}"):
            refuse_unusable(labeled.take(keep), rest.images)

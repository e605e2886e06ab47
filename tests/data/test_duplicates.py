"""One copy within a class is kept, none across classes, none of a test image."""

from __future__ import annotations

import numpy as np

from pipeline.data.duplicates import MAX_LISTED, Duplicates, Named, distinct, without_copies

NAMES = ("cat", "dog", "eel")


def kept(ids: str, labels: list[int], paths: tuple[str, ...] = ()) -> tuple[list[int], Duplicates]:
    found = Duplicates()
    mask = without_copies(Named(np.array(list(ids)), np.array(labels), paths), found)
    return np.flatnonzero(mask).tolist(), found


def test_without_copies_everything_is_kept() -> None:
    assert kept("abc", [0, 0, 1]) == ([0, 1, 2], Duplicates())


def test_within_a_class_the_first_copy_is_kept() -> None:
    positions, found = kept("abaca", [0, 1, 0, 0, 0])
    assert positions == [0, 1, 3]
    assert found.within_class == 2


def test_an_unlabeled_copy_of_a_labeled_image_is_dropped() -> None:
    positions, found = kept("abba", [-1, -1, -1, 2])
    assert positions == [1, 3]
    assert found.within_class == 2


def test_copies_across_classes_are_all_dropped_and_listed_by_name() -> None:
    positions, found = kept("abaa", [0, 1, 2, 0], ("0.png", "1.png", "2.png", "3.png"))
    assert positions == [1]
    record = found.record(NAMES)
    assert record["across_classes"] == [["0.png", "cat", "eel"]]
    assert (record["num_across_classes"], record["within_class"]) == (3, 0)


def test_of_many_copies_across_classes_only_the_first_are_listed() -> None:
    ids = np.repeat(np.arange(2 * MAX_LISTED).astype(str), 2)
    found = Duplicates()
    assert not without_copies(Named(ids, np.arange(4 * MAX_LISTED) % 2, ()), found).any()
    record = found.record(NAMES)
    assert len(record["across_classes"]) == MAX_LISTED
    assert record["num_across_classes"] == 4 * MAX_LISTED


def named(ids: str, labels: list[int]) -> Named:
    return Named(np.array(list(ids)), np.array(labels), [f"{name}.png" for name in ids])


def test_copies_of_test_images_are_dropped_whatever_their_label() -> None:
    keep, keep_test, found = distinct(named("abcb", [0, 0, 0, -1]), named("bx", [0, 0]))
    assert keep.tolist() == [True, False, True, False]
    assert keep_test is not None
    assert keep_test.all()
    assert (found.from_train, found.within_class, found.across_parts) == (2, 0, [])


def test_another_label_in_the_test_set_is_listed_and_the_test_image_stays() -> None:
    keep, keep_test, found = distinct(named("abbcd", [0, 0, 1, 2, -1]), named("bcd", [1, 0, 0]))
    assert keep.tolist() == [True, False, False, False, False]
    assert keep_test is not None
    assert keep_test.all()
    assert found.record(NAMES) == {
        "within_class": 0,
        "from_train": 4,
        "across_classes": [],
        "num_across_classes": 0,
        "across_parts": [["b.png", "cat", "dog"], ["c.png", "eel", "cat"]],
        "num_across_parts": 2,
    }

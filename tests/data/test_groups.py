"""Groups follow the rule, do not depend on the order of images, and refuse what says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config.schema import GroupParams
from pipeline.data.datasets.base import Origins
from pipeline.data.groups import groups_of, thumbnails, twin_groups
from pipeline.data.images import LabeledImages
from pipeline.runtime.errors import DataError, ParamsError


def noise(count: int, side: int = 12, channels: int = 3) -> np.ndarray:
    """Smooth random pictures (count, channels, side, side) that do not look alike."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (count, channels, side // 3, side // 3))
    return np.kron(coarse, np.ones((3, 3))).astype(np.uint8)


def unseen(count: int) -> LabeledImages:
    return LabeledImages(noise(count), np.zeros(count, dtype=np.int64))


def partition(groups: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(groups == group).tolist() for group in np.unique(groups)]


def found(rule: GroupParams, paths: tuple[str, ...] = (), **columns: tuple[str, ...]) -> list:
    count = len(paths) or len(next(iter(columns.values())))
    return sorted(partition(groups_of(rule, Origins(paths, columns), unseen(count))))


@pytest.mark.parametrize(
    ("rule", "paths", "expected"),
    [
        ({"name": "^[a-z]+"}, ("0/ann_1.png", "1/bob_1.png", "1/ann_2.png"), [[0, 2], [1]]),
        ({"name": r"_(\d+)"}, ("0/ann_1.png", "1/bob_1.png", "1/ann_2.png"), [[0, 1], [2]]),
        ({"folder": True}, ("a/p1/x.png", "b/p1/x.png", "a/p2/x.png"), [[0, 1], [2]]),
        (
            {"folder": True},
            ("train/a/p1/x.png", "Test/a/p1/y.png", "test/a/p2/z.png"),
            [[0, 1], [2]],
        ),
        # An image without a sub-folder is a group of its own.
        ({"folder": True}, ("a/x.png", "a/y.png", "a/p2/z.png", "b/p2/z.png"), [[0], [1], [2, 3]]),
    ],
)
def test_names_and_folders(rule: dict, paths: tuple[str, ...], expected: list) -> None:
    assert found(GroupParams(**rule), paths) == expected


def test_columns_and_their_empty_cells() -> None:
    rule = GroupParams(column="patient")
    assert found(rule, patient=("7", "", "7", "")) == [[0, 2], [1], [3]]


@pytest.mark.parametrize(
    ("rule", "paths", "what"),
    [
        ({"column": "patient"}, ("a/1.png", "b/2.png"), "there is none"),
        ({"name": "^img"}, ("a/img1.png", "b/2.png"), "1 without, 'b/2.png'"),
        ({"name": "("}, ("a/1.png", "b/2.png"), "regular expression"),
        ({"name": "png"}, ("a/1.png", "b/2.png"), "single one"),
        ({"name": "x"}, (), "without file names"),
        ({"folder": True}, ("a/1.png", "b/2.png"), "found none"),
        ({"folder": True}, ("a/Imgs/1.png", "b/Imgs/2.png"), "single one"),
    ],
)
def test_a_rule_that_does_not_fit_is_one_sentence(
    rule: dict, paths: tuple[str, ...], what: str
) -> None:
    with pytest.raises(ParamsError, match=r"data\.group") as caught:
        groups_of(GroupParams(**rule), Origins(paths), unseen(2))
    assert what in str(caught.value)


def test_exposures_are_twins_and_other_pictures_are_not() -> None:
    pictures = noise(6)
    darker = (pictures[:2] * 0.6).astype(np.uint8)
    brighter = pictures[1:2] + 50
    groups = twin_groups(np.concatenate([pictures, darker, brighter]), 0.98)
    assert sorted(partition(groups)) == [[0, 6], [1, 7, 8], [2], [3], [4], [5]]


def test_twins_of_twins_are_one_group_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.groups.ROWS", 2)
    # Each picture is like the next one only.
    first, second = noise(2).astype(float)
    chain = np.stack([first + (second - first) * share for share in np.linspace(0, 1, 17)])
    shuffled = np.random.default_rng(1).permutation(17)
    groups = twin_groups(chain[shuffled].astype(np.uint8), 0.95)
    assert groups.tolist() == [0] * 17
    assert len(np.unique(twin_groups(chain[[0, 16]].astype(np.uint8), 0.95))) == 2


def test_padding_is_not_what_makes_twins() -> None:
    padded = np.zeros((3, 3, 32, 32), dtype=np.uint8)
    padded[:, :, 10:22, 10:22] = noise(3)
    assert len(np.unique(twin_groups(padded, 0.9))) == 3


def test_images_of_one_color_have_no_twin() -> None:
    blank = np.full((3, 1, 9, 7), 200, dtype=np.uint8)
    blank[1] = 90
    assert twin_groups(blank, 0.5).tolist() == [0, 1, 2]
    assert not thumbnails(blank).any()


def test_too_many_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.groups.MAX_TWINS", 3)
    with pytest.raises(DataError, match="expected at most 3 images"):
        twin_groups(noise(4), 0.9)

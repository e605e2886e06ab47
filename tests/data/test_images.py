"""Labeled images check themselves; content ids and digests depend on content alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.data.images import LabeledImages, content_ids, digest, read_images
from pipeline.runtime.errors import DataError, PipelineError
from pipeline.runtime.files import write_npz

PIXELS = np.zeros((3, 1, 4, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 2])
SMALL = hnp.arrays(np.uint8, (4, 1, 2, 2), elements=st.integers(0, 1))


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        (PIXELS.astype(np.float32), LABELS, "float32"),
        (PIXELS.astype(np.int64), LABELS, "int64"),
        (PIXELS[0], LABELS, "(1, 4, 5)"),
        (PIXELS[..., None], LABELS, "(3, 1, 4, 5, 1)"),
        (PIXELS, LABELS.astype(np.float64), "float64"),
        (PIXELS, LABELS.astype(np.int32), "int32"),
        (PIXELS, np.eye(3, dtype=np.int64), "(3, 3)"),
        (PIXELS, LABELS[:2], "(2,)"),
        (PIXELS, np.append(LABELS, 0), "(4,)"),
        (PIXELS, LABELS - 2, "-2"),
        (PIXELS, np.array(["a", "b", "c"]), "<U1"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_what_was_found(
    images: np.ndarray, labels: np.ndarray, found: str
) -> None:
    with pytest.raises(DataError) as refused:
        LabeledImages(images, labels, "somewhere.npz")
    assert refused.value.args[0] == "somewhere.npz"
    assert found in str(refused.value)


def test_unlabeled_images_are_allowed() -> None:
    data = LabeledImages(PIXELS, np.array([-1, 1, -1]))
    assert data.num_classes == 2


def test_a_spec_has_the_shape_of_one_image_and_the_number_of_classes() -> None:
    spec = LabeledImages(np.zeros((2, 3, 4, 5), dtype=np.uint8), np.array([4, 0])).spec()
    assert (spec.channels, spec.height, spec.width, spec.num_classes) == (3, 4, 5, 5)


def test_taking_positions_keeps_their_order_and_pairs(bars: LabeledImages) -> None:
    index = np.array([7, 3, 150, 3])
    taken = bars.take(index)
    assert len(taken) == 4
    for position, source in enumerate(index):
        np.testing.assert_array_equal(taken.images[position], bars.images[source])
        assert taken.labels[position] == bars.labels[source]
    assert taken.source == bars.source


def test_taking_by_mask_equals_taking_by_position(bars: LabeledImages) -> None:
    mask = bars.labels == 1
    assert digest(bars.take(mask)) == digest(bars.take(np.flatnonzero(mask)))


@given(images=SMALL)
def test_content_ids_are_equal_exactly_where_pixels_are(images: np.ndarray) -> None:
    ids = content_ids(images)
    flat = images.reshape(len(images), -1)
    same = (flat[:, None] == flat[None]).all(axis=2)
    np.testing.assert_array_equal(ids[:, None] == ids[None], same)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda array: array[::-1][::-1]])
def test_memory_layout_changes_no_id_and_no_digest(layout, bars: LabeledImages) -> None:
    other = LabeledImages(layout(bars.images), bars.labels)
    np.testing.assert_array_equal(content_ids(other.images), content_ids(bars.images))
    assert digest(other) == digest(bars)


@given(first=SMALL, second=SMALL, swap=st.booleans())
def test_digests_are_equal_exactly_when_pixels_and_labels_are(
    first: np.ndarray, second: np.ndarray, swap: bool
) -> None:
    labels = np.arange(4)
    other = labels[::-1].copy() if swap else labels
    equal = np.array_equal(first, second) and not swap
    found = digest(LabeledImages(first, labels)) == digest(LabeledImages(second, other))
    assert found == equal


def test_the_digest_tells_shapes_of_the_same_bytes_apart() -> None:
    wide = LabeledImages(np.zeros((1, 1, 2, 8), dtype=np.uint8), np.array([0]))
    tall = LabeledImages(np.zeros((1, 1, 8, 2), dtype=np.uint8), np.array([0]))
    assert digest(wide) != digest(tall)


def test_images_come_back_from_a_file_as_they_were(tmp_path: Path, bars: LabeledImages) -> None:
    path = tmp_path / "bars.npz"
    write_npz(path, images=bars.images, labels=bars.labels)
    found = read_images(path)
    assert digest(found) == digest(bars)
    assert found.source == str(path)


@pytest.mark.parametrize("left", ["images", "labels"])
def test_a_file_without_one_of_the_arrays_is_an_explained_error(
    left: str, tmp_path: Path, bars: LabeledImages
) -> None:
    path = tmp_path / "half.npz"
    write_npz(path, **{left: getattr(bars, left)})
    with pytest.raises(PipelineError, match=r"half\.npz"):
        read_images(path)

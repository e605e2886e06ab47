"""What the report says of teachers whose labels must not be trusted."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline.report.teacher_words import trust, warning


def teachers(*flags: str, **changes: Any) -> pd.DataFrame:
    """A table of one teacher, one row per seed with its flags."""
    plain = {"teacher": "graph", "budget": 10, "num_unlabeled": 90, "label_accuracy": 0.8}
    confident = {"confident_accuracy": 0.7, "confident_low": 0.65, "confident_high": 0.75}
    return pd.DataFrame(
        [
            {**plain, **confident, "seed": seed, "flags": flag, **changes}
            for seed, flag in enumerate(flags)
        ]
    )


def classes(num_seeds: int, **changes: list[Any]) -> pd.DataFrame:
    """A table of two classes, of which the second has other numbers."""
    rows = []
    for seed in range(num_seeds):
        for label, name in enumerate(("cat", "dog")):
            row = {"num_images": 40, "num_pseudo": 40, "num_confident": 30, "recall": 0.9}
            row |= {key: values[seed] for key, values in changes.items()} if label else {}
            rows.append(
                {"teacher": "graph", "budget": 10, "seed": seed, "label": label, **row}
                | {"class_name": name}
            )
    return pd.DataFrame(rows)


def test_a_teacher_without_flags_needs_no_words() -> None:
    assert warning(teachers("", ""), classes(2), "graph", 10) == ""
    assert warning(teachers("recall"), classes(1), "other", 10) == ""
    assert warning(pd.DataFrame(), pd.DataFrame(), "graph", 10) == ""


def test_a_class_that_is_not_recognized_is_named_with_its_recall() -> None:
    text = warning(
        teachers("recall", "", "recall"), classes(3, recall=[0.1, 0.9, 0.2]), "graph", 10
    )
    assert text == (
        "The labels of graph with 10 labels per class must not be trusted (2 of 3 seeds): it "
        "recognizes fewer than 80 % of class dog (15.0 % in 2 seeds)."
    )


def test_a_class_without_labels_is_named() -> None:
    table = classes(2, num_pseudo=[0, 5], num_confident=[0, 0], recall=[None, 0.9])
    text = warning(teachers("missing_class", "missing_class"), table, "graph", 10)
    assert "no pseudo-label for class dog (in 1 seed)" in text
    assert "no confident label for class dog (in 1 seed)" in text
    assert "cat" not in text


def test_without_true_labels_it_is_unknown() -> None:
    table = teachers("", label_accuracy=float("nan"))
    assert "the pool has no true labels" in warning(table, classes(1), "graph", 10)


def test_a_teacher_that_does_not_trust_itself_is_quoted() -> None:
    table = teachers("held_out_labels", num_held_out=100, held_out_accuracy=0.62)
    assert warning(table, classes(1), "graph", 10).endswith(
        "in 1 seed the teacher is not confident about any label, because only 62.0 % of 100 "
        "held-out labels are predicted correctly."
    )


@pytest.mark.parametrize(
    ("num_flagged", "accuracy", "expected"),
    [(0, 0.9, "yes"), (3, 0.9, "not in 3 of 10 seeds"), (0, float("nan"), "unknown")],
)
def test_trust_is_a_cell(num_flagged: int, accuracy: float, expected: str) -> None:
    row = {"num_flagged": num_flagged, "label_accuracy": accuracy, "n": 10}
    assert trust(row | {"is_learned": True}) == expected
    assert trust(row | {"is_learned": False}) == "only filters"

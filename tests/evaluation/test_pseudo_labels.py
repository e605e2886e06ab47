"""What the evaluation of a teacher's labels counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.pseudo_labels import distrust, pseudo_label_report


def report(truth: list[int], confident: list[bool], **arrays: Any) -> dict[str, Any]:
    pseudo = {name: np.array(values) for name, values in {"distance_rank": 0.625, **arrays}.items()}
    return pseudo_label_report(
        pseudo, np.array(truth), np.array(confident), has_unknown=True, num_classes=2
    )


def test_correct_confident_and_unknown_labels_are_counted() -> None:
    # Images 0 and 5 of the pool are the labeled subset; 4 is of an unknown class, has the highest
    # OOD score, and is confident all the same.
    assert report(
        [0, 0, 1, 1, -1, 1],
        [True, False, True, True],
        index=[1, 2, 3, 4],
        labels=[0, 1, 0, 1],
        unlabeled=[1, 2, 3, 4],
        ood_score=[0.1, 0.3, 0.2, 0.9],
    ) == {
        "num_unlabeled": 4,
        "label_accuracy": pytest.approx(2 / 3),
        "sure_frac": 0.75,
        "sure_accuracy": 0.5,
        "foreign_frac": 0.25,
        "foreign_labeled_frac": 0.25,
        "foreign_sure_frac": pytest.approx(1 / 3),
        "strangeness_auroc": 1.0,
        "remoteness": 0.625,
        "num_confident": 2,
        "confident_low": pytest.approx(0.0945, abs=1e-4),
        "confident_high": pytest.approx(0.9055, abs=1e-4),
        "num_held_out": None,
        "held_out_accuracy": None,
        "choice": "",
        "flags": ["confident_labels", "recall"],
        "classes": [
            {
                "label": 0,
                "num_images": 1,
                "true_share": pytest.approx(1 / 3),
                "pool_share": None,
                "labeled_frac": 1.0,
                "num_pseudo": 2,
                "num_confident": 2,
                "precision": 0.5,
                "recall": 1.0,
                "confident_precision": 0.5,
            },
            {
                "label": 1,
                "num_images": 2,
                "true_share": pytest.approx(2 / 3),
                "pool_share": None,
                "labeled_frac": 1.0,
                "num_pseudo": 2,
                "num_confident": 1,
                "precision": 1.0,
                "recall": 0.5,
                "confident_precision": None,
            },
        ],
    }


def test_without_unknown_images_there_is_no_auroc() -> None:
    result = report(
        [0, 1, 1],
        [True, False],
        index=[1, 2],
        labels=[1, 1],
        unlabeled=[1, 2],
        ood_score=[0.1, 0.4],
    )
    assert result["strangeness_auroc"] is None
    assert result["sure_frac"] == 0.5


def rows_of(**changes: Any) -> list[dict[str, Any]]:
    plain = {"num_images": 20, "num_pseudo": 20, "num_confident": 18, "recall": 0.9}
    plain["labeled_frac"] = 1.0
    return [plain, plain | changes]


@pytest.mark.parametrize(
    ("accuracy", "changes", "expected"),
    [
        (0.95, {}, []),
        (0.9, {"recall": 0.8}, []),
        (0.89, {}, ["confident_labels"]),
        (None, {}, []),  # nobody knows
        (0.95, {"recall": 0.79}, ["recall"]),
        (0.95, {"recall": 0.9, "labeled_frac": 0.6}, ["recall"]),
        (0.95, {"recall": None, "num_pseudo": 0, "num_confident": 0}, ["missing_class"]),
        (0.95, {"num_confident": 0}, ["missing_class"]),
        (0.95, {"num_images": 0, "num_confident": 0, "recall": None}, []),
    ],
)
def test_labels_are_distrusted_for_a_reason(
    accuracy: float | None, changes: dict[str, Any], expected: list[str]
) -> None:
    assert distrust(accuracy, rows_of(**changes)) == expected


def test_an_unbalanced_pool_shows_in_the_classes_that_are_rare() -> None:
    # 100 images of each of two classes and 10 of a third, which are labeled as the first.
    truth = np.repeat([0, 1, 2], [100, 100, 10])
    labels = np.where(truth == 2, 0, truth)
    pseudo = {
        "index": np.arange(210),
        "unlabeled": np.arange(210),
        "labels": labels,
        "ood_score": np.zeros(210),
        "distance_rank": np.array(np.nan),
    }
    found = pseudo_label_report(pseudo, truth, np.ones(210, bool), False, 3)
    assert found["label_accuracy"] > 0.95
    assert found["flags"] == ["recall", "missing_class"]
    assert [row["recall"] for row in found["classes"]] == [1, 1, 0]
    assert [row["num_pseudo"] for row in found["classes"]] == [110, 100, 0]
    assert found["classes"][0]["precision"] == pytest.approx(100 / 110)
    assert found["classes"][2]["precision"] is None


def test_what_a_teacher_knows_of_itself_is_reported() -> None:
    found = report(
        [0, 0, 1, 1],
        [False, False],
        index=[1, 2],
        labels=[0, 1],
        unlabeled=[1, 2],
        ood_score=[0.1, 0.2],
        held_out_labels=[0, 1, 1, 0],
        held_out_probabilities=[[0.6, 0.4], [0.3, 0.7], [0.8, 0.2], [0.9, 0.1]],
        trusted=False,
        pool_shares=[0.4, 0.6],
        choice="hog",
    )
    assert (found["num_held_out"], found["held_out_accuracy"], found["choice"]) == (4, 0.75, "hog")
    assert [row["pool_share"] for row in found["classes"]] == [0.4, 0.6]
    assert found["flags"] == ["held_out_labels"]  # and no word on the classes it does not trust

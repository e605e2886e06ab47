"""What the evaluation of a teacher's labels counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.pseudo_labels import pseudo_label_report


def report(truth: list[int], confident: list[bool], **arrays: Any) -> dict[str, Any]:
    pseudo = {name: np.array(values) for name, values in {"distance_rank": 0.625, **arrays}.items()}
    return pseudo_label_report(pseudo, np.array(truth), np.array(confident), has_unknown=True)


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

"""How accurate a teacher's labels are, by class as well, and whether they can be trusted.

Arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.data.images import UNLABELED, Labels
from pipeline.evaluation.metrics import share, wilson_interval

# Labels are not to be trusted if fewer of the confident ones are right than nine in ten, the
# precision that a filter is for, or if a class is mostly or often labeled as another one.
MIN_CONFIDENT_PRECISION = 0.9
MIN_RECALL = 0.8

Mask = NDArray[np.bool_]
Report = dict[str, Any]


def pseudo_label_report(
    pseudo: dict[str, np.ndarray],
    true_labels: Labels,
    confident: Mask,
    has_unknown: bool,
    num_classes: int,
) -> Report:
    """Measures of one teacher's labels; see `stages.train_teacher` for the arrays of `pseudo`.

    `true_labels` are those of the whole pool, -1 where there is none: images of unknown classes if
    the study has such (`has_unknown`), otherwise images that nobody labeled. `confident`, (n,),
    marks the labeled images that the filter `agreement` keeps.

    Accuracies are over images with a true label, None if there are none. `foreign_frac`,
    `foreign_labeled_frac` and `foreign_sure_frac` are the shares of images of unknown classes among
    all unlabeled images, among those that got a label (see `keep_frac`), and among the confident
    ones. `strangeness_auroc` is the AUROC of the OOD score, None without images of unknown classes;
    `remoteness` is the distance rank, None for a teacher that needs no unlabeled images.

    `num_confident` counts the confident images with a true label; `confident_low` and
    `confident_high` are the ends of the 95 % interval of `sure_accuracy`. `classes` has one row per
    class (`class_rows`), and `flags` says why the labels must not be trusted (`distrust`).
    A teacher that predicts labels held out of its subset has `num_held_out` of them, the share
    `held_out_accuracy` that is right, and `choice`, what it chose by them, in words.
    """
    truth = true_labels[pseudo["index"]]
    correct, has_label = pseudo["labels"] == truth, truth != UNLABELED
    unknown = (true_labels[pseudo["unlabeled"]] == UNLABELED) & has_unknown
    distance_rank = float(pseudo["distance_rank"])
    is_mixed = len(unknown) > 0 and 0 < unknown.mean() < 1
    report: Report = {
        "num_unlabeled": len(unknown),
        "label_accuracy": share(correct[has_label]),
        "sure_frac": share(confident),
        "sure_accuracy": share(correct[has_label & confident]),
        "foreign_frac": share(unknown),
        "foreign_labeled_frac": share(~has_label & has_unknown),
        "foreign_sure_frac": share(~has_label[confident] & has_unknown),
        "strangeness_auroc": (
            float(roc_auc_score(unknown, pseudo["ood_score"])) if is_mixed else None
        ),
        "remoteness": None if np.isnan(distance_rank) else distance_rank,
        **confident_interval(correct[has_label & confident]),
    }
    rows = class_rows(pseudo, true_labels, confident, num_classes)
    flags = distrust(report["sure_accuracy"], rows, bool(pseudo.get("trusted", True)))
    return report | held_out_report(pseudo) | {"flags": flags, "classes": rows}


def held_out_report(pseudo: dict[str, np.ndarray]) -> Report:
    """What the teacher knows of itself by held-out labels of its subset; None where it has none."""
    if "held_out_labels" not in pseudo:
        return {"num_held_out": None, "held_out_accuracy": None, "choice": ""}
    labels, probabilities = pseudo["held_out_labels"], pseudo["held_out_probabilities"]
    return {
        "num_held_out": len(labels),
        "held_out_accuracy": share(probabilities.argmax(axis=1) == labels),
        "choice": str(pseudo.get("choice", "")),
    }


def confident_interval(correct: Mask) -> Report:
    """The number of confident labels that can be checked, and the interval of the correct share."""
    low, high = wilson_interval(int(correct.sum()), len(correct)) if len(correct) else (None, None)
    return {"num_confident": len(correct), "confident_low": low, "confident_high": high}


def class_rows(
    pseudo: dict[str, np.ndarray], true_labels: Labels, confident: Mask, num_classes: int
) -> list[Report]:
    """One row per class: its unlabeled images, its pseudo-labels, and how many of these are right.

    `num_images`: unlabeled images whose true label it is; `labeled_frac`: the share of these that
    got any label. `num_pseudo`: images that got this label, `num_confident` of them with
    confidence. `precision` and `confident_precision`: the share of these that is right, among
    those with a true label. `recall`: of the images of the class that got a label, the share that
    got this one. None where there is nothing to count.
    """
    labels, truth = pseudo["labels"], true_labels[pseudo["index"]]
    counts = np.bincount(true_labels[pseudo["unlabeled"]] + 1, minlength=num_classes + 1)[1:]
    known, correct = truth != UNLABELED, labels == truth
    shares = pseudo.get("pool_shares")
    rows = []
    for label, count in enumerate(counts.tolist()):
        predicted, is_class = labels == label, truth == label
        rows.append(
            {
                "label": label,
                "num_images": count,
                "true_share": count / counts.sum() if counts.sum() else None,
                "pool_share": None if shares is None else float(shares[label]),
                "labeled_frac": float(is_class.sum() / count) if count else None,
                "num_pseudo": int(predicted.sum()),
                "num_confident": int((predicted & confident).sum()),
                "precision": share(correct[predicted & known]),
                "recall": share(correct[is_class]),
                "confident_precision": share(correct[predicted & known & confident]),
            }
        )
    return rows


def recalls_of(rows: Sequence[Report]) -> list[float]:
    """The recall of every class that has labeled images, lower where most of it has no label."""
    present = [row for row in rows if row["recall"] is not None]
    total = sum(row["num_images"] for row in present)
    labeled = sum(row["labeled_frac"] * row["num_images"] for row in present)
    return [row["recall"] * min(1.0, row["labeled_frac"] * total / labeled) for row in present]


def distrust(
    confident_accuracy: float | None, rows: Sequence[Report], trusts_itself: bool = True
) -> list[str]:
    """Why a teacher's labels must not be trusted; empty where nothing speaks against them.

    `held_out_labels`: by held-out labels of its subset, the teacher itself calls none of its labels
    confident. `confident_labels`: fewer than nine in ten confident labels are right. `recall`: of a
    class, fewer than eight in ten images are recognized, where images without any label count as
    far as the class has more of them than the whole pool. `missing_class`: a class has no
    pseudo-label, or no confident one, although the pool has images of it.
    """
    recalls = recalls_of(rows)
    raised = {
        "held_out_labels": not trusts_itself,
        "confident_labels": (
            confident_accuracy is not None and confident_accuracy < MIN_CONFIDENT_PRECISION
        ),
        "recall": min(recalls, default=1.0) < MIN_RECALL,
        "missing_class": trusts_itself
        and any(row["num_images"] and not row["num_confident"] for row in rows),
    }
    return [word for word, holds in raised.items() if holds]

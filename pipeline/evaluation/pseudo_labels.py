"""How accurate a teacher's labels are, and whether it detects images of unknown classes.

Arrays in, numbers out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.data.images import UNLABELED, Labels
from pipeline.evaluation.metrics import share


def pseudo_label_report(
    pseudo: dict[str, np.ndarray],
    true_labels: Labels,
    confident: NDArray[np.bool_],
    has_unknown: bool,
) -> dict[str, Any]:
    """Measures of one teacher's labels; see `stages.train_teacher` for the arrays of `pseudo`.

    `true_labels` are those of the whole pool, -1 where there is none: images of unknown classes if
    the study has such (`has_unknown`), otherwise images that nobody labeled. `confident`, (n,),
    marks the labeled images that the filter `agreement` keeps.

    Accuracies are over images with a true label, None if there are none. `foreign_frac`,
    `foreign_labeled_frac` and `foreign_sure_frac` are the shares of images of unknown classes among
    all unlabeled images, among those that got a label (see `keep_frac`), and among the confident
    ones. `strangeness_auroc` is the AUROC of the OOD score, None without images of unknown classes;
    `remoteness` is the distance rank, None for a teacher that needs no unlabeled images.
    """
    truth = true_labels[pseudo["index"]]
    correct, has_label = pseudo["labels"] == truth, truth != UNLABELED
    unknown = (true_labels[pseudo["unlabeled"]] == UNLABELED) & has_unknown
    distance_rank = float(pseudo["distance_rank"])
    is_mixed = len(unknown) > 0 and 0 < unknown.mean() < 1
    return {
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
    }

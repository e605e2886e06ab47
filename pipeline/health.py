"""Did two networks that play against each other stay in balance: rules of thumb of the texts.

Pure functions over the history of one replicate: `step`, the losses `generator` and
`discriminator`, and `accuracy`, the share of a batch that the discriminator takes for what it is
(for a loss without a zero: of pairs that it puts in order). Families without that column play no
such game, and nothing is said of them. The rules follow Salimans et al. (2016), section 3, and the
advice of introductory texts, which give no thresholds: those here are ours. A warning is a reason
to look, no verdict: images are judged by the audit.
"""

from __future__ import annotations

import math

import pandas as pd

END_FRAC = 0.2  # of the rows: some twelve batches, so that no single one decides
EARLY_FRAC = 0.1  # of the steps: the texts say "quickly"
# Of a thousand images ten are mistaken: the gradient that the generator learns from is next to
# nothing where a discriminator that is trained by cross-entropy is sure.
SURE = 0.99
LOST_FRAC = 0.1  # what is left of a generator's loss that "goes to zero"
CHANCE = 0.5  # accuracy of who guesses
# Half of 60 rows of 128 images each: chance alone moves their mean by 0.008.
NEAR_CHANCE = 0.02


def final_accuracy(history: pd.DataFrame) -> float:
    """The discriminator's mean accuracy at the end of training; NaN where there is none."""
    return float(_end(history)["accuracy"].mean()) if "accuracy" in history else math.nan


def warnings(history: pd.DataFrame) -> list[str]:
    """The rules that one replicate's training broke, as keys of `wording.WARNINGS`.

    A discriminator whose loss falls below zero measures a distance (Arjovsky et al. 2017). It is to
    win, and the height of the losses tells nothing: only whether it is blind is asked.
    """
    if "accuracy" not in history:
        return []
    is_cost = bool((history["discriminator"] >= 0).all())
    found = {
        "discriminator_wins": is_cost and final_accuracy(history) > SURE,
        "discriminator_falls_fast": is_cost and _falls_fast(history),
        "generator_collapses": is_cost and _passes_with_garbage(history),
        "discriminator_blind": _is_blind(history["accuracy"]),
    }
    return [word for word, holds in found.items() if holds]


def _end(history: pd.DataFrame) -> pd.DataFrame:
    return history.tail(max(1, round(END_FRAC * len(history))))


def _falls_fast(history: pd.DataFrame) -> bool:
    """Whether the discriminator was sure already in the first tenth of training.

    Its accuracy says so for every loss; a loss has a floor of its own, as with smoothed labels.
    """
    early = history[history["step"] <= EARLY_FRAC * history["step"].iloc[-1]]["accuracy"]
    return len(early) > 1 and bool(early.tail(len(early) // 2).mean() > SURE)


def _passes_with_garbage(history: pd.DataFrame) -> bool:
    """Whether the generator hardly pays any more, while the discriminator does no better than luck.

    Where the median is not above zero, losses have no height that could be compared.
    """
    usual = history["generator"].median()
    cheap = usual > 0 and _end(history)["generator"].mean() < LOST_FRAC * usual
    return bool(cheap and final_accuracy(history) <= CHANCE)


def _is_blind(accuracy: pd.Series) -> bool:
    """Whether the discriminator did no better and no worse than luck over the second half."""
    return bool(abs(accuracy.tail(max(1, len(accuracy) // 2)).mean() - CHANCE) <= NEAR_CHANCE)

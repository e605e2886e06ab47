"""Rules of thumb for the balance of a GAN's two networks, from the history of one replicate.

Pure functions. The columns of a history are `step`, the losses `generator` and `discriminator`, and
`accuracy`: the share of a batch that the discriminator classifies correctly or, for a loss without
a threshold, the share of pairs (real, synthetic) that it ranks correctly. A discriminator that is
an autoencoder has `k` instead, the weight of synthetic images in its loss (Berthelot et al. 2017,
section 3.4). A second pair of networks has the same columns with a prefix, as in
`doubling_accuracy`. Families without these columns are no GANs and get no warnings.

Sources: Radford et al. (2016), Salimans et al. (2016), section 3, and introductory texts. They give
no thresholds; those here are ours. A warning is a reason to look at the images, no verdict; the
audit evaluates them.
"""

from __future__ import annotations

import pandas as pd

END_FRAC = 0.2  # share of the rows at the end: about twelve batches
EARLY_FRAC = 0.1  # share of the steps at the start: the texts say "quickly"
# Accuracy above which a discriminator trained with cross-entropy is saturated: it misclassifies ten
# of a thousand images and gives the generator almost no gradient.
SATURATED = 0.99
LOST_FRAC = 0.1  # of the median of a generator's loss, where the texts say "goes to zero"
CHANCE = 0.5  # accuracy of guessing
# Half of 60 rows of 128 images each: the standard error of their mean is 0.008.
NEAR_CHANCE = 0.02
NEAR_END = 0.01  # distance of k, which is kept in 0..1, from an end


def games(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The columns of every pair of networks without their prefix, by prefix; the first has none."""
    ends = [name for name in history if name == "discriminator" or name.endswith("_discriminator")]
    marks = sorted(name.removesuffix("discriminator") for name in ends)
    return {
        mark.removesuffix("_"): history[
            ["step", *(name for name in history if name != "step" and name.startswith(mark))]
        ].rename(columns=lambda name, mark=mark: name.removeprefix(mark))
        for mark in marks
    }


def at_the_end(history: pd.DataFrame) -> dict[str, float]:
    """Mean accuracy and k of every pair of networks at the end of training, by column name."""
    return {
        f"{game}_{name}" if game else name: float(_end(columns)[name].mean())
        for game, columns in games(history).items()
        for name in ("accuracy", "k")
        if name in columns
    }


def warnings(history: pd.DataFrame, loss: str = "") -> list[str]:
    """The rules that one replicate's training breaks, as keys of `captions.WARNINGS`.

    `loss` is the family's name of the first discriminator's loss; a second discriminator
    classifies, and its name and a colon come before its warnings. A discriminator that estimates a
    distance (`wasserstein`; Arjovsky et al. 2017) should win, and the height of its loss says
    nothing: only whether it is at chance is checked.
    """
    is_distance = loss.startswith("wasserstein")
    return [
        f"{game}: {word}" if game else word
        for game, columns in games(history).items()
        for word in _broken(columns, is_cost=bool(game) or not is_distance)
    ]


def _broken(game: pd.DataFrame, is_cost: bool) -> list[str]:
    broken = {}
    if "accuracy" in game:
        broken = {
            "discriminator_wins": is_cost and _end(game)["accuracy"].mean() > SATURATED,
            "discriminator_falls_fast": is_cost and _saturates_early(game),
            "generator_collapses": is_cost and _generator_loss_collapsed(game),
            "discriminator_blind": _is_at_chance(game["accuracy"]),
        }
    if "k" in game:
        k = _end(game)["k"]
        broken |= {
            "balance_never_held": k.max() <= NEAR_END,
            "balance_lost": k.min() >= 1 - NEAR_END,
        }
    return [word for word, holds in broken.items() if holds]


def _end(history: pd.DataFrame) -> pd.DataFrame:
    return history.tail(max(1, round(END_FRAC * len(history))))


def _saturates_early(history: pd.DataFrame) -> bool:
    """Whether the discriminator was saturated in the first tenth of training.

    The texts speak of its loss. Accuracy is used instead, since its range is the same for all
    families; the minimum of a loss is not, for example with smoothed labels.
    """
    early = history[history["step"] <= EARLY_FRAC * history["step"].iloc[-1]]["accuracy"]
    return len(early) > 1 and bool(early.tail(len(early) // 2).mean() > SATURATED)


def _generator_loss_collapsed(history: pd.DataFrame) -> bool:
    """Whether the generator's loss collapsed with a discriminator that is no better than chance.

    A loss is compared with its median, and only if that is positive.
    """
    median = history["generator"].median()
    collapsed = median > 0 and _end(history)["generator"].mean() < LOST_FRAC * median
    return bool(collapsed and _end(history)["accuracy"].mean() <= CHANCE)


def _is_at_chance(accuracy: pd.Series) -> bool:
    """Whether the discriminator was at chance over the second half of training."""
    return bool(abs(accuracy.tail(max(1, len(accuracy) // 2)).mean() - CHANCE) <= NEAR_CHANCE)

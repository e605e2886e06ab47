"""Did two networks that play against each other stay in balance: rules of thumb of the texts.

Pure functions over the history of one replicate: `step`, the losses `generator` and
`discriminator`, and `accuracy`, the share of a batch that the discriminator takes for what it is
(for a loss without a zero: of pairs that it puts in order). A discriminator that is an autoencoder
has `k` in its place, the weight of synthetic images in its loss (Berthelot et al. 2017, section
3.4). A second game has the same columns with its name before them, as `doubling_accuracy`. Families
without these columns play no such game, and nothing is said of them. The rules follow Radford et
al. (2016), Salimans et al. (2016), section 3, and the advice of introductory texts, which give no
thresholds: those here are ours. A warning is a reason to look, no verdict: images are judged by the
audit.
"""

from __future__ import annotations

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
NEAR_END = 0.01  # of k, which is kept between 0 and 1


def games(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The columns of every game by its name, that of the images that are drawn first, as ``."""
    ends = [name for name in history if name == "discriminator" or name.endswith("_discriminator")]
    marks = sorted(name.removesuffix("discriminator") for name in ends)
    return {
        mark.removesuffix("_"): history[
            ["step", *(name for name in history if name != "step" and name.startswith(mark))]
        ].rename(columns=lambda name, mark=mark: name.removeprefix(mark))
        for mark in marks
    }


def at_the_end(history: pd.DataFrame) -> dict[str, float]:
    """Every game's mean accuracy and k at the end of training, by column, where there are such."""
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
            "discriminator_wins": is_cost and _end(game)["accuracy"].mean() > SURE,
            "discriminator_falls_fast": is_cost and _falls_fast(game),
            "generator_collapses": is_cost and _passes_with_garbage(game),
            "discriminator_blind": _is_blind(game["accuracy"]),
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


def _falls_fast(history: pd.DataFrame) -> bool:
    """Whether the discriminator was sure already in the first tenth of training.

    The texts speak of its loss. Accuracy stands for that: how low a loss can fall differs from
    family to family, as with smoothed labels, and accuracy has the same ends everywhere.
    """
    early = history[history["step"] <= EARLY_FRAC * history["step"].iloc[-1]]["accuracy"]
    return len(early) > 1 and bool(early.tail(len(early) // 2).mean() > SURE)


def _passes_with_garbage(history: pd.DataFrame) -> bool:
    """Whether the generator hardly pays any more, while the discriminator does no better than luck.

    Where the median is not above zero, losses have no height that could be compared.
    """
    usual = history["generator"].median()
    cheap = usual > 0 and _end(history)["generator"].mean() < LOST_FRAC * usual
    return bool(cheap and _end(history)["accuracy"].mean() <= CHANCE)


def _is_blind(accuracy: pd.Series) -> bool:
    """Whether the discriminator did no better and no worse than luck over the second half."""
    return bool(abs(accuracy.tail(max(1, len(accuracy) // 2)).mean() - CHANCE) <= NEAR_CHANCE)

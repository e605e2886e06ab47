"""Verdicts, warnings and captions in words for readers without statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.statistics import SEEDS_FOR_A_TEST

VERDICTS = {
    "weak reference": "better than a reference that is itself worse than the baseline, which is no "
    "evidence for the added images",
    "gain": "better, beyond what chance explains",
    "harm": "worse, beyond what chance explains",
    "equivalent": "no difference that matters: the whole interval is below the smallest effect of "
    "interest",
    "no evidence": "these seeds do not show a difference, which is no proof that there is none",
    "exploratory": "too few seeds to tell",
    "degenerate": "every seed gave the same difference, so there is nothing to judge by",
    "invalid": "a control failed, so this study cannot be trusted here",
    "passed": "a control that came out as it must",
    "failed": "a control that did not come out as it must",
    "not judged": "too few seeds with synthetic images to be judged by, or a control with too few "
    "seeds",
    "measure": "an arm that measures something and claims nothing",
    "baseline": "what the others are compared with",
}
# What must hold, and what it means when it does not.
ROLES = {
    "must_not_differ": "must not differ from the baseline, or repeating images is a change",
    "must_not_help": "must not be better than the baseline, or wrong labels help",
    "must_help": "must be better than the baseline, or the study is too small to see twice the "
    "labels",
}
REGIMES = {
    "labeled": "from labeled images alone",
    "labeled+unlabeled": "from unlabeled images as well",
}
FLAGS = {
    "copies": "images nearly repeat those the generator was trained on",
    "wrong_labels": "many images do not show the class they are labeled with",
    "collapsed": "some class has next to no variety",
}

# What `gallery.kinds` takes a generator for.
KINDS = {
    "adversarial": "GAN",
    "variational": "variational autoencoder",
    "autoencoder": "autoencoder",
    "diffusion": "diffusion",
}
UNTUNED = (
    "Settings decide as much as families: how long each generator was tuned is not corrected for. "
    "A generator of which a seed came to nothing has no place."
)
FAR_RANK = 0.7  # where labeled images lie so far from unlabeled ones, on average, words are due
# What a rule of thumb of `health` noticed: the words of the table, and what they mean.
WARNINGS = {
    "discriminator_wins": (
        "discriminator sure of itself",
        "At the end it took more than 99 in 100 images for what they are. A discriminator that is "
        "never wrong gives its opponent next to nothing to learn from.",
    ),
    "discriminator_falls_fast": (
        "discriminator done too soon",
        "It was right in more than 99 in 100 cases within the first tenth of training: it found an "
        "easy mark before the generator had learned anything.",
    ),
    "generator_collapses": (
        "generator passes with anything",
        "Its loss fell below a tenth of what was usual while the discriminator did no better than "
        "luck: it may have found images that pass, whatever they show.",
    ),
    "discriminator_blind": (
        "discriminator guesses",
        "Over the second half it was right in 48 to 52 of 100 cases, as by luck: either images "
        "are as good as real ones, or it cannot see what is wrong with them.",
    ),
    "balance_never_held": (
        "balance never took hold",
        "All through the end k was 0 (at most 0.01): the discriminator only restores real images, "
        "as any autoencoder, and the generator looks for one image that is easy to restore.",
    ),
    "balance_lost": (
        "balance lost",
        "All through the end k was 1 (at least 0.99), as high as it goes: synthetic images were "
        "restored better than the balance asks, and k can do no more against it.",
    ),
}
# Captions of what a generator has to show, in the order of the page.
SHOWCASE_CAPTIONS = {
    "sheet": "400 images, equal runs of every class, row by row; blank where fewer were made.",
    "over_training": "The same noise as training went on; row k is class k.",
    "interpolation": "From one noise to another in ten steps; row k is class k. Images that change "
    "smoothly speak against mere repetition.",
    "morph": "The same noise from one class to the next: row k leads from class k to class k + 1, "
    "the last row to the first class.",
    "reconstruction": "Pairs of rows: above real images that it was trained on, below what is "
    "restored from their codes.",
    "traversal": "What single numbers of the code do: each row changes one from -2.5 to 2.5, all "
    "others are 0, and the class stays.",
    "levels": "Ten images grow, a column each, five rows from top to bottom: the smallest image, "
    "what is added at half size (gray is nothing), the image at half size, what is added at full "
    "size, the image.",
    "doubling": "Three rows in turns: real images that it was trained on, the same doubled from "
    "half size by bicubic interpolation, and doubled by the network.",
}


def warning(key: str) -> str:
    """The words of the table for one warning; before those of a second game stands its name."""
    game, colon, word = key.rpartition(": ")
    return f"{game}{colon}{WARNINGS[word][0]}"


def showcase_caption(key: str) -> str:
    """The caption of an exhibit; one that nobody wrote a caption for is called by its key."""
    return SHOWCASE_CAPTIONS.get(key, key)


def points(share: float) -> str:
    """A share as signed percentage points: `+1.25`."""
    return f"{100 * share:+.2f}"


def size(share: float) -> str:
    """A share as percentage points without a sign: `1.25`."""
    return points(share)[1:]


def interval(row: Mapping[str, Any], low: str = "ci_low", high: str = "ci_high") -> str:
    """The ends of a row's interval; a single seed has none."""
    if math.isnan(row[low]):
        return "none"
    return f"{points(row[low])} to {points(row[high])}"


def share_interval(row: Mapping[str, Any], low: str, high: str) -> str:
    """The ends of an interval of a share, in percent: `69.0 to 73.4`; a single seed has none."""
    if math.isnan(row[low]):
        return "none"
    return f"{100 * row[low]:.1f} to {100 * row[high]:.1f}"


def percent(share: float) -> str:
    """A share as a percentage: `93.4 %`."""
    return f"{100 * share:.1f} %"


def format_budget(budget: int) -> str:
    """A budget for people."""
    return f"{budget} label{'' if budget == 1 else 's'} per class"


def answer(row: Mapping[str, Any]) -> str:
    """What one row of the table of deltas says about accuracy, without numbers."""
    scope = f"for {row['classifier']}, {format_budget(row['budget'])}"
    if row["verdict"] == "not judged" and _lacks_images(row):
        return f"{row['arm']} beside {row['baseline']}, {scope}, is {_not_judged(row)}"
    what = {
        "weak reference": "is better than",
        "gain": "is better than",
        "harm": "is worse than",
        "equivalent": "makes no difference that matters to",
        "no evidence": "is not shown to differ from",
        "exploratory": "was tried on too few seeds to be judged against",
        "degenerate": "differed by the same amount in every seed from",
        "invalid": "cannot be judged, because a control failed, against",
        "passed": "came out as a control must beside",
        "failed": "did not come out as a control must beside",
        "not judged": "is a control with too few seeds to be judged beside",
        "measure": "measures, and claims nothing, beside",
    }[row["verdict"]]
    across = row.get("regime", "labeled") != row.get("baseline_regime", "labeled")
    saw = "no" if row.get("baseline_regime", "labeled") == "labeled" else "the"
    aside = f", which saw {saw} unlabeled images," if across else ""
    if row["verdict"] == "weak reference":
        aside += ", which is itself worse than the baseline here"
        scope = f"({scope}): this is no evidence for the generated images"
    return f"{row['arm']} {what} {row['baseline']}{aside} {scope}"


def _lacks_images(row: Mapping[str, Any]) -> bool:
    """Whether too few seeds of a comparison had made images."""
    without = row.get("num_without_images", 0)
    return bool(row["n"] - without < SEEDS_FOR_A_TEST <= row["n"])


def _not_judged(row: Mapping[str, Any]) -> str:
    return (
        f"not judged: no synthetic image was used in {row['num_without_images']} of {row['n']} "
        "seeds"
    )


def numbers(row: Mapping[str, Any], confidence_level: float) -> str:
    """What the answer rests on."""
    return (
        f"{percent(row['mean_baseline'])} to {percent(row['mean_arm'])}, {points(row['delta'])} "
        f"points, {100 * confidence_level:g} % interval {interval(row)}, "
        f"{row['n']} seed{'' if row['n'] == 1 else 's'}"
    )


def sentence(row: Mapping[str, Any], confidence_level: float) -> str:
    """The answer and its numbers as one sentence."""
    return f"{answer(row)} ({numbers(row, confidence_level)})."


def apart(row: Mapping[str, Any]) -> str:
    """What is to be said where a teacher's unlabeled images lie far from the labeled ones."""
    if not row["remoteness"] > FAR_RANK:
        return ""
    return (
        f"With {format_budget(row['budget'])}, labeled images lie farther from the unlabeled ones than "
        f"{100 * row['remoteness']:.0f} % of these do from each other: most of the unlabeled "
        f"images may be of other classes, which {row['teacher']} takes for known ones."
    )


def explanation(row: Mapping[str, Any], smallest_effect: float) -> str:
    """Two sentences for a reader without statistics: what came out, and how far to trust it."""
    arm, base = row["mean_arm"], row["mean_baseline"]
    word = "better" if arm > base else "worse"
    change = f"{word} on average by {size(arm - base)} points" if arm != base else "no difference"
    first = (
        f"With {format_budget(row['budget'])}, {row['classifier']} got {percent(arm)} of the test images "
        f"right with {row['arm']} and {percent(base)} with {row['baseline']}: {change}"
        f"{_failures(row)}."
    )
    return f"{first} {_trust(row, smallest_effect)}"


def _failures(row: Mapping[str, Any]) -> str:
    """How many seeds came to nothing, if any did."""
    if not row.get("num_failed"):
        return ""
    return (
        f", where {row['num_failed']} of {row['n']} seeds came to nothing and count as the baseline"
    )


def _trust(row: Mapping[str, Any], smallest_effect: float) -> str:
    """The second sentence of an explanation."""
    between = f"between {points(row['ci_low'])} and {points(row['ci_high'])} points"
    seeds = f"{row['n']} seeds, each with other labeled images,"
    if row["verdict"] == "not judged" and _lacks_images(row):
        return f"It is {_not_judged(row)}, so the number says nothing about such images."
    words = {
        "weak reference": f"All {seeds} together put the true difference {between}, but "
        f"{row['baseline']} is itself worse than the baseline here: an arm that adds nothing would "
        "look better than it, too.",
        "gain": f"All {seeds} together put the true difference {between}, above zero throughout, "
        "so it is hardly the luck of one draw.",
        "harm": f"All {seeds} together put the true difference {between}, below zero throughout, "
        "so it is hardly the bad luck of one draw.",
        "equivalent": f"The true difference most likely lies {between}, all of it less than the "
        f"{size(smallest_effect)} points that would matter.",
        "no evidence": _undecided(row, between),
        "exploratory": f"With {row['n']} seed{'' if row['n'] == 1 else 's'} that can easily be "
        "luck, so run ten or more before you believe it.",
        "degenerate": "Every seed gave exactly this difference, so nothing can be said about luck.",
        "invalid": "A test of the study itself came out wrong, so do not believe this number: "
        f"{row.get('failed_controls', '')}.",
        "passed": "This arm tests the study itself, and it came out as it must.",
        "failed": "This arm tests the study itself and should have come out otherwise, so what the "
        "study says here cannot be trusted.",
        "not judged": "This arm tests the study itself, for which ten seeds are needed.",
        "measure": _measured(row, between),
    }
    return words[row["verdict"]]


def _measured(row: Mapping[str, Any], between: str) -> str:
    if math.isnan(row["ci_low"]):
        return "This arm measures and claims nothing, and nothing can be said about luck."
    return (
        f"Taken alone, the true difference most likely lies {between}, but of many arms like this "
        "one some look good by chance: it measures and claims nothing."
    )


def _undecided(row: Mapping[str, Any], between: str) -> str:
    if row["ci_low"] > 0 or row["ci_high"] < 0:
        return (
            "Alone that would look like more than luck, but among so many comparisons, or with so "
            "few seeds, one like it turns up by chance."
        )
    if math.isnan(row["ci_low"]):
        return "All seeds had the same labeled images, so they cannot tell what others would give."
    return (
        f"The true difference may lie anywhere {between}, so these seeds neither show one nor rule "
        f"it out; taken alone, a difference of {size(row['smallest_detectable'])} points would "
        "have been noticed in four cases of five."
    )


def label_equivalent(row: Mapping[str, Any]) -> str:
    """How many real labels an arm is worth: `36 [30, 44]`, with words beyond the measured."""
    return f"{beyond(row['worth'], row)} [{beyond(row['low'], row)}, {beyond(row['high'], row)}]"


def beyond(value: float, row: Mapping[str, Any]) -> str:
    """A number of labels, or on which side of the measured budgets it lies."""
    if math.isinf(value):
        return f"more than {row['most']}" if value > 0 else f"fewer than {row['least']}"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def label_equivalent_sentence(row: Mapping[str, Any]) -> str:
    """`For cnn, 10 labels per class with dcgan perform like 36 [30, 44] labels per class alone.`"""
    if row["verdict"] == "invalid":
        return (
            f"For {row['classifier']}, what {format_budget(row['budget'])} with {row['arm']} are worth "
            "cannot be told, because a control failed."
        )
    if row["verdict"] == "not judged":
        return (
            f"For {row['classifier']}, what {format_budget(row['budget'])} with {row['arm']} are worth "
            "cannot be told, because too few seeds had synthetic images."
        )
    more = " and unlabeled images" if row.get("regime", "labeled") != "labeled" else ""
    return (
        f"For {row['classifier']}, {format_budget(row['budget'])} with {row['arm']}{more} perform like "
        f"{label_equivalent(row)} labels per class alone."
    )

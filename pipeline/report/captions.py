"""The fixed texts of the report other than verdicts: warnings, flags, captions of figures."""

from __future__ import annotations

from pipeline.report.formatting import Row, format_budget

REGIMES = {
    "labeled": "trained on labeled images only",
    "labeled+unlabeled": "trained on unlabeled images as well",
}
FLAGS = {
    "copies": "images nearly repeat those the generator was trained on",
    "wrong_labels": "many images do not show the class of their label",
    "collapsed": "at least one class has almost no diversity",
}
UNLABELED_NOTE = "* trained on unlabeled images as well; the baseline was not"
UNTUNED = (
    "Settings matter as much as families, and the ranking does not correct for how long each "
    "generator was tuned. Generators with a failed seed are not ranked."
)

PER_SEED = (
    "Every seed has a test set of its own. Those of two seeds share images, so the deltas are "
    "correlated, and intervals are wider and p-values larger accordingly (Nadeau and Bengio 2003)."
)
UNKNOWN = "unknown"  # instead of a number that needs a judge, if no reliable judge could be trained

FAR_RANK = 0.7  # warn above this mean distance rank of labeled images

# Warnings of `gan_diagnostics`: the words of the table, and what they mean.
WARNINGS = {
    "discriminator_wins": (
        "discriminator saturated",
        "Its accuracy was above 99 % at the end of training. A discriminator without errors gives "
        "the generator almost no gradient.",
    ),
    "discriminator_falls_fast": (
        "saturated early",
        "Its accuracy was above 99 % within the first tenth of training, before the generator had "
        "learned anything.",
    ),
    "generator_collapses": (
        "generator loss collapsed",
        "The generator's loss fell below a tenth of its median while the discriminator was no "
        "better than chance: the generator may have found images that are always accepted.",
    ),
    "discriminator_blind": (
        "discriminator at chance",
        "Its accuracy over the second half of training was 48 to 52 %: either the images are as "
        "good as real ones, or the discriminator cannot tell what is wrong with them.",
    ),
    "balance_never_held": (
        "balance never reached",
        "k stayed at 0 (at most 0.01) at the end of training: the discriminator only reconstructs "
        "real images, and the generator looks for one image that is easy to reconstruct.",
    ),
    "balance_lost": (
        "balance lost",
        "k stayed at 1 (at least 0.99), its upper limit, at the end of training: synthetic images "
        "are reconstructed better than the target balance, and k cannot correct this.",
    ),
}

# Captions of the galleries, in the order of the page.
SHOWCASE_CAPTIONS = {
    "sheet": "400 images, the same number of every class, row by row; blank where fewer exist.",
    "over_training": "The same noise at several steps of training; row k is class k.",
    "interpolation": "Linear interpolation between two noise vectors in ten steps; row k is class "
    "k. Smooth changes indicate that training images are not just repeated.",
    "morph": "The same noise with the label going from one class to the next: row k goes from "
    "class k to class k + 1, the last row to the first class.",
    "reconstruction": "Pairs of rows: training images above, their reconstructions below.",
    "traversal": "Latent traversal: each row changes one latent variable from -2.5 to 2.5 with all "
    "others at 0 and the class fixed.",
    "levels": "Ten images, one per column, in five rows: the smallest image, the detail added at "
    "half size (gray is zero), the image at half size, the detail added at full size, the image.",
    "doubling": "Groups of three rows: training images, the same upsampled from half size by "
    "bicubic interpolation, and upsampled by the network.",
}


def warning(key: str) -> str:
    """The words of the table for one warning; a second discriminator's name comes before them."""
    game, colon, word = key.rpartition(": ")
    return f"{game}{colon}{WARNINGS[word][0]}"


def showcase_caption(key: str) -> str:
    """The caption of a gallery figure; the key itself where none is written."""
    return SHOWCASE_CAPTIONS.get(key, key)


def distance_warning(row: Row) -> str:
    """A sentence where a teacher's unlabeled images lie far from the labeled ones, else empty."""
    if not row["distance_rank"] > FAR_RANK:
        return ""
    return (
        f"With {format_budget(row['budget'])}, the labeled images are farther from the unlabeled "
        f"ones than {100 * row['distance_rank']:.0f} % of these are from each other: most of the "
        f"unlabeled images may be of other classes, and {row['teacher']} labels them wrongly."
    )

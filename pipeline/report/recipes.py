"""What an arm trains on in words, and what its images cost.

Pure functions over params and the table of seconds.
"""

from __future__ import annotations

import math

import pandas as pd

from pipeline.config.arms import SmoteArm
from pipeline.config.schema import Params
from pipeline.trials.layout import filter_teacher

MAKING_STAGES = ("train_teacher", "train_generator", "tune", "synthesize")


def describe(arm: str, params: Params) -> str:
    """The training set of an arm in words: `affine augmentation plus images of dcgan`."""
    recipe = params.arms[arm]
    parts = [f"{recipe.transform} augmentation"] if recipe.transform != "none" else []
    if recipe.discriminator_of:
        parts.append(f"initialization from the discriminator of {recipe.discriminator_of}")
    elif recipe.generator:
        parts.append(f"images of {recipe.generator}")
    elif recipe.teacher:
        parts.append(f"images with pseudo-labels of {recipe.teacher}")
    elif isinstance(recipe, SmoteArm):
        parts.append("images interpolated by SMOTE")
    elif not parts:
        parts.append("repeated images" if recipe.adds_images else "the labeled images alone")
    text = " plus ".join(parts) + ("" if recipe.real else ", without the labeled images")
    text += ", every class filled up to the largest" if recipe.balances else ""
    text += ", with balanced class weights" if recipe.class_weights == "balanced" else ""
    return text if params.regime(arm) == "labeled" else f"{text}, using unlabeled images"


def added_images(arm: str, params: Params) -> str:
    """`synthetic images` or `pseudo-labeled images`, if an arm adds such; else empty."""
    recipe = params.arms[arm]
    if not recipe.adds_images:
        return ""
    if recipe.generator:
        return "synthetic images"
    return "pseudo-labeled images" if recipe.teacher else ""


def cost(arm: str, budget: int, timings: pd.DataFrame, params: Params) -> float:
    """Seconds of the models and images that an arm needs, for one replicate; NaN where unknown.

    The sum over stages of the median trial at `budget`: train_teacher, train_generator, tune and
    synthesize, of the arm's generator and of the teachers that label or filter its images.
    """
    recipe = params.arms[arm]
    generator = recipe.generator or recipe.discriminator_of
    teacher = params.generators[generator].teacher if generator else recipe.teacher
    items = {generator, teacher} - {None}
    if generator and recipe.filter != "none":
        items.add(filter_teacher(params, generator))

    used = timings[
        timings["stage"].isin(MAKING_STAGES)
        & timings["item"].isin(items)
        & (timings["budget"] == budget)
    ]
    trained = {*used[used["stage"].str.startswith("train_")]["item"]}
    if not items or not items <= trained:
        return math.nan
    medians = used["seconds"].astype(float).groupby([used["stage"], used["item"]]).median()
    return float(f"{medians.sum():.6f}")

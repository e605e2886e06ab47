"""The files that an arm adds to the labeled subset, and the images in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.config.schema import FRESH, ArmParams
from pipeline.data.images import LabeledImages, read_images
from pipeline.runtime.files import read_npz
from pipeline.training_sets.arms import Candidates
from pipeline.trials.grid import Replicate
from pipeline.trials.layout import Artifact, File, fresh


def added_files(arm: ArmParams, replicate: Replicate) -> dict[str, File]:
    """The files of one replicate that an arm reads in addition to the labeled subset."""
    if arm.discriminator_of is not None:
        generator = Artifact("train_generator", arm.discriminator_of, replicate)
        return {"discriminator": generator.output(".discriminator.safetensors")}
    if arm.generator is not None:
        return {"candidates": Artifact("synthesize", arm.generator, replicate).output(".npz")}
    if arm.teacher is not None:
        teacher = Artifact("train_teacher", arm.teacher, replicate)
        pseudo = {"candidates": teacher.output(".npz")}
        return pseudo | ({"teacher": teacher.output(".safetensors")} if arm.teacher_itself else {})
    return {"fresh": fresh(replicate)} if arm.inputs == FRESH else {}


def read_added(paths: Mapping[str, Path]) -> Candidates | LabeledImages | None:
    """The images that an arm adds, or None if it adds at most those of the subset again."""
    if "candidates" in paths:
        path = paths["candidates"]
        arrays = read_npz(path)
        minimum = float(arrays["min_probability"])
        return Candidates(read_images(path), arrays["probabilities"], minimum)
    return read_images(paths["fresh"]) if "fresh" in paths else None

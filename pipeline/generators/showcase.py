"""Figures of a trained generator for the report, ten images to a row.

Every generator has interpolations between two latents and between two classes. A family may add
its own (`Generator.showcase`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.images import Images, LabeledImages
from pipeline.generators.base import Generator
from pipeline.generators.sampling import render
from pipeline.nn.tensors import to_pixels, to_signed_input
from pipeline.runtime.seeds import derive_seed

COLUMNS = 10


def showcase(generator: Generator, data: LabeledImages, seed: int) -> dict[str, Images]:
    """uint8 images (10 * rows, c, h, w) by name, of a generator that was trained on `data`."""
    generator.networks.eval()
    with torch.no_grad():
        of_family = {
            name: to_pixels(images) for name, images in generator.showcase(data, seed).items()
        }
    return {
        "interpolation": interpolation(generator, seed),
        "morph": morph(generator, seed),
        **of_family,
    }


def interpolation(generator: Generator, seed: int) -> Images:
    """Row k: images of class k, from one latent to another.

    Interpolates along an arc, on which normal noise keeps its standard deviation; on a straight
    line it would shrink.
    """
    count = generator.spec.num_classes
    angles = torch.linspace(0, math.pi / 2, COLUMNS)[:, None, None]
    first, last = (_noise(generator, seed, end, count) for end in ("first", "last"))
    noise = generator.to_latent(angles.cos() * first + angles.sin() * last)
    labels = torch.arange(count).expand(COLUMNS, -1)
    return render(generator.generator_net, _row_by_row(noise), _row_by_row(labels))


def morph(generator: Generator, seed: int) -> Images:
    """Row k: images of one latent, from class k to the next; the last row leads to class 0."""
    count = generator.spec.num_classes
    shares = torch.linspace(0, 1, COLUMNS)[:, None, None]
    whole = functional.one_hot(torch.arange(count), count).float()
    mixtures = (1 - shares) * whole + shares * whole.roll(-1, dims=0)
    noise = generator.to_latent(_noise(generator, seed, "morph", count)).expand(COLUMNS, -1, -1)
    return render(generator.generator_net, _row_by_row(noise), _row_by_row(mixtures))


def evenly_spaced(data: LabeledImages, rows: int) -> tuple[Tensor, Tensor]:
    """`rows` times ten images of `data` in -1..1, evenly spaced, and their labels."""
    index = np.linspace(0, len(data) - 1, rows * COLUMNS).round().astype(int)
    return to_signed_input(data.images[index]), torch.from_numpy(data.labels[index])


def interleave_rows(*parts: Tensor) -> Tensor:
    """The first ten images of each part, then the next ten of each, and so on."""
    rows = torch.stack([part.unflatten(0, (-1, COLUMNS)) for part in parts], dim=1)
    return rows.flatten(0, 2)


def _noise(generator: Generator, seed: int, end: str, count: int) -> Tensor:
    seeds = [derive_seed("exhibit", seed, end, row) for row in range(count)]
    return generator.normal(seeds)


def _row_by_row(values: Tensor) -> Tensor:
    """Values (columns, rows, ...) in the order of the images of a figure."""
    return values.transpose(0, 1).flatten(0, 1)

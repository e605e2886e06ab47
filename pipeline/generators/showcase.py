"""Pictures that show what a trained generator knows, ten images to a row.

Of every generator: the way from one noise to another, and from one class to the next. A family adds
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
    """Row k: images of class k on the way from one noise to another.

    The way is an arc, on which normal noise keeps its spread; on a straight line it would shrink.
    """
    count = generator.spec.num_classes
    angles = torch.linspace(0, math.pi / 2, COLUMNS)[:, None, None]
    first, last = (_noise(generator, seed, end, count) for end in ("first", "last"))
    noise = generator.to_latent(angles.cos() * first + angles.sin() * last)
    labels = torch.arange(count).expand(COLUMNS, -1)
    return render(generator.generator_net, _by_row(noise), _by_row(labels))


def morph(generator: Generator, seed: int) -> Images:
    """Row k: images of one noise, from class k to the next one; the last row leads to class 0."""
    count = generator.spec.num_classes
    shares = torch.linspace(0, 1, COLUMNS)[:, None, None]
    whole = functional.one_hot(torch.arange(count), count).float()
    between = (1 - shares) * whole + shares * whole.roll(-1, dims=0)
    noise = generator.to_latent(_noise(generator, seed, "morph", count)).expand(COLUMNS, -1, -1)
    return render(generator.generator_net, _by_row(noise), _by_row(between))


def spread_out(data: LabeledImages, rows: int) -> tuple[Tensor, Tensor]:
    """So many rows of ten images of `data` in -1..1, evenly spaced, and their labels."""
    places = np.linspace(0, len(data) - 1, rows * COLUMNS).round().astype(int)
    return to_signed_input(data.images[places]), torch.from_numpy(data.labels[places])


def in_turns(*parts: Tensor) -> Tensor:
    """A row of ten of each part, then the next row of each."""
    rows = torch.stack([part.unflatten(0, (-1, COLUMNS)) for part in parts], dim=1)
    return rows.flatten(0, 2)


def _noise(generator: Generator, seed: int, end: str, count: int) -> Tensor:
    seeds = [derive_seed("exhibit", seed, end, row) for row in range(count)]
    return generator.normal(seeds)


def _by_row(values: Tensor) -> Tensor:
    """Values (columns, rows, ...) in the order of images in a picture, row by row."""
    return values.transpose(0, 1).flatten(0, 1)

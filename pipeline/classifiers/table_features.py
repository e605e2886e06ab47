"""Features of images as rows of a table, for classifiers that learn from rows.

No feature depends on other images, so rows of training and test images are made alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.images import Images
from pipeline.nn.hog import Rows, edge_histograms
from pipeline.nn.tensors import to_input

CELLS = 4  # along each side, for the color of parts of an image
LEVELS = 4  # of each of three channels; a single channel has as many levels as three have colors
BATCH = 1000


def pixels(images: Images) -> Rows:
    """Pixels as rows, float32 (n, c * h * w) in 0..255."""
    return images.reshape(len(images), -1).astype(np.float32)


def hog(images: Images) -> Rows:
    """Histograms of oriented gradients, float32 (n, d); the images keep their slant."""
    return edge_histograms(to_input(images).contiguous().numpy()).astype(np.float32)


def colors(images: Images) -> Rows:
    """The colors of an image and of its parts, float32 (n, d) in 0..1.

    First the mean and the standard deviation of every channel in each of `CELLS` x `CELLS` cells,
    then the square roots of the shares of the colors of the whole image: `LEVELS` per channel, so
    64 colors, or as many grays.
    """
    batch = to_input(images).contiguous()
    means, squares = (
        functional.adaptive_avg_pool2d(values, CELLS) for values in (batch, batch.square())
    )
    deviations = (squares - means.square()).clamp_min(0).sqrt()
    parts = [means, deviations, color_shares(batch).sqrt()]
    return np.concatenate([part.flatten(1).numpy() for part in parts], axis=1)


def color_shares(batch: Tensor) -> Tensor:
    """The share of the pixels that have each of the colors, (n, colors), of images in 0..1."""
    channels = batch.shape[1]
    levels = LEVELS if channels == 3 else LEVELS**3
    steps = batch.mul(levels).long().clamp_max(levels - 1)
    powers = torch.tensor([levels**number for number in range(channels)])
    index = (steps * powers[:, None, None]).sum(dim=1)  # (n, h, w)

    # Counted per image: the number of the image is the leading digit.
    num_colors = levels**channels
    first = torch.arange(len(batch))[:, None, None] * num_colors
    counts = torch.bincount((index + first).flatten(), minlength=len(batch) * num_colors)
    return counts.reshape(len(batch), num_colors) / index[0].numel()


TABLE_FEATURES: dict[str, Callable[[Images], Rows]] = {
    "pixels": pixels,
    "hog": hog,
    "color": colors,
}


def table_rows(images: Images, names: Iterable[str]) -> list[Rows]:
    """The features called `names`, a table (n, d) of each, of uint8 images (n, c, h, w)."""
    tables = []
    for name in names:
        batches = range(0, len(images), BATCH)
        rows = [TABLE_FEATURES[name](images[start : start + BATCH]) for start in batches]
        tables.append(np.concatenate(rows))
    return tables

"""Conversion between uint8 images (n, c, h, w) and the float batches of networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Images = NDArray[np.uint8]


def to_input(images: Images) -> Tensor:
    """uint8 images as float32 in 0..1, channels last: convolutions are about a fifth faster."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(torch.float32).div_(255)
    return pixels.to(memory_format=torch.channels_last)


def to_signed_input(images: Images) -> Tensor:
    """uint8 images as float32 in -1..1, channels last: the range of a generator's tanh."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(torch.float32)
    return pixels.div_(127.5).sub_(1).to(memory_format=torch.channels_last)


def to_pixels(images: Tensor) -> Images:
    """Images in -1..1 as uint8; values outside are clipped."""
    pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).contiguous().numpy()


def padded(batch: Tensor, size: int) -> Tensor:
    """`batch` (n, ...) padded with zeros to (size, ...); n is at most `size`."""
    missing = size - len(batch)
    return torch.cat([batch, batch.new_zeros((missing, *batch.shape[1:]))])


def padded_batches(size: int, *tensors: Tensor) -> Iterator[tuple[tuple[Tensor, ...], int]]:
    """Batches of exactly `size` rows, the last one padded, and their numbers of real rows.

    Kernels may round differently for another batch size. With one size for all batches, the result
    of a row does not depend on the number of rows.
    """
    for start in range(0, len(tensors[0]), size):
        parts = [tensor[start : start + size] for tensor in tensors]
        yield tuple(padded(part, size) for part in parts), len(parts[0])


@torch.no_grad()
def map_images(
    images: Images, function: Callable[[Tensor], Tensor], batch_size: int, *, pad: bool
) -> NDArray[np.float32]:
    """Apply `function` to all images as floats in 0..1, `batch_size` at a time; rows (n, d).

    With `pad`, every batch has the same size, so that no row depends on the number of images.
    """
    rows = []
    for start in range(0, len(images), batch_size):
        batch = to_input(images[start : start + batch_size])
        full = padded(batch, batch_size) if pad else batch
        rows.append(function(full)[: len(batch)].float().numpy())
    return np.concatenate(rows)

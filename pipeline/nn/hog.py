"""Histograms of oriented gradients: features of edges, for graphs and for tables.

Source: Dalal and Triggs (2005), "Histograms of oriented gradients for human detection". Deviations:
gradients are Gaussian derivatives, channels are added up, cells overlap softly in place of
normalized blocks, and square roots are taken. Opposite gradients count as the same direction, so an
image and its negative have the same features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.nn.background import Background, color, warp
from pipeline.nn.tensors import Images, to_input

Rows = NDArray[np.float32]

DIRECTIONS = 8  # of edges, over half a turn
CELLS = 9.3  # cells along each side: every third pixel of an MNIST digit
SMOOTHING = 0.7  # standard deviation in pixels, before gradients are computed
EPSILON = 1e-9


def hog_features(images: Images, background: Background) -> Rows:
    """HOG features (n, d) of uint8 images (n, c, h, w) without their slant; see `deslant`."""
    return edge_histograms(deslant(images, background))


def edge_histograms(pixels: Rows) -> Rows:
    """HOG features (n, d) of float32 images (n, c, h, w), with soft assignment to directions."""
    gray = pixels.sum(axis=1)
    strides = [max(1, round(side / CELLS)) for side in gray.shape[1:]]
    cells = [slice(stride // 2, None, stride) for stride in strides]

    # Magnitude and doubled angle of the gradient: doubling makes opposite gradients equal.
    dx, dy = (
        ndimage.gaussian_filter(gray, (0, SMOOTHING, SMOOTHING), order=(0, *order))
        for order in ((0, 1), (1, 0))
    )
    magnitude, angle = np.hypot(dx, dy), 2 * np.arctan2(dy, dx)

    # A gradient counts for its two nearest directions, and is blurred over the cells.
    cutoff = np.cos(2 * np.pi / DIRECTIONS)
    parts = []
    for number in range(DIRECTIONS):
        similarity = np.cos(angle - 2 * np.pi * number / DIRECTIONS) - cutoff
        share = magnitude * similarity.clip(0) / (1 - cutoff)
        blurred = ndimage.gaussian_filter(share, (0, *(stride / 2 for stride in strides)))
        parts.append(blurred[:, *cells].reshape(len(gray), -1))
    return np.sqrt(np.concatenate(parts, axis=1))


def deslant(images: Images, background: Background) -> Rows:
    """uint8 images (n, c, h, w) as float32 in 0..1, with their slant removed and centered.

    The shear along x makes the covariance of x and y zero; each pixel is weighted by its difference
    from the background. Photos stay as they are, since they have no background.
    """
    pixels = to_input(images).contiguous()
    if background is None:
        return pixels.numpy()
    _, _, height, width = pixels.shape
    mass = (pixels - color(background)).abs().sum(1)  # (n, h, w)
    y = torch.arange(height, dtype=torch.float32)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float32)[None, :] - (width - 1) / 2

    # The center of mass, and the slant from the second moments.
    total = mass.sum((1, 2)).clamp_min(EPSILON)
    center_y, center_x = ((mass * axis).sum((1, 2)) / total for axis in (y, x))
    dy = y - center_y[:, None, None]
    dx = x - center_x[:, None, None]
    slant = (mass * dy * dx).sum((1, 2)) / (mass * dy * dy).sum((1, 2)).clamp_min(EPSILON)

    # Where each output pixel is read from, in -1..1.
    from_y = (y + center_y[:, None, None]).expand(mass.shape)
    from_x = x + center_x[:, None, None] + slant[:, None, None] * y
    grid = torch.stack([from_x * 2 / width, from_y * 2 / height], dim=-1)
    return warp(pixels, grid, background).numpy()

"""Image grids: rows of equal cells with a line between neighbors, in the images' own colors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.images import BLACK, Background, Images
from pipeline.report.figures import LETTER_INCH, name_classes, subplots
from pipeline.report.names import FigureNames, figure_names

IMAGE_INCH = 0.32
MAX_IMAGE_INCH = 0.64
PIXELS_PER_INCH = 150
WIDEST_INCH = 6
BRIGHT = 128  # of 255; a brighter background needs a darker line between images
WHITE, SILVER = 255, 176


@dataclass(frozen=True)
class Subject:
    """The class names and the background of a dataset, for figures."""

    class_names: list[str]
    background: Background = BLACK

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def paper(self, images: Images) -> int:
        """The value that is white where `images` are shown, for cells without an image."""
        return 0 if is_inverted(images, self.background) else WHITE


def subject_of(manifest: Mapping[str, Any]) -> Subject:
    """The subject of the manifest of `data/splits`; one without a background has black images."""
    levels = manifest.get("background", BLACK)
    return Subject(list(manifest["class_names"]), tuple(levels) if levels else None)


def sheets(
    panels: dict[str, Images],
    columns: int,
    class_names: list[str] | None,
    background: Background = BLACK,
) -> Figure:
    """Image sheets side by side, each filled row by row with `columns` images per row.

    With `class_names`, row k of every sheet is class k and says so. Gray images on black are shown
    inverted, as ink on paper; all others as they are.
    """
    some = next(iter(panels.values()))
    names = figure_names(class_names) if class_names else FigureNames(())
    cell = cell_inches(some)
    rows = len(some) // columns
    label_inch = LETTER_INCH * max(0, names.width - 2)
    width, height = columns * cell[1] + 0.4 + label_inch, rows * cell[0] + 0.5
    across = min(len(panels), max(1, int(WIDEST_INCH / width)))
    down = math.ceil(len(panels) / across)
    figure, axes = subplots(across * width, down * height, down, across)
    for axis in axes.ravel()[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, images) in zip(axes.ravel(), panels.items(), strict=False):
        picture = mosaic(images, columns, line_value(images, background))
        colors = "gray_r" if is_inverted(images, background) else "gray"
        axis.imshow(picture, cmap=colors, vmin=0, vmax=255)
        axis.set_title(title)
        axis.grid(visible=False)
        axis.set_xticks([])
        side = images.shape[2] + line_pixels(images)
        places = [row * side + side / 2 for row in range(rows)] if class_names else []
        name_classes(axis, "y", names, places, rows * cell[0])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    return figure


def cell_inches(images: Images) -> tuple[float, float]:
    """Height and width of one image of a sheet: of equal area for every aspect ratio.

    Larger images get more room, so that their pixels are seen.
    """
    height, width = images.shape[2:]
    side = min(MAX_IMAGE_INCH, max(IMAGE_INCH, math.sqrt(height * width) / PIXELS_PER_INCH))
    stretch = math.sqrt(height / width)
    return side * stretch, side / stretch


def line_pixels(images: Images) -> int:
    """The width of the line between two images: a pixel, more between images above 48 pixels."""
    return max(1, round(max(images.shape[2:]) / 32))


def is_inverted(images: Images, background: Background) -> bool:
    """Whether images are shown as ink on paper: gray ones on black."""
    return images.shape[1] == 1 and background == BLACK


def line_value(images: Images, background: Background) -> int:
    """The value of the line between images: white, or silver where images may be bright."""
    if is_inverted(images, background):
        return 0
    is_dark = background is not None and max(background) < BRIGHT
    return WHITE if is_dark else SILVER


def mosaic(images: Images, columns: int, line: int | None = None) -> NDArray[np.uint8]:
    """Images (n, c, h, w) as one picture, row by row, with a line of this value between neighbors.

    By default the line is white: 0 for gray images, which are shown inverted.
    """
    rows = len(images) // columns
    if line is None:
        line = 0 if images.shape[1] == 1 else WHITE
    gap = (0, line_pixels(images))
    padded = np.pad(images[: rows * columns], ((0, 0), (0, 0), gap, gap), constant_values=line)
    _, channels, height, width = padded.shape
    grid = padded.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = grid.reshape(rows * height, columns * width, channels)
    return picture[..., 0] if channels == 1 else picture

"""Images of any size to one size, antialiased, with a record of what is lost.

Lanczos, the filter of scikit-image's and Pillow's thumbnails: it averages over all pixels that a
smaller pixel covers, and stays sharper than a box. A large image is reduced by a whole factor
first (`reducing_gap`), which is many times faster and hardly visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.schema import MAX_SIDE, MIN_SIDE, ResizeParams
from pipeline.data.images import Background
from pipeline.data.reading.decoding import Pixels
from pipeline.runtime.errors import DataError

GAP = 3.0  # reduce first down to this multiple of the final size
MUCH = 0.2  # share of the area; a loss above it is counted

Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Resized:
    """`pixels` uint8 (h, w, c); whether a side grew, and the share of the area that was cut.

    `box` is the part inside of padding; None: all of it.
    """

    pixels: Pixels
    enlarged: bool = False
    lost_area: float = 0.0
    box: Box | None = None


def resize(
    pixels: Pixels,
    params: ResizeParams,
    full_size: tuple[int, int] | None = None,
    background: Background = None,
) -> Resized:
    """`pixels` (h, w, c) in `params.shape`; `full_size` is the file's, if it was reduced already.

    `pad` fills with `background`, or with the color of the image's own border if that is None. A
    gray image becomes RGB if `background` is a color.
    """
    if params.policy == "pad" and pixels.shape[2] == 1 and len(set(background or ())) > 1:
        pixels = np.repeat(pixels, 3, axis=2)
    height, width = pixels.shape[:2]
    target_height, target_width = target = params.shape
    scales = [
        side / whole for side, whole in zip(target, full_size or (height, width), strict=True)
    ]
    if (height, width) == target:
        return Resized(pixels, max(scales) > 1)
    if params.policy == "stretch":
        return Resized(_resampled(pixels, target), max(scales) > 1)

    if params.policy == "crop":
        # The largest box of the new shape, in the middle.
        tall, wide = cropped_size((height, width), target)
        left, top = (width - wide) / 2, (height - tall) / 2
        cut = _resampled(pixels, target, (left, top, left + wide, top + tall))
        return Resized(cut, max(scales) > 1, 1 - tall * wide / (height * width))

    # The longer side fits.
    scale = min(target_height / height, target_width / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (target_height - inner[0]) // 2, (target_width - inner[1]) // 2
    padded = np.empty((*target, pixels.shape[2]), dtype=np.uint8)
    padded[:] = border_color(pixels) if background is None else background
    padded[top : top + inner[0], left : left + inner[1]] = _resampled(pixels, inner)
    return Resized(padded, min(scales) > 1, box=(top, left, *inner))


def cropped_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float]:
    """Height and width of the largest part of an image that has the aspect ratio of `target`."""
    scale = max(new / old for new, old in zip(target, size, strict=True))
    height, width = (min(new / scale, old) for new, old in zip(target, size, strict=True))
    return height, width


def _resampled(
    pixels: Pixels, target: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Pixels:
    """The part `box` (left, top, right, bottom) of `pixels`, or all, in `target` (h, w)."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    height, width = target
    small = image.resize((width, height), Image.Resampling.LANCZOS, box, reducing_gap=GAP)
    return np.asarray(small).reshape(height, width, pixels.shape[2])


def border_color(pixels: Pixels) -> Pixels:
    """The median of the outermost pixels, per channel (c,)."""
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    return np.median(np.concatenate(edges), axis=0).round().astype(np.uint8)


def refuse_size(where: str, height: int, width: int) -> None:
    """Raise `DataError` if images of this size are too small or too large for any model here."""
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE:
        raise DataError(
            where,
            f"expected sides of {MIN_SIDE} to {MAX_SIDE} pixels, found {width} x {height}",
            "set data.resize, for example resize: {size: 32}",
        )


def refuse_other_size(names: Sequence[str], first: tuple[int, int], other: tuple[int, int]) -> None:
    """Raise `DataError` if two images, called `names`, differ in (height, width)."""
    if first != other:
        raise DataError(
            names[1],
            f"expected {first[1]} x {first[0]} pixels as in {names[0]}, "
            f"found {other[1]} x {other[0]}",
            "set data.resize, for example resize: {size: 32}",
        )


def resize_all(
    images: Pixels, params: ResizeParams, background: Background = None
) -> tuple[Pixels, list[Resized]]:
    """Images (n, c, h, w), every one resized; the results record what each image lost."""
    results = [resize(image, params, background=background) for image in np.moveaxis(images, 1, 3)]
    return np.stack([np.moveaxis(each.pixels, 2, 0) for each in results]), results


def boxes_of(
    params: ResizeParams | None, results: Sequence[Box | None]
) -> NDArray[np.int64] | None:
    """Boxes (n, 4) inside of padding; None where no image has any."""
    if params is None or not any(results):
        return None
    return np.array([box or (0, 0, *params.shape) for box in results], dtype=np.int64)


def cost(params: ResizeParams | None, results: Sequence[Resized]) -> dict[str, Any] | None:
    """The effect of resizing on all images, as a JSON record; None without resizing."""
    if params is None:
        return None
    lost = [each.lost_area for each in results]
    return {
        "size": list(params.shape),
        "policy": params.policy,
        "num_enlarged": sum(each.enlarged for each in results),
        "num_cropped_much": sum(area > MUCH for area in lost),
        "mean_lost_area": round(float(np.mean(lost)), 4) if lost else 0.0,
    }

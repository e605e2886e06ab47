"""One image file to uint8 pixels, gray or RGB; the format is recognized by content, not by name.

Nothing is dropped or clipped silently: the result names every conversion.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from pipeline.runtime.errors import DataError

Pixels = NDArray[np.uint8]
Span = tuple[int, int]  # lowest and highest value

# Raster formats only: others start programs (EPS) or cannot be recognized by content (TGA).
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm"}
    | {".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
MAX_PIXELS = 89_478_485  # of one image; Pillow's own limit, a quarter GiB in RGB
ROTATED, ANIMATED = "rotated by EXIF", "first frame of an animation"
CMYK, PALETTE = "CMYK to RGB", "palette to RGB"
DEEP = "16 bits, {} to {} scaled to 0 to 255"
SIXTEEN_BITS = (0, 65535)
DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and scanners, often stored in 16
LFS_START = b"version https://git-lfs"
ALPHA = "alpha composited onto"  # the color follows
DAMAGES = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Decoded:
    """`pixels` uint8 (h, w, 1) or (h, w, 3); the file's mode, its size and what was converted.

    `size` is (height, width) of the file, upright; a large JPEG may be decoded at a smaller size.
    `span`: the values of a gray image of more than 8 bits, before they were scaled.
    """

    pixels: Pixels
    mode: str
    size: tuple[int, int]
    conversions: tuple[str, ...] = ()
    span: Span | None = None


def is_image(start: bytes) -> bool:
    """Whether a file that starts with these bytes (at least 32) is of a known image format."""
    return (
        start.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*"))
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or start[4:12] in (b"ftypavif", b"jP  \r\n\x87\n")
    )


def decode(
    content: bytes,
    where: str,
    alpha_onto: str = "white",
    at_least: int | None = None,
    span: Span = SIXTEEN_BITS,
) -> Decoded:
    """Decode the image in `content`; `where` names it in errors.

    Transparent pixels get the color `alpha_onto`. `at_least`: a JPEG may be reduced by 2, 4 or 8
    while decoding as long as both sides keep this many pixels, which is many times faster. `span`:
    the values of gray images of 16 bits that become 0 and 255, the same for all images. Raises
    `DataError` for what is no image, damaged, cut off, too large or not of 8 or 16 bits.
    """
    Image.init()  # once: registers all formats, which `formats=` needs
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _decode(image, where, alpha_onto, at_least, span)
    except UnidentifiedImageError:
        raise DataError(
            where, f"expected an image, found {_kind(content)}", _fix(content)
        ) from None
    except DAMAGES as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            where, f"expected an intact image, found: {reason}", "replace or remove it"
        ) from None


def _decode(
    image: Image.Image, where: str, alpha_onto: str, at_least: int | None, span: Span
) -> Decoded:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            where,
            f"expected at most {MAX_PIXELS:,} pixels, found {image.width} x {image.height}",
            "make it smaller or remove it",
        )
    mode, conversions = image.mode, []
    width, height = image.size
    if getattr(image, "is_animated", False) and image.format != "MPO":
        conversions.append(ANIMATED)
    if at_least is not None:
        image.draft(None, (at_least, at_least))

    # The tile names the raw mode; Pillow drops the low byte of colors of 16 bits by itself.
    tiles = getattr(image, "tile", [])
    is_gray = mode.startswith("I")
    if not is_gray and any("16" in str(tile.args) for tile in tiles):
        conversions.append(DEEP.format(*SIXTEEN_BITS))
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        upright = ImageOps.exif_transpose(image)
        if upright.size != image.size and width != height:
            width, height = height, width
        image = upright
        conversions.append(ROTATED)

    if is_gray:
        values = np.asarray(image)
        conversions.append(DEEP.format(*span))
        found = int(values.min()), int(values.max())
        pixels = _scaled(values, span)[:, :, None]
        return Decoded(pixels, mode, (height, width), tuple(conversions), found)
    pixels, words = _to_bytes(image, where, alpha_onto)
    return Decoded(pixels, mode, (height, width), (*conversions, *words))


def _to_bytes(image: Image.Image, where: str, alpha_onto: str) -> tuple[Pixels, list[str]]:
    """uint8 (h, w, 1 or 3), and the names of the conversions."""
    mode = image.mode
    if mode in ("F", "LAB"):
        what = "floating-point numbers (mode F)" if mode == "F" else "the mode LAB"
        raise DataError(where, f"expected 8 or 16 bits per channel, found {what}", "save it as PNG")

    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _onto(image.convert("RGBA"), alpha_onto)
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, None], []
    words = {"CMYK": [CMYK], "P": [PALETTE]}.get(mode, [])
    return np.asarray(image.convert("RGB")), words


def _scaled(values: NDArray[np.integer], span: Span) -> Pixels:
    """Values of more than 8 bits; those of `span` become 0 and 255."""
    low, high = span
    wide = np.clip(values.astype(np.float64), low, high)
    return np.round((wide - low) * (255 / (high - low))).astype(np.uint8)


def common_span(spans: Sequence[Span]) -> Span:
    """The span in which all images are scaled, so that no difference in brightness is lost.

    From 0, or the lowest value if that is negative, to the highest of 8, 10, 12, 14 or 16 bits that
    is not below any value, or to the highest value of all.
    """
    lowest = min((low for low, _ in spans), default=0)
    highest = max((high for _, high in spans), default=SIXTEEN_BITS[1])
    tops = [2**bits - 1 for bits in DEPTHS]
    return min(0, lowest), next((top for top in tops if highest <= top), highest)


def _onto(image: Image.Image, color: str) -> tuple[Pixels, list[str]]:
    """RGBA on a plain color; a fully opaque image is unchanged."""
    if image.getchannel("A").getextrema() == (255, 255):
        return np.asarray(image.convert("RGB")), []
    ground = Image.new("RGBA", image.size, (*ImageColor.getrgb(color)[:3], 255))
    flat = Image.alpha_composite(ground, image)
    return np.asarray(flat.convert("RGB")), [f"{ALPHA} {color}"]


def _kind(content: bytes) -> str:
    """The kind of a file that is not an image, in words."""
    start = content[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kinds = {
        "an empty file": not content,
        "a Git LFS pointer": content.startswith(LFS_START),
        "an HTML page": start.startswith((b"<!doctype html", b"<html")),
        "an SVG drawing": b"<svg" in start,
        "a HEIC photo or a video": content[4:8] == b"ftyp",
        "nothing but zero bytes": not any(content[:200]),
    }
    if known := [kind for kind, is_kind in kinds.items() if is_kind]:
        return known[0]
    is_text = all(byte >= 32 or byte in b"\t\r\n" for byte in content[:200])
    return "text" if is_text else f"data of an unknown format ({content[:4].hex(' ')} ...)"


def _fix(content: bytes) -> str:
    if content.startswith(LFS_START):
        return "run `git lfs pull` in the folder of the images"
    if content[4:8] == b"ftyp" or b"<svg" in content[:200]:
        return "save it as PNG or JPEG"
    return "replace or remove it"

"""Every kind of image file becomes the right pixels, and what is none is refused in words."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from folders import encoded, photo
from PIL import Image

from pipeline.data.reading.decoding import common_span, decode, is_image
from pipeline.runtime.errors import DataError

RGB = photo(0, 6, 9)
GRAY = photo(1, 6, 9, 1)


def refused(content: bytes) -> str:
    with pytest.raises(DataError) as error:
        decode(content, "cat/1.jpg")
    assert str(error.value).startswith("cat/1.jpg: expected")
    return str(error.value)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("pixels", [RGB, GRAY])
def test_lossless_formats_keep_every_value(kind: str, pixels: np.ndarray) -> None:
    content = encoded(pixels, kind)
    assert is_image(content[:32]) or kind == "PPM"
    np.testing.assert_array_equal(decode(content, "x").pixels, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000", "GIF", "AVIF"])
def test_other_formats_are_read_by_their_content(kind: str) -> None:
    flat = np.full((16, 16, 3), 200, np.uint8)
    content = encoded(flat, kind)
    assert is_image(content[:32])
    assert np.abs(decode(content, "x.png").pixels.astype(int) - 200).max() <= 4


def test_a_photo_is_turned_upright() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned by a quarter clockwise
    decoded = decode(encoded(RGB, "PNG", exif=tags), "x")
    np.testing.assert_array_equal(decoded.pixels, np.rot90(RGB, -1))
    assert decoded.conversions == ("rotated by EXIF",)
    assert decoded.size == (9, 6)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_gets_the_stated_color(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (90, 90, 90, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    settings = {}
    if mode == "P":
        image = Image.new("P", (4, 4), 1)
        image.putpalette([0, 0, 0, 90, 90, 90])
        image.putpixel((1, 0), 0)
    elif mode in ("L", "RGB"):
        image = image.convert(mode)
    elif mode == "LA":
        image = image.convert("LA")
    if mode in ("L", "P"):
        settings["transparency"] = 0
    elif mode == "RGB":
        settings["transparency"] = (0, 0, 0)
    content = encoded(image, "PNG", **settings)
    for color, expected in (("white", [255] * 3), ("red", [255, 0, 0])):
        decoded = decode(content, "x", color)
        assert decoded.pixels[0, 1].tolist() == expected
        assert decoded.pixels[1, 1].tolist() == [90] * 3
        assert decoded.conversions == (f"alpha composited onto {color}",)


def test_opaque_alpha_is_dropped_without_a_word() -> None:
    alpha = np.full((6, 9, 1), 255, np.uint8)
    decoded = decode(encoded(np.concatenate([RGB, alpha], axis=2)), "x")
    np.testing.assert_array_equal(decoded.pixels, RGB)
    assert (decoded.mode, decoded.conversions) == ("RGBA", ())


def test_half_transparent_pixels_are_mixed() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert np.abs(decode(encoded(image), "x").pixels.astype(int) - 127).max() <= 1


def test_bits_become_black_and_white() -> None:
    image = Image.new("1", (4, 4))
    image.putpixel((2, 1), 1)
    pixels = decode(encoded(image), "x").pixels[:, :, 0]
    assert pixels[1, 2] == 255
    assert pixels.sum() == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [8191, 65535])
def test_sixteen_bits_are_scaled_by_the_range_that_is_given(kind: str, top: int) -> None:
    values = np.linspace(1000, 5000, 25).astype(np.uint16).reshape(5, 5)
    decoded = decode(encoded(Image.fromarray(values), kind), "x", span=(0, top))
    assert decoded.conversions == (f"16 bits, 0 to {top} scaled to 0 to 255",)
    assert decoded.span == (1000, 5000)
    np.testing.assert_array_equal(decoded.pixels[:, :, 0], np.round(values * (255 / top)))


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(1000, 2000), (30000, 31000)], (0, 32767 * 2 + 1)),
        ([(0, 4000), (5, 4095)], (0, 4095)),
        ([(0, 200)], (0, 255)),
        ([(0, 4096)], (0, 16383)),
        ([(-1000, 3000)], (-1000, 4095)),
        ([(0, 70000)], (0, 70000)),
        ([], (0, 65535)),
    ],
)
def test_one_range_holds_the_values_of_all_images(
    spans: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    assert common_span(spans) == expected


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (32768, 128)])
def test_a_plain_image_of_sixteen_bits_keeps_its_brightness(value: int, expected: int) -> None:
    image = Image.fromarray(np.full((5, 5), value, np.uint16))
    assert np.unique(decode(encoded(image), "x").pixels).tolist() == [expected]


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG file by hand: Pillow writes no colors of 16 bits."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">2I5B", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_colors_of_sixteen_bits_keep_their_high_byte_and_are_counted() -> None:
    row = b"\0" + struct.pack(">3H", 0, 0x8000, 0xFFFF) * 4
    decoded = decode(png(4, 4, 16, 2, row * 4), "x")
    assert decoded.pixels[0, 0].tolist() == [0, 128, 255]
    assert decoded.conversions == ("16 bits, 0 to 65535 scaled to 0 to 255",)


def test_cmyk_and_palettes_become_rgb() -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    decoded = decode(encoded(red.convert("CMYK"), "JPEG"), "x")
    assert decoded.conversions == ("CMYK to RGB",)
    assert np.abs(decoded.pixels.astype(int) - [255, 0, 0]).max() < 10
    decoded = decode(encoded(red.convert("P")), "x")
    assert decoded.conversions == ("palette to RGB",)
    assert decoded.pixels[0, 0].tolist() == [255, 0, 0]


def test_decimal_numbers_are_refused() -> None:
    image = Image.fromarray(np.zeros((4, 4), np.float32))
    assert "mode F" in refused(encoded(image, "TIFF"))


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("L", (6, 6), level) for level in (40, 200)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    decoded = decode(content, "x")
    assert "first frame of an animation" in decoded.conversions
    assert np.unique(decoded.pixels).tolist() == [40]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_refused(kind: str, share: float) -> None:
    whole = encoded(photo(3, 64, 64), kind)
    refused(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"<HTML><body>", "an HTML page"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "an SVG drawing"),
        (b"a note, no picture\n", "text"),
        (bytes(300), "zero bytes"),
        (b"\0\0\0\x18ftypheic" + bytes(9), "HEIC"),
        (b"\x93NUMPY\1\0\xff", "unknown format (93 4e 55 4d"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "text"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, words: str) -> None:
    assert words in refused(content)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 12_000, 60_000])
def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(side: int) -> None:
    assert "pixels" in refused(png(side, side, 8, 0, b""))


def test_a_large_jpeg_is_reduced_while_decoding() -> None:
    smooth = Image.fromarray(photo(0, 4, 4)).resize((2048, 1024), Image.Resampling.BICUBIC)
    content = encoded(smooth, "JPEG", quality=95)
    decoded = decode(content, "x", at_least=64)
    assert decoded.pixels.shape == (128, 256, 3)
    assert decoded.size == (1024, 2048)
    whole = Image.open(io.BytesIO(content)).reduce(8)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(whole)).mean() < 2

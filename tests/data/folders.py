"""Small folders of images for tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.config.schema import DataParams, ResizeParams, UnknownClassesParams
from pipeline.data.datasets import open_dataset
from pipeline.data.datasets.base import Dataset


def photo(seed: int, height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    """Random pixels uint8 (h, w, c)."""
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    """The bytes of an image file."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def leave(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def leave_images(folder: Path, names: list[str], **settings: Any) -> Path:
    """One random image per name below `folder`, all different."""
    for seed, name in enumerate(names):
        leave(folder / name, encoded(photo(seed, **settings)))
    return folder


def opened(name: str, path: Path, root: Path, resize: Any = None, **settings: Any) -> Dataset:
    """The dataset `name` of `path` with `settings`, in the project `root`."""
    params = DataParams(
        name=name,
        unknown_classes=UnknownClassesParams(),
        resize=ResizeParams(**resize) if resize else None,
        settings={"path": str(path), **settings},
    )
    return open_dataset(params, root)

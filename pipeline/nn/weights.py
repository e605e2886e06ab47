"""Weights as safetensors files: written atomically, read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.runtime.files import atomic


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors by name to `path`, atomically."""
    content = save({name: value.detach().contiguous() for name, value in weights.items()})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors in the file `path`, by name."""
    return load_file(path)

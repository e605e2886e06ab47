"""Weights as safetensors files: written atomically, read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.runtime.files import write_bytes


def to_safetensors(weights: Mapping[str, Tensor]) -> bytes:
    """Tensors by name in the safetensors format."""
    return save({name: value.detach().contiguous() for name, value in weights.items()})


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors by name to `path`, atomically."""
    write_bytes(path, to_safetensors(weights))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors in the file `path`, by name."""
    return load_file(path)

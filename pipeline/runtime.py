"""Randomness derived from names, and the settings under which the same inputs give the same bytes.

Knows nothing of images or models. Every trial runs inside `deterministic()`, always with one
thread: more trials side by side are faster than more threads inside one, and a fixed count keeps
results equal to the bit for any number of workers.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Literal, cast

import numpy as np
from threadpoolctl import threadpool_limits

NUM_THREADS = 1
Precision = Literal["auto", "float32", "bfloat16"]
LIBRARIES = ("lightgbm", "numpy", "scikit-learn", "scipy", "torch", "torchmetrics", "torchvision")


def derive_seed(*names: str | int) -> int:
    """A 63-bit seed from a path of names, e.g. `derive_seed("draw", "mnist5k", seed)`.

    SHA-256 of the names, so that neighbouring names give unrelated streams on every platform.
    """
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(*names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for a path of names."""
    return np.random.default_rng(derive_seed(*names))


def library_versions() -> dict[str, str]:
    """The versions that decide results, the interpreter's among them."""
    found = {name: version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **found}


def resolve_precision(precision: Precision) -> Precision:
    """`auto` is bfloat16 where the processor multiplies such numbers itself, float32 elsewhere.

    Emulated, bfloat16 is slower than float32.
    """
    import torch

    if precision != "auto":
        return precision
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread, deterministic kernels, and the caller's torch random state put back afterwards.

    BLAS and OpenMP pools are limited as well: the order of a parallel sum changes its last bits.
    """
    import torch  # here, because `prepare` and `report` need the seeds above but never torch

    # Filling fresh memory with NaN would expose reads of unwritten memory, at a cost in every step.
    memory = cast("Any", torch.utils.deterministic)  # whose stubs lack the setting
    filled, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    strict = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(NUM_THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        with threadpool_limits(NUM_THREADS):
            yield
    finally:
        memory.fill_uninitialized_memory = filled
        torch.set_rng_state(state)
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)

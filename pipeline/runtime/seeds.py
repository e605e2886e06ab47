"""Seeds derived from names, and the library versions that decide results.

Knows nothing of images or models.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version

import numpy as np

LIBRARIES = (
    "imbalanced-learn",
    "lightgbm",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
    "torchmetrics",
    "torchvision",
)


def derive_seed(*names: str | int) -> int:
    """A 63-bit seed from a path of names, e.g. `derive_seed("draw", "mnist5k", seed)`.

    From the SHA-256 of the names, so that similar names give unrelated seeds on every platform.
    """
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(*names: str | int) -> np.random.Generator:
    """A NumPy random generator for a path of names."""
    return np.random.default_rng(derive_seed(*names))


def library_versions() -> dict[str, str]:
    """The versions that decide results, with that of the interpreter."""
    versions = {name: version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions}

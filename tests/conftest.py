"""Fixtures shared by all tests: the project's folders, a small study, toy data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

# One thread per test process: two run at once on two cores, and results are defined for one thread.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

from pipeline.datasets import toy
from pipeline.images import LabeledImages
from pipeline.params import DataParams

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def bars() -> LabeledImages:
    """All images of the toy dataset: 180 of 8 x 8 pixels, three classes."""
    return toy.load(DataParams(name="toy", test_per_class=1), ROOT).images


@pytest.fixture
def few_bars(bars: LabeledImages) -> LabeledImages:
    """Ten toy images of each class."""
    chosen = np.concatenate([np.flatnonzero(bars.labels == label)[:10] for label in range(3)])
    return bars.take(chosen)

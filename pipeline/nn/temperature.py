"""Temperature scaling of class scores and probabilities. Knows no model.

Source: Guo et al. (2017), "On calibration of modern neural networks", section 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TINY = 1e-12  # added to probabilities before their logarithm


def temperature_losses(
    logits: NDArray[np.floating], labels: NDArray[np.int64], temperatures: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The log loss of every image at every temperature, (num_temperatures, n).

    `logits` (n, num_classes) are scores or logarithms of probabilities; they are divided by each of
    `temperatures`, above 0. `labels` (n,) are columns of `logits`.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperatures[:, None, None]
    scaled = scaled - np.logaddexp.reduce(scaled, axis=2, keepdims=True)
    losses: NDArray[np.float64] = -scaled[:, np.arange(len(labels)), labels]
    return losses


def apply_temperature(
    probabilities: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Probabilities (n, num_classes) after division of their logarithms by a temperature."""
    powers = np.power(probabilities.astype(np.float64) + TINY, 1 / temperature)
    scaled: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scaled

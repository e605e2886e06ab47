"""Moving averages of weights."""

from __future__ import annotations

import pytest
import torch

from pipeline.nn.averaging import moving_average


@pytest.mark.parametrize(("count", "decay"), [(0, 0.1), (10, 0.55), (1000, 0.9)])
def test_a_young_average_forgets_its_start_sooner(count: int, decay: float) -> None:
    averaged = [torch.zeros(2)]
    moving_average(0.9)(averaged, [torch.ones(2)], count)
    torch.testing.assert_close(averaged[0], torch.full((2,), 1 - decay))

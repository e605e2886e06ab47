"""The weight of agreement and the moving average of the semi-supervised GAN."""

from __future__ import annotations

import torch
from test_teachers import SECTIONS

from pipeline.nn.averaging import moving_average
from pipeline.teachers.ssgan import SSGAN


def test_agreement_gains_weight_slowly() -> None:
    teacher = SSGAN(SSGAN.Config.model_validate({**SECTIONS["ssgan"], "steps": 100}), 0)
    assert [teacher._ramp(step) for step in (0, 15, 30, 99)] == [0, 0.5, 1, 1]


def test_a_young_average_forgets_its_start_sooner() -> None:
    for count, decay in ((0, 0.1), (10, 0.55), (1000, 0.9)):
        averaged = [torch.zeros(2)]
        moving_average(0.9)(averaged, [torch.ones(2)], count)
        torch.testing.assert_close(averaged[0], torch.full((2,), 1 - decay))

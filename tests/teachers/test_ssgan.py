"""The teacher `ssgan`: its losses, and that it resumes like every model of the one fit loop."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.validation import Member
from pipeline.data.images import Images, ImageSpec, LabeledImages
from pipeline.nn import fit as loop
from pipeline.nn.checkpoint import newest_first
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import DivergedError
from pipeline.teachers.ssgan import SSGAN

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
SMALL: Member = {
    "steps": STEPS,
    "batch_size": 16,
    "latent_dim": 8,
    "generator_channels": 8,
    "channels": 8,
    "features": 16,
    "agreement": 1.0,
    "precision": "float32",
}
Fitted = tuple[SSGAN, LabeledImages, Images]


def teacher(**changes: object) -> SSGAN:
    return SSGAN(SSGAN.Config.model_validate({**SMALL, **changes}), 3)


def same(first: SSGAN, second: SSGAN) -> bool:
    states = first.networks.state_dict(), second.networks.state_dict()
    averages = first.state(), second.state()
    return all(torch.equal(old[name], new[name]) for old, new in (states, averages) for name in old)


@pytest.fixture(scope="module")
def images(bars: LabeledImages) -> tuple[LabeledImages, Images]:
    """Six labeled bars of each class, and all others without labels."""
    index = np.concatenate([np.flatnonzero(bars.labels == label)[:6] for label in range(3)])
    rest = np.setdiff1d(np.arange(len(bars)), index)
    return bars.take(index), bars.images[rest]


@pytest.fixture(scope="module")
def straight(
    images: tuple[LabeledImages, Images], tmp_path_factory: pytest.TempPathFactory
) -> SSGAN:
    """A teacher that was trained without an interruption."""
    with deterministic():
        return teacher().fit(*images, tmp_path_factory.mktemp("straight"))


def test_agreement_rises_over_the_first_steps(images: tuple[LabeledImages, Images]) -> None:
    model = teacher(steps=100, agreement=2.0)
    model.build(images[0].spec())
    weights = []
    for step in (0, 15, 30, 99):
        model.averaged.n_averaged.fill_(step)
        weights.append(model._agreement_weight())
    assert weights == [0, 1, 2, 2]


def test_losses_are_those_of_the_paper(images: tuple[LabeledImages, Images]) -> None:
    labeled, _ = images
    model = teacher(dropout=0.0, noise_std=0.0, agreement=2.0)
    model.build(labeled.spec())
    model.averaged.n_averaged.fill_(STEPS)
    with torch.no_grad():  # all class scores are 0, so that Z is the number of classes
        for name, weight in model.discriminator.scores.named_parameters():
            if name == "bias" or "original0" in name:
                weight.zero_()
    # The average is certain of the first class.
    model._target = lambda batch: torch.eye(3)[:1].expand(len(batch), 3)
    real = torch.rand(4, 1, 8, 8)
    losses = model.update(real, torch.tensor([0, 1, 2, 0]), real, real)

    is_real = math.log(1 + 1 / 3) / 2 + math.log(1 + 3) / 2
    apart = 2.0 * ((1 - 1 / 3) ** 2 + 2 / 9)
    assert float(losses["discriminator"].detach()) == pytest.approx(math.log(3) + is_real + apart)


def test_a_loss_that_is_not_finite_stops_the_fit_at_that_step(
    images: tuple[LabeledImages, Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = SSGAN.update, []

    def poisoned(self: SSGAN, *batch: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(1)
        losses = update(self, *batch)
        return losses if len(calls) < 5 else {**losses, "generator": torch.tensor(math.nan)}

    monkeypatch.setattr(SSGAN, "update", poisoned)
    with pytest.raises(DivergedError, match=r"step 5: expected a finite generator loss"):
        teacher().fit(*images, tmp_path)


def test_an_interrupted_fit_resumes_to_the_same_bits(
    images: tuple[LabeledImages, Images],
    straight: SSGAN,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, calls = SSGAN.update, []

    def interrupted(self: SSGAN, *batch: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return update(self, *batch)

    monkeypatch.setattr(SSGAN, "update", interrupted)
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    with deterministic():
        with pytest.raises(KeyboardInterrupt):
            teacher().fit(*images, tmp_path)
        resumed = teacher().fit(*images, tmp_path)
    assert len(calls) == 13 + STEPS - 12
    assert same(resumed, straight)


KILLED = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.toy import Toy
from pipeline.nn import fit
from pipeline.runtime.determinism import deterministic
from pipeline.teachers.ssgan import SSGAN
folder, section = Path(sys.argv[1]), json.loads(sys.argv[2])
fit.CHECKPOINT_S = 0.0
bars = Toy(BuiltIn(), Path.cwd()).load().images
index = np.concatenate([np.flatnonzero(bars.labels == label)[:6] for label in range(3)])
rest = np.setdiff1d(np.arange(len(bars)), index)
teacher = SSGAN(SSGAN.Config.model_validate(section), 3)
update, done = teacher.update, []
def counted(*batch):
    done.append(1)
    if len(done) == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(*batch)
teacher.update = counted
with deterministic():
    teacher.fit(bars.take(index), bars.images[rest], folder)
"""


@pytest.mark.slow
def test_a_killed_fit_resumes_to_the_same_bits(
    images: tuple[LabeledImages, Images],
    straight: SSGAN,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(SMALL)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = newest_first(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-100])  # the one before it is used

    calls, update = [], SSGAN.update

    def counted(self: SSGAN, *batch: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(1)
        return update(self, *batch)

    monkeypatch.setattr(SSGAN, "update", counted)
    with deterministic():
        resumed = teacher().fit(*images, tmp_path)
    assert len(calls) == STEPS - 11
    assert same(resumed, straight)


def test_the_discriminator_sees_in_negatives_what_another_one_sees_in_drawings() -> None:
    images = torch.rand((6, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    first, second = teacher(), teacher()
    first.build(ImageSpec(1, 16, 16, 3))
    second.build(ImageSpec(1, 16, 16, 3, (255,)))
    direction = dict(second.network.named_parameters())["embed.1.parametrizations.weight.original1"]
    with torch.no_grad():
        direction.neg_()
        networks = first.network.eval(), second.network.eval()
        torch.testing.assert_close(networks[1](1 - images), networks[0](images))

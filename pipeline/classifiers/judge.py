"""The judge: the classifier that evaluates generators and is used for nothing else.

A small pool has several judges, one for every fold (`evaluation.pool`).

Its settings are fixed, since a measuring instrument that changes with the study measures nothing.
Only a small pool shortens its training, which would repeat a few images thousands of times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.nn.augment import AffineConfig, affine
from pipeline.runtime.seeds import derive_seed

JUDGE = CNNConfig(
    steps=1000,
    batch_size=64,
    learning_rate=3e-3,
    weight_decay=1e-2,
    channels=16,
    features=64,
    dropout=0.3,
)
MAX_EPOCHS = 200  # fewer than `JUDGE.steps` where the pool has less than 320 images for the judge
JUDGE_AUGMENTATION = AffineConfig(degrees=10, translate=0.08, scale=0.1, shear=5)


def fit_judge(data: LabeledImages) -> CNN:
    """The judge trained on `data`."""
    steps = min(JUDGE.steps, math.ceil(MAX_EPOCHS * len(data) / JUDGE.batch_size))
    judge = CNN(JUDGE.model_copy(update={"steps": steps}), derive_seed("judge"))
    return judge.fit(plain(data, affine(JUDGE_AUGMENTATION, data.background)))


def load_judge(state: Mapping[str, Tensor], spec: ImageSpec) -> CNN:
    """The judge with the state of a trained one, for images and classes of `spec`.

    Its weights are in row-major order: in channels-last order kernels round differently, and the
    audits would differ in their last bits from the published ones.
    """
    judge = CNN(JUDGE, derive_seed("judge")).load(state, spec)
    judge.network.to(memory_format=torch.contiguous_format)
    return judge


def judges_state(judges: Sequence[CNN]) -> dict[str, Tensor]:
    """The states of several judges as one: names begin with the number of the judge."""
    return {
        f"{number}.{name}": value
        for number, judge in enumerate(judges)
        for name, value in judge.state().items()
    }


def load_judges(state: Mapping[str, Tensor], spec: ImageSpec) -> list[CNN]:
    """The judges of a state of `judges_state`, in their order; none of an empty one."""
    by_judge: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        number, _, name = key.partition(".")
        by_judge.setdefault(int(number), {})[name] = value
    return [load_judge(by_judge[number], spec) for number in sorted(by_judge)]

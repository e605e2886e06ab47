"""How a generator is trained: the one loop of `nn/fit.py`, with what only generators have.

These are batches of real images, in which rare ones may occur more often, snapshots of synthetic
images during training, and batch statistics of the averaged network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pipeline.data.images import Background, Images, LabeledImages
from pipeline.generators.base import Generator
from pipeline.generators.oversampling import sampling_weights
from pipeline.generators.sampling import snapshot
from pipeline.nn.augment import AffineConfig, affine
from pipeline.nn.averaging import moving_average
from pipeline.nn.checkpoint import History
from pipeline.nn.fit import Batch, Clock, TrainingPlan, by_steps, train
from pipeline.nn.sampling import cumulative_weights, sample_indices
from pipeline.nn.tensors import to_signed_input
from pipeline.runtime.seeds import derive_seed

RECALIBRATION_BATCH, RECALIBRATION_BATCHES = 250, 10
ADVICE = "lower that generator's learning rates in params.yaml"


@torch.random.fork_rng(devices=[])
def fit(
    generator: Generator,
    data: LabeledImages,
    seed: int,
    folder: Path,
    clock: Clock | None = None,
) -> History:
    """Train `generator` on `data`; `generator.generator_net` ends with the averaged weights.

    `folder` is for checkpoints: an interrupted fit resumes from the last one and ends with the same
    bits. `clock` replaces the number of steps that the configuration gives. Raises `DivergedError`
    at the first step with a loss that is not finite.
    """
    config = generator.config
    clock = clock or by_steps(config.num_steps(len(data)))
    averaged = AveragedModel(generator.generator_net, multi_avg_fn=moving_average(config.ema_decay))
    averaged.requires_grad_(False)

    labels, augment = torch.from_numpy(data.labels), augmenter(config.augmentation, data.background)
    edges = cumulative_weights(sampling_weights(data, config.rare_oversampling), total=len(data))

    def sample_batch(_: int) -> Batch:
        index = sample_indices(edges, config.batch_size)
        return augment(to_signed_input(data.images[index.numpy()])), labels[index]

    def take_snapshot() -> Images:
        generator.finalize(averaged.module, data)
        return snapshot(generator, averaged.module, seed)

    history = train(
        generator,
        generator.generator_net,
        averaged,
        sample_batch,
        TrainingPlan(seed, folder, clock, config.decay_from, ADVICE),
        take_snapshot,
    )
    generator.generator_net.load_state_dict(averaged.module.state_dict())
    torch.manual_seed(derive_seed("settle", seed))
    recalibrate_batch_norm(generator)
    return history


def augmenter(config: AffineConfig, background: Background) -> Callable[[Tensor], Tensor]:
    """The random affine transform for images in -1..1, by torch's global random state."""
    if not any(config.model_dump().values()):
        return lambda images: images
    transform = affine(config, background)
    return lambda images: transform(images.add(1).div(2), torch.default_generator).mul(2).sub(1)


@torch.no_grad()
def recalibrate_batch_norm(generator: Generator) -> None:
    """Compute batch statistics anew: those of the averaged network are the live network's.

    They are means over fresh noise and all classes in turn. Leaves the network in evaluation mode.
    """
    generator_net = generator.generator_net
    layers = [layer for layer in generator_net.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches

    generator_net.train()
    labels = torch.arange(RECALIBRATION_BATCH) % generator.spec.num_classes
    for _ in range(RECALIBRATION_BATCHES if layers else 0):
        generator_net(generator.sample_noise(RECALIBRATION_BATCH), labels)
    generator_net.eval()

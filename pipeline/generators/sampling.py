"""Images drawn from a trained generator: each from a seed of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.images import Images, LabeledImages, Labels
from pipeline.generators.base import Generator
from pipeline.nn.tensors import padded_batches, to_pixels
from pipeline.runtime.seeds import derive_seed

SNAPSHOT_PER_CLASS = 8
# Every forward pass of `sample_images` has this many rows: kernels may round otherwise when the
# batch size changes, and then an image would depend on its neighbours.
SAMPLE_BATCH = 100


def snapshot(generator: Generator, generator_net: nn.Module, seed: int) -> Images:
    """Images of every class from the same noise at every call, (classes * per class, c, h, w)."""
    labels = np.repeat(np.arange(generator.spec.num_classes), SNAPSHOT_PER_CLASS)
    seeds = [derive_seed("snapshot", seed, position) for position in range(len(labels))]
    return sample_images(generator, labels, seeds, generator_net)


def sample_images(
    generator: Generator,
    labels: Labels,
    seeds: list[int],
    generator_net: nn.Module | None = None,
    latent_std: float = 1.0,
) -> Images:
    """uint8 images of `labels` (n,), each from its own seed: neither n nor order changes one.

    `latent_std` is the standard deviation of the noise; generators are trained with 1.
    """
    network = generator.generator_net if generator_net is None else generator_net
    return render(network, generator.noise(seeds, latent_std), torch.from_numpy(labels))


@torch.no_grad()
def render(generator_net: nn.Module, noise: Tensor, labels: Tensor) -> Images:
    """uint8 images of latents (n, noise_dim) and labels (n,), or shares of them (n, classes)."""
    was_training = generator_net.training
    generator_net.eval()
    parts = [
        generator_net(*batch)[:count]
        for batch, count in padded_batches(SAMPLE_BATCH, noise, labels)
    ]
    generator_net.train(was_training)
    return to_pixels(torch.cat(parts))


def sample_classes(
    generator: Generator, per_class: int, seed: int, latent_std: float = 1.0
) -> LabeledImages:
    """`per_class` images of every class, in turns; another `latent_std` scales the same noise."""
    classes = range(generator.spec.num_classes)
    seeds = [
        derive_seed("image", seed, label, rank) for rank in range(per_class) for label in classes
    ]
    labels = np.tile(np.arange(len(classes)), per_class)
    return LabeledImages(sample_images(generator, labels, seeds, latent_std=latent_std), labels)

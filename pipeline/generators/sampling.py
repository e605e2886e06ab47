"""Sampling images from a trained generator: each image has a seed of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.images import Images, LabeledImages, Labels
from pipeline.generators.base import Generator
from pipeline.nn.tensors import padded_batches, to_pixels
from pipeline.runtime.seeds import derive_seed

SNAPSHOT_PER_CLASS = 8
# Rows of every forward pass of `sample_images`. Kernels may round differently for another batch
# size, and an image would depend on how many others are sampled.
SAMPLE_BATCH = 100


def sample_classes(
    generator: Generator, per_class: int, seed: int, latent_std: float = 1.0
) -> LabeledImages:
    """`per_class` images of every class, alternating.

    Another `latent_std` scales the same noise.
    """
    classes = range(generator.spec.num_classes)
    seeds = [
        derive_seed("image", seed, label, rank) for rank in range(per_class) for label in classes
    ]
    labels = np.tile(np.arange(len(classes)), per_class)
    images = sample_images(generator, labels, seeds, latent_std=latent_std)
    return LabeledImages(images, labels, "synthetic images", generator.spec.background)


def sample_images(
    generator: Generator,
    labels: Labels,
    seeds: list[int],
    generator_net: nn.Module | None = None,
    latent_std: float = 1.0,
) -> Images:
    """uint8 images (n, c, h, w) of `labels` (n,), each from its own seed.

    An image depends neither on the number of images nor on their order. `latent_std` is the
    standard deviation of the noise, 1 in training. `generator_net` replaces the generator's own.
    """
    network = generator.generator_net if generator_net is None else generator_net
    return render(network, generator.noise(seeds, latent_std), torch.from_numpy(labels))


def snapshot(generator: Generator, generator_net: nn.Module, seed: int) -> Images:
    """Images of every class, (classes * per class, c, h, w), from the same noise at every call."""
    labels = np.repeat(np.arange(generator.spec.num_classes), SNAPSHOT_PER_CLASS)
    seeds = [derive_seed("snapshot", seed, position) for position in range(len(labels))]
    return sample_images(generator, labels, seeds, generator_net)


@torch.no_grad()
def render(generator_net: nn.Module, noise: Tensor, labels: Tensor) -> Images:
    """uint8 images of latents (n, noise_dim) and labels (n,) or mixtures (n, classes)."""
    was_training = generator_net.training
    generator_net.eval()
    parts = [
        generator_net(*batch)[:count]
        for batch, count in padded_batches(SAMPLE_BATCH, noise, labels)
    ]
    generator_net.train(was_training)
    return to_pixels(torch.cat(parts))

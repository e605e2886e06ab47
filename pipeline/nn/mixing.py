"""Transforms that change labels as well as images, and how a batch goes through any transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.nn.augment import Transform
from pipeline.nn.backend import seeded

SEEDS = 2**62


@dataclass(frozen=True)
class Mixing:
    """A transform that mixes the images of a batch, and their labels in the same shares.

    `mix(images, labels, num_classes, generator)` maps images (n, c, h, w) in 0..1 and labels (n,)
    to images of the same shape and targets (n, num_classes) in 0..1, whose rows sum to 1. Only a
    classifier that learns from targets can use it.
    """

    mix: Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]

    def after(self, transform: Transform) -> Mixing:
        """The same of images that `transform` has changed."""

        def mix(
            images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
        ) -> tuple[Tensor, Tensor]:
            return self.mix(transform(images, generator), labels, num_classes, generator)

        return Mixing(mix)


AnyTransform = Transform | Mixing


def from_library(build: Callable[[int], nn.Module]) -> Mixing:
    """The transform of a batch that `build` makes for a number of classes, such as MixUp.

    It mixes every image with the one before it, which is random in a random batch.
    """

    def mix(
        images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        with seeded(int(torch.randint(SEEDS, (), generator=generator))):
            mixed, targets = build(num_classes)(images, labels)
        return mixed, targets

    return Mixing(mix)


def apply_transform(
    transform: AnyTransform | None,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """A batch and what to learn from it: labels (n,), or targets (n, num_classes) if mixed."""
    if transform is None:
        return images, labels
    if isinstance(transform, Mixing):
        return transform.mix(images, labels, num_classes, generator)
    return transform(images, generator), labels

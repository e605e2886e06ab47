"""Several transforms, one after the other."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.nn.background import Background
from pipeline.nn.mixing import AnyTransform, Mixing


class SequenceConfig(Section):
    """`of`: names of other transforms in their order. Only the last may mix labels."""

    of: list[str] = Field(min_length=1)

    level: ClassVar[int] = 1

    @property
    def names(self) -> list[str]:
        """The transforms that this one is made of."""
        return self.of


def sequence(config: SequenceConfig, background: Background, *parts: AnyTransform) -> AnyTransform:
    """The transform that applies `parts` in their order.

    Raises `ValueError` when several mix labels, or one that is not the last.
    """
    changes = [part for part in parts if not isinstance(part, Mixing)]
    mixings = [part for part in parts if isinstance(part, Mixing)]
    names = ", ".join(config.of)
    if len(mixings) > 1:
        raise ValueError(f"expected at most one transform that mixes labels, found {names}")
    if mixings and parts[-1] is not mixings[0]:
        raise ValueError(f"expected the transform that mixes labels to be last, found {names}")

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        for change in changes:
            images = change(images, generator)
        return images

    return mixings[0].after(transform) if mixings else transform

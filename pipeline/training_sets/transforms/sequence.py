"""Several transforms, one after the other."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from pipeline.config.validation import Section
from pipeline.nn.background import Background
from pipeline.nn.mixing import AnyTransform, Mixing
from pipeline.runtime.errors import ParamsError


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

    Raises `ParamsError` when one that mixes labels is not the last.
    """
    changes = [part for part in parts if not isinstance(part, Mixing)]
    mixings = [part for part in parts if isinstance(part, Mixing)]
    if any(isinstance(part, Mixing) for part in parts[:-1]):
        raise ParamsError(
            "params.yaml: transforms",
            f"expected a transform that mixes labels at the end of a sequence, found {config.of}",
            "move mixup or cutmix to the end, and keep one of them",
        )

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        for change in changes:
            images = change(images, generator)
        return images

    return mixings[0].after(transform) if mixings else transform

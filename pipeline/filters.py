"""Which synthetic images an arm keeps.

A filter judges by a teacher's class probabilities; the teacher was trained on the same draw's
labels and on nothing else. Knows no classifier: it receives probabilities.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.images import Labels
from pipeline.params import Member, Section, member_config

Keep = NDArray[np.bool_]
Filter = Callable[[Labels, NDArray[np.float32]], Keep]


class AgreementConfig(Section):
    """How sure the teacher must be."""

    confidence: float = Field(ge=0, lt=1)


def agreement(config: AgreementConfig) -> Filter:
    """Keep an image when the teacher's first choice is its label, with enough probability."""

    def keep(labels: Labels, probabilities: NDArray[np.float32]) -> Keep:
        agrees = probabilities.argmax(axis=1) == labels
        return agrees & (probabilities.max(axis=1) >= config.confidence)

    return keep


FILTERS: dict[str, tuple[type[Section], Callable[..., Filter]]] = {
    "agreement": (AgreementConfig, agreement),
}


def build_filter(name: str, sections: dict[str, Member]) -> Filter:
    """The filter called `name` in params.yaml; `none` keeps everything."""
    if name == "none":
        return lambda labels, probabilities: np.ones(len(labels), dtype=bool)
    config, build = FILTERS[name]
    return build(member_config(config, sections[name], f"filters.{name}"))

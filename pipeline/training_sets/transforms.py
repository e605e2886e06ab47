"""The registry of transforms: a line per member."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config.validation import Member, Section, member_config
from pipeline.nn.augment import (
    AffineConfig,
    ElasticConfig,
    Transform,
    affine,
    elastic,
)

TRANSFORMS: dict[str, tuple[type[Section], Callable[..., Transform]]] = {
    "affine": (AffineConfig, affine),
    "elastic": (ElasticConfig, elastic),
}


def build_transform(name: str, sections: dict[str, Member]) -> Transform | None:
    """The transform called `name` in params.yaml, or None for `none`."""
    if name == "none":
        return None
    config, build = TRANSFORMS[name]
    return build(member_config(config, sections[name], f"transforms.{name}"))

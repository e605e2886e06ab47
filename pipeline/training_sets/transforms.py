"""The registry of transforms: one line per member, no logic of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.config.validation import Member, Section, member_config
from pipeline.data.images import Background
from pipeline.nn.augment import AffineConfig, ElasticConfig, Transform, affine, elastic
from pipeline.trials.specs import MemberSpec

TRANSFORMS: dict[str, tuple[type[Section], Callable[..., Transform]]] = {
    "affine": (AffineConfig, affine),
    "elastic": (ElasticConfig, elastic),
}


def transform_spec(name: str, sections: Mapping[str, Member]) -> MemberSpec | None:
    """The transform called `name` in the section `transforms`, or None for `none`."""
    if name == "none":
        return None
    config, build = TRANSFORMS[name]
    return MemberSpec(build, member_config(config, sections[name], f"transforms.{name}"))


def build_transform(spec: MemberSpec | None, background: Background) -> Transform | None:
    """The transform of a spec for images with that background, or None for none."""
    return None if spec is None else spec.family(spec.config, background)

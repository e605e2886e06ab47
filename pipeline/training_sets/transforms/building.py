"""A transform of params.yaml as a spec, and how it is built.

A transform may be made of others: a sequence of leaves, a tuned one of leaves and sequences. Its
`Config` names them, and has a `level` above theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.schema import MemberParams, family
from pipeline.config.validation import FILE, member_config, refuse_unknown
from pipeline.data.images import Background
from pipeline.nn.mixing import AnyTransform
from pipeline.runtime.errors import ParamsError
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.trials.specs import MemberSpec


def transform_spec(name: str, sections: Mapping[str, MemberParams]) -> MemberSpec | None:
    """The transform called `name` in the section `transforms`, or None for `none`.

    Raises `ParamsError` when its family or settings are wrong, or one that it is made of is not
    there or is made of others itself where that is not allowed.
    """
    if name == "none":
        return None
    where, section = f"transforms.{name}", sections[name]
    refuse_unknown(f"{FILE}: {where}.family", family(section, name), TRANSFORMS)
    kind, build = TRANSFORMS[family(section, name)]
    config = member_config(kind, section.settings, where)

    parts = []
    for part in getattr(config, "names", ()):
        refuse_unknown(f"{FILE}: {where}", part, ["none", *sections])
        _refuse_level(where, part, getattr(kind, "level", 0), sections)
        parts.append(transform_spec(part, sections))
    return MemberSpec(build, config, tuple(part for part in parts if part is not None))


def _refuse_level(where: str, part: str, level: int, sections: Mapping[str, MemberParams]) -> None:
    """Raise `ParamsError` when `part` is made of as many others as a transform of that level."""
    if part == "none":
        return
    kind = TRANSFORMS.get(family(sections[part], part))
    if kind is not None and getattr(kind[0], "level", 0) >= level:
        raise ParamsError(
            f"{FILE}: {where}",
            f"expected names of simpler transforms, found {part} of family "
            f"{family(sections[part], part)}",
            "a sequence may hold no sequence, and only an arm may name a tuned transform",
        )


def build_transform(spec: MemberSpec | None, background: Background) -> AnyTransform | None:
    """The transform of a spec for images with that background, or None for none."""
    if spec is None:
        return None
    parts = [build_transform(part, background) for part in spec.parts]
    transform: AnyTransform = spec.family(spec.config, background, *parts)
    return transform

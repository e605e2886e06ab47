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

NONE = "none"


def transform_spec(name: str, sections: Mapping[str, MemberParams]) -> MemberSpec | None:
    """The transform called `name` in the section `transforms`, or None for `none`.

    Raises `ParamsError` as `named_spec` does.
    """
    return None if name == NONE else named_spec(name, sections)


def named_spec(name: str, sections: Mapping[str, MemberParams]) -> MemberSpec:
    """The transform called `name`, with those that it is made of.

    Raises `ParamsError` when its family or settings are wrong, or one that it is made of is not
    there or is made of others itself where that is not allowed.
    """
    where, section = f"transforms.{name}", sections[name]
    refuse_unknown(f"{FILE}: {where}.family", family(section, name), TRANSFORMS)
    kind, build = TRANSFORMS[family(section, name)]
    config = member_config(kind, section.settings, where)

    names = getattr(config, "names", ())
    for part in names:
        refuse_unknown(f"{FILE}: {where}", part, sections)
        _refuse_level(where, part, getattr(kind, "level", 0), sections)
    return MemberSpec(build, config, tuple(named_spec(part, sections) for part in names))


def _refuse_level(where: str, part: str, level: int, sections: Mapping[str, MemberParams]) -> None:
    """Raise `ParamsError` when `part` is made of as many others as a transform of that level."""
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


def find_choice(spec: MemberSpec, name: str) -> MemberSpec | None:
    """The transform called `name` of those that a tuned one chooses from; None for `none`."""
    return None if name == NONE else dict(zip(spec.config.names, spec.parts, strict=True))[name]

"""A transform of params.yaml as a spec, and how it is built.

A transform may be made of others: a sequence of leaves, a tuned one of leaves and sequences. Its
`Config` names them, and has a `level` above theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.design import PARTS
from pipeline.config.schema import MemberParams, family
from pipeline.config.validation import FILE, member_config, refuse_unknown
from pipeline.data.images import BLACK, Background
from pipeline.nn.mixing import AnyTransform
from pipeline.runtime.errors import ParamsError
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.training_sets.transforms.sequence import SequenceConfig
from pipeline.trials.specs import MemberSpec

NONE = "none"
SEQUENCE = SequenceConfig.level


def transform_spec(name: str, sections: Mapping[str, MemberParams]) -> MemberSpec | None:
    """The transform called `name` in the section `transforms`, or None for `none`.

    Raises `ParamsError` as `named_spec` does.
    """
    return None if name == NONE else named_spec(name, sections)


def named_spec(name: str, sections: Mapping[str, MemberParams]) -> MemberSpec:
    """The transform called `name`, with those that it is made of.

    Raises `ParamsError` when its family or settings are wrong, or one that it is made of is not
    there, is made of others itself where that is not allowed, or mixes labels at a wrong place.
    """
    where, section = f"transforms.{name}", sections[name]
    refuse_unknown(f"{FILE}: {where}.family", family(section, name), TRANSFORMS)
    kind, build = TRANSFORMS[family(section, name)]
    config = member_config(kind, section.settings, where)

    names = getattr(config, "names", ())
    for part in names:
        _refuse_part(name, part, sections)
    spec = MemberSpec(build, config, tuple(named_spec(part, sections) for part in names))
    if _level(name, sections) == SEQUENCE:
        _refuse_order(f"{FILE}: {where}.{PARTS[family(section, name)]}", spec)
    return spec


def _level(name: str, sections: Mapping[str, MemberParams]) -> int:
    """0 for a transform that is made of no others, `SEQUENCE`, or more for a tuned one."""
    kind = TRANSFORMS.get(family(sections[name], name))
    return getattr(kind[0], "level", 0) if kind else 0


def _refuse_part(name: str, part: str, sections: Mapping[str, MemberParams]) -> None:
    """Raise `ParamsError` unless the transform `name` may be made of the one called `part`."""
    level = _level(name, sections)
    where = f"{FILE}: transforms.{name}.{PARTS[family(sections[name], name)]}"
    simpler = [other for other in sections if _level(other, sections) < level]
    if part in sections and part not in simpler:
        expected = "not sequences and not tuned" if level == SEQUENCE else "not tuned"
        names = ", ".join(simpler)
        raise ParamsError(
            where, f"expected transforms that are {expected}, found {part}", f"use one of {names}"
        )
    refuse_unknown(where, part, simpler if level == SEQUENCE else [NONE, *simpler])


def _refuse_order(where: str, spec: MemberSpec) -> None:
    """Raise `ParamsError` when a sequence cannot be built of its parts in that order."""
    try:
        build_transform(spec, BLACK)
    except ValueError as error:
        fix = "move mixup or cutmix to the end, and keep one of them"
        raise ParamsError(where, str(error), fix) from None


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

"""Whole-file validation of params.yaml against every registry, before hours are spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.classifiers import CLASSIFIERS
from pipeline.config.schema import Params, load_params
from pipeline.config.validation import FILE, Member, Section, member_config
from pipeline.data.datasets import DATASETS
from pipeline.data.images import ImageSpec
from pipeline.evaluation.statistics import SEEDS_FOR_A_CLAIM
from pipeline.generators import GENERATORS
from pipeline.generators.base import create
from pipeline.nn.layers import conv_state_dict
from pipeline.report.comparisons import least_adjusted_p
from pipeline.runtime.errors import ParamsError
from pipeline.teachers import TEACHERS
from pipeline.training_sets.filters import FILTERS
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.trials.engine import ENGINES
from pipeline.trials.grid import expected_trials

ANY_SPEC = ImageSpec(channels=1, height=32, width=32, num_classes=2)  # of which nothing depends


def check_params(root: Path) -> Params:
    """The params of `root`; raises `ParamsError` for any name or value that no member knows."""
    params = load_params(root)
    known("data.name", [params.data.name], DATASETS)
    known("engine.kind", [params.engine.kind], ENGINES)
    for name, generator in params.generators.items():
        family = params.family(name)
        known(f"generators.{name}: family", [family], GENERATORS)
        member_config(GENERATORS[family].Config, generator.settings, f"generators.{name}")
    members("teachers", params.teachers, {name: member.Config for name, member in TEACHERS.items()})
    members(
        "classifiers", params.classifiers, {k: member.Config for k, member in CLASSIFIERS.items()}
    )
    members("transforms", params.transforms, {k: config for k, (config, _) in TRANSFORMS.items()})
    reference = params.report.reference
    if reference is not None and params.regime(reference) != "labeled":
        raise ParamsError(
            f"{FILE}: report.reference",
            "expected an arm of labeled images alone, which is what augmenting the images at hand "
            f"takes, found {reference}, which saw unlabeled ones",
            "name such an arm; a generator that saw unlabeled images is held against the labels it "
            "learned from all the same",
        )
    for name, arm in params.arms.items():
        known(f"arms.{name}.filter", [arm.filter], FILTERS)
        if arm.discriminator_of is not None:
            check_start(params, name, arm.discriminator_of)
    return params


def check_start(params: Params, arm: str, name: str) -> None:
    """Raise `ParamsError` when an arm's classifiers cannot start from generator `name`."""
    family = GENERATORS[params.family(name)]
    config = member_config(family.Config, params.generators[name].settings, f"generators.{name}")
    discriminator = conv_state_dict(
        create(family, config, ANY_SPEC, 0).discriminator_convolutions()
    )
    for classifier in params.arm_classifiers(arm):
        member, section = CLASSIFIERS[classifier], params.classifiers[classifier]
        member(member_config(member.Config, section, f"classifiers.{classifier}"), 0).start_from(
            discriminator
        )


def summary(params: Params) -> str:
    """What the study will compute, and a warning when its verdicts are settled beforehand."""
    study = params.study
    subsets = len(study.budgets) * len(study.seeds)
    text = (
        f"{len(params.generators) * subsets} generators and {len(expected_trials(params))} "
        f"classifiers over {subsets} label draws"
        + (f", and {len(params.teachers) * subsets} teachers" if params.teachers else "")
    )
    tune = params.tune
    pairs = len(tune.latent_std) * len(tune.min_probability)
    if pairs > 1:
        text += (
            f"; to tune, each generator takes {tune.folds} more and {tune.folds * (pairs + 1)} "
            "classifiers, on parts of its draw"
        )
    least, level = least_adjusted_p(params), 1 - params.report.confidence_level
    if len(study.seeds) >= SEEDS_FOR_A_CLAIM and least > level:
        text += (
            f"; but with so many comparisons and {len(study.seeds)} seeds the least corrected "
            f"p-value is {least:.3f}, above {level:.2g}: add seeds or drop budgets or arms"
        )
    return text


def members(
    family: str, sections: Mapping[str, Member], configs: Mapping[str, type[Section]]
) -> None:
    """Check every section of an open family."""
    known(family, sections, configs)
    for name, section in sections.items():
        member_config(configs[name], section, f"{family}.{name}")


def known(where: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Raise `ParamsError` for a name that is not among `choices`."""
    choices = list(choices)
    for name in names:
        if name not in choices:
            raise ParamsError(
                f"{FILE}: {where}",
                f"expected one of {', '.join(choices)}, found {name!r}",
                "use one of these names",
            )

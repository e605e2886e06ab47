"""`check`: the whole of params.yaml against every registry, before hours of computation.

Every generator, teacher and classifier is built once for the dataset's image shape, untrained and
without memory, so that settings which only a network refuses are found here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.classifiers import CLASSIFIERS
from pipeline.commands.image_shape import described, image_spec
from pipeline.config.design import is_supervised, is_tuned, teacher_transform_problem
from pipeline.config.schema import DataParams, MemberParams, Params, family, load_params
from pipeline.config.validation import FILE, SEE_KEYS, Section, member_config, unknown_name
from pipeline.data.datasets import DATASETS
from pipeline.data.images import BLACK, ImageSpec
from pipeline.evaluation.statistics import SEEDS_FOR_A_CLAIM
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, create
from pipeline.nn.backend import without_memory
from pipeline.nn.layers import conv_state_dict
from pipeline.nn.mixing import Mixing
from pipeline.report.comparisons import least_adjusted_p
from pipeline.runtime.errors import ParamsError, PipelineError
from pipeline.teachers import TEACHERS
from pipeline.training_sets.filters import FILTERS
from pipeline.training_sets.teaching import classifier_candidates
from pipeline.training_sets.transforms import TRANSFORMS
from pipeline.training_sets.transforms.building import build_transform, named_spec
from pipeline.trials.engine import ENGINES
from pipeline.trials.grid import choices, expected_trials
from pipeline.trials.specs import MemberSpec

Result = TypeVar("Result")


def check_params(root: Path) -> Params:
    """The params of `root`; raises `ParamsError` naming every wrong name, value and network."""
    params = load_params(root)
    refuse(name_problems(params))

    configs = {
        **sections("generators", params.generators, GENERATORS),
        **sections("teachers", params.teachers, TEACHERS),
        **sections("classifiers", params.classifiers, CLASSIFIERS),
    }
    member_config(DATASETS[params.data.name].Config, params.data.settings, "data")
    refuse(transform_problems(params))
    refuse([*data_problems(params.data, root), *teacher_problems(params, configs)])
    spec, origin = image_spec(params.data, root)
    if problems := build_problems(params, configs, spec):
        refuse([*problems, f"models are built for images of {described(spec)}, {origin}"])
    return params


def refuse(problems: Iterable[str]) -> None:
    """Raise `ParamsError` with all `problems` in one sentence, if there are any."""
    if text := "; ".join(problems):
        raise ParamsError(FILE, text, SEE_KEYS)


def name_problems(params: Params) -> Iterator[str]:
    """Datasets, engines, families, transforms and filters that do not exist."""
    yield from unknown_name("data.name", params.data.name, DATASETS)
    yield from unknown_name("engine.kind", params.engine.kind, ENGINES)
    registries: tuple[tuple[str, Mapping[str, MemberParams], Iterable[str]], ...] = (
        ("generators", params.generators, GENERATORS),
        ("teachers", params.teachers, TEACHERS),
        ("classifiers", params.classifiers, CLASSIFIERS),
        ("transforms", params.transforms, TRANSFORMS),
    )
    for key, members, families in registries:
        for name, section in members.items():
            yield from unknown_name(f"{key}.{name}.family", family(section, name), families)
    for name, arm in params.arms.items():
        yield from unknown_name(f"arms.{name}.filter", arm.filter, FILTERS)


def data_problems(data: DataParams, root: Path) -> Iterator[str]:
    """A path with nothing there, and a single class."""
    path, classes = data.settings.get("path"), data.settings.get("classes")
    if path is not None and not (root / Path(path).expanduser()).exists():
        yield f"data.path: expected a file or folder, found nothing at {path}"
    if classes is not None and len(set(classes)) < 2:
        yield f"data.classes: expected at least two, found {', '.join(classes) or 'none'}"


def sections(
    key: str, members: Mapping[str, MemberParams], families: Mapping[str, Any]
) -> dict[str, Section]:
    """The validated settings of every member, by its place such as `generators.dcgan`."""
    return {
        f"{key}.{name}": member_config(
            families[family(section, name)].Config, section.settings, f"{key}.{name}"
        )
        for name, section in members.items()
    }


def teacher_problems(params: Params, configs: Mapping[str, Section]) -> Iterator[str]:
    """Classifiers and transforms that a teacher names and that do not exist or do not fit."""
    mixing = mixing_transforms(params)
    for name in params.teachers:
        where = f"teachers.{name}"
        settings = configs[where].model_dump()
        classifier, transform = settings.get("classifier"), settings.get("transform", "none")
        if classifier is not None:
            yield from unknown_name(f"{where}.classifier", classifier, params.classifiers)
        yield from teacher_transform_problem(params, f"{where}.transform", transform)
        if classifier in params.classifiers:
            yield from mixing_problems(params, f"{where}.transform", transform, classifier, mixing)


def transform_problems(params: Params) -> Iterator[str]:
    """Transforms that cannot be built, and those that an arm's classifiers cannot use.

    Raises `ParamsError` for wrong settings, also those that a tuned transform has for classifiers.
    """
    for name in params.transforms:
        spec = named_spec(name, params.transforms)
        if is_tuned(params, name):
            yield from tuned_problems(params, name, spec)

    mixing = mixing_transforms(params)
    for arm, recipe in params.arms.items():
        where = f"arms.{arm}.transform"
        for classifier in params.arm_classifiers(arm):
            for problem in mixing_problems(params, where, recipe.transform, classifier, mixing):
                yield f"{problem} (list the others in that arm's classifiers)"


def mixing_transforms(params: Params) -> set[str]:
    """The transforms that mix labels."""
    specs = {
        name: named_spec(name, params.transforms)
        for name in params.transforms
        if not is_tuned(params, name)
    }
    return {
        name for name, spec in specs.items() if isinstance(build_transform(spec, BLACK), Mixing)
    }


def mixing_problems(
    params: Params, where: str, transform: str, classifier: str, mixing: set[str]
) -> Iterator[str]:
    """A transform of `mixing` for a classifier that cannot learn from mixed labels."""
    kind = CLASSIFIERS[family(params.classifiers[classifier], classifier)]
    if transform in mixing and not kind.learns_from_mixed:
        yield (
            f"{where}: expected a transform that keeps labels for classifier {classifier}, which "
            f"cannot learn from mixed labels, found {transform}"
        )


def tuned_problems(params: Params, name: str, spec: MemberSpec) -> Iterator[str]:
    """Classifiers that a tuned transform has settings for and that do not exist."""
    for key in ("classifier_settings", "fold_settings"):
        for classifier in getattr(spec.config, key):
            yield from unknown_name(f"transforms.{name}.{key}", classifier, params.classifiers)
    for classifier in params.classifiers:
        for in_folds in (False, True):
            classifier_candidates(params, classifier, CLASSIFIERS, name, spec, in_folds=in_folds)


def build_problems(params: Params, configs: Mapping[str, Any], spec: ImageSpec) -> list[str]:
    """Networks that cannot be built for images of `spec`, and warm starts that do not fit."""
    problems: list[str] = []

    generators: dict[str, Generator | None] = {}
    for name in params.generators:
        place = f"generators.{name}"
        build = functools.partial(create, GENERATORS[params.family(name)], configs[place], spec, 0)
        generators[name] = attempt(place, build, problems)

    for name in params.teachers:
        if not is_supervised(params, name):  # else it is one of the classifiers
            teacher = TEACHERS[family(params.teachers[name], name)](configs[f"teachers.{name}"], 0)
            attempt(f"teachers.{name}", functools.partial(teacher.build, spec), problems)

    classifiers = {}
    for name, section in params.classifiers.items():
        classifiers[name] = CLASSIFIERS[family(section, name)](configs[f"classifiers.{name}"], 0)
        build_network = functools.partial(classifiers[name].build, spec)
        attempt(f"classifiers.{name}", build_network, problems)

    for arm, recipe in params.arms.items():
        generator = generators.get(recipe.discriminator_of or "")
        if generator is not None:
            discriminator = conv_state_dict(generator.discriminator_convolutions())
            for name in params.arm_classifiers(arm):
                start = functools.partial(classifiers[name].start_from, discriminator)
                attempt(f"arms.{arm} with classifiers.{name}", start, problems)
    return problems


def attempt(where: str, build: Callable[[], Result], problems: list[str]) -> Result | None:
    """What `build` returns; None and a sentence in `problems` if the settings do not allow it."""
    try:
        with without_memory():
            return build()
    except PipelineError as error:
        problems.append(f"{where}: {error.args[1]} ({error.args[2]})")
    except (ValueError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        problems.append(f"{where}: expected settings that a network can have, found {reason!r}")
    return None


def summary(params: Params) -> str:
    """What the study computes, and a warning if no comparison can become significant."""
    study = params.study
    subsets = len(study.budgets) * len(study.seeds)
    text = (
        f"{len(params.generators) * subsets} generators, {len(params.teachers) * subsets} teachers "
        f"and {len(expected_trials(params))} classifiers over {subsets} labeled subsets"
    )

    tune = params.tune
    candidates = len(tune.latent_std) * len(tune.min_probability)
    if candidates > 1:
        text += (
            f"; tuning trains {tune.folds} more generators and {tune.folds * (candidates + 1)} "
            "more classifiers for each generator"
        )

    if num_choices := len(choices(params)):
        text += f"; {num_choices} cross-validations of transforms"

    least, level = least_adjusted_p(params), 1 - params.report.confidence_level
    if len(study.seeds) >= SEEDS_FOR_A_CLAIM and least > level:
        text += (
            f"; warning: with so many comparisons and {len(study.seeds)} seeds the smallest "
            f"corrected p-value is {least:.3f}, above {level:.2g}; add seeds, or remove budgets or "
            "arms"
        )
    return text

"""The design of a study: what is compared with what, and whether the arms allow it.

Plain functions of `Params`. Nothing here knows a family or a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pipeline.config.arms import (
    BALANCE,
    FRESH,
    MODELS,
    SUBSETS,
    SYNTHETIC,
    ArmParams,
    PseudoArm,
    RealArm,
    TeacherArm,
)
from pipeline.config.validation import unknown_name

if TYPE_CHECKING:
    from pipeline.config.schema import Params

# What an arm's images, their generator and their teacher learned from.
Regime = Literal["labeled", "labeled+unlabeled"]
SUPERVISED = "supervised"  # the family of teachers that learns from the labeled subset alone
TUNED = "tuned"  # the family of transforms that each replicate chooses by cross-validation
# The settings in which a transform names others, by its family.
PARTS = {"sequence": "of", TUNED: "choices"}


def regime(params: Params, arm: str) -> Regime:
    """Whether unlabeled images took part in an arm."""
    recipe = params.arms[arm]
    if isinstance(recipe, PseudoArm):
        return "labeled+unlabeled"

    generator = recipe.generator or recipe.discriminator_of
    is_labeled = generator is None or params.generators[generator].teacher is None
    if isinstance(recipe, TeacherArm):
        is_labeled = is_supervised(params, recipe.teacher)
    return "labeled" if is_labeled else "labeled+unlabeled"


def is_supervised(params: Params, teacher: str) -> bool:
    """Whether a teacher learns from the labeled subset alone."""
    return (params.teachers[teacher].family or teacher) == SUPERVISED


def is_tuned(params: Params, transform: str) -> bool:
    """Whether a transform is chosen in every replicate."""
    section = params.transforms.get(transform)
    return section is not None and (section.family or transform) == TUNED


def teacher_transform_problem(params: Params, where: str, transform: str) -> list[str]:
    """A sentence about a teacher's `transform` at `where` if there is none of it, else nothing."""
    usable = ["none", *(name for name in params.transforms if not is_tuned(params, name))]
    hint = " (a tuned transform is for arms only)" if is_tuned(params, transform) else ""
    return [f"{problem}{hint}" for problem in unknown_name(where, transform, usable)]


def with_parts(params: Params, transform: str) -> list[str]:
    """A transform and all that it is made of or chosen from, each once; nothing for `none`."""
    names, waiting = [], [transform]
    while waiting:
        name = waiting.pop(0)
        section = params.transforms.get(name) if isinstance(name, str) else None
        if section is None or name in names:
            continue
        names.append(name)
        listed = section.settings.get(PARTS.get(section.family or name, ""), [])
        waiting += listed if isinstance(listed, list) else []
    return names


def marked(params: Params, arm: str) -> str:
    """The name of an arm, with an asterisk if unlabeled images took part."""
    return arm if regime(params, arm) == "labeled" else f"{arm}*"


def arm_classifiers(params: Params, arm: str) -> list[str]:
    """The classifiers of an arm, in the order of params.yaml."""
    listed = params.arms[arm].classifiers
    return [name for name in params.classifiers if listed is None or name in listed]


def arm_budgets(params: Params, arm: str) -> list[int]:
    """The budgets of an arm; the baseline has those of the learning curve as well."""
    is_baseline = arm == params.report.baseline
    return params.study.budgets + (params.study.curve_budgets if is_baseline else [])


def reference(params: Params, arm: str) -> str | None:
    """The second arm that an arm is compared with, beside the baseline, or None.

    * Its generator learned from a teacher's labels: the `pseudo` arm of that teacher with equal
      settings.
    * A warm start from a generator of labeled images: the same claim without the warm start.
    * Any other synthetic arm: `report.reference`.
    """
    recipe = params.arms[arm]
    generator = recipe.generator or recipe.discriminator_of
    teacher = params.generators[generator].teacher if generator else None

    if recipe.generator and not teacher:
        return params.report.reference
    if recipe.generator:
        alike = [
            name
            for name, other in params.arms.items()
            if isinstance(other, PseudoArm)
            and other.teacher == teacher
            and not other.permute_labels
            and _equal(recipe, other, "per_class", "filter", "real_share", "transform", "real")
        ]
    elif recipe.discriminator_of and not teacher:
        alike = [
            name
            for name, other in params.arms.items()
            if isinstance(other, RealArm)
            and (other.inputs, other.role) == (SUBSETS, "claim")
            and _equal(recipe, other, "per_class", "transform", "real")
        ]
    else:
        alike = []
    return alike[0] if alike else None


def _equal(first: ArmParams, second: ArmParams, *keys: str) -> bool:
    return all(getattr(first, key) == getattr(second, key) for key in keys)


def pairs(params: Params) -> list[tuple[str, str]]:
    """The compared (arm, other): all arms with the baseline, itself included, then with their
    reference.

    The reference has the arm's own regime, so the effect of a generator is separated from that of
    unlabeled images. An arm with role `measure` is compared with it only if it keeps the real
    images.
    """
    baseline = params.report.baseline
    compared = [(arm, baseline) for arm in params.arms]
    for name, arm in params.arms.items():
        other = reference(params, name)
        adds = arm.role == "claim" or (arm.role == "measure" and arm.real)
        if adds and other not in (None, name, baseline):
            compared.append((name, str(other)))
    return compared


def problems(params: Params) -> Iterator[str]:
    """Every contradiction between sections, one sentence each.

    The comparisons are checked only once all names exist.
    """
    named = [*_source_problems(params), *_arm_problems(params), *_report_problems(params)]
    yield from named
    yield from _tune_problems(params)
    if not named:
        yield from _classifier_problems(params)


def _source_problems(params: Params) -> Iterator[str]:
    """Inputs that nothing writes, teachers that do not exist, and names that are taken."""
    teachers = [f"{MODELS}{name}" for name in params.teachers]
    generators = [f"{SYNTHETIC}{name}" for name in params.generators]
    choices = {
        "real": [SUBSETS, FRESH],
        "synthetic": generators,
        "pseudo": teachers,
        "smote": [SUBSETS],
        "teacher": teachers,
        "warm_start": [f"{MODELS}{name}" for name in params.generators],
    }
    for name, generator in params.generators.items():
        yield from unknown_name(f"generators.{name}.inputs", generator.inputs, [SUBSETS, *teachers])
    for name, arm in params.arms.items():
        where = f"arms.{name}.inputs (kind {arm.kind})"
        yield from unknown_name(where, arm.inputs, choices[arm.kind])
    if "none" in params.transforms:
        yield "transforms.none: expected another name, since none means no transform, found none"
    for name in sorted({*params.teachers} & {*params.generators}):
        yield f"teachers.{name}: expected a name that no generator has, found {name!r}"
    yield from _filter_problems(params)


def _filter_problems(params: Params) -> Iterator[str]:
    """The teacher that filters must exist, and must not see unlabeled images."""
    name = params.synthesize.teacher
    if name not in params.teachers:
        yield from unknown_name("synthesize.teacher", name, params.teachers)
    elif not is_supervised(params, name):
        yield (
            f"synthesize.teacher: expected a teacher of family {SUPERVISED}, since arms of labeled "
            f"images must not depend on unlabeled ones, found {name!r}"
        )


def _arm_problems(params: Params) -> Iterator[str]:
    limit = params.synthesize.per_class
    for name, arm in params.arms.items():
        where = f"arms.{name}"
        count = arm.per_class
        if arm.generator is not None and isinstance(count, int) and count > limit:
            yield (
                f"{where}.per_class: expected at most synthesize.per_class ({limit}), found {count}"
            )
        yield from _balance_problems(params, where, arm)
        for classifier in arm.classifiers or ():
            yield from unknown_name(f"{where}.classifiers", classifier, params.classifiers)
        transforms = ["none", *params.transforms]
        yield from unknown_name(f"{where}.transform", arm.transform, transforms)
        yield from _role_problems(params, where, arm)


def _balance_problems(params: Params, where: str, arm: ArmParams) -> Iterator[str]:
    """Arms that balance classes need classes of different sizes, and images enough."""
    is_balanced = params.data.imbalance == 1
    for key, value in (("per_class", BALANCE), ("class_weights", "balanced")):
        if is_balanced and getattr(arm, key) == value:
            yield (
                f"{where}.{key}: expected no {value} with data.imbalance 1.0, since all classes of "
                f"the labeled subset have the same size, found {value}"
            )

    # The smallest class has at least one labeled image.
    needed = max(params.study.budgets) - 1
    if arm.balances and arm.generator is not None and params.synthesize.per_class < needed:
        yield (
            f"synthesize.per_class: expected at least {needed}, the largest budget less one, since "
            f"{where} fills every class up to the largest, found {params.synthesize.per_class}"
        )
    if arm.balances and arm.is_control:
        yield (
            f"{where}.per_class: expected a number with role {arm.role}, since other shares of the "
            f"classes have an effect of their own, found {BALANCE}"
        )


def _role_problems(params: Params, where: str, arm: ArmParams) -> Iterator[str]:
    """A control must be built so that its outcome is known; no other arm may be built so."""
    baseline = params.arms.get(params.report.baseline)
    alike: dict[str, object] = {
        "permute_labels": False,
        "transform": baseline.transform if baseline else "none",
    }
    weights = baseline.class_weights if baseline else "none"
    expected: dict[str, dict[str, object]] = {
        "must_not_differ": {"kind": "real", "inputs": SUBSETS, **alike},
        "must_help": {"inputs": FRESH, **alike},
        "must_not_help": {"permute_labels": True},
        "measure": {},
        "claim": {"permute_labels": False},
    }
    if arm.is_control:
        expected[arm.role]["class_weights"] = weights
    for key, value in expected[arm.role].items():
        if getattr(arm, key) != value:
            yield (
                f"{where}: expected {key}: {_yaml(value)} with role {arm.role}, found "
                f"{_yaml(getattr(arm, key))}"
            )
    if arm.inputs == FRESH and arm.role != "must_help":
        yield (
            f"{where}.role: expected must_help, since {FRESH} holds labels beyond the budget, "
            f"found {arm.role}"
        )

    # A control that balances is refused already.
    least, count = max(params.study.budgets), arm.per_class
    if not isinstance(count, int):
        return
    if arm.role == "must_not_help" and count < least:
        yield (
            f"{where}.per_class: expected at least the largest budget ({least}) with role "
            f"{arm.role}, since few images with wrong labels cannot show anything, found "
            f"{count}"
        )
    if arm.role in ("must_not_differ", "must_help") and (not arm.real or count < least):
        yield (
            f"{where}: expected real: true and per_class of at least the largest budget ({least}) "
            f"with role {arm.role}, found real: {_yaml(arm.real)} and per_class: {count}"
        )


def _report_problems(params: Params) -> Iterator[str]:
    report = params.report
    claims = [name for name, arm in params.arms.items() if arm.role == "claim"]
    within_budget = [name for name in claims if params.arms[name].inputs == SUBSETS]
    others = [name for name in claims if name != report.baseline]
    yield from unknown_name("report.baseline", report.baseline, within_budget)
    yield from unknown_name("report.primary.arm", report.primary.arm, others)
    yield from unknown_name(
        "report.primary.classifier", report.primary.classifier, params.classifiers
    )
    if report.primary.budget not in params.study.budgets:
        yield (
            f"report.primary.budget: expected one of study.budgets {params.study.budgets}, found "
            f"{report.primary.budget}"
        )
    yield from _reference_problems(params, claims)


def _reference_problems(params: Params, claims: list[str]) -> Iterator[str]:
    """`report.reference` is what can be done with the labeled images alone."""
    name = params.report.reference
    if name is None:
        return
    if name not in claims:
        yield from unknown_name("report.reference", name, claims)
        return
    arm = params.arms[name]
    generator = params.generators.get(arm.generator or arm.discriminator_of or "")
    if isinstance(arm, PseudoArm) or (generator and generator.teacher):
        yield (
            "report.reference: expected an arm of labeled images alone, such as augmentation, "
            f"found {name}, which uses unlabeled images (an arm whose generator does is compared "
            "with the teacher's labels anyway)"
        )


def _classifier_problems(params: Params) -> Iterator[str]:
    """An arm that others are compared with must have their classifiers."""
    baseline = params.report.baseline
    for name in params.arms:
        for other in dict.fromkeys((baseline, reference(params, name) or baseline)):
            available = arm_classifiers(params, other)
            missing = [key for key in arm_classifiers(params, name) if key not in available]
            if missing:
                yield (
                    f"arms.{other}.classifiers: expected those of arm {name}, which is compared "
                    f"with it, found no {', '.join(missing)}"
                )

    primary = params.report.primary
    if primary.classifier not in arm_classifiers(params, primary.arm):
        yield (
            f"arms.{primary.arm}.classifiers: expected {primary.classifier}, the classifier of "
            f"report.primary, found {', '.join(arm_classifiers(params, primary.arm))}"
        )


def _tune_problems(params: Params) -> Iterator[str]:
    tune = params.tune
    if len(tune.latent_std) == len(tune.min_probability) == 1:
        return
    least = min(params.study.budgets)
    if tune.folds > least:
        yield (
            f"tune.folds: expected at most the smallest of study.budgets ({least}), or a single "
            f"value in tune.latent_std and in tune.min_probability, found {tune.folds}"
        )
    for name, generator in params.generators.items():
        if generator.teacher is not None:
            yield (
                "tune: expected a single value in tune.latent_std and in tune.min_probability, "
                f"since generators.{name} learns from labels that its teacher derived from the "
                "whole labeled subset, found several"
            )


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""`init PATH`: inspect images, print what was found, and write a params.yaml that suits them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.commands import presets
from pipeline.commands.init.describe import SEQUENCE, Description, describe
from pipeline.commands.init.detect import section_of
from pipeline.commands.init.flags import flags_named
from pipeline.commands.init.options import Options
from pipeline.commands.init.pool import BUDGETS
from pipeline.commands.init.propose import Proposal, propose
from pipeline.commands.init.reading import Loaded, load
from pipeline.commands.init.sheet import write_contact_sheet, write_twin_sheet
from pipeline.commands.init.show import show, show_sequences
from pipeline.commands.init.write import params_text
from pipeline.config.schema import Params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.data.catalog import Catalog, catalog
from pipeline.data.datasets.base import RawDataset
from pipeline.data.holdout import refuse_test_setting
from pipeline.data.splits import split
from pipeline.report.names import figure_names, in_sentence
from pipeline.runtime.errors import PipelineError

__all__ = ["Options", "run"]


def run(path: Path, options: Options, root: Path) -> None:
    """Write the params.yaml of `root` for the images at `path`, and print what was found.

    Nothing is written before the whole file has been validated. Raises `ParamsError` for flags
    that exclude each other and for an edited params.yaml without `options.force`, `DataError` for
    images that cannot be used.
    """
    options.check()
    if not options.force:
        presets.refuse_edited(root)
    with flags_named(options):
        section, layout = section_of(path, options, root)
        loaded = load(section, options, root)
        description = describe(loaded.raw, loaded.background)
        show(description, section["path"], layout)
        proposal, text = fitting(loaded, layout, description, options)
    if not options.group:
        show_sequences(description, misfit_of_sequences(loaded, layout, description, options))
    write(text, description, root)
    for sentence in guesses(proposal):
        print(f"  {sentence}")
    cores = os.cpu_count() or 1
    minutes = proposal.minutes(description, cores)
    print(f"next: `make run`, about {minutes:.0f} minutes on {cores} cores (a rough estimate)")


def write(text: str, description: Description, root: Path) -> None:
    """Write the figures and params.yaml, and print where they are."""
    sheet = write_contact_sheet(description, root)
    twins = write_twin_sheet(description, root) if len(description.twins.pairs) else None
    backup = presets.replace(root, text)

    print(f"\nlook at {sheet.relative_to(root)}: one row per class")
    for label, name in figure_names(description.raw.class_names).numbered.items():
        print(f"  {label} in that picture is {in_sentence(name)}")
    if twins is not None:
        print(f"and at {twins.relative_to(root)}: pairs of near twins")
    kept = f"; the one before is {backup.name}" if backup else ""
    print(f"params.yaml is written{kept}; every guess has a comment there:")


def fitting(
    loaded: Loaded, layout: str, description: Description, options: Options
) -> tuple[Proposal, str]:
    """The largest settings that the splits of every seed allow, and their params.yaml.

    Groups of near twins that nobody asked for are left out where the splits do not allow them.
    """
    try:
        return largest_fit(loaded, layout, description, options)
    except PipelineError as error:
        if options.group or options.no_groups or not propose(description, options).group:
            raise
        alone = replace(options, no_groups=True)
        misfit = f"near twins may be on both sides of a split, since as groups: {error.args[1]}"
    return largest_fit(loaded, layout, description, alone, misfit)


def largest_fit(
    loaded: Loaded,
    layout: str,
    description: Description,
    options: Options,
    misfit: str | None = None,
) -> tuple[Proposal, str]:
    """`fitting` with given groups; `misfit` says why there are none, if they were tried.

    If whole groups are held out, a class may have fewer images left than `propose` expects.
    """
    choices: tuple[int, ...] = BUDGETS
    found: Catalog | None = None  # the same for all budgets
    while True:
        proposal = propose(description, options, choices)
        if misfit is not None:
            proposal.reasons["data.group"] = misfit
        section, comments = data_section(loaded, layout, description, proposal)
        text = params_text(section, comments, proposal)
        try:
            params = validate(Params, parse_yaml(text, FILE), FILE)
            found = found or catalog(params, loaded.raw)
            num_dropped = try_splits(params, loaded.raw, found)
        except PipelineError:
            smaller = tuple(budget for budget in choices if budget < proposal.budgets[0])
            if options.budgets or not smaller:
                raise
            choices = smaller
        else:
            if num_dropped:
                proposal.reasons["groups"] = f"; {num_dropped} images of test groups are dropped"
            return proposal, text


def misfit_of_sequences(
    loaded: Loaded, layout: str, description: Description, options: Options
) -> str | None:
    """Why splits do not allow sequences as groups; None if they do, or there are none."""
    rule = replace(options, group_name=SEQUENCE, no_groups=False)
    try:
        if description.sequences:
            largest_fit(loaded, layout, description, rule)
    except PipelineError as error:
        return str(error.args[1])
    return None


def try_splits(params: Params, raw: RawDataset, found: Catalog) -> int:
    """How many images at most are dropped, since their groups are in a test set.

    Raises `ParamsError` or `DataError` if `prepare` would refuse these settings.
    """
    refuse_test_setting(params, raw.test is not None)
    seeds = params.study.seeds if params.data.per_seed else [None]
    return max(split(params, found, seed).num_in_test_groups for seed in seeds)


def data_section(
    loaded: Loaded, layout: str, description: Description, proposal: Proposal
) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The section `data` of params.yaml, and the comments on its keys."""
    reasons = proposal.reasons
    unknown: dict[str, Any] = {"unknown_classes": {"classes": [], "frac": 0.0}}
    section = {**loaded.section, **proposal.test}
    comments = {
        **loaded.comments,
        "name": layout,
        "background": _background(loaded, description),
        "test": f"{reasons.get('data.test')}; --test-frac, --shared-test",
        "test_per_class": reasons.get("data.test", ""),
        "unknown_classes": "classes outside the task, and their share of the unlabeled images",
    }
    if proposal.group:
        section["group"] = proposal.group
        comments["group"] = f"{reasons.get('data.group', 'given')}; --no-groups leaves it out"
    elif "data.group" in reasons:
        comments["group"] = reasons["data.group"]
    elif description.twins.num_images:
        comments["group"] = (
            f"{description.twins.num_images} images have a near twin; --group-twins 0.98 keeps "
            "twins on one side of a split"
        )
    if proposal.natural:
        section["imbalance"] = "natural"
        comments["imbalance"] = f"{reasons['data.imbalance']}; 1.0: equal numbers of labels"
    return {**section, **unknown}, comments


def _background(loaded: Loaded, description: Description) -> str:
    """The comment on `data.background`."""
    if loaded.section["background"] != "auto":
        return "as --background says"
    levels = description.background
    words = "none, as in photos" if levels is None else ", ".join(map(str, levels))
    return f"measured: {words}; --background"


def guesses(proposal: Proposal) -> list[str]:
    """The chosen settings, one line each."""
    test = next(iter(proposal.test.items()), None)
    lines = [
        f"labels per class: {_listed(proposal.budgets)}, and {_listed(proposal.curve_budgets)} "
        "for the learning curve (--budget)",
        f"seeds: {proposal.seeds} (--seeds)",
        "test set: "
        + (f"{test[0]} {_plain(test[1])} (--test-frac, --test-per-class)" if test else "its own"),
    ]
    if proposal.group:
        flag = "--no-groups" if "twins" in proposal.group else "--group-..."
        dropped = proposal.reasons.get("groups", "")
        lines.append(f"groups: {_plain(proposal.group)} ({flag}){dropped}")
    elif "data.group" in proposal.reasons:
        lines.append(f"groups: none; {proposal.reasons['data.group']}")
    if proposal.natural:
        lines.append(
            "imbalanced: subsets have the class proportions of the dataset; some arms balance"
        )
    if proposal.metric != "accuracy":
        lines.append(f"metric: {proposal.metric}, since the test set is imbalanced")
    return lines


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values)) or "none"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

"""The text of params.yaml: the default preset with the settings of a dataset filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.commands import presets
from pipeline.commands.init.propose import FOLDS, Proposal
from pipeline.config.schema import Params
from pipeline.config.validation import FILE, parse_yaml, validate
from pipeline.report.names import readable

WIDTH = 100  # characters of a line; a longer comment goes above it
PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"}
HEADER = """\
# The settings of a study of your own images, written by `python -m pipeline init`. A comment gives
# the reason for a value, and the flag of init that overrides it. You can edit this file: after a
# change, `make run` recomputes only what depends on it.
# `python -m pipeline check` validates this file; `python -m pipeline preset NAME` replaces it with
# presets/NAME.yaml.
"""
BALANCE_ARMS = """\
  # For imbalanced classes: class weights, or added images until all classes are equally large.
  weighted: {kind: real, inputs: data/splits/subsets, per_class: 0, class_weights: balanced}
  oversample_balance: {kind: real, inputs: data/splits/subsets, per_class: balance}
  augment_balance: {kind: real, inputs: data/splits/subsets, per_class: balance, transform: affine}
  smote: {kind: smote, inputs: data/splits/subsets, per_class: balance}
  dcgan_balance: {kind: synthetic, inputs: data/synthetic/dcgan, per_class: balance, \
filter: agreement}
"""
POOL_TEACHER = """\
  # Labels the other images: by a graph or by FixMatch, whichever predicts held-out labels better.
  pool: {family: automatic}
"""
POOL_ARMS = """\
  # The images without a label, with labels of the teacher `pool`; and that teacher itself.
  pseudo_label: {{kind: pseudo, inputs: models/pool, per_class: {per_class}, filter: agreement, \
real_share: 0.05, transform: tuned}}
  teacher: {{kind: teacher, inputs: models/pool, classifiers: [cnn]}}
"""
# For images of anything: what keeps a label is not known, so each replicate chooses.
TRANSFORMS = """\
  # Small changes, for objects that are centered; flips; colors. Remove transforms that change the
  # class.
  small: {{family: affine, degrees: 5, translate: 0.07, scale: 0.05}}
  flip: {{horizontal: 0.5, vertical: 0.0}}
  color: {{brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 0.0}}
  small_flip: {{family: sequence, of: [small, flip]}}
  affine_color: {{family: sequence, of: [affine, color]}}
  affine_flip_color: {{family: sequence, of: [affine, flip, color]}}
  # tune_transforms: every replicate and classifier chooses one of the choices, then one of its
  # settings, by cross-validation inside its labeled subset; none where the evidence is weak.
  # per_class and fold_settings are for the cross-validation alone.
  tuned:
    choices: [none, small, affine, small_flip, affine_color, affine_flip_color]
    folds: {folds}
    per_class: {per_class}
    classifier_settings:
      lgbm: [{{}}, {{copies: 3, num_trees: {many_trees}, num_leaves: 31}}]
    fold_settings: {{cnn: {{steps: {steps}}}, lgbm: {{num_trees: {trees}}}}}
"""


def params_text(data: Mapping[str, Any], comments: Mapping[str, str], proposal: Proposal) -> str:
    """The whole file; `data` is the section of that name, `comments` are those of its keys.

    Raises `ParamsError` if the schema refuses it, before anything is written.
    """
    text = (presets.FOLDER / "default.yaml").read_text("utf-8")
    text = HEADER + text[text.index("#\n# Keys that are left out") :]
    text = _with_sections(text, data, comments, proposal)
    text = _with_numbers(text, proposal)
    validate(Params, parse_yaml(text, FILE), FILE)
    return presets.signed(text)


def _with_sections(
    text: str, data: Mapping[str, Any], comments: Mapping[str, str], proposal: Proposal
) -> str:
    """The sections that are written anew: data, study, and arms that some data need."""
    lines = [line(f"  {key}: {scalar(value)}", comments.get(key)) for key, value in data.items()]
    if "group" not in data and "group" in comments:
        lines.append(line("  # group: {twins: 0.98}", comments["group"]))
    text = _replaced(text, r"(?<=^data:\n)(  .*\n)+", "".join(lines))

    reasons = proposal.reasons
    study = [
        line(
            f"  budgets: {scalar(list(proposal.budgets))}",
            f"labeled images per class; {reasons['study.budgets']}; --budget N",
        ),
        line(
            f"  curve_budgets: {scalar(list(proposal.curve_budgets))}",
            "more budgets for the baseline alone: the learning curve",
        ),
        line(
            f"  seeds: {scalar(list(range(proposal.seeds)))}",
            f"a replicate each; {reasons['study.seeds']}; --seeds N",
        ),
    ]
    text = _replaced(text, r"(?<=^study:\n)(  .*\n)+", "".join(study))
    tuned = TRANSFORMS.format(
        folds=FOLDS,
        per_class=proposal.per_class // 2,
        many_trees=2 * proposal.num_trees,
        steps=proposal.fold_steps,
        trees=proposal.fold_trees,
    )
    text = _replaced(text, r"^  # tune_transforms: (.*\n)+?(?=\n# --- arms)", tuned)
    arms = BALANCE_ARMS if proposal.natural else ""
    if proposal.per_class_pseudo:
        text = _replaced(text, r"(?<=^teachers:\n)", POOL_TEACHER)
        arms += POOL_ARMS.format(per_class=proposal.per_class_pseudo)
    return _replaced(text, r"(?<=role: measure}\n)(?=\n# --- report)", arms)


def _with_numbers(text: str, proposal: Proposal) -> str:
    """Numbers of steps and of images, and what the report compares."""
    reasons = proposal.reasons
    steps = "optimization steps; fewer for small budgets and for images above 40 x 40 pixels"
    trees = (
        "boosting rounds, fewer where there are many classes; columns: pixels, hog (edges), color"
    )
    text = _replaced(text, r"^    steps: 700 .*\n", line(f"    steps: {proposal.steps}", steps))
    text = _replaced(text, r"steps: 500}", f"steps: {proposal.cnn_steps}}}")
    features = scalar(list(proposal.features))
    trees_line = line(f"  lgbm: {{num_trees: {proposal.num_trees}, features: {features}}}", trees)
    text = _replaced(text, r"^  lgbm: .*\n", trees_line)
    text = _replaced(text, r"per_class: 300 ", f"per_class: {round(1.5 * proposal.per_class)} ")
    text = re.sub(r"per_class: 200\b", f"per_class: {proposal.per_class}", text)

    effect = line(
        f"  smallest_effect: {proposal.smallest_effect}",
        f"differences below this do not matter; {reasons['report.smallest_effect']}",
    )
    text = _replaced(text, r"^  smallest_effect: .*\n", effect)
    text = _replaced(
        text, r"arm: dcgan, budget: 10}", f"arm: dcgan, budget: {proposal.budgets[0]}}}"
    )
    if proposal.metric != "accuracy":
        why = f"{reasons['report.metric']}; or accuracy, macro_f1"
        metric = line(f"  metric: {proposal.metric}", why)
        text = _replaced(text, r"^  # metric: .*\n", metric)
    return text


def _replaced(text: str, pattern: str, new: str) -> str:
    """`text` with the one match of `pattern` replaced; the preset has exactly one."""
    changed, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"the default preset has {count} places like {pattern}")
    return changed


def line(code: str, comment: str | None) -> str:
    """A line of YAML with its comment, which goes above it where it would be too long."""
    if not comment:
        return f"{code}\n"
    beside = f"{code}  # {readable(comment)}\n"
    if len(beside) <= WIDTH + 1:
        return beside
    indent = code[: len(code) - len(code.lstrip())]
    rows: list[str] = []
    row = f"{indent}#"
    for word in readable(comment).split():
        if len(row) + 1 + len(word) > WIDTH and row.strip() != "#":
            rows, row = [*rows, row], f"{indent}#"
        row += f" {word}"
    return "\n".join([*rows, row, code]) + "\n"


def scalar(value: Any) -> str:
    """A value as YAML in one line; names in any script stay legible."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {scalar(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT:
        return value
    # JSON is YAML, but for characters that YAML does not print.
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def written_path(path: Path, root: Path) -> str:
    """`path` as written in params.yaml: relative if in or beside the project, else absolute."""
    absolute, project = path.expanduser().resolve(), root.resolve()
    if absolute.is_relative_to(project):
        return absolute.relative_to(project).as_posix()
    if absolute.is_relative_to(project.parent) and project.parent != Path(project.anchor):
        return (Path("..") / absolute.relative_to(project.parent)).as_posix()
    return absolute.as_posix()

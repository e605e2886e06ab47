"""What replicates chose from a tuned transform, in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.config.schema import Params
from pipeline.runtime.files import read_json
from pipeline.trials.grid import choices
from pipeline.trials.layout import choice
from pipeline.trials.provenance import failure_of


def choice_sentences(params: Params, root: Path) -> list[str]:
    """A sentence per tuned transform, classifier and budget: what was chosen how often."""
    by_cell: dict[tuple[str, str, int], list[str]] = {}
    for transform, replicate, classifier in choices(params):
        path = root / choice(transform, replicate, classifier).path(".json")
        name = (
            "a failed choice"
            if failure_of(path)
            else described(transform, classifier, path, params)
        )
        by_cell.setdefault((transform, classifier, replicate.budget), []).append(name)
    return [
        f"{transform}, {classifier}, {budget} labels per class: {counted(names)}."
        for (transform, classifier, budget), names in by_cell.items()
    ]


def described(transform: str, classifier: str, path: Path, params: Params) -> str:
    """One choice: the transform, and the settings where they were chosen as well."""
    result = read_json(path)
    section = params.transforms[transform].settings
    candidates = section.get("classifier_settings", {}).get(classifier, [{}])
    if len(candidates) == 1:
        return str(result["transform"])
    changes = candidates[result["settings"]]
    text = ", ".join(f"{key} {value}" for key, value in changes.items()) or "unchanged settings"
    return f"{result['transform']} with {text}"


def counted(names: list[str]) -> str:
    """`affine in 8 of 10 subsets, none in 2`: the most frequent first."""
    (first, count), *rest = Counter(names).most_common()
    others = "".join(f", {name} in {number}" for name, number in rest)
    return f"{first} in {count} of {len(names)} subsets{others}"

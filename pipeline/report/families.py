"""What generators are, from the manifests of their training, and how their training went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.schema import MODELS, Params
from pipeline.evaluation import gan_diagnostics
from pipeline.report.tables import audits, finished, read_history, with_aliases
from pipeline.trials.grid import Replicate
from pipeline.trials.provenance import manifest_of, read_manifest

HEALTH_COLUMNS = ["generator", "budget", "seed", "accuracy", "least_spread", "warnings"]


@dataclass(frozen=True)
class Family:
    """Kind and loss of a generator's family; empty if the manifest has none."""

    kind: str = ""  # gan, autoencoder, variational autoencoder or diffusion
    loss: str = ""  # of the discriminator: cross-entropy, hinge, wasserstein, ...
    # Ranges of the augmentation of its training images, by name.
    augmentation: Mapping[str, float] = field(default_factory=dict)


def family_facts(manifest: Mapping[str, Any]) -> Family:
    """What a generator is and how it was trained, from the manifest of `train_generator`."""
    tags = manifest["tags"]
    config = manifest["spec"].get("generator", {}).get("config", {})
    return Family(
        str(tags.get("kind", "")), str(tags.get("loss", "")), config.get("augmentation", {})
    )


def families(params: Params, root: Path) -> dict[str, Family]:
    """The family of every generator of which a replicate finished."""
    facts = {}
    for name in params.generators:
        models = root / MODELS / name
        for replicate in finished(models, params)[:1]:
            manifest = read_manifest(manifest_of(models / replicate.file(".npz")))
            facts[name] = family_facts(manifest)
    return facts


def health_table(params: Params, root: Path) -> pd.DataFrame:
    """One row per generator and replicate: `gan_diagnostics` of its training history.

    `accuracy`: the discriminator's at the end, empty where there is none; columns for k and for a
    second discriminator follow where some generator has them. `min_diversity`: that of the class
    with the least, from the evaluation.
    """
    facts = families(params, root)
    rows: list[dict[str, Any]] = []
    for names, audit in audits(params, root):
        name, replicate = names["generator"], Replicate(names["budget"], names["seed"])
        history = read_history(root / MODELS / name, replicate)
        loss = facts.get(name, Family()).loss
        by_class = with_aliases(pd.DataFrame(audit.get("classes", ()))).get("diversity")
        diversity = np.nan if by_class is None else pd.to_numeric(by_class).min()
        rows.append(
            {
                **names,
                "least_spread": diversity,
                "warnings": "; ".join(gan_diagnostics.warnings(history, loss)),
                **gan_diagnostics.at_the_end(history),
            }
        )
    more = sorted({key for row in rows for key in row} - {*HEALTH_COLUMNS})
    return with_aliases(pd.DataFrame(rows, columns=[*HEALTH_COLUMNS, *more]))

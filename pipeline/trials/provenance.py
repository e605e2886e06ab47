"""What a trial is made of: the manifest that lies beside everything a trial leaves.

The same facts name the trial in the store and let the report prove that all results belong
together. Knows no stage: it is told what went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Params
from pipeline.data.images import LabeledImages, content_ids
from pipeline.runtime.determinism import NUM_THREADS, resolve_precision
from pipeline.runtime.errors import IntegrityError, TrialError
from pipeline.runtime.files import file_digest, read_json, require
from pipeline.runtime.seeds import library_versions
from pipeline.trials.code import code_digest
from pipeline.trials.store import fingerprint

MANIFEST = ".manifest.json"
PARTS = (
    "code",
    "inputs",
    "params",
    "seed",
    "environment",
    "labels",
    "consumed",
    "failure",
    "outputs",
)
# Of 64 digits: among a million images two share these with a probability of 3 in 100 million.
ID_DIGITS = 16


@dataclass(frozen=True)
class Provenance:
    """Everything that decides a trial's result: equal provenance means equal bytes.

    `inputs` maps files, relative to the project, to their SHA-256; `params` maps sections of
    params.yaml, dotted, to their values.
    """

    code: str
    inputs: Mapping[str, str]
    params: Mapping[str, object]
    seed: int
    environment: Mapping[str, str | int]

    @property
    def name(self) -> str:
        """The trial's fingerprint."""
        return fingerprint(asdict(self))


def trial_code(stage_file: str, *modules: str) -> str:
    """The digest of the code that decides what a trial gives: its stage, the engine, `modules`."""
    package = Path(__file__).parents[1]
    always = ("runtime/bits.py", "trials/engine.py", "config/schema.py")
    return code_digest((stage_file, __file__, *(str(package / name) for name in always)), *modules)


def provenance(
    code: str, inputs: Iterable[Path], params: Params, keys: Iterable[str], seed: int, root: Path
) -> Provenance:
    """The provenance of a trial that reads `inputs` and the sections `keys` of `params`."""
    return Provenance(
        code=code,
        inputs={path.relative_to(root).as_posix(): file_digest(path) for path in inputs},
        params={key: params.section(key) for key in keys},
        seed=seed,
        environment={
            **library_versions(),
            "bits": params.bits,
            "threads": NUM_THREADS,
            "auto precision": resolve_precision("auto"),
        },
    )


def short_ids(data: LabeledImages) -> list[str]:
    """The first digits of every image's content id, (n,)."""
    return [str(content_id)[:ID_DIGITS] for content_id in content_ids(data.images)]


def consumed(data: LabeledImages | None) -> dict[str, list[str]]:
    """The ids of all images in `data` by label, each once, in order."""
    if data is None:
        return {}
    ids = np.array(short_ids(data))
    return {
        str(label): np.unique(ids[data.labels == label]).tolist()
        for label in np.unique(data.labels)
    }


def manifest_of(path: Path) -> Path:
    """Where the manifest of the output `path` lies."""
    return path.with_suffix(MANIFEST)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest at `path`; raises `IntegrityError` when it is damaged."""
    try:
        manifest: dict[str, Any] = read_json(path)
        return {name: manifest[name] for name in PARTS}
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(
            str(path),
            "expected a whole manifest, found a damaged one",
            "run `dvc checkout --force`",
        ) from None


def failure_of(path: Path) -> TrialError | None:
    """Why the trial that should have made `path` came to nothing, or None."""
    words = read_manifest(manifest_of(path))["failure"]
    return TrialError(*words) if words else None


def outputs_of(path: Path, stage: str) -> list[Path]:
    """`path`, or its manifest when its trial came to nothing.

    A manifest tells of the code that made a file: with it, each change of a comment there would
    make everything that follows anew, though the file is the same.

    Raises `IntegrityError` when `stage` has not run.
    """
    manifest = require(manifest_of(path), stage)
    return [manifest] if failure_of(path) else [require(path, stage)]


def refuse_failed(path: Path) -> None:
    """Raise `TrialError` when the trial that should have made `path` came to nothing."""
    failure = failure_of(path)
    if failure:
        raise failure


def describe(
    origin: Provenance,
    labels: Mapping[str, Any],
    data: LabeledImages | None,
    failure: TrialError | None,
    outputs: Mapping[str, str],
) -> dict[str, object]:
    """The manifest of a trial: `data` are the images it learned from, `outputs` digests by name.

    Of a trial that came to nothing neither is listed: nothing of it is left.
    """
    return {
        **asdict(origin),
        "labels": dict(labels),
        "consumed": consumed(data),
        "failure": list(failure.args) if failure else None,
        "outputs": dict(outputs),
    }

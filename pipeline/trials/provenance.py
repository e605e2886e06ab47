"""What a trial was made from: provenance, fingerprint and manifest.

The manifest lies beside the outputs of every trial. Its provenance names the trial in the store,
and the report uses it to prove that all results belong together. Knows no stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.images import LabeledImages, content_ids
from pipeline.runtime.bits import Bits
from pipeline.runtime.determinism import NUM_THREADS, resolve_precision
from pipeline.runtime.errors import IntegrityError, TrialError
from pipeline.runtime.files import file_digest, read_json, require
from pipeline.runtime.seeds import library_versions
from pipeline.trials.code import trial_code
from pipeline.trials.layout import MANIFEST, File
from pipeline.trials.specs import Spec, dump, family_modules
from pipeline.trials.store import fingerprint

PARTS = (
    "code",
    "inputs",
    "spec",
    "environment",
    "tags",
    "settings",
    "consumed",
    "failure",
    "outputs",
)
# Of 64 digits: two of a million images share 16 digits with a probability of 3 in 100 million.
ID_DIGITS = 16


@dataclass(frozen=True)
class Provenance:
    """Everything that decides the result of a trial: equal provenance means equal bytes.

    `code` is a digest, `inputs` maps paths, relative to the project, to SHA-256, `spec` is the
    dump of the spec, `environment` has library versions, bits and threads.
    """

    code: str
    inputs: Mapping[str, str]
    spec: Mapping[str, Any]
    environment: Mapping[str, str | int]

    @property
    def name(self) -> str:
        """The fingerprint of the trial."""
        return fingerprint(asdict(self))


def provenance(
    stage_file: str, spec: Spec, inputs: Mapping[str, File], bits: Bits, root: Path
) -> Provenance:
    """The provenance of a trial of the stage in `stage_file` that works on `spec`.

    Raises `IntegrityError` when the stage that writes an input has not run.
    """
    paths = [input_path(root, file) for file in inputs.values()]
    return Provenance(
        code=trial_code(stage_file, *sorted(family_modules(spec))),
        inputs={path.as_posix(): file_digest(root / path) for path in paths},
        spec={"kind": type(spec).__name__, **dump(spec)},
        environment={
            **library_versions(),
            "bits": bits,
            "threads": NUM_THREADS,
            "auto precision": resolve_precision("auto"),
        },
    )


def input_path(root: Path, file: File) -> Path:
    """The path of an input, or of its manifest when the trial that writes it failed.

    The manifest also names the code of that trial: as an input it would make a changed comment
    there recompute everything downstream, though the file itself is the same.
    """
    if file.manifest is not None:
        require(root / file.manifest, file.stage)
        if failure_of(root / file.manifest):
            return file.manifest
    require(root / file.path, file.stage)
    return file.path


def input_failure(root: Path, inputs: Mapping[str, File]) -> TrialError | None:
    """The failure of the first trial that should have written an input, or None."""
    manifests = [file.manifest for file in inputs.values() if file.manifest is not None]
    failures = (failure_of(root / manifest) for manifest in manifests)
    return next(filter(None, failures), None)


def short_ids(data: LabeledImages) -> list[str]:
    """The first digits of the content id of every image, (n,)."""
    return [str(content_id)[:ID_DIGITS] for content_id in content_ids(data.images)]


def consumed(data: LabeledImages | None) -> dict[str, list[str]]:
    """The distinct ids of the images in `data` by label, sorted."""
    if data is None:
        return {}
    ids = np.array(short_ids(data))
    return {
        str(label): np.unique(ids[data.labels == label]).tolist()
        for label in np.unique(data.labels)
    }


def manifest_of(path: Path) -> Path:
    """The manifest beside the output `path`, or `path` itself if it is a manifest."""
    return path if path.name.endswith(MANIFEST) else path.with_suffix(MANIFEST)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest at `path`; raises `IntegrityError` when it is damaged."""
    try:
        manifest: dict[str, Any] = read_json(path)
        return {name: manifest[name] for name in PARTS}
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(
            str(path),
            "expected a complete manifest, found a damaged one",
            "run `dvc checkout --force`",
        ) from None


def failure_of(path: Path) -> TrialError | None:
    """Why the trial that writes `path`, an output or its manifest, failed, or None."""
    arguments = read_manifest(manifest_of(path))["failure"]
    return TrialError(*arguments) if arguments else None


def describe(
    origin: Provenance,
    consumed_ids: Mapping[str, list[str]],
    failure: TrialError | None,
) -> dict[str, Any]:
    """The part of a manifest that is known when the trial ends: what the store keeps.

    `consumed_ids` are the images that it learned from, by label; none for a failed trial.
    """
    return {
        **asdict(origin),
        "consumed": dict(consumed_ids),
        "failure": list(failure.args) if failure else None,
    }


def complete(
    record: Mapping[str, Any],
    tags: Mapping[str, str | int],
    settings: Mapping[str, Any],
    outputs: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest of a trial: its record, names, settings and the digests of its outputs.

    `settings` are the sections of params.yaml that decide it, as they are now; `outputs` maps file
    names to SHA-256.
    """
    return {**record, "tags": dict(tags), "settings": dict(settings), "outputs": dict(outputs)}

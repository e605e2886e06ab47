"""Whether all results belong to one study: what the report checks before it reads a number.

Reads manifests and files that the report may read, but never the test set: test images are known
by their content ids. Results of another run, of other settings or code, or of labels beyond the
budget raise an `IntegrityError` that names the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import FRESH, SUBSETS, Params
from pipeline.data.budgets import class_budgets
from pipeline.data.images import read_images
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz, require
from pipeline.trials.grid import Replicate, curve_replicates, replicates
from pipeline.trials.layout import (
    EVALUATIONS,
    OUTPUTS,
    SUMMARY,
    Artifact,
    File,
    artifacts,
    fresh,
    ids_file,
    settings,
    subset,
)
from pipeline.trials.provenance import ID_DIGITS, read_manifest, short_ids

Labeled = frozenset[tuple[str, int]]  # (short content id, label) of images
RESULTS = "train_classifiers"
RERUN = "run `dvc repro --force` to compute everything again"
# The report depends on these files and may compare their digests; other inputs, such as the test
# set, are compared with the digests that `prepare` recorded.
READABLE = (SUBSETS, FRESH, *(outputs.folder.as_posix() for outputs in OUTPUTS.values()))


@dataclass
class StudyRecord:
    """What is known about the study at `root`; grows while artifacts are checked."""

    params: Params
    root: Path
    test_ids: Mapping[int, frozenset[str]]  # by seed
    digests: dict[str, str]  # of files that were read by trials, by path
    class_counts: list[int]  # labeled images of the dataset, by class
    subsets: dict[Replicate, Labeled] = field(default_factory=dict)
    fresh: dict[Replicate, Labeled] = field(default_factory=dict)
    code: dict[tuple[str, str, str], tuple[str, Path]] = field(default_factory=dict)
    environment: tuple[dict[str, Any], Path] | None = None


def verify(params: Params, root: Path) -> None:
    """Raise `IntegrityError` that names the first artifact which does not belong to this study.

    Every artifact must have been made with the present settings from the present files, with the
    same code and libraries as the others of its kind, from labels of its replicate's subset, and
    from no image of its seed's test set.
    """
    record = read_study(params, root)
    for artifact in artifacts(params):
        manifest = read_manifest(require(root / artifact.manifest, artifact.title))
        check(record, artifact, manifest)


def read_study(params: Params, root: Path) -> StudyRecord:
    """The record of the splits of a study; raises `IntegrityError` for a subset that breaks it."""
    summary = read_json(require(root / SUMMARY.path, SUMMARY.stage))
    test_ids = read_test_ids(params, root)
    record = StudyRecord(params, root, test_ids, dict(summary["files"]), summary["class_counts"])
    for replicate in curve_replicates(params.study):
        record.subsets[replicate] = read_labeled(record, subset(replicate), replicate, every=True)
    for replicate in replicates(params.study):
        record.fresh[replicate] = read_labeled(record, fresh(replicate), replicate, every=False)
    return record


def read_test_ids(params: Params, root: Path) -> dict[int, frozenset[str]]:
    """The short content ids of the test images, by seed; all seeds may share them.

    Raises `IntegrityError` when a test image is in the pool of the same seed. In that of another
    seed it may be.
    """
    by_file: dict[Path, frozenset[str]] = {}
    for seed in params.study.seeds:
        file = ids_file(params, seed)
        if file.path not in by_file:
            ids = read_npz(require(root / file.path, file.stage))
            if shared := len(np.intersect1d(ids["pool"], ids["test"])):
                raise IntegrityError(
                    file.path.as_posix(),
                    f"expected no test image in the pool, found {shared}",
                    "run `dvc repro --force prepare`",
                )
            by_file[file.path] = frozenset(str(each)[:ID_DIGITS] for each in ids["test"])
    return {seed: by_file[ids_file(params, seed).path] for seed in params.study.seeds}


def check(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Raise `IntegrityError` when the manifest of an artifact does not fit the study."""
    check_tags(artifact, manifest)
    check_settings(record, artifact, manifest)
    check_files(record, artifact, manifest)
    check_code(record, artifact, manifest)
    check_images(record, artifact, manifest)


def read_labeled(record: StudyRecord, file: File, replicate: Replicate, every: bool) -> Labeled:
    """The labeled images of `file`: at most the budget per class, and none of its test set.

    `every`: each class must have a label. Of fresh labels there are as many as the pool has. With
    `data.imbalance`, classes have budgets of their own.
    """
    path = record.root / file.path
    data = read_images(require(path, file.stage))
    ids = short_ids(data)
    imbalance = record.params.data.imbalance
    allowed = class_budgets(imbalance, replicate.budget, np.array(record.class_counts))
    counts = np.bincount(data.labels, minlength=len(allowed))
    if len(counts) > len(allowed) or (every and not counts.all()):
        raise IntegrityError(
            str(path),
            f"expected labels of each of {len(allowed)} classes, found "
            f"{counts.tolist()[:20]} labels per class",
            "run `dvc repro --force prepare`",
        )
    worst = int((counts - allowed).argmax())
    if counts[worst] > allowed[worst]:
        raise IntegrityError(
            str(path),
            f"expected at most {allowed[worst]} labels per class, found {counts[worst]}",
            "run `dvc repro --force prepare`",
        )
    refuse_test(record, path, ids, replicate.seed)
    return frozenset(zip(ids, data.labels.tolist(), strict=True))


def check_tags(artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact of another stage, item, classifier, budget or seed."""
    for name, value in artifact.tags.items():
        if (other := manifest["tags"].get(name)) != value:
            raise IntegrityError(
                str(artifact.manifest), f"expected {name} {value}, found {name} {other}", RERUN
            )


def check_settings(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact of other settings or other bits."""
    bits = manifest["environment"].get("bits")
    if bits != record.params.bits:
        raise IntegrityError(
            str(artifact.manifest),
            f"expected results with {record.params.bits} bits, found {bits or 'unknown'} bits",
            "run `dvc repro`",
        )
    present, recorded = settings(record.params, artifact), manifest["settings"]
    for key in sorted({*present, *recorded}):
        if key not in present or key not in recorded or present[key] != recorded[key]:
            raise IntegrityError(
                str(artifact.manifest),
                f"expected results with the current {key}, found results with other settings",
                "run `dvc repro`",
            )


def check_files(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact that was made from other files, or whose own files were replaced."""
    folder = artifact.manifest.parent
    outputs = {(folder / name).as_posix(): digest for name, digest in manifest["outputs"].items()}
    for file, digest in {**manifest["inputs"], **outputs}.items():
        if file not in record.digests:
            path, is_readable = record.root / file, file.startswith(READABLE)
            if is_readable and not path.is_file():
                raise IntegrityError(str(artifact.manifest), f"expected {file}, found none", RERUN)
            record.digests[file] = file_digest(path) if is_readable else digest
        if record.digests[file] != digest:
            raise IntegrityError(
                str(artifact.manifest), f"expected the current {file}, found another version", RERUN
            )


def check_code(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact of other code than others of its kind, or of other libraries."""
    kind = code_group(record.params, artifact)
    code, first = record.code.setdefault(kind, (manifest["code"], artifact.manifest))
    if code != manifest["code"]:
        raise IntegrityError(
            str(artifact.manifest),
            f"expected the same code as for {first}, found another version",
            RERUN,
        )
    if record.environment is None:
        record.environment = (manifest["environment"], artifact.manifest)
    libraries, first = record.environment
    differing = [
        name
        for name in {*libraries, *manifest["environment"]}
        if libraries.get(name) != manifest["environment"].get(name)
    ]
    if differing:
        raise IntegrityError(
            str(artifact.manifest),
            f"expected the same libraries as for {first}, found another version of "
            f"{min(differing)}",
            RERUN,
        )


def code_group(params: Params, artifact: Artifact) -> tuple[str, str, str]:
    """Trials of one group ran the same code.

    Arms with one transform share it; classifiers, generators and other transforms do not.
    """
    if artifact.stage != RESULTS:
        return artifact.stage, artifact.item, artifact.classifier or ""
    arm = params.arms[artifact.item]
    if arm.teacher_itself:
        return artifact.stage, str(arm.teacher), ""
    return artifact.stage, str(artifact.classifier), arm.transform


def check_images(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact that learned from a label outside its subset or from a test image."""
    used = {
        (content_id, int(label))
        for label, ids in manifest["consumed"].items()
        for content_id in ids
    }
    refuse_test(record, artifact.manifest, [content_id for content_id, _ in used], artifact.seed)
    if artifact.stage in EVALUATIONS or artifact.replicate is None:
        return

    allowed = record.subsets[artifact.replicate]
    arm = record.params.arms.get(artifact.item) if artifact.stage == RESULTS else None
    if arm is not None and arm.inputs == FRESH:
        allowed |= record.fresh[artifact.replicate]
    if outside := len(used - allowed):
        raise IntegrityError(
            str(artifact.manifest),
            f"expected labels of its own subset ({artifact.replicate}) only, found {outside} "
            "images with labels beyond it",
            "run its stage again: more labels than the budget make comparisons meaningless",
        )


def refuse_test(record: StudyRecord, path: Path, ids: list[str], seed: int | None) -> None:
    """Raise `IntegrityError` when one of `ids` belongs to a test image of the seed; None: of any.

    Only the judge of all seeds has none, and these share a test set.
    """
    sets = [record.test_ids[seed]] if seed is not None else record.test_ids.values()
    shared = frozenset().union(*sets).intersection(ids)
    if shared:
        raise IntegrityError(
            str(path), f"expected no test image, found {len(shared)}", "run `dvc repro --force`"
        )

"""Whether all results belong together: what the report asserts before it says a word.

Reads manifests and files that the report may read, never the test set: its images are known by
their content ids. Whoever trains a generator on more labels than the budget, mixes results of two
runs or plants a foreign file is told which file does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import FRESH, SUBSETS, Params
from pipeline.data.images import read_images
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz, require
from pipeline.trials.grid import Replicate, curve_replicates, expected_trials, replicates
from pipeline.trials.provenance import ID_DIGITS, MANIFEST, read_manifest, short_ids

Labeled = frozenset[tuple[str, int]]  # (short content id, label) of images
RERUN = "run `dvc repro --force` to make everything anew"


@dataclass(frozen=True)
class Artifact:
    """A trial's manifest, what it must say, and whose labels the trial may have learned from."""

    path: Path
    replicate: Replicate
    names: Mapping[str, str]  # stage, item and classifier
    sections: tuple[str, ...]  # of params.yaml that decide it
    may_use_fresh: bool = False
    teacher: str | None = None  # that is scored in the classifier's place

    @property
    def group(self) -> tuple[str, str]:
        """Trials of one group ran the same code: arms share it, classifiers do not."""
        return self.names["stage"], self.teacher or self.names.get("classifier", self.names["item"])

    @property
    def is_audit(self) -> bool:
        """Whether it only judges, with labels that nothing else may use."""
        return self.names["stage"] in ("evaluate_generator", "evaluate_teacher")


@dataclass
class StudyRecord:
    """What is known of the study at `root`, read once."""

    params: Params
    root: Path
    test_ids: frozenset[str]
    digests: dict[str, str]
    num_classes: int
    labeled: dict[tuple[str, Replicate], Labeled] = field(default_factory=dict)
    code: dict[tuple[str, str], tuple[str, Path]] = field(default_factory=dict)
    environment: tuple[dict[str, Any], Path] | None = None


def verify(params: Params, root: Path) -> None:
    """Raise `IntegrityError` naming the first artifact that does not belong to this study.

    Every artifact must have been made by the present settings from the files that lie here, by the
    same code and libraries as its like, from labels inside its replicate's draw, and from no image
    of the test set.
    """
    splits = root / "data/splits"
    manifest = read_json(require(splits / "manifest.json", "prepare"))
    test = read_npz(require(splits / "ids.npz", "prepare"))["test"]
    record = StudyRecord(
        params,
        root,
        test_ids=frozenset(str(content_id)[:ID_DIGITS] for content_id in test),
        digests=dict(manifest["files"]),
        num_classes=len(manifest["class_names"]),
    )
    for replicate in curve_replicates(params.study):
        check_subset(record, SUBSETS, replicate)
    for replicate in replicates(params.study):
        check_subset(record, FRESH, replicate)
    for artifact in artifacts(params):
        artifact_manifest = read_manifest(require(root / artifact.path, artifact.names["stage"]))
        check_names(artifact, artifact_manifest)
        check_settings(record, artifact, artifact_manifest)
        check_files(record, artifact, artifact_manifest)
        check_code(record, artifact, artifact_manifest)
        check_images(record, artifact, artifact_manifest)


def artifacts(params: Params) -> Iterator[Artifact]:
    """Every trial that the study is made of: teachers, generators, images, audits, classifiers."""
    for name in params.teachers:
        for stage, folder in (("train_teacher", "models"), ("evaluate_teacher", "data/audit")):
            for replicate in replicates(params.study):
                path = Path(folder) / name / replicate.file(MANIFEST)
                settings = (f"teachers.{name}",)[: stage == "train_teacher"]
                yield Artifact(path, replicate, {"stage": stage, "item": name}, settings)
    for name in params.generators:
        stages: dict[str, tuple[str, tuple[str, ...]]] = {
            "train_generator": ("models", (f"generators.{name}",)),
            "synthesize": ("data/synthetic", ("synthesize", "tune", f"generators.{name}")),
            "evaluate_generator": ("data/audit", ()),
        }
        for stage, (folder, sections) in stages.items():
            for replicate in replicates(params.study):
                path = Path(folder) / name / replicate.file(MANIFEST)
                yield Artifact(path, replicate, {"stage": stage, "item": name}, sections)
    for trial in expected_trials(params):
        names, arm = {"item": trial.arm, "classifier": trial.classifier}, params.arms[trial.arm]
        yield Artifact(
            Path("results") / trial.file().with_suffix(MANIFEST),
            trial.replicate,
            {"stage": "train_classifiers", **names},
            (f"arms.{trial.arm}", f"classifiers.{trial.classifier}"),
            may_use_fresh=arm.inputs == FRESH,
            teacher=arm.teacher if arm.teacher_itself else None,
        )


def check_subset(record: StudyRecord, folder: str, replicate: Replicate) -> None:
    """Refuse a draw of more labels than its budget, or with an image of the test set.

    Or one that lacks a class; of the fresh labels there are as many as the pool has.
    """
    path = record.root / folder / replicate.file(".npz")
    data = read_images(require(path, "prepare"))
    ids = short_ids(data)
    record.labeled[folder, replicate] = frozenset(zip(ids, data.labels.tolist(), strict=True))
    counts = np.bincount(data.labels, minlength=record.num_classes)
    if len(counts) > record.num_classes or (folder == SUBSETS and not counts.all()):
        raise IntegrityError(
            str(path),
            f"expected a label of each of {record.num_classes} classes, found of each "
            f"{counts.tolist()[:20]}",
            "run `dvc repro --force prepare`",
        )
    most = int(counts.max())
    if most > replicate.budget:
        raise IntegrityError(
            str(path),
            f"expected at most {replicate.budget} labels per class, found {most}",
            "run `dvc repro --force prepare`",
        )
    refuse_test(record, path, ids)


def check_names(artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact of another stage, arm, generator, classifier, budget or seed."""
    expected = {**artifact.names, **artifact.replicate.columns()}
    for name, value in expected.items():
        other = manifest["labels"].get(name)
        if other != value:
            raise IntegrityError(
                str(artifact.path),
                f"expected {name} {value}, found that it was made for {other}",
                RERUN,
            )


def check_settings(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact of other settings or other bits."""
    bits = manifest["environment"].get("bits")
    if bits != record.params.bits:
        raise IntegrityError(
            str(artifact.path),
            f"expected to be made with {record.params.bits} bits, found {bits or 'unknown'} ones",
            "run `dvc repro`",
        )
    for key in {*artifact.sections, *manifest["params"]}:
        try:
            expected = record.params.section(key)
        except (AttributeError, KeyError):
            expected = None
        if expected is None or expected != manifest["params"].get(key):
            raise IntegrityError(
                str(artifact.path),
                f"expected to be made with the present {key}, found other settings",
                "run `dvc repro`",
            )


def check_files(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact that was made from other files, or whose own files were replaced."""
    folder = artifact.path.parent
    outputs = {(folder / name).as_posix(): digest for name, digest in manifest["outputs"].items()}
    for file, digest in {**manifest["inputs"], **outputs}.items():
        if file not in record.digests:
            path = record.root / file
            readable = file.startswith(
                (SUBSETS, FRESH, "data/synthetic", "models", "results", "data/audit")
            )
            is_there = readable and path.is_file()
            record.digests[file] = file_digest(path) if is_there else digest
            if readable and not is_there:
                raise IntegrityError(str(artifact.path), f"expected {file}, found none", RERUN)
        if record.digests[file] != digest:
            raise IntegrityError(
                str(artifact.path), f"expected it to belong to {file}, found another version", RERUN
            )


def check_code(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact of other code than its like, or of other libraries than the rest."""
    code, first = record.code.setdefault(artifact.group, (manifest["code"], artifact.path))
    if code != manifest["code"]:
        raise IntegrityError(
            str(artifact.path), f"expected the code that made {first}, found another version", RERUN
        )
    if record.environment is None:
        record.environment = (manifest["environment"], artifact.path)
    libraries, first = record.environment
    differing = [
        name
        for name in {*libraries, *manifest["environment"]}
        if libraries.get(name) != manifest["environment"].get(name)
    ]
    if differing:
        raise IntegrityError(
            str(artifact.path),
            f"expected the versions that made {first}, found another one of {min(differing)}",
            RERUN,
        )


def check_images(record: StudyRecord, artifact: Artifact, manifest: dict[str, Any]) -> None:
    """Refuse an artifact that learned from a label outside its draw or from a test image."""
    used = {
        (content_id, int(label))
        for label, ids in manifest["consumed"].items()
        for content_id in ids
    }
    refuse_test(record, artifact.path, [content_id for content_id, _ in used])
    allowed = record.labeled[SUBSETS, artifact.replicate]
    if artifact.may_use_fresh:
        allowed |= record.labeled[FRESH, artifact.replicate]
    outside = len(used - allowed)
    if outside and not artifact.is_audit:
        raise IntegrityError(
            str(artifact.path),
            f"expected labels of its own draw ({artifact.replicate}) alone, found {outside} images "
            "with labels beyond it",
            "run the stage that made it again: more labels than the budget spoil the comparison",
        )


def refuse_test(record: StudyRecord, path: Path, ids: list[str]) -> None:
    """Raise `IntegrityError` when one of `ids` belongs to a test image."""
    shared = record.test_ids.intersection(ids)
    if shared:
        raise IntegrityError(
            str(path), f"expected no test image, found {len(shared)}", "run `dvc repro --force`"
        )

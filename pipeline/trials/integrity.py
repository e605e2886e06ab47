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

from pipeline.config.schema import DRAWS, FRESH, Params
from pipeline.data.images import read_images
from pipeline.runtime.errors import IntegrityError
from pipeline.runtime.files import file_digest, read_json, read_npz, require
from pipeline.trials.grid import Replicate, curve_replicates, expected_trials, replicates
from pipeline.trials.provenance import ID_DIGITS, MANIFEST, read_manifest, short_ids

Labeled = frozenset[tuple[str, int]]  # (short content id, label) of images
AGAIN = "run `dvc repro --force` to make everything anew"


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
class Facts:
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
    facts = Facts(
        params,
        root,
        test_ids=frozenset(str(each)[:ID_DIGITS] for each in test),
        digests=dict(manifest["files"]),
        num_classes=len(manifest["class_names"]),
    )
    for replicate in curve_replicates(params.study):
        check_draw(facts, DRAWS, replicate)
    for replicate in replicates(params.study):
        check_draw(facts, FRESH, replicate)
    for artifact in artifacts(params):
        found = read_manifest(require(root / artifact.path, artifact.names["stage"]))
        check_names(artifact, found)
        check_settings(facts, artifact, found)
        check_files(facts, artifact, found)
        check_code(facts, artifact, found)
        check_images(facts, artifact, found)


def artifacts(params: Params) -> Iterator[Artifact]:
    """Every trial that the study is made of: teachers, generators, images, audits, classifiers."""
    for name in params.teachers:
        for stage, folder in (("train_teacher", "models"), ("evaluate_teacher", "data/audit")):
            for each in replicates(params.study):
                path = Path(folder) / name / each.file(MANIFEST)
                settings = (f"teachers.{name}",)[: stage == "train_teacher"]
                yield Artifact(path, each, {"stage": stage, "item": name}, settings)
    for name in params.generators:
        stages: dict[str, tuple[str, tuple[str, ...]]] = {
            "train_generator": ("models", (f"generators.{name}",)),
            "synthesize": ("data/synthetic", ("synthesize", "tune", f"generators.{name}")),
            "evaluate_generator": ("data/audit", ()),
        }
        for stage, (folder, sections) in stages.items():
            for each in replicates(params.study):
                path = Path(folder) / name / each.file(MANIFEST)
                yield Artifact(path, each, {"stage": stage, "item": name}, sections)
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


def check_draw(facts: Facts, folder: str, replicate: Replicate) -> None:
    """Refuse a draw of more labels than its budget, or with an image of the test set.

    Or one that lacks a class; of the fresh labels there are as many as the pool has.
    """
    path = facts.root / folder / replicate.file(".npz")
    data = read_images(require(path, "prepare"))
    ids = short_ids(data)
    facts.labeled[folder, replicate] = frozenset(zip(ids, data.labels.tolist(), strict=True))
    counts = np.bincount(data.labels, minlength=facts.num_classes)
    if len(counts) > facts.num_classes or (folder == DRAWS and not counts.all()):
        raise IntegrityError(
            str(path),
            f"expected a label of each of {facts.num_classes} classes, found of each "
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
    refuse_test(facts, path, ids)


def check_names(artifact: Artifact, found: dict[str, Any]) -> None:
    """Refuse an artifact of another stage, arm, generator, classifier, budget or seed."""
    expected = {**artifact.names, **artifact.replicate.labels()}
    for name, value in expected.items():
        other = found["labels"].get(name)
        if other != value:
            raise IntegrityError(
                str(artifact.path),
                f"expected {name} {value}, found that it was made for {other}",
                AGAIN,
            )


def check_settings(facts: Facts, artifact: Artifact, found: dict[str, Any]) -> None:
    """Refuse an artifact of other settings or other bits."""
    bits = found["environment"].get("bits")
    if bits != facts.params.bits:
        raise IntegrityError(
            str(artifact.path),
            f"expected to be made with {facts.params.bits} bits, found {bits or 'unknown'} ones",
            "run `dvc repro`",
        )
    for key in {*artifact.sections, *found["params"]}:
        try:
            expected = facts.params.section(key)
        except (AttributeError, KeyError):
            expected = None
        if expected is None or expected != found["params"].get(key):
            raise IntegrityError(
                str(artifact.path),
                f"expected to be made with the present {key}, found other settings",
                "run `dvc repro`",
            )


def check_files(facts: Facts, artifact: Artifact, found: dict[str, Any]) -> None:
    """Refuse an artifact that was made from other files, or whose own files were replaced."""
    folder = artifact.path.parent
    outputs = {(folder / name).as_posix(): digest for name, digest in found["outputs"].items()}
    for file, digest in {**found["inputs"], **outputs}.items():
        if file not in facts.digests:
            path = facts.root / file
            readable = file.startswith(
                (DRAWS, FRESH, "data/synthetic", "models", "results", "data/audit")
            )
            known = readable and path.is_file()
            facts.digests[file] = file_digest(path) if known else digest
            if readable and not known:
                raise IntegrityError(str(artifact.path), f"expected {file}, found none", AGAIN)
        if facts.digests[file] != digest:
            raise IntegrityError(
                str(artifact.path), f"expected it to belong to {file}, found another version", AGAIN
            )


def check_code(facts: Facts, artifact: Artifact, found: dict[str, Any]) -> None:
    """Refuse an artifact of other code than its like, or of other libraries than the rest."""
    code, first = facts.code.setdefault(artifact.group, (found["code"], artifact.path))
    if code != found["code"]:
        raise IntegrityError(
            str(artifact.path), f"expected the code that made {first}, found another version", AGAIN
        )
    if facts.environment is None:
        facts.environment = (found["environment"], artifact.path)
    libraries, first = facts.environment
    differing = [
        name
        for name in {*libraries, *found["environment"]}
        if libraries.get(name) != found["environment"].get(name)
    ]
    if differing:
        raise IntegrityError(
            str(artifact.path),
            f"expected the versions that made {first}, found another one of {min(differing)}",
            AGAIN,
        )


def check_images(facts: Facts, artifact: Artifact, found: dict[str, Any]) -> None:
    """Refuse an artifact that learned from a label outside its draw or from a test image."""
    used = {(each, int(label)) for label, ids in found["consumed"].items() for each in ids}
    refuse_test(facts, artifact.path, [each for each, _ in used])
    allowed = facts.labeled[DRAWS, artifact.replicate]
    if artifact.may_use_fresh:
        allowed |= facts.labeled[FRESH, artifact.replicate]
    outside = len(used - allowed)
    if outside and not artifact.is_audit:
        raise IntegrityError(
            str(artifact.path),
            f"expected labels of its own draw ({artifact.replicate}) alone, found {outside} images "
            "with labels beyond it",
            "run the stage that made it again: more labels than the budget spoil the comparison",
        )


def refuse_test(facts: Facts, path: Path, ids: list[str]) -> None:
    """Raise `IntegrityError` when one of `ids` belongs to a test image."""
    shared = facts.test_ids.intersection(ids)
    if shared:
        raise IntegrityError(
            str(path), f"expected no test image, found {len(shared)}", "run `dvc repro --force`"
        )

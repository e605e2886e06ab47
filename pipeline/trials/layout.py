"""Where every artifact lies, which settings decide it, and how it is named.

The only module that spells output folders and file suffixes: stages, the integrity check, tables
and tests ask here. Paths are relative to the project's folder. Knows no file's content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.design import is_supervised, with_parts
from pipeline.config.schema import FRESH, SUBSETS, Params
from pipeline.trials.grid import Replicate, Trial, choices, expected_trials, replicates

MANIFEST = ".manifest.json"
PREPARE = "prepare"
JUDGE = "judge"  # the only item of the stage train_judge, where all seeds share a pool


@dataclass(frozen=True)
class File:
    """A file that a trial may read.

    `stage` is the stage that writes it, as `dvc repro` names it. `manifest` is that of the trial
    that writes it, or None for files of `prepare`, which have no trial and cannot fail.
    """

    path: Path
    stage: str
    manifest: Path | None = None


SOURCE = File(Path("data/source.json"), "list_images")  # sizes and digests of the user's files
SPLITS = Path("data/splits")
SUMMARY = File(SPLITS / "manifest.json", PREPARE)


def pool_file(params: Params, seed: int) -> File:
    """The images of the pool, without labels."""
    return _split(params, "pool", seed)


def labels_file(params: Params, seed: int) -> File:
    """All labels of the pool, for evaluation only."""
    return _split(params, "labels", seed)


def test_file(params: Params, seed: int) -> File:
    """The test set, for scoring only."""
    return _split(params, "test", seed)


def ids_file(params: Params, seed: int) -> File:
    """The content ids of pool and test set."""
    return _split(params, "ids", seed)


def _split(params: Params, part: str, seed: int) -> File:
    """A part of the split of a seed: all seeds share one unless each has its own test set."""
    name = f"seed-{seed:02d}" if params.data.per_seed else "all"
    return File(SPLITS / part / f"{name}.npz", PREPARE)


def subset(replicate: Replicate) -> File:
    """The labeled subset of a replicate."""
    return File(Path(SUBSETS) / replicate.file(".npz"), PREPARE)


def fresh(replicate: Replicate) -> File:
    """As many labeled images again, for the control that must help."""
    return File(Path(FRESH) / replicate.file(".npz"), PREPARE)


@dataclass(frozen=True)
class Outputs:
    """The output folder of a stage, and the suffixes of the files of one trial, main one first."""

    folder: Path
    suffixes: tuple[str, ...]


OUTPUTS: dict[str, Outputs] = {
    "train_teacher": Outputs(Path("models"), (".npz", ".safetensors")),
    "evaluate_teacher": Outputs(Path("data/audit"), (".json",)),
    "train_generator": Outputs(
        Path("models"),
        (
            ".safetensors",
            ".history.csv",
            ".snapshots.npz",
            ".showcase.npz",
            ".discriminator.safetensors",
        ),
    ),
    "tune": Outputs(Path("data/tuning"), (".json",)),
    "tune_transforms": Outputs(Path("data/transforms"), (".json",)),
    "synthesize": Outputs(Path("data/synthetic"), (".npz",)),
    "train_judge": Outputs(Path("data/judge"), (".safetensors",)),
    "evaluate_generator": Outputs(Path("data/audit"), (".json",)),
    "train_classifiers": Outputs(Path("results"), (".npz",)),
}
# Stages that read labels beyond the subset, which nothing that is trained for an arm may see.
EVALUATIONS = frozenset({"evaluate_teacher", "train_judge", "evaluate_generator"})
# Stages without items in dvc.yaml: one output folder for all of their trials.
SINGLE = frozenset({"train_judge", "tune_transforms"})


@dataclass(frozen=True)
class Artifact:
    """The outputs of one trial: of `item` of a stage, in one replicate, with one classifier.

    `item` is a generator, teacher, arm or tuned transform of params.yaml. A judge has no replicate,
    and `pool_seed` where it learns from the pool of one seed; only trials of `train_classifiers`
    and `tune_transforms` have a classifier.
    """

    stage: str
    item: str
    replicate: Replicate | None = None
    classifier: str | None = None
    pool_seed: int | None = None

    @property
    def seed(self) -> int | None:
        """The seed whose split it was made from; None for what all seeds share."""
        return self.replicate.seed if self.replicate else self.pool_seed

    @property
    def title(self) -> str:
        """The stage as `dvc repro` names it."""
        return self.stage if self.stage in SINGLE else f"{self.stage}@{self.item}"

    @property
    def folder(self) -> Path:
        """The folder that holds the outputs of all trials of the item, or of the whole stage."""
        folder = OUTPUTS[self.stage].folder
        return folder if self.stage in SINGLE else folder / self.item

    def path(self, suffix: str) -> Path:
        """The path of the output with this suffix."""
        if self.replicate is None:
            return self.folder / f"{self.item}{suffix}"
        classifier = f".{self.classifier}" if self.classifier else ""
        folder = OUTPUTS[self.stage].folder / self.item
        return folder / self.replicate.file(f"{classifier}{suffix}")

    @property
    def manifest(self) -> Path:
        """The path of the manifest, which every trial has, failed ones too."""
        return self.path(MANIFEST)

    @property
    def paths(self) -> dict[str, Path]:
        """The paths of all outputs of a trial that did not fail, by suffix."""
        return {suffix: self.path(suffix) for suffix in OUTPUTS[self.stage].suffixes}

    def output(self, suffix: str) -> File:
        """The output with this suffix, as an input of another trial."""
        return File(self.path(suffix), self.title, self.manifest)

    @property
    def tags(self) -> dict[str, str | int]:
        """The names of the trial, as columns of tables."""
        names: dict[str, str | int] = {"stage": self.stage, "item": self.item}
        if self.classifier is not None:
            names["classifier"] = self.classifier
        if self.pool_seed is not None:
            names["seed"] = self.pool_seed
        return names | (self.replicate.columns() if self.replicate else {})


def result(trial: Trial) -> Artifact:
    """The outputs of a classifier trial."""
    return Artifact("train_classifiers", trial.arm, trial.replicate, trial.classifier)


def choice(transform: str, replicate: Replicate, classifier: str) -> Artifact:
    """What a replicate chose for a classifier from a tuned transform."""
    return Artifact("tune_transforms", transform, replicate, classifier)


def judge(params: Params, seed: int) -> Artifact:
    """The judge of a seed, which is that of all seeds where these share a pool."""
    if not params.data.per_seed:
        return Artifact("train_judge", JUDGE)
    return Artifact("train_judge", f"seed-{seed:02d}", pool_seed=seed)


def judges(params: Params) -> list[Artifact]:
    """Every judge of the study, once."""
    return list(dict.fromkeys(judge(params, seed) for seed in params.study.seeds))


def artifacts(params: Params) -> Iterator[Artifact]:
    """The outputs of every trial that the study consists of, in the order of the stages."""
    grid = replicates(params.study)
    for name in params.teachers:
        for stage in ("train_teacher", "evaluate_teacher"):
            yield from (Artifact(stage, name, replicate) for replicate in grid)
    yield from judges(params)
    for name in params.generators:
        for stage in ("train_generator", "tune", "synthesize", "evaluate_generator"):
            yield from (Artifact(stage, name, replicate) for replicate in grid)
    yield from (choice(*names) for names in choices(params))
    yield from map(result, expected_trials(params))


def filter_teacher(params: Params, generator: str) -> str:
    """The teacher whose probabilities filter the images of a generator.

    The teacher that labeled the images the generator learned from, else `synthesize.teacher`.
    """
    return params.generators[generator].teacher or params.synthesize.teacher


def sections(params: Params, artifact: Artifact) -> tuple[str, ...]:
    """The sections of params.yaml, dotted, that decide the outputs of a trial."""
    return SECTIONS[artifact.stage](params, artifact)


def settings(params: Params, artifact: Artifact) -> dict[str, Any]:
    """The values of those sections, as params.yaml has them."""
    return {key: params.section(key) for key in sections(params, artifact)}


def _teacher_sections(params: Params, name: str) -> tuple[str, ...]:
    """A supervised teacher is a classifier with a transform, so their sections decide it too."""
    keys = [f"teachers.{name}"]
    if is_supervised(params, name):
        chosen = params.teachers[name].settings
        keys.append(f"classifiers.{chosen.get('classifier', 'cnn')}")
        keys += _transform_sections(params, chosen.get("transform", "none"))
    return tuple(keys)


def _transform_sections(params: Params, name: str) -> list[str]:
    return [f"transforms.{part}" for part in with_parts(params, name)]


def _choice_sections(params: Params, artifact: Artifact) -> tuple[str, ...]:
    return (
        f"classifiers.{artifact.classifier}",
        *_transform_sections(params, artifact.item),
    )


def _arm_sections(params: Params, artifact: Artifact) -> tuple[str, ...]:
    arm, section = params.arms[artifact.item], f"arms.{artifact.item}"
    if arm.teacher_itself:
        return (section, *_teacher_sections(params, str(arm.teacher)))
    transforms = _transform_sections(params, arm.transform)
    return (section, f"classifiers.{artifact.classifier}", *transforms)


def _image_sections(params: Params, artifact: Artifact) -> tuple[str, ...]:
    teacher = _teacher_sections(params, filter_teacher(params, artifact.item))
    return ("synthesize", f"generators.{artifact.item}", *teacher)


SECTIONS: dict[str, Callable[[Params, Artifact], tuple[str, ...]]] = {
    "train_teacher": lambda params, artifact: _teacher_sections(params, artifact.item),
    "evaluate_teacher": lambda params, artifact: ("data.unknown_classes",),
    "train_generator": lambda params, artifact: (f"generators.{artifact.item}",),
    "tune": lambda params, artifact: ("tune", *_image_sections(params, artifact)),
    "tune_transforms": _choice_sections,
    "synthesize": _image_sections,
    "train_judge": lambda params, artifact: (),
    "evaluate_generator": lambda params, artifact: (),
    "train_classifiers": _arm_sections,
}

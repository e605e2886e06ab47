"""tune@<generator>: per replicate, standard deviation of the noise and threshold of the filter.

`data/tuning/<generator>/` gets one `.json` per replicate with `latent_std` and `min_probability`:
the only candidates of params.yaml, or those with the least log loss in a cross-validation inside
the replicate's labeled subset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.classifiers import CLASSIFIERS
from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.config.schema import EngineParams, Params
from pipeline.data.images import LabeledImages, read_images
from pipeline.generators import GENERATORS
from pipeline.generators.base import Generator, create
from pipeline.generators.fit import fit
from pipeline.runtime.files import read_npz, to_json
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers import TEACHERS
from pipeline.training_sets.teaching import teacher_spec
from pipeline.training_sets.tuning import Search, Trainers, choose
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import replicates
from pipeline.trials.layout import Artifact, filter_teacher, subset
from pipeline.trials.specs import MemberSpec, Spec, member


@dataclass(frozen=True)
class TuneSpec(Spec):
    """What decides a choice.

    `classifier` is that of the teacher and of the scored students; None for a teacher that is no
    classifier, which params.yaml allows with a single candidate only.
    """

    search: Search
    generator: MemberSpec
    teacher: MemberSpec
    classifier: Any


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    settings, where = params.generators[name].settings, f"generators.{name}"
    generator = member(GENERATORS, params.family(name), settings, where)
    teacher = teacher_spec(params, filter_teacher(params, name), TEACHERS, CLASSIFIERS)
    search = Search(
        tuple(params.tune.latent_std),
        tuple(params.tune.min_probability),
        params.tune.folds,
        params.synthesize.per_class,
        teacher.transform,
    )
    made = []
    for replicate in replicates(params.study):
        # The seed of the images, so that candidates are compared with the noise that is used.
        seed = derive_seed("synthesize", name, replicate.budget, replicate.seed)
        spec = TuneSpec(seed, search, generator, teacher.teacher, teacher.classifier)
        artifact, inputs = Artifact("tune", name, replicate), {"subset": subset(replicate)}
        made.append(TrialPlan(artifact, tune, spec, inputs))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/tuning/<name>/`."""
    if len(params.tune.latent_std) == len(params.tune.min_probability) == 1:
        # Nothing is trained: not worth a worker process.
        params = params.model_copy(update={"engine": EngineParams(kind="serial", workers=1)})
    run_trials(params, root, plans(params, name))


def tune(spec: TuneSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Choose the pair of one replicate."""
    labeled = read_images(paths["subset"])

    def fit_generator(data: LabeledImages, seed: int, folder: Path) -> Generator:
        family, config = spec.generator.family, spec.generator.config
        generator = create(family, config, data.spec(), derive_seed("initial", seed))
        fit(generator, data, seed, folder)
        return generator

    def fit_classifier(data: TrainingSet, seed: int) -> Classifier:
        classifier: Classifier = spec.classifier.family(spec.classifier.config, seed)
        return classifier.fit(data)

    trainers = Trainers(fit_generator, fit_classifier)
    groups = read_npz(paths["subset"]).get("groups")
    choice = choose(labeled, spec.search, trainers, spec.seed, scratch, groups)
    return Result({".json": to_json(asdict(choice)).encode()}, labeled)

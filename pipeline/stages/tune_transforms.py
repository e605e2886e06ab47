"""tune_transforms: per tuned transform, replicate and classifier, the transform to use.

`data/transforms/<transform>/` gets one `.json` per replicate and classifier: `transform`, a name or
`none`; `settings`, the number of the classifier's settings among the candidates; `folds`, `reason`
(why nothing could be compared) and `candidates`, the held-out log loss of each. All arms that name
the transform read the same choice. Without a tuned transform the folder is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.classifiers import CLASSIFIERS
from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.config.schema import Params
from pipeline.data.images import BLACK, read_images
from pipeline.nn.mixing import Mixing
from pipeline.runtime.files import read_npz, replacing, to_json
from pipeline.runtime.seeds import derive_seed
from pipeline.training_sets.choosing import TransformSearch, choose_transform
from pipeline.training_sets.teaching import classifier_candidates
from pipeline.training_sets.transforms.building import build_transform, find_choice, named_spec
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import choices
from pipeline.trials.layout import OUTPUTS, choice, subset
from pipeline.trials.specs import MemberSpec, Spec


@dataclass(frozen=True)
class TuneTransformsSpec(Spec):
    """What decides a choice. `classifiers`: one classifier with each of its candidate settings."""

    search: TransformSearch
    classifiers: tuple[MemberSpec, ...]


def plans(params: Params) -> list[TrialPlan]:
    """One trial per tuned transform, replicate and classifier that an arm needs it for."""
    made = []
    for name, replicate, classifier in choices(params):
        # No transform's name: equal candidates are compared with equal seeds.
        seed = derive_seed("transforms", classifier, replicate.budget, replicate.seed)
        search, candidates = search_of(params, name, classifier)
        spec = TuneTransformsSpec(seed, search, candidates)
        artifact = choice(name, replicate, classifier)
        made.append(TrialPlan(artifact, tune, spec, {"subset": subset(replicate)}))
    return made


def search_of(
    params: Params, name: str, classifier: str
) -> tuple[TransformSearch, tuple[MemberSpec, ...]]:
    """The candidates of a tuned transform for a classifier.

    Those that mix labels are left out for a classifier that cannot learn from mixed labels.
    """
    tuned = named_spec(name, params.transforms)
    members = classifier_candidates(params, classifier, CLASSIFIERS, name, tuned, in_folds=True)
    learns_from_mixed = members[0].family.learns_from_mixed
    transforms = [(transform, find_choice(tuned, transform)) for transform in tuned.config.choices]
    usable = tuple(
        pair
        for pair in transforms
        if learns_from_mixed or not isinstance(build_transform(pair[1], BLACK), Mixing)
    )
    config = tuned.config
    search = TransformSearch(usable, len(members), config.folds, config.per_class, config.repeats)
    return search, members


def run(params: Params, root: Path) -> None:
    """Write `data/transforms/`."""
    made = plans(params)
    if made:
        run_trials(params, root, made)
        return
    with replacing(root / OUTPUTS["tune_transforms"].folder):
        pass


def tune(spec: TuneTransformsSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Choose for one classifier in one replicate."""
    labeled = read_images(paths["subset"])

    def train(training_set: TrainingSet, settings: int, seed: int) -> Classifier:
        member = spec.classifiers[settings]
        classifier: Classifier = member.family(member.config, seed)
        return classifier.fit(training_set)

    groups = read_npz(paths["subset"]).get("groups")
    result = choose_transform(labeled, spec.search, train, spec.seed, groups)
    return Result({".json": to_json(asdict(result)).encode()}, labeled)

"""synthesize@<generator>: labeled images of a trained generator, with a teacher's probabilities.

`data/synthetic/<generator>/` gets one `.npz` per replicate: `images` uint8 (n, c, h, w) and
`labels` int64 (n,), classes alternating; `probabilities` float32 (n, classes), those of the teacher
that filters use; `latent_std`, the standard deviation of the noise; `min_probability`, the minimum
that filters require. The last two were chosen by stage `tune`, but a teacher that labeled the
images the generator learned from has a minimum of its own: that of its pseudo-labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.classifiers import CLASSIFIERS
from pipeline.config.schema import Params
from pipeline.data.images import read_images
from pipeline.evaluation.fidelity import refuse_collapse
from pipeline.generators import GENERATORS
from pipeline.generators.base import create
from pipeline.generators.sampling import sample_classes
from pipeline.nn.weights import read_weights
from pipeline.runtime.files import read_json, read_npz, to_npz
from pipeline.runtime.seeds import derive_seed
from pipeline.teachers import TEACHERS
from pipeline.training_sets.teaching import TeacherSpec, teacher_spec
from pipeline.trials.engine import Result, TrialPlan, run_trials
from pipeline.trials.grid import replicates
from pipeline.trials.layout import Artifact, filter_teacher, subset
from pipeline.trials.specs import MemberSpec, Spec, member


@dataclass(frozen=True)
class SynthesizeSpec(Spec):
    """What decides a set of images."""

    per_class: int
    generator: MemberSpec
    teacher: TeacherSpec


def plans(params: Params, name: str) -> list[TrialPlan]:
    """One trial per replicate."""
    section, teacher = params.generators[name], filter_teacher(params, name)
    generator = member(GENERATORS, params.family(name), section.settings, f"generators.{name}")
    filter_spec = teacher_spec(params, teacher, TEACHERS, CLASSIFIERS)
    made = []
    for replicate in replicates(params.study):
        inputs = {
            "subset": subset(replicate),
            "generator": Artifact("train_generator", name, replicate).output(".safetensors"),
            "choice": Artifact("tune", name, replicate).output(".json"),
            "teacher": Artifact("train_teacher", teacher, replicate).output(".safetensors"),
        }
        if section.teacher is not None:
            inputs["pseudo"] = Artifact("train_teacher", teacher, replicate).output(".npz")
        seed = derive_seed("synthesize", name, replicate.budget, replicate.seed)
        spec = SynthesizeSpec(seed, params.synthesize.per_class, generator, filter_spec)
        artifact = Artifact("synthesize", name, replicate)
        made.append(TrialPlan(artifact, synthesize, spec, inputs))
    return made


def run(params: Params, root: Path, name: str) -> None:
    """Write `data/synthetic/<name>/`."""
    run_trials(params, root, plans(params, name))


def synthesize(spec: SynthesizeSpec, paths: Mapping[str, Path], scratch: Path) -> Result:
    """Sample the images of one replicate, each from its own seed.

    Raises `CollapsedError` when a class has almost no diversity, measured by the labeled subset: a
    user of such a generator would see it and not use it.
    """
    labeled, choice = read_images(paths["subset"]), read_json(paths["choice"])
    family, config = spec.generator.family, spec.generator.config
    generator = create(family, config, labeled.spec(), spec.seed)
    generator.generator_net.load_state_dict(read_weights(paths["generator"]))
    synthetic = sample_classes(generator, spec.per_class, spec.seed, choice["latent_std"])
    refuse_collapse(synthetic, labeled)

    teacher = spec.teacher.build(spec.seed, labeled.background)
    teacher.load(read_weights(paths["teacher"]), labeled.spec())
    minimum = choice["min_probability"]
    if "pseudo" in paths:
        minimum = read_npz(paths["pseudo"])["min_probability"]
    images = to_npz(
        images=synthetic.images,
        labels=synthetic.labels,
        probabilities=teacher.predict_proba(synthetic.images),
        latent_std=np.array(choice["latent_std"]),
        min_probability=np.array(minimum),
    )
    return Result({".npz": images}, labeled)

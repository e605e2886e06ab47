"""A trial's name follows everything that decides it, and its manifest says what that was."""

from __future__ import annotations

import functools
import pickle
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import STUDY
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import SUBSETS, Params
from pipeline.config.validation import parse_yaml, validate
from pipeline.data.images import LabeledImages, content_ids
from pipeline.generators import GENERATORS
from pipeline.generators.cvae import CVAE
from pipeline.generators.gan.dcgan import DCGAN
from pipeline.runtime.determinism import NUM_THREADS, resolve_precision
from pipeline.runtime.errors import CollapsedError, IntegrityError, ParamsError, TrialError
from pipeline.runtime.files import file_digest, read_json, to_json, write_json, write_text
from pipeline.runtime.seeds import library_versions
from pipeline.stages.__main__ import ITEMS
from pipeline.trials import code, layout
from pipeline.trials.code import ALWAYS, PACKAGE, decisive_files, import_closure
from pipeline.trials.engine import Task, TrialPlan
from pipeline.trials.grid import Replicate
from pipeline.trials.layout import File
from pipeline.trials.provenance import (
    ID_DIGITS,
    PARTS,
    Provenance,
    complete,
    consumed,
    describe,
    failure_of,
    input_failure,
    input_path,
    manifest_of,
    provenance,
    read_manifest,
    short_ids,
)
from pipeline.trials.specs import MemberSpec, Spec, dump, family_modules, member
from pipeline.trials.store import TrialStore

WORDS = ("a training set", "expected images, found none", "lower min_probability")
STAGE = str(PACKAGE / "stages/train_generator.py")
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RateSpec(Spec):
    """A spec of these tests."""

    rate: float = 0.1
    generator: MemberSpec | None = None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project with two inputs, in a folder whose name is no plain word."""
    home = tmp_path / "my dátä (1)"
    write_text(home / "data/a.npz", "one")
    write_text(home / "data/b.npz", "two")
    return home


A, B = File(Path("data/a.npz"), "prepare"), File(Path("data/b.npz"), "prepare")


def origin(home: Path, **changes: Any) -> Provenance:
    plain: dict[str, Any] = {
        "stage_file": STAGE,
        "spec": RateSpec(3),
        "inputs": {"a": A, "b": B},
        "bits": "portable",
        "root": home,
    }
    return provenance(**plain | changes)


def pictures(*pairs: tuple[int, int]) -> LabeledImages:
    """One image per (pixel, label)."""
    pixels = np.array([value for value, _ in pairs], dtype=np.uint8).reshape(-1, 1, 1, 1)
    return LabeledImages(pixels, np.array([label for _, label in pairs], dtype=np.int64))


def test_the_same_facts_give_the_same_name(home: Path) -> None:
    assert origin(home) == origin(home)
    assert origin(home).name == origin(home).name


def test_a_name_follows_code_inputs_spec_and_seed(home: Path) -> None:
    dcgan = MemberSpec(DCGAN, DCGAN.Config())
    wide = MemberSpec(DCGAN, DCGAN.Config(features=7))
    found = [
        origin(home),
        origin(home, stage_file=str(PACKAGE / "stages/train_teacher.py")),
        origin(home, spec=RateSpec(4)),
        origin(home, spec=RateSpec(3, rate=0.2)),
        origin(home, spec=RateSpec(3, generator=dcgan)),
        origin(home, spec=RateSpec(3, generator=wide)),
        origin(home, spec=RateSpec(3, generator=MemberSpec(CVAE, dcgan.config))),
        origin(home, inputs={"a": A}),
        origin(home, inputs={"b": B}),
        origin(home, inputs={}),
        origin(home, bits="native"),
    ]
    assert len({provenance.name for provenance in found}) == len(found)


@pytest.mark.parametrize("file", ["a.npz", "b.npz"])
def test_a_name_follows_the_bytes_of_every_input(file: str, home: Path) -> None:
    before = origin(home)
    write_text(home / "data" / file, "three")
    assert origin(home).name != before.name


def test_which_input_has_which_bytes_matters_and_their_order_does_not(home: Path) -> None:
    before = origin(home)
    assert origin(home, inputs={"b": B, "a": A}).name == before.name
    write_text(home / "data/a.npz", "two")
    write_text(home / "data/b.npz", "one")
    assert origin(home).name != before.name


@pytest.mark.parametrize("changed", [{"threads": 2}, {"numpy": "0.1"}, {"more": "1"}])
def test_a_name_follows_libraries_and_threads(changed: dict[str, str | int], home: Path) -> None:
    one = origin(home)
    other = replace(one, environment={**one.environment, **changed})
    assert other.name != one.name


def test_the_environment_is_the_libraries_that_decide_results_and_the_threads(home: Path) -> None:
    found = origin(home).environment
    precision = {"bits": "portable", "auto precision": resolve_precision("auto")}
    assert found == {**library_versions(), "threads": NUM_THREADS, **precision}


def test_inputs_are_named_from_the_project_on(home: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(home, tmp_path / "elsewhere"))
    found = origin(home)
    assert found.inputs == {
        f"data/{name}": file_digest(home / "data" / name) for name in ("a.npz", "b.npz")
    }
    assert origin(elsewhere) == found


IMAGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=12)


@given(pairs=IMAGES)
def test_every_consumed_image_is_named_once_under_each_of_its_labels(
    pairs: list[tuple[int, int]],
) -> None:
    data = pictures(*pairs)
    found = consumed(data)
    expected = {
        (short, str(label)) for short, label in zip(short_ids(data), data.labels, strict=True)
    }
    assert {(each, label) for label, ids in found.items() for each in ids} == expected
    assert sum(map(len, found.values())) == len(expected)
    assert all(ids == sorted(ids) for ids in found.values())


@given(pairs=IMAGES, data=st.data())
def test_what_was_consumed_does_not_depend_on_the_order_of_images(
    pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    turned = data.draw(st.permutations(pairs))
    assert to_json(consumed(pictures(*turned))) == to_json(consumed(pictures(*pairs)))


def test_short_ids_are_the_beginnings_of_content_ids(bars: LabeledImages) -> None:
    found = short_ids(bars)
    assert len(found) == len(bars)
    for short, whole in zip(found, content_ids(bars.images), strict=True):
        assert len(short) == ID_DIGITS
        assert str(whole).startswith(short)
    assert len(set(found)) == len(set(content_ids(bars.images).tolist()))


def test_consuming_nothing_leaves_nothing(bars: LabeledImages) -> None:
    assert consumed(None) == consumed(bars.take(np.arange(0))) == {}


def left(path: Path, failure: TrialError | None) -> Path:
    """What a trial leaves at `path`: its manifest, and its output if it came to something."""
    record = describe(Provenance("code", {}, {}, {}), {}, failure)
    write_json(manifest_of(path), complete(record, {"seed": 1}, {}, {}))
    if failure is None:
        write_text(path, "output")
    return path


@pytest.mark.parametrize(
    ("output", "manifest"),
    [
        ("seed-00.npz", "seed-00.manifest.json"),
        ("seed-00.cnn.npz", "seed-00.cnn.manifest.json"),
        ("seed-00.my.cnn.npz", "seed-00.my.cnn.manifest.json"),
        ("seed-00.safetensors", "seed-00.manifest.json"),
    ],
)
def test_the_manifest_of_an_output_lies_beside_it(output: str, manifest: str) -> None:
    assert manifest_of(Path("a/b") / output) == Path("a/b") / manifest


OUT = File(Path("out.npz"), "synthesize@dcgan", Path("out.manifest.json"))


def test_the_input_of_a_finished_trial_is_its_file(tmp_path: Path) -> None:
    path = left(tmp_path / "out.npz", None)
    assert failure_of(path) is None
    assert input_path(tmp_path, OUT) == OUT.path
    assert input_failure(tmp_path, {"x": OUT}) is None


def test_the_input_of_a_failed_trial_is_its_manifest(tmp_path: Path) -> None:
    path = left(tmp_path / "out.npz", CollapsedError(*WORDS))
    assert failure_of(path).args == failure_of(manifest_of(path)).args == WORDS
    assert input_path(tmp_path, OUT) == OUT.manifest
    assert input_failure(tmp_path, {"a": A, "x": OUT}).args == WORDS


@pytest.mark.parametrize("kept", [[], ["out.npz"], ["out.manifest.json"]])
def test_a_stage_that_has_not_run_is_named(kept: list[str], tmp_path: Path) -> None:
    left(tmp_path / "out.npz", None)
    for file in tmp_path.iterdir():
        if file.name not in kept:
            file.unlink()
    with pytest.raises(IntegrityError, match="synthesize@dcgan"):
        input_path(tmp_path, OUT)


def test_a_failure_upstream_names_the_trial_downstream(tmp_path: Path) -> None:
    path = left(tmp_path / "out.npz", None)
    names = [origin(tmp_path, inputs={"x": OUT}).name]
    for reason in (WORDS, ("a", "b", "c")):
        left(path, TrialError(*reason))
        names.append(origin(tmp_path, inputs={"x": OUT}).name)
    assert len(set(names)) == 3


def test_a_manifest_survives_its_file(home: Path, few_bars: LabeledImages) -> None:
    found = origin(home, spec=RateSpec(3, generator=MemberSpec(DCGAN, DCGAN.Config())))
    tags = {"stage": "synthesize", "item": "dcgan", "budget": 2, "seed": 1}
    record = describe(found, consumed(few_bars), TrialError(*WORDS))
    manifest = complete(record, tags, {"synthesize": {"per_class": 3}}, {"seed-01.npz": "abc"})
    write_json(home / "x.manifest.json", manifest)
    assert (
        read_json(home / "x.manifest.json") == manifest == read_manifest(home / "x.manifest.json")
    )
    assert set(manifest) == set(PARTS)
    assert manifest["failure"] == list(WORDS)
    assert manifest["consumed"] == consumed(few_bars)
    assert {name: manifest[name] for name in asdict(found)} == asdict(found)


def names(files: frozenset[Path]) -> set[str]:
    return {file.relative_to(PACKAGE).as_posix() for file in files}


@pytest.mark.parametrize(
    "stage", [name for name in ITEMS if name not in ("list_images", "prepare", "report")]
)
def test_all_code_that_a_stage_imports_decides_its_trials_but_what_names_and_schedules(
    stage: str,
) -> None:
    file = PACKAGE / "stages" / f"{stage}.py"
    decisive = names(decisive_files(str(file)))
    left_out = {
        name
        for name in names(import_closure(file)) - decisive
        if not name.endswith("__init__.py") and not name.startswith(("trials/", "config/"))
    }
    # Families are reached by way of their registries alone; those of a trial are in its spec.
    families = (
        "generators/",
        "teachers/",
        "classifiers/",
        "training_sets/transforms/",
        "nn/",
        "data/images.py",
    )
    assert {name for name in left_out if not name.startswith(families)} <= {
        "runtime/errors.py",
        "runtime/progress.py",
    }
    assert {*ALWAYS, f"stages/{stage}.py"} <= decisive


def test_the_code_of_a_family_counts_for_its_own_trials_alone() -> None:
    dcgan, cvae = (names(decisive_files(STAGE, family.__module__)) for family in (DCGAN, CVAE))
    assert "generators/gan/dcgan.py" in dcgan - cvae
    assert "generators/cvae.py" in cvae - dcgan
    assert {"generators/base.py", "generators/fit.py", "nn/augment.py"} <= dcgan & cvae
    assert not {"generators/__init__.py", "runtime/errors.py"} & dcgan
    assert not [name for name in dcgan if name.startswith("report/")]


def test_the_family_and_the_defaults_of_half_decide_a_trial_of_srgan() -> None:
    plain, other = (
        member(GENERATORS, "srgan", {"half": {"family": family}}, "generators.srgan")
        for family in ("plain_dcgan", "autoencoder")
    )

    assert "pipeline.generators.gan.plain_dcgan" in family_modules(plain)
    assert "pipeline.generators.autoencoder" in family_modules(other)
    assert "pipeline.generators.gan.plain_dcgan" not in family_modules(other)
    (half,) = dump(plain)["parts"]
    assert half["config"]["discriminator"]["channels"]
    assert member(GENERATORS, "dcgan", {}, "generators.dcgan").parts == ()


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("stages/train_generator.py", True),
        ("trials/engine.py", True),
        ("generators/gan/dcgan.py", True),
        ("generators/__init__.py", False),
        ("trials/grid.py", False),
    ],
)
def test_a_changed_file_changes_the_code_of_a_trial_wherever_the_project_lies(
    file: str, counts: bool, root: Path, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "pipeline", tmp_path / "pipeline", ignore=ignored)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "pipeline")
    with mock.patch.object(code, "PACKAGE", tmp_path / "pipeline"):
        assert digest_anew(tmp_path) == digest_anew(root)
        with (tmp_path / "pipeline" / file).open("a", encoding="utf-8") as source:
            source.write("\nADDED = 1\n")
        assert (digest_anew(tmp_path) != digest_anew(root)) == counts


def digest_anew(root: Path) -> str:
    """The digest of a trial's code in the package below `root`, without what is remembered."""
    for function in (code.imported_modules, code.decisive_files, code.trial_code):
        function.cache_clear()
    with mock.patch.object(code, "PACKAGE", root / "pipeline"):
        stage = str(root / "pipeline/stages/train_generator.py")
        found = code.trial_code(stage, DCGAN.__module__)
    for function in (code.imported_modules, code.decisive_files, code.trial_code):
        function.cache_clear()
    return found


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every plain value."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from leaves(entry, (*path, key))
    elif value is not None:
        yield path


def other_values(value: Any) -> list[Any]:
    """Values of the same type that may be allowed in its place, the likeliest first."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value * 0.9 if isinstance(value, float) else value + 1, value - 1, value + 0.01]
    if isinstance(value, list):
        return [[*value[:-1], *other_values(value[-1])[:1]] if value else [1]]
    names = ("none", "agreement", "affine", "elastic", "cnn", "lgbm", "other", "claim", "measure")
    models = (f"models/{name}" for name in ("graph", "supervised", "other_supervised"))
    return [name for name in (*names, *models, SUBSETS, "float32", "native") if name != value]


def changed(document: dict[str, Any], path: tuple[Any, ...]) -> Params | None:
    """The params with another value at `path`, or None where no other value is allowed."""
    for value in other_values(functools.reduce(lambda part, key: part[key], path, document)):
        copy = deepcopy(document)
        functools.reduce(lambda part, key: part[key], path[:-1], copy)[path[-1]] = value
        try:
            params = validate(Params, copy, "changed")
            for stage, item in TRIALS:
                plan_of(stage, item, params)
        except (ParamsError, StopIteration):
            continue
        return params
    return None


# Of every stage a trial, and of classifiers one of every kind of arm.
TRIALS = [
    ("train_teacher", "supervised"),
    ("train_teacher", "graph"),
    ("evaluate_teacher", "graph"),
    ("train_generator", "dcgan"),
    ("train_generator", "taught"),
    ("tune", "dcgan"),
    ("synthesize", "dcgan"),
    ("synthesize", "taught"),
    ("train_judge", None),
    ("evaluate_generator", "dcgan"),
    ("train_classifiers", "real"),
    ("train_classifiers", "classical"),
    ("train_classifiers", "dcgan"),
    ("train_classifiers", "pseudo"),
    ("train_classifiers", "teacher"),
]
STUDY_OF_ALL = (
    STUDY.replace("generators:\n", "generators:\n  taught: {family: dcgan, inputs: models/graph}\n")
    .replace(
        "arms:\n",
        "arms:\n  pseudo: {kind: pseudo, inputs: models/graph, per_class: 6}\n"
        "  teacher: {kind: teacher, inputs: models/graph}\n",
    )
    .replace(
        "teachers: {",
        "teachers: {graph: {family: label_propagation}, "
        "other_supervised: {family: supervised, classifier: cnn}, ",
    )
    .replace("{cnn: {}", "{cnn: {steps: 20, dropout: 0.1}")
    .replace(
        "unknown_classes: {classes: [], frac: 0.0}", "unknown_classes: {classes: [2], frac: 0.1}"
    )
)


def plan_of(stage: str, item: str | None, params: Params) -> TrialPlan:
    """The plan of the trial of budget 2, seed 1, with the first classifier."""
    module = import_module(f"pipeline.stages.{stage}")
    plans = module.plans(params, item) if item else module.plans(params)
    wanted = (Replicate(2, 1), None)
    return next(plan for plan in plans if plan.artifact.replicate in wanted)


def decides(plan: TrialPlan) -> tuple[Any, ...]:
    """What its fingerprint is made of, but for the bytes of code and inputs."""
    return dump(plan.spec), {name: file.path for name, file in plan.inputs.items()}


def test_a_trial_is_named_by_exactly_the_settings_that_its_manifest_records() -> None:
    document = parse_yaml(STUDY_OF_ALL, "study")
    params = validate(Params, document, "study")
    before = {trial: plan_of(*trial, params) for trial in TRIALS}
    plain, tried = params.model_dump(exclude_unset=True), 0
    for path in leaves(plain):
        other = changed(plain, path)
        if other is None:
            continue
        tried += 1
        for trial, plan in before.items():
            again = plan_of(*trial, other)
            same = layout.settings(params, plan.artifact) == layout.settings(other, plan.artifact)
            assert (decides(again) == decides(plan)) == same, (path, trial)
    assert tried > 45


@pytest.mark.parametrize(("stage", "item"), TRIALS)
def test_a_worker_gets_its_spec_and_paths_and_no_params(
    stage: str, item: str | None, tmp_path: Path
) -> None:
    params = validate(Params, parse_yaml(STUDY_OF_ALL, "study"), "study")
    plan = plan_of(stage, item, params)
    paths = {name: tmp_path / file.path for name, file in plan.inputs.items()}
    spec = dump(plan.spec)
    made = Provenance("code", {}, {"kind": type(plan.spec).__name__, **spec}, {})
    task = Task(plan.artifact, made, plan.work, plan.spec, paths, settings={"x": 1})
    sent = pickle.dumps(task.job(TrialStore(tmp_path, stage)))
    assert b"Params" not in sent
    assert b"settings" not in sent
    assert set(spec) == {field.name for field in fields(plan.spec)}
    assert plan.spec.seed == spec["seed"]

"""A trial's name follows everything that decides it, and its manifest says what that was."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_teachers import MEMBERS

from pipeline.config.schema import Params
from pipeline.data.images import LabeledImages, content_ids
from pipeline.runtime.determinism import NUM_THREADS, resolve_precision
from pipeline.runtime.errors import CollapsedError, IntegrityError, TrialError
from pipeline.runtime.files import file_digest, read_json, to_json, write_json, write_text
from pipeline.runtime.seeds import library_versions
from pipeline.stages import (
    evaluate_generator,
    synthesize,
    train_classifiers,
    train_generator,
    train_teacher,
)
from pipeline.trials.code import PACKAGE, import_closure, imported_modules
from pipeline.trials.provenance import (
    ID_DIGITS,
    Provenance,
    consumed,
    describe,
    failure_of,
    manifest_of,
    outputs_of,
    provenance,
    refuse_failed,
    short_ids,
    trial_code,
)

WORDS = ("arm with inputs x", "expected images, found none", "lower the confidence")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project with two inputs, in a folder whose name is no plain word."""
    home = tmp_path / "my dátä (1)"
    write_text(home / "data/a.npz", "one")
    write_text(home / "data/b.npz", "two")
    return home


def origin(home: Path, study: Params, **changes: Any) -> Provenance:
    plain: dict[str, Any] = {
        "code": "code",
        "inputs": [home / "data/a.npz", home / "data/b.npz"],
        "params": study,
        "keys": ["arms.dcgan", "classifiers.cnn"],
        "seed": 3,
        "root": home,
    }
    return provenance(**plain | changes)


def pictures(*pairs: tuple[int, int]) -> LabeledImages:
    """One image per (pixel, label)."""
    pixels = np.array([value for value, _ in pairs], dtype=np.uint8).reshape(-1, 1, 1, 1)
    return LabeledImages(pixels, np.array([label for _, label in pairs], dtype=np.int64))


def test_the_same_facts_give_the_same_name(home: Path, study: Params) -> None:
    assert origin(home, study) == origin(home, study)
    assert origin(home, study).name == origin(home, study).name


def test_a_name_follows_code_inputs_settings_and_seed(home: Path, study: Params) -> None:
    a, b = home / "data/a.npz", home / "data/b.npz"
    arm = study.arms["dcgan"].model_copy(update={"per_class": 5})
    found = [
        origin(home, study),
        origin(home, study, code="edoc"),
        origin(home, study, seed=4),
        origin(home, study, inputs=[a]),
        origin(home, study, inputs=[b]),
        origin(home, study, inputs=[]),
        origin(home, study, keys=["arms.dcgan"]),
        origin(home, study, keys=["arms.dcgan", "classifiers.lgbm"]),
        origin(home, study.model_copy(update={"arms": {**study.arms, "dcgan": arm}})),
    ]
    assert len({each.name for each in found}) == len(found)


@pytest.mark.parametrize("file", ["a.npz", "b.npz"])
def test_a_name_follows_the_bytes_of_every_input(file: str, home: Path, study: Params) -> None:
    before = origin(home, study)
    write_text(home / "data" / file, "three")
    assert origin(home, study).name != before.name


def test_which_input_has_which_bytes_matters(home: Path, study: Params) -> None:
    before = origin(home, study)
    write_text(home / "data/a.npz", "two")
    write_text(home / "data/b.npz", "one")
    assert origin(home, study).name != before.name


def test_the_order_in_which_inputs_and_settings_are_named_does_not_matter(
    home: Path, study: Params
) -> None:
    turned = origin(
        home,
        study,
        inputs=[home / "data/b.npz", home / "data/a.npz"],
        keys=["classifiers.cnn", "arms.dcgan"],
    )
    assert turned.name == origin(home, study).name


@pytest.mark.parametrize(
    "changed", [{"threads": 2}, {"numpy": "0.1"}, {"more": "1"}, {"bits": "native"}]
)
def test_a_name_follows_libraries_and_threads(
    changed: dict[str, str | int], home: Path, study: Params
) -> None:
    one = origin(home, study)
    other = dataclasses.replace(one, environment={**one.environment, **changed})
    assert other.name != one.name


def test_the_environment_is_the_libraries_that_decide_results_and_the_threads(
    home: Path, study: Params
) -> None:
    found = origin(home, study).environment
    precision = {"bits": "portable", "auto precision": resolve_precision("auto")}
    assert found == {**library_versions(), "threads": NUM_THREADS, **precision}


def test_inputs_are_named_from_the_project_on(home: Path, study: Params, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(home, tmp_path / "elsewhere"))
    found = origin(home, study)
    assert found.inputs == {
        f"data/{name}": file_digest(home / "data" / name) for name in ("a.npz", "b.npz")
    }
    inputs = [elsewhere / "data/a.npz", elsewhere / "data/b.npz"]
    assert origin(home, study, inputs=inputs, root=elsewhere) == found


@pytest.mark.parametrize("role", ["claim", "measure", "must_not_help"])
def test_the_role_of_an_arm_names_no_trial(role: str, home: Path, study: Params) -> None:
    arm = study.arms["dcgan"].model_copy(update={"role": role})
    other = study.model_copy(update={"arms": {**study.arms, "dcgan": arm}})
    assert origin(home, other).name == origin(home, study).name


def test_what_a_trial_does_not_read_does_not_name_it(home: Path, study: Params) -> None:
    other = study.model_copy(
        update={
            "classifiers": {**study.classifiers, "lgbm": {"num_trees": 1}},
            "engine": study.engine.model_copy(update={"workers": 7}),
            "report": study.report.model_copy(update={"confidence_level": 0.9}),
        }
    )
    assert origin(home, other).name == origin(home, study).name


def test_settings_in_a_manifest_are_read_back_as_the_params_say_them(smoke: Params) -> None:
    members = [
        f"{family}.{name}"
        for family in ("arms", "classifiers", "generators", "transforms")
        for name in getattr(smoke, family)
    ]
    keys = ["synthesize", "tune", "study", "data", *members]
    found = provenance("code", [], smoke, keys, 0, Path())
    text = to_json(describe(found, {}, None, None, {}))
    assert json.loads(text)["params"] == {key: smoke.section(key) for key in keys}
    assert '"role"' not in text


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
    record = describe(Provenance("code", {}, {}, 0, {}), {"seed": 1}, None, failure, {})
    write_json(manifest_of(path), record)
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


def test_a_trial_that_came_to_something_is_its_file(tmp_path: Path) -> None:
    path = left(tmp_path / "out.npz", None)
    assert failure_of(path) is None
    assert outputs_of(path, "synthesize") == [path]
    refuse_failed(path)


def test_a_trial_that_came_to_nothing_is_its_manifest(tmp_path: Path) -> None:
    path = left(tmp_path / "out.npz", CollapsedError(*WORDS))
    assert failure_of(path).args == WORDS
    assert outputs_of(path, "synthesize") == [manifest_of(path)]
    with pytest.raises(TrialError) as raised:
        refuse_failed(path)
    assert raised.value.args == WORDS


@pytest.mark.parametrize("kept", [[], ["out.npz"], ["out.manifest.json"]])
def test_a_stage_that_has_not_run_is_named(kept: list[str], tmp_path: Path) -> None:
    path = left(tmp_path / "out.npz", None)
    for file in tmp_path.iterdir():
        if file.name not in kept:
            file.unlink()
    with pytest.raises(IntegrityError, match="synthesize@dcgan"):
        outputs_of(path, "synthesize@dcgan")


def test_a_failure_upstream_names_the_trial_downstream(tmp_path: Path, study: Params) -> None:
    path = left(tmp_path / "out.npz", None)
    names = [provenance("code", outputs_of(path, "x"), study, [], 0, tmp_path).name]
    for reason in (WORDS, ("a", "b", "c")):
        left(path, TrialError(*reason))
        names.append(provenance("code", outputs_of(path, "x"), study, [], 0, tmp_path).name)
    assert len(set(names)) == 3


def test_a_manifest_survives_its_file(home: Path, study: Params, few_bars: LabeledImages) -> None:
    found = origin(home, study)
    labels = {"stage": "synthesize", "item": "dcgan", "budget": 2, "seed": 1}
    record = describe(found, labels, few_bars, TrialError(*WORDS), {"seed-01.npz": "abc"})
    write_json(home / "x.manifest.json", record)
    assert read_json(home / "x.manifest.json") == record
    assert record["failure"] == list(WORDS)
    assert record["consumed"] == consumed(few_bars)
    assert {name: record[name] for name in dataclasses.asdict(found)} == dataclasses.asdict(found)
    assert (record["labels"], record["outputs"]) == (labels, {"seed-01.npz": "abc"})


STAGE = "stages/train_generator.py"
MODULES = ("pipeline.generators.gan.dcgan",)
TELL = (
    "import sys; from pipeline.trials.provenance import trial_code; "
    "print(trial_code(*sys.argv[1:]), end='')"
)


def code_of(folder: Path) -> str:
    """The digest of a trial's code as the copy of the package in `folder` tells it."""
    command = [sys.executable, "-c", TELL, str(folder / "pipeline" / STAGE), *MODULES]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the package."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "pipeline", tmp_path / "pipeline", ignore=ignored)
    return tmp_path


def test_the_code_of_a_trial_does_not_depend_on_where_the_project_lies(copied: Path) -> None:
    assert code_of(copied) == trial_code(str(PACKAGE / STAGE), *MODULES)


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        ([STAGE], True),
        (["engine.py"], True),
        (["provenance.py"], True),
        (["params.py"], True),
        (["bits.py"], True),
        (["generators/dcgan.py"], True),
        (["generators/base.py"], True),
        (["errors.py", "plots.py", "generators/__init__.py", "stages/synthesize.py"], False),
    ],
)
def test_the_code_of_a_trial_is_its_stage_the_engine_the_manifest_and_its_modules(
    files: list[str], counts: bool, copied: Path
) -> None:
    before = trial_code(str(PACKAGE / STAGE), *MODULES)
    for file in files:
        with (copied / "pipeline" / file).open("a") as code:
            code.write("\nADDED = 1\n")
    assert (code_of(copied) != before) == counts


class SeenError(Exception):
    """Stops a stage before it computes."""


def seen(*arguments: object) -> list[Path]:
    raise SeenError


# Modules that name, schedule or describe, and registries without logic: they decide no result.
UNCOUNTED = {"errors.py", "trials.py"}
STAGES = [
    pytest.param(train_teacher, "graph", id="train_teacher"),
    pytest.param(train_generator, "dcgan", id="train_generator"),
    pytest.param(synthesize, "dcgan", id="synthesize"),
    pytest.param(train_classifiers, "dcgan", id="train_classifiers"),
    pytest.param(evaluate_generator, "dcgan", id="evaluate_generator"),
]


@pytest.mark.parametrize(("stage", "item"), STAGES)
def test_a_trial_is_named_by_all_the_code_that_its_stage_imports(
    stage: ModuleType,
    item: str,
    study: Params,
    smoke: Params,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    always = ("bits.py", "engine.py", "provenance.py", "params.py")
    counted = {*(PACKAGE / name for name in always), Path(stage.__file__)}

    def listen(stage_file: str, *modules: str) -> str:
        assert Path(stage_file) == Path(stage.__file__)
        for module in modules:
            file = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
            counted.update(import_closure(file))
        return "code"

    monkeypatch.setattr(stage, "trial_code", listen)
    monkeypatch.setattr(stage, "compute", seen)
    params = study.model_copy(
        update={
            "generators": smoke.generators,
            "classifiers": smoke.classifiers,
            "teachers": MEMBERS,
        }
    )
    with pytest.raises(SeenError):
        stage.run(params, project, item)
    decisive = {
        file
        for file in imported_modules(Path(stage.__file__))
        if file.name != "__init__.py" and file.relative_to(PACKAGE).as_posix() not in UNCOUNTED
    }
    assert {file.relative_to(PACKAGE).as_posix() for file in decisive - counted} == set()

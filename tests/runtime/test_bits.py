"""Portable bits are the committed ones, in every process, whatever the environment says."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_teachers import SECTIONS, taught

from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.classifiers.lgbm import LightGBM, LightGBMConfig
from pipeline.config.schema import Params
from pipeline.config.validation import Member
from pipeline.data.datasets.base import BuiltIn
from pipeline.data.datasets.digits import Digits
from pipeline.data.images import UNLABELED, LabeledImages
from pipeline.generators import GENERATORS
from pipeline.generators.base import create
from pipeline.generators.fit import fit
from pipeline.nn.hog import hog_features
from pipeline.report import figures
from pipeline.runtime import bits
from pipeline.runtime.bits import (
    MODE,
    PORTABLE,
    USER,
    Bits,
    current_bits,
    has_avx2,
    is_intel,
    set_bits,
)
from pipeline.runtime.determinism import deterministic, refuse_other_bits, resolve_precision
from pipeline.runtime.errors import MachineError
from pipeline.teachers import TEACHERS
from pipeline.teachers.features import affinity, principal_components, propagate_labels
from pipeline.trials.engine import Result, Task, TrialPlan, compute, create_task
from pipeline.trials.grid import Replicate
from pipeline.trials.layout import Artifact
from pipeline.trials.provenance import describe
from pipeline.trials.specs import Spec

ROOT = Path(__file__).resolve().parents[2]
portable = pytest.mark.skipif(
    not has_avx2(), reason="this processor is not x86-64 with AVX2: its bits are its own"
)
# Of SHA-256, the first 16 digits. A change of these settings or of a recipe changes them rightly;
# where only a library was updated, published results cannot be reproduced with the new version.
DIGESTS = {
    "cnn": "19c502b015fc36cb",
    "figure": "843fd648c68fa79c",
    "generator acgan": "6e314f3909d86440",
    "generator autoencoder": "22c663b3333409d7",
    "generator began": "e0b7dc390e07b292",
    "generator cvae": "873125f8ea776789",
    "generator dcgan": "e15e8974d35681b7",
    "generator diffusion": "f5964657847f8112",
    "generator lapgan": "b9c65829f64fcd57",
    "generator mlp_gan": "b48ba62933093d2e",
    "generator plain_dcgan": "b2648bc32bec73cd",
    "generator srgan": "cdf67a8409ec05df",
    "generator wgan": "5f94996a3a340cf3",
    "generator wgan_gp": "b0faf361c4ed7d48",
    "graph": "5a10da901e4f767f",
    "lgbm": "8b771694a15d31b8",
    "numpy": "0b1a3735bec0be1e",
    "teacher automatic": "018892d30fdb62c4",
    "teacher fixmatch": "10360376a428c9ea",
    "teacher label_propagation": "16063b6b6bd29320",
    "teacher ssgan": "1cfb11a2057e44b5",
    "teacher supervised": "63d6bedbf34820b8",
}
# Of processors of Intel, where they differ: MKL has other kernels there.
INTEL = {
    "cnn": "775e190985cd66fc",
    "generator acgan": "a93f29e33390fde5",
    "generator autoencoder": "00c10d1aeaf18623",
    "generator began": "b59e1f67af8a5d40",
    "generator cvae": "a72a75a1b4662486",
    "generator dcgan": "bc8f752ecad6adda",
    "generator diffusion": "1e9801e7f6b3c651",
    "generator lapgan": "206e3c9d179a6bfc",
    "generator mlp_gan": "a79bcaa183985f7b",
    "generator plain_dcgan": "d2174c829c8d3353",
    "generator srgan": "786bf7035f946e90",
    "generator wgan": "ca86c25dd02b9ec5",
    "generator wgan_gp": "67a0d45430d4ce44",
    "teacher label_propagation": "f1b10be545075627",
    "teacher ssgan": "f079f2c3d77ea5ba",
    "teacher supervised": "c4fff17f52c180ed",
}


def digest(arrays: Iterable[np.ndarray]) -> str:
    running = hashlib.sha256()
    for array in arrays:
        running.update(np.ascontiguousarray(array).tobytes())
    return running.hexdigest()[:16]


def check(name: str, found: str) -> None:
    expected = DIGESTS | INTEL if is_intel() else DIGESTS
    assert {name: found} == {name: expected.get(name)}


@pytest.fixture(scope="module")
def images() -> LabeledImages:
    """600 digits of 8 x 8 pixels."""
    return Digits(BuiltIn(), ROOT).load().images.take(np.arange(600))


@portable
@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_two_updates_of_a_generator(
    name: str, sections: dict[str, Member], images: LabeledImages, tmp_path: Path
) -> None:
    family = GENERATORS[name]
    config = family.Config.model_validate({**sections[name], "steps": 2})
    with deterministic():
        generator = create(family, config, images.spec(), 0)
        fit(generator, images, 0, tmp_path)
    weights = generator.generator_net.state_dict().values()
    check(f"generator {name}", digest(each.numpy() for each in weights))


@portable
@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_a_few_updates_of_a_teacher(name: str, images: LabeledImages) -> None:
    section = SECTIONS[name]
    brief: dict[str, Any] = {key: 3 for key in ("steps",) if key in section}
    if "rounds" in section:
        brief["rounds"] = [{"steps": 3, "batch_size": 16, "top_frac": 0.8}]
    if "training" in section:
        brief["training"] = {**section["training"], "steps": 3}
    subset, rest = images.take(np.arange(60)), images.take(np.arange(60, 600))
    teacher = taught(name, subset, rest.images, **brief)
    found = [teacher.predict_proba(rest.images)]
    check(f"teacher {name}", digest(found))


@portable
def test_a_graph_and_the_labels_that_spread_over_it(images: LabeledImages) -> None:
    labels = np.where(np.arange(len(images)) < 60, images.labels, UNLABELED)
    with deterministic():
        seen = hog_features(images.images, images.background)
        rows = principal_components(seen, 20)
        links = affinity(rows, 8)
        found = [seen, rows, links.data, links.indices, propagate_labels(links, labels, 10, 0.95)]
    check("graph", digest(found))


@portable
def test_one_tree_of_each_class(images: LabeledImages) -> None:
    classifier = LightGBM(LightGBMConfig(num_trees=1, colsample_frac=0.5), 0)
    with deterministic():
        result = classifier.fit(plain(images)).predict_proba(images.images)
    check("lgbm", digest([result]))


@portable
def test_a_few_updates_of_a_classifier(images: LabeledImages) -> None:
    classifier = CNN(CNNConfig(steps=3), 0)
    with deterministic():
        result = classifier.fit(plain(images)).predict_proba(images.images)
    check("cnn", digest([result]))


@portable
def test_elementary_functions_and_sorting() -> None:
    values = np.random.default_rng(0).normal(0, 1, 10_001)
    found = [
        np.exp(values),
        np.log(np.abs(values)),
        np.arctan2(values, values[::-1]),
        np.argsort(np.round(values, 1)),
        np.argpartition(np.round(values, 1), 99),
    ]
    check("numpy", digest(found))


@portable
def test_a_figure(tmp_path: Path) -> None:
    history = pd.DataFrame(
        {
            "step": [1, 2, 3] * 2,
            "generator": np.sin(np.arange(6)),
            "budget": 1,
            "seed": [0] * 3 + [1] * 3,
        }
    )
    figures.save(figures.losses(history), tmp_path / "losses.png")
    found = hashlib.sha256((tmp_path / "losses.png").read_bytes()).hexdigest()[:16]
    check("figure", found)


USERS = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Prescott",
    "MKL_CBWR": "COMPATIBLE",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
}
TELL = (
    "import json, os, numpy, torch; from threadpoolctl import threadpool_info\n"
    "print(json.dumps([dict(os.environ), torch.backends.cpu.get_cpu_capability(), "
    "[each['architecture'] for each in threadpool_info() "
    "if each['internal_api'] == 'openblas']]), file=file)\n"
)


def child(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process of a user whose environment has `variables` and none of ours."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in PORTABLE and name not in (MODE, USER)
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **variables},
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )


def parse_report(text: str) -> tuple[dict[str, str | None], str, list[str]]:
    environment, capability, blas = json.loads(text)
    return {name: environment.get(name) for name in PORTABLE}, capability, blas


@portable
def test_settings_win_over_the_users_environment_in_a_child() -> None:
    done = child(f"import pipeline; file = None\n{TELL}", **USERS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found, capability, blas = parse_report(done.stdout)
    assert found == PORTABLE
    assert capability == "AVX2"
    assert set(blas) == {"Haswell"}


WORKS = f"""
import functools, sys
from pipeline.trials.engine import processes
def tell(path):
    with open(path, "w") as file:
        exec({TELL!r}, {{"file": file}})
if __name__ == "__main__":
    list(processes([functools.partial(tell, sys.argv[1])] , 1))
"""


@portable
def test_settings_win_in_a_worker(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    code = WORKS.replace("sys.argv[1]", repr(str(path)))
    done = child(code, **USERS)
    assert done.returncode == 0, done.stderr
    found, capability, blas = parse_report(path.read_text("utf-8"))
    assert found == PORTABLE
    assert capability == "AVX2"
    assert set(blas) == {"Haswell"}


@portable
@pytest.mark.parametrize("users", [USERS, {}, PORTABLE])
def test_native_bits_put_the_users_values_back(
    users: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*PORTABLE, MODE, USER):
        monkeypatch.delenv(name, raising=False)
    values = {name: value for name, value in users.items() if value is not None}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        set_bits("portable")
        assert {name: os.environ.get(name) for name in PORTABLE} == PORTABLE
        assert current_bits() == "portable"
    set_bits("native")
    assert {name: os.environ[name] for name in PORTABLE if name in os.environ} == values
    assert current_bits() == "native"
    assert USER not in os.environ


def test_native_bits_keep_what_a_user_of_a_portable_process_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv(MODE, "portable")
    set_bits("native")
    assert os.environ["ATEN_CPU_CAPABILITY"] == "default"
    set_bits("portable")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "native")


def test_automatic_precision_is_float32_with_portable_bits() -> None:
    assert resolve_precision("auto") == "float32"
    assert resolve_precision("bfloat16") == "bfloat16"


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_automatic_precision_follows_the_processor_with_native_bits(
    has: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert resolve_precision("auto") == expected


def work(spec: Spec, paths: Mapping[str, Path], scratch: Path) -> Result:
    return Result({}, None)


@pytest.fixture
def without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of code is of files below pipeline/ alone."""
    monkeypatch.setattr("pipeline.trials.provenance.trial_code", lambda *_: "code")


def trial(study: Params, mode: Bits, root: Path) -> Task:
    artifact = Artifact("train_generator", "dcgan", Replicate(2, 0))
    params = study.model_copy(update={"bits": mode})
    return create_task(params, root, TrialPlan(artifact, work, Spec(0), {}))


@pytest.mark.usefixtures("without_code")
def test_a_trials_name_and_manifest_carry_the_mode(study: Params, tmp_path: Path) -> None:
    names = set()
    for mode in ("portable", "native"):
        task = trial(study, mode, tmp_path)
        assert describe(task.provenance, {}, None)["environment"]["bits"] == mode
        names.add(task.name)
    assert len(names) == 2


@pytest.mark.usefixtures("without_code")
def test_a_trial_of_other_bits_than_its_process_is_refused(study: Params, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="expected a process with native bits"):
        compute([trial(study, "native", tmp_path)], study.engine, tmp_path)


@portable
def test_settings_that_come_too_late_are_noticed() -> None:
    refuse_other_bits("portable")
    late = (
        "import torch; torch.ones(3).sum(); import pipeline\n"
        "from pipeline.runtime.determinism import refuse_other_bits\n"
        "from pipeline.runtime.errors import exit_on_error\n"
        "with exit_on_error(): refuse_other_bits('portable')"
    )
    done = child(late, ATEN_CPU_CAPABILITY="default")
    assert done.returncode == MachineError.exit_code
    assert "found that they were imported before `pipeline`" in done.stderr
    assert "default. Fix: " in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_setting_is_read_before_it_is_set() -> None:
    code = (
        "import sys, pipeline.stages.__main__, pipeline.__main__\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & "
        "{'numpy', 'torch', 'scipy', 'pandas', 'sklearn', 'lightgbm', 'joblib'})"
    )
    done = child(code)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


FLAGS = "fpu abm avx2 bmi1 bmi2 f16c fma movbe"


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", FLAGS, True),
        ("AMD64", f"{FLAGS} avx512f", True),
        ("x86_64", FLAGS.replace(" avx2", ""), False),
        ("x86_64", FLAGS.replace(" fma", ""), False),
        ("x86_64", None, True),
        ("aarch64", FLAGS, False),
        ("arm64", None, False),
    ],
)
def test_the_processor_is_known_by_its_flags(
    machine: str,
    flags: str | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        text = f"processor\t: 0\nmodel name\t: avx2\nflags\t\t: {flags}\nbugs\t\t: none\n"
        cpuinfo.write_text(text, encoding="utf-8")
    assert has_avx2(cpuinfo) == expected


def test_a_processor_below_avx2_is_left_alone_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*PORTABLE, MODE, USER):
        monkeypatch.delenv(name, raising=False)
    bits.warn_of_processor()
    expected = "" if has_avx2() else "warning"
    assert capsys.readouterr().err.startswith(expected)
    monkeypatch.setattr(bits, "has_avx2", lambda: False)
    set_bits("portable")
    assert not {*PORTABLE} & {*os.environ}
    bits.warn_of_processor()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "differ in their last bits" in said
    monkeypatch.setenv(MODE, "native")
    bits.warn_of_processor()
    assert capsys.readouterr().err == ""

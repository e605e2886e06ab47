"""Seeds depend on names alone; `deterministic` leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from pipeline.runtime.determinism import NUM_THREADS, deterministic
from pipeline.runtime.seeds import derive_seed, library_versions, numpy_rng

NAMES = st.lists(
    st.one_of(st.integers(0, 99), st.text("abcdefgh-_.", max_size=4)), min_size=1, max_size=4
)


@given(names=NAMES)
def test_seeds_fit_every_library(names: list[str | int]) -> None:
    seed = derive_seed(*names)
    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)
    np.random.default_rng(seed)


@given(first=NAMES, second=NAMES)
def test_different_names_give_different_seeds(
    first: list[str | int], second: list[str | int]
) -> None:
    same = [str(name) for name in first] == [str(name) for name in second]
    assert (derive_seed(*first) == derive_seed(*second)) == same


def test_seeds_are_the_same_in_a_process_with_other_hashing(root: Path) -> None:
    code = "from pipeline.runtime.seeds import derive_seed; print(derive_seed('draw', 'toy', 3))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) == derive_seed("draw", "toy", 3)


def test_neighboring_seeds_give_unrelated_streams() -> None:
    streams = [numpy_rng("draw", seed).standard_normal(2000) for seed in range(6)]
    correlations = np.corrcoef(streams)[np.triu_indices(6, k=1)]
    assert np.abs(correlations).max() < 0.1


def test_the_same_names_give_the_same_stream() -> None:
    np.testing.assert_array_equal(numpy_rng("a", 1).random(5), numpy_rng("a", 1).random(5))


def test_versions_name_every_library_that_decides_results() -> None:
    versions = library_versions()
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert versions["numpy"] == np.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_everything_runs_with_the_fixed_number_of_threads() -> None:
    with deterministic():
        assert torch.get_num_threads() == NUM_THREADS
        assert {pool["num_threads"] for pool in threadpool_info()} <= {NUM_THREADS}


def test_an_operation_without_a_deterministic_kernel_is_refused() -> None:
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_the_caller_finds_torch_as_it_was(before: bool, fails: bool) -> None:
    threads = torch.get_num_threads()
    torch.use_deterministic_algorithms(before)
    memory = cast("Any", torch.utils.deterministic)
    filled = memory.fill_uninitialized_memory = not before
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    try:
        try:
            with deterministic():
                torch.manual_seed(99)
                torch.rand(7)
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert fails
        assert torch.equal(torch.rand(3), expected)
        assert torch.get_num_threads() == threads
        assert torch.are_deterministic_algorithms_enabled() == before
        assert memory.fill_uninitialized_memory == filled
    finally:
        torch.use_deterministic_algorithms(False)
        memory.fill_uninitialized_memory = True  # torch's own


def test_numpy_global_state_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()
    with deterministic():
        numpy_rng("x").random(10)
    np.testing.assert_array_equal(np.random.get_state()[1], before)

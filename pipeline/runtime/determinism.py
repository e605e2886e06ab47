"""The settings under which the same inputs give the same bytes.

Knows nothing of images or models. Every trial runs inside `deterministic()`, always with one
thread: more trials side by side are faster than more threads inside one, and a fixed count keeps
results equal to the bit for any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.runtime.bits import PORTABLE, current_bits, has_avx2
from pipeline.runtime.errors import MachineError

NUM_THREADS = 1
Precision = Literal["auto", "float32", "bfloat16"]


def resolve_precision(precision: Precision) -> Precision:
    """`auto` is float32 with portable bits.

    With native bits it is bfloat16 where the processor multiplies such numbers itself, and float32
    elsewhere: emulated, bfloat16 is slower than float32.
    """
    import torch

    if precision != "auto":
        return precision
    if current_bits() == "portable":
        return "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def refuse_other_bits(mode: str) -> None:
    """Raise `MachineError` when this process does not compute with the bits of `mode`.

    Portable bits are checked where they were asked of: in torch and in every OpenBLAS. Where numpy
    or torch were imported before `pipeline`, the settings came too late for them.
    """
    import torch

    if mode != current_bits():
        raise MachineError(
            "bits",
            f"expected a process with {mode} bits, as params.yaml says, found {current_bits()} "
            "ones",
            "start anew with `python -m pipeline.stages`, or call `pipeline.runtime.bits.set_bits` before "
            "numpy and torch are imported",
        )
    if mode != "portable" or not has_avx2():
        return

    found = {
        torch.backends.cpu.get_cpu_capability().lower(),
        *(
            pool.get("architecture")
            for pool in threadpool_info()
            if pool["internal_api"] == "openblas"
        ),
    }
    other = found - {PORTABLE["ATEN_CPU_CAPABILITY"], PORTABLE["OPENBLAS_CORETYPE"]}
    if other:
        raise MachineError(
            "bits",
            "expected numpy and torch to be held to AVX2, found that they were imported before "
            f"`pipeline` and use {', '.join(sorted(map(str, other)))}",
            "import `pipeline` first, or say `bits: native` in params.yaml",
        )


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread, deterministic kernels, and the caller's torch random state put back afterwards.

    BLAS and OpenMP pools are limited as well: the order of a parallel sum changes its last bits.
    """
    import torch  # here, because `prepare` and `report` need the seeds above but never torch

    # Filling fresh memory with NaN would expose reads of unwritten memory, at a cost in every step.
    memory = cast("Any", torch.utils.deterministic)  # whose stubs lack the setting
    filled, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    strict = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(NUM_THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        with threadpool_limits(NUM_THREADS):
            yield
    finally:
        memory.fill_uninitialized_memory = filled
        torch.set_rng_state(state)
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)

"""The settings under which equal inputs give equal bytes.

Every trial runs inside `deterministic()` with one thread: several trials at a time are faster than
several threads in one, and with a fixed number of threads the results do not depend on the number
of workers. Knows nothing of images or models.
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
    """`precision` itself, or what `auto` stands for.

    With portable bits that is float32. With native bits it is bfloat16 where the processor supports
    it in hardware, and float32 elsewhere, since emulated bfloat16 is slower.
    """
    import torch

    if precision != "auto":
        return precision
    if current_bits() == "portable":
        return "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def refuse_other_bits(mode: str) -> None:
    """Raise `MachineError` when this process does not compute with the bits of `mode`.

    Portable bits are checked in torch and in every OpenBLAS: if numpy or torch was imported before
    `pipeline`, it has not seen the settings.
    """
    import torch

    if mode != current_bits():
        raise MachineError(
            "bits",
            f"expected a process with {mode} bits, as params.yaml says, found {current_bits()} "
            "bits",
            "start with `python -m pipeline.stages`, or call `pipeline.runtime.bits.set_bits` "
            "before numpy and torch are imported",
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
            "expected numpy and torch to be limited to AVX2, found that they were imported before "
            f"`pipeline` and use {', '.join(sorted(map(str, other)))}",
            "import `pipeline` first, or set `bits: native` in params.yaml",
        )


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread and deterministic kernels; torch's random state is restored afterwards.

    BLAS and OpenMP have one thread as well: the order of a parallel sum changes its last bits.
    """
    import torch  # imported here, since `prepare` and `report` do not need it

    # By default torch fills new memory with NaN in this mode, which costs time in every step.
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

"""The processor instructions that results may depend on: `bits` of params.yaml.

Libraries choose their kernels by the processor, and kernels differ in the last bits of their
results. With `portable` bits all libraries are limited to AVX2, so equal inputs give equal bytes on
every x86-64 processor with AVX2 of one vendor: MKL, which multiplies torch's matrices, has other
kernels on AMD than on Intel. With `native` bits each library uses its fastest kernels.

Libraries read these variables when they are loaded: `set_bits` comes before numpy and torch.
`import pipeline` calls it, a stage and the command line call it again with what params.yaml says,
and workers inherit the variables. Knows nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Literal

Bits = Literal["portable", "native"]

MODE = "PIPELINE_BITS"  # the variable that tells a child process its mode
USER = "PIPELINE_BITS_USER"  # and the one that keeps what portable bits replaced, as JSON
CPUINFO = Path("/proc/cpuinfo")
# x86-64-v3 as Linux spells it: what kernels for AVX2 take for granted.
AVX2 = {"abm", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}


@cache
def is_intel(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this is a processor of Intel, by `cpuinfo` (Linux) or by its name elsewhere."""
    if not cpuinfo.is_file():
        return "Intel" in platform.processor()
    with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        return any("GenuineIntel" in line for line in lines if line.startswith("vendor_id"))


# What each variable is in portable mode; None: not set.
PORTABLE: dict[str, str | None] = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions and matrix products of torch
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy and scipy
    # Elementary functions and sorting of numpy, by its names since 2.4. Those that the processor
    # lacks are passed over without a warning.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NPY_ENABLE_CPU_FEATURES": None,  # numpy refuses both at once
    # Matrix products of torch: MKL uses AVX-512 on Intel, and supports this setting only there.
    "MKL_CBWR": "AVX2" if is_intel() else None,
    "MKL_ENABLE_INSTRUCTIONS": None,
    "DNNL_MAX_CPU_ISA": None,  # older spelling
    "ONEDNN_DEFAULT_FPMATH_MODE": None,  # may round float32 to bfloat16
    "DNNL_DEFAULT_FPMATH_MODE": None,
}


def set_bits(mode: Bits) -> None:
    """Set the variables of `mode` in this process and those it starts.

    Portable bits replace what the user's environment says; native bits put it back. A processor
    without AVX2 is left alone, since torch would run instructions that it lacks.
    """
    os.environ[MODE] = mode
    user: dict[str, str | None] = json.loads(os.environ.pop(USER, "{}"))
    if not has_avx2():
        return

    for name, value in PORTABLE.items():
        found = os.environ.get(name)
        if mode == "portable" and found != value:
            user[name] = found
            _set(name, value)
        elif mode == "native" and found == value and name in user:
            _set(name, user[name])

    if mode == "portable":
        os.environ[USER] = json.dumps(user)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def current_bits() -> Bits:
    """The mode of this process: as it was set or inherited, else portable."""
    return "native" if os.environ.get(MODE) == "native" else "portable"


@cache
def has_avx2(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this is an x86-64 processor with AVX2, by `cpuinfo` where there is one (Linux).

    Elsewhere every x86-64 processor is taken to have it.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if not cpuinfo.is_file():
        return True

    with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split()) >= AVX2


def warn_of_processor() -> None:
    """Warn on stderr when results on this processor differ from the published bytes."""
    if current_bits() == "portable" and not has_avx2():
        print(
            "warning: this processor is not x86-64 with AVX2, so results here differ in their last "
            "bits from the published ones",
            file=sys.stderr,
        )

"""What this machine is called and has for workers, read without torch and without Ray."""

import os
import socket
from pathlib import Path
from typing import Final

from experiments.records import Resources

_NVIDIA: Final = Path("/proc/driver/nvidia/gpus")
_PROCESSOR: Final = Path("/proc/cpuinfo")
_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""The names of bfloat16 products among a processor's flags: of Intel and AMD, and of Arm."""


def capacity() -> Resources:
    """Count the CPU cores this process may use, and the GPUs the driver shows."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Resources(cpus=cpus or 1, gpus=float(_num_gpus()))


def fingerprint(*, cpus: int, gpus: float) -> str:
    """Name this machine and a worker's share of it: `box/2cpu`, `box/4cpu/0.5gpu`.

    What was measured under one name may be expected again under the same name. The cores
    that others use at the time are not part of it.
    """
    share = f"/{cpus}cpu" if gpus == 0 else f"/{cpus}cpu/{gpus:g}gpu"
    return socket.gethostname() + share


def multiplies_bfloat16() -> bool | None:
    """Say whether the processor has instructions for products of bfloat16; None if it is mute."""
    try:
        lines = _PROCESSOR.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))]
    return not _BFLOAT16.isdisjoint(flags[0].split()) if flags else None


def _num_gpus() -> int:
    """Count NVIDIA GPUs, or those that CUDA_VISIBLE_DEVICES leaves of them."""
    there = len(list(_NVIDIA.iterdir())) if _NVIDIA.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    named = [name for name in visible.split(",") if name.strip() not in {"", "-1"}]
    return min(there, len(named))

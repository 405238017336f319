"""Failure is data: what an exception that ends a trial means."""

import traceback
from typing import Final

import torch

from experiments.errors import DatasetError, DatasetUnavailableError
from experiments.events import Failure
from experiments.states import FailureKind
from workers.devices import peak_memory_bytes

_CPU: Final = torch.device("cpu")
_MAX_MESSAGE = 2_000  # characters; the beginning is what tells
_MAX_TRACEBACK = 20_000  # characters; the end is what tells


class StopRequestedError(Exception):
    """The trial was asked to end."""


class TrialTimeoutError(Exception):
    """The attempt took longer than the spec allows."""


class NotFiniteError(Exception):
    """A loss became infinite or not a number."""


def failure_of(error: BaseException, *, device: torch.device = _CPU) -> Failure:
    """Describe an exception as the failure of a trial on a device.

    One for want of memory names the most that was held (see `peak_memory_bytes`).
    """
    text = "".join(traceback.format_exception(error))
    kind, message = _kind(error), str(error)
    if kind == FailureKind.OUT_OF_MEMORY:
        peak = peak_memory_bytes(device) / 2**30
        holder = "the process" if device.type == "cpu" else "its tensors on the GPU"
        message = (
            f"needed more memory than there is; {holder} held {peak:.2f} GiB at most: "
            f"{message or type(error).__name__}"
        )
    if len(message) > _MAX_MESSAGE:
        message = message[: _MAX_MESSAGE - 1] + "…"
    return Failure(kind, type(error).__name__, message, text[-_MAX_TRACEBACK:])


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, TrialTimeoutError):
        return FailureKind.TIMEOUT
    if isinstance(error, NotFiniteError):
        return FailureKind.NOT_FINITE
    # Data that is wrong stays so; data that could not be fetched may be, a little later.
    if isinstance(error, DatasetError) and not isinstance(error, DatasetUnavailableError):
        return FailureKind.DATA
    return FailureKind.OUT_OF_MEMORY if is_out_of_memory(error) else FailureKind.ERROR


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether there was not as much memory as was asked for."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or _is_cpu_allocator(error)


def _is_cpu_allocator(error: BaseException) -> bool:
    # On the CPU, torch has no class of its own for this.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)

"""How many trials should train as one program: as many as that is faster for, and as fit."""

import math
from typing import Final

from experiments.planning.cost import Work

MOST_MEMBERS: Final = 512
"""The largest pack."""

_MEMBERS_ON_GPU: Final = 64
_MEMBERS_ON_CPU: Final = 16
MOST_PRODUCTS_ON_CPU: Final = 25e6
"""Multiply-adds of one member's training step, up to which a CPU is faster with a pack.

A step of a small network is mostly the starting of operations, which a pack starts once for all
its members; the products of a larger one keep a core busy by themselves.
"""

_REMNANT: Final = 0.25

_BYTES_OF_A_GPU: Final = 8 * 2**30
"""What a GPU is taken to have, at the least, for a pack."""

_BYTES_ON_CPU: Final = 2**30
"""What a pack on a CPU may hold: workers share the machine's memory, and caches are far smaller."""


def most_members(work: Work, *, gpus: float) -> int:
    """Give how many trials of this work a worker should train as one program; 1 for none.

    A rule of thumb, for as long as nothing was measured (`strategies.py`). It follows from the
    trial and the worker's size alone, so that a trial is trained in the same way, and to the same
    numbers, whoever else waits.

    Args:
        work: The trial's. Its evaluations count as part of the steps, which is near enough.
        gpus: The worker's; of a fraction, only that share of the memory is taken to be there.
    """
    if gpus > 0:
        return min(_MEMBERS_ON_GPU, fitting_members(work, gpus=gpus))
    is_small = work.multiply_adds < MOST_PRODUCTS_ON_CPU * work.steps
    return _MEMBERS_ON_CPU if is_small else 1


def fitting_members(work: Work, *, gpus: float, memory_bytes: int | None = None) -> int:
    """Give how many trials of this work fit a worker's memory together, at least one.

    Args:
        work: The trial's.
        gpus: The worker's; of a fraction, only that share of the memory is taken to be there;
            0 for a CPU.
        memory_bytes: What there is for this worker; None where it is not known.
    """
    if memory_bytes is None:
        memory_bytes = int(min(gpus, 1.0) * _BYTES_OF_A_GPU) if gpus > 0 else _BYTES_ON_CPU
    return max(1, memory_bytes // max(work.memory_bytes, 1))


def fair_share(left: float, *, num_workers: int) -> int:
    """Give the most trials that one worker may take, so that none sits long on what others lack.

    `left` counts the trials that wait, and of those under way what is left of each.
    """
    return max(1, math.ceil(left / max(num_workers, 1)))


def with_remnant(share: int, *, num_waiting: int) -> int:
    """Give a share with what would be left of those that wait, if that is little beside it.

    Trials that are few are hardly faster together than one, so they would keep a worker for
    longer than they prolong a pack.
    """
    return num_waiting if num_waiting - share <= _REMNANT * share else share

"""A real want of memory, in a process of its own whose memory has a limit."""

import re
import resource
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from experiments.events import TrialFailed, TrialSucceeded
from experiments.records import Assignment, TrialConfig
from experiments.states import FailureKind
from tests.unit.workers.killed_trials import PROCESSES, Speaker
from workers.datasets.staged import StagedData
from workers.staging import stage
from workers.training import run_pack

MORE_BYTES = 2**28
HUGE = [  # one batch of its first layer's outputs takes 3 GiB
    {"conv2d": {"out_channels": 2**16, "kernel_size": 3, "padding": "same"}},
    {"max_pool2d": 8},
    "flatten",
    {"linear": 10},
]


def train_with_little_memory(
    pack: Sequence[Assignment], data_root: Path, sender: Connection
) -> None:
    """Train in this process, which may not take much more memory than it has."""
    torch.set_num_threads(1)
    data = stage(pack[0].config.data, root=data_root)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    run_pack(pack, data, Speaker(sender))
    sender.send(None)


def test_a_batch_without_room_fails_its_trial_with_the_peak_named_and_no_other(
    make_config: Callable[..., TrialConfig], digits: StagedData, data_root: Path
) -> None:
    assert digits.name == "digits"  # it is staged by now; the other process only opens it
    huge = make_config(layers=HUGE, batch_size=189)
    pack = [Assignment("huge", 1, huge), Assignment("small", 1, make_config())]
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=train_with_little_memory, args=(pack, data_root, sender))
    process.start()
    sender.close()
    events = list(iter(receiver.recv, None))
    process.join()
    (failed,) = (event for event in events if isinstance(event, TrialFailed))
    assert (failed.trial_id, failed.failure.kind) == ("huge", FailureKind.OUT_OF_MEMORY)
    found = re.match(
        r"needed more memory than there is; the process held (\d+\.\d\d) GiB at most: .*"
        r"DefaultCPUAllocator: can't allocate memory",
        failed.failure.message,
    )
    assert found is not None, failed.failure.message
    assert 0.05 < float(found[1]) < 2  # torch, and not what there was no room for
    assert isinstance(events[-1], TrialSucceeded)
    assert events[-1].trial_id == "small"

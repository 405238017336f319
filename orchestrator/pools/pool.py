"""The seam to wherever packs run: what the scheduler asks of a pool, and what comes back.

Ray stands behind it in `ray_pool.py`; tests put a pool of plain objects there.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from experiments.events import Event
from experiments.records import Assignment, Resources


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A hired worker has started and can take its first pack.

    `machine` names where it runs and its share of that (`machine.fingerprint`), `engine` what it
    trains with there (`devices.engine_text`).
    """

    worker: str
    machine: str
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """A worker said something of one of its trials, under the fence it was given."""

    worker: str
    fence: int
    event: Event


@dataclass(frozen=True, slots=True)
class PackDone:
    """A worker is done with the first of its packs; every trial of it has been reported on."""

    worker: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker is there, said every `HEARTBEAT_SECONDS` even when it has nothing else to say.

    `progress` rises whenever the trials of its pack get on; None while it prepares data, which
    has no measure. (A heartbeat thread alone would hide a deadlock.)
    """

    worker: str
    progress: int | None


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is gone, with whatever it had not reported.

    `out_of_memory` where it was ended because the machine's memory ran out.
    """

    worker: str
    reason: str
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class PoolLost:
    """All workers are gone, because what ran them is; the next `hire` starts it anew."""

    reason: str


Message = WorkerReady | Reported | PackDone | Heartbeat | WorkerLost | PoolLost

HEARTBEAT_SECONDS: Final = 2.0


class Pool(Protocol):
    """Workers that can be hired, given packs, listened to, and sent home."""

    def room_for(self, resources: Resources) -> bool:
        """Say whether one more worker of that size fits beside those hired."""

    def could_hold(self, resources: Resources, *, num_workers: int) -> bool:
        """Say whether so many workers of that size would fit if no others were hired."""

    def hire(self, resources: Resources) -> str:
        """Start a worker and give its name at once; `WorkerReady` follows."""

    def dismiss(self, worker: str) -> None:
        """Send an idle worker home and free its resources."""

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        """Hand a pack to a worker, which trains it after those that it has; returns at once.

        Packs come to their `PackDone` in the order in which they were handed over.
        """

    def renewed(self, workers: Collection[str]) -> None:
        """Tell workers that their leases were prolonged just now.

        One that is not told for 0.7 of a lease ends its trials by itself.
        """

    def kill(self, worker: str) -> None:
        """End a worker at once, even one that is frozen; nothing it says later is heard."""

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        """Ask a worker to end these trials; each answers with an event as usual.

        At once where it has not begun.
        """

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Give what came in, waiting up to the timeout for the first message.

        Raises:
            StoreError: The workers' cluster cannot be reached or started.
        """

    def close(self) -> None:
        """End all workers at once; nothing they say later is heard."""

"""What a plan is told of this installation: its store, its machine, and torchvision."""

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from experiments.architectures.geometry import Shape
from experiments.architectures.torchvision_networks import TorchvisionFigures
from experiments.architectures.transfer import SourceNetwork
from experiments.errors import NotFoundError, StoreError
from experiments.planning.cost import CostSample
from experiments.records import Resources
from orchestrator.machine import fingerprint, multiplies_bfloat16
from orchestrator.settings import Settings, sqlite_path

if TYPE_CHECKING:
    from orchestrator.measurements.known import Known

_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")

Answer = TypeVar("Answer")


class Installation:
    """Answers a plan's questions from the store, opened when the first one is asked.

    Reads only, and makes no store. One that cannot be read stops no plan: there is a note,
    and nothing is known. (What `init` names must be found, though.)
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._notes: list[str] = []
        self._gave_up = False
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the store's connections."""
        self._exit.close()

    @property
    def notes(self) -> Sequence[str]:
        """What could not be found out, for people."""
        return tuple(self._notes)

    @property
    def memory_bytes(self) -> int | None:
        """This machine's memory, or the share of it that this process may have."""
        if self._is_elsewhere:
            return None
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        try:
            return min(there, int(_CGROUP_LIMIT.read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            return there

    @property
    def has_bfloat16(self) -> bool | None:
        """Whether this machine's processor has instructions that multiply bfloat16."""
        return None if self._is_elsewhere else multiplies_bfloat16()

    def source(self, name: str) -> SourceNetwork:
        """Give the trained network of an experiment (its best trial) or of a trial.

        Raises:
            NotFoundError: There is none, or it has no weights; the message says which.
            StoreError: The store cannot be read.
        """
        from trainyard.workplace import patiently

        try:
            known = patiently(lambda: self._known)
        except NotFoundError as error:
            message = f"{name!r}, whose weights are wanted, is not recorded: {error}"
            raise NotFoundError(message) from error
        return patiently(lambda: known.source(name))

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:
        """Give those of the content keys whose result is there, with the checkpoints to `keep`."""
        return self._ask(lambda known: known.finished(keys, keep=keep), set())

    def is_submitted(self, experiment_id: str) -> bool:
        """Say whether the very experiment is in the store."""
        return self._ask(lambda known: known.is_submitted(experiment_id), False)

    def samples(self, resources: Resources, *, plain: bool) -> Sequence[CostSample]:
        """Give what trials took on this machine by workers of this size, the newest first.

        If `plain`, only of those that were trained by the reference loop.
        """
        if self._is_elsewhere:
            self._notes.append("how long it takes is not known: the workers run on a cluster")
            return ()
        machine = fingerprint(cpus=resources.cpus, gpus=resources.gpus)
        return self._ask(lambda known: known.samples(machine, plain=plain), [])

    def measure_torchvision(self, name: str, shape: Shape, outputs: int) -> TorchvisionFigures:
        """Measure one of torchvision's networks.

        Raises:
            ShapeError: The network does not take such images.
        """
        from workers.torchvision_networks import measure

        return measure(name, shape, outputs)

    @property
    def _is_elsewhere(self) -> bool:
        """Say whether workers run on a cluster, of whose machines nothing is known here."""
        return not self._settings.is_ray_embedded

    def _ask(self, question: "Callable[[Known], Answer]", nothing: Answer) -> Answer:
        """Give the store's answer, or `nothing` where it has none to give."""
        path = sqlite_path(self._settings.database_url)
        if self._gave_up or (path is not None and not path.exists()):
            return nothing  # without the half second that SQLAlchemy takes to import
        try:
            return question(self._known)
        except StoreError as error:
            self._notes.append(f"nothing is known of earlier results: {error}")
        except NotFoundError:
            pass  # no store yet
        self._gave_up = True  # what does not answer may take long over it
        return nothing

    @cached_property
    def _known(self) -> "Known":
        from orchestrator.measurements.known import Known
        from orchestrator.store.database import open_store

        engine = open_store(self._settings.database_url, create=False)
        self._exit.callback(engine.dispose)
        return Known(engine)

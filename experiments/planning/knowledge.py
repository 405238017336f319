"""What a plan asks of the world around it: earlier results, this machine, other programs.

A plan is made without any of it too (`NOTHING_KNOWN`). Nothing here writes.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from experiments.architectures.geometry import Shape, shape_text
from experiments.architectures.torchvision_networks import TorchvisionFigures
from experiments.errors import NotFoundError
from experiments.planning.cost import CostSample
from experiments.records import Resources

if TYPE_CHECKING:
    from experiments.architectures.transfer import SourceNetwork


class Knowledge(Protocol):
    """Answers a plan's questions, each of them only where it matters."""

    @property
    def notes(self) -> Sequence[str]:
        """What could not be found out, for people; complete once all questions are asked."""

    @property
    def memory_bytes(self) -> int | None:
        """This machine's memory; None where that is not known."""

    @property
    def has_bfloat16(self) -> bool | None:
        """Whether this machine's processor multiplies bfloat16; None where that is not known."""

    def source(self, name: str) -> "SourceNetwork":
        """Give the trained network of an experiment (its best trial) or of a trial.

        Raises:
            NotFoundError: There is none, or it has no weights; the message says which.
        """

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:
        """Give those of the content keys whose result is there, with the checkpoints to `keep`."""

    def is_submitted(self, experiment_id: str) -> bool:
        """Say whether the very experiment is in the store."""

    def samples(self, resources: Resources, *, plain: bool) -> Sequence[CostSample]:
        """Give what trials took on this machine by workers of this size, the newest first.

        If `plain`, only of those that were trained by the reference loop.
        """

    def measure_torchvision(self, name: str, shape: Shape, outputs: int) -> TorchvisionFigures:
        """Measure one of torchvision's networks.

        Raises:
            ShapeError: The network does not take such images.
            NotFoundError: It cannot be measured here.
        """


class _Nothing:
    """Knows of no store, no machine and no torch."""

    @property
    def notes(self) -> Sequence[str]:
        return ()

    @property
    def memory_bytes(self) -> int | None:
        return None

    @property
    def has_bfloat16(self) -> bool | None:
        return None

    def source(self, name: str) -> "SourceNetwork":
        raise NotFoundError(f"no store to look for {name!r} in")

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:  # noqa: ARG002
        return set()

    def is_submitted(self, experiment_id: str) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def samples(
        self,
        resources: Resources,  # noqa: ARG002
        *,
        plain: bool,  # noqa: ARG002
    ) -> Sequence[CostSample]:
        return ()

    def measure_torchvision(self, name: str, shape: Shape, outputs: int) -> TorchvisionFigures:
        raise NotFoundError(
            f"torchvision/{name} with {outputs} outputs for an input of {shape_text(shape)} "
            "cannot be measured here"
        )


NOTHING_KNOWN: Final[Knowledge] = _Nothing()

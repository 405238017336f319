"""What mutants find around them: one trained network, and torchvision's without torch."""

from collections.abc import Collection, Sequence
from typing import Final

from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.torchvision_networks import TorchvisionFigures
from experiments.architectures.transfer import SourceNetwork
from experiments.errors import NotFoundError
from experiments.planning.cost import CostSample
from experiments.planning.knowledge import Knowledge
from experiments.records import Resources

TRAINED: Final = SourceNetwork(
    "abcd-0001",
    Architecture.from_data(
        {
            "name": "normed",
            "input_shape": [1, 8, 8],
            "layers": [
                {"conv2d": {"out_channels": 4, "kernel_size": 3}},
                "batch_norm",
                "relu",
                {"tap": "edges"},
                {"residual": {"body": [{"conv2d": {"out_channels": 4, "kernel_size": 1}}]}},
                {"add": "edges"},
                "flatten",
                {"dropout": 0.5},
                {"linear": 4},
            ],
        }
    ),
    sha256="0" * 64,
    path="best.pt",
)
_SMALLEST: Final = 32


class _Installation:
    """Knows the trial `normed`; measures any of torchvision's networks on larger images."""

    notes: Sequence[str] = ()
    memory_bytes: int | None = 2**30
    has_bfloat16: bool | None = None

    def source(self, name: str) -> SourceNetwork:
        if name != TRAINED.architecture.name:
            raise NotFoundError(f"{name!r} is neither an experiment nor a trial")
        return TRAINED

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:  # noqa: ARG002
        return set(keys)

    def is_submitted(self, experiment_id: str) -> bool:
        return experiment_id.startswith("0")

    def samples(
        self,
        resources: Resources,  # noqa: ARG002
        *,
        plain: bool,  # noqa: ARG002
    ) -> Sequence[CostSample]:
        return ()

    def measure_torchvision(self, name: str, shape: Shape, outputs: int) -> TorchvisionFigures:
        if min(shape[1:]) < _SMALLEST:
            raise ShapeError(f"{name} needs larger images")
        return TorchvisionFigures(1000 * outputs, 10_000, 500, norms_single_values=True)


KNOWLEDGE: Final[Knowledge] = _Installation()

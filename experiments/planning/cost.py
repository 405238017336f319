"""What a trial costs: the work it will do, by arithmetic, and what such work took before.

How one becomes the other is in `cost_model.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from experiments.architectures.geometry import Shape

_EVALUATION_BYTES: Final = 2**20


def evaluation_batch(input_shape: Shape) -> int:
    """Give how many examples are evaluated at a time: 16 to 1,024, about a megabyte of them."""
    return max(16, min(1024, _EVALUATION_BYTES // (4 * math.prod(input_shape))))


@dataclass(frozen=True, slots=True)
class Work:
    """What a whole trial will do, evaluation included: counts, so the same on every machine.

    A backward pass counts as two forward ones (one for the inputs' gradients, one for the
    weights'), so a training example counts three times, an evaluated one once.

    Attributes:
        epochs: Passes over the training split, each with an evaluation and checkpoints.
        steps: Optimizer updates.
        layer_runs: Layers run on a training batch.
        multiply_adds: Products of convolutions and linear layers.
        elements: Numbers that layers write, the images among them.
        updated_parameters: Learned parameters times updates.
        memory_bytes: What weights, gradients, optimizer and activations hold at once, while
            training or evaluating, whichever takes more.
    """

    epochs: int
    steps: int
    layer_runs: int
    multiply_adds: int
    elements: int
    updated_parameters: int
    memory_bytes: int

    def to_data(self) -> dict[str, int]:
        """Give the record as JSON-ready data (what the store keeps)."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, int]) -> "Work":
        """Rebuild the record from `to_data`'s result."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class CostSample:
    """What one finished trial took; `peak_memory_bytes` is its worker's whole process."""

    work: Work
    seconds: float
    peak_memory_bytes: int | None

"""From a network's table to the work and the memory of a whole trial, by arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from experiments.architectures.architecture import Architecture, LayerSummary
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.planning.content_keys import network_digest
from experiments.planning.cost import Work, evaluation_batch
from experiments.records import InitConfig

_FLOAT_BYTES: Final = 4
_ROUNDED_BYTES: Final = 2
"""Of a number in bfloat16."""
OPTIMIZER_STATES: Final = {"sgd": 1, "nesterov": 1, "rmsprop": 2, "adam": 2, "adamw": 2}
"""The most numbers that an optimizer keeps per weight."""


@dataclass(frozen=True, slots=True)
class Network:
    """A built network and what the plan needs of its arithmetic, worked out once.

    The counts are of one example in one forward pass. What is `trained` is all but the frozen
    layers, which also have no backward pass.

    Attributes:
        digest: Of its layers.
        init: Where its first layers get their weights, None for all by chance.
        elements: The numbers that all layers write, and those of the input.
        largest_output: The most that one row of the table writes.
        fixed_numbers: Weights that are kept and never learned.
        needs_two: The path of the first layer whose batch norm cannot take a batch of one.
    """

    architecture: Architecture
    trace: tuple[LayerSummary, ...]
    digest: str
    init: InitConfig | None
    parameters: int
    trained_parameters: int
    fixed_numbers: int
    multiply_adds: int
    trained_multiply_adds: int
    elements: int
    trained_elements: int
    largest_output: int
    num_trained_layers: int
    needs_two: str | None

    @classmethod
    def of(cls, architecture: Architecture, init: InitConfig | None = None) -> "Network":
        """Do the arithmetic."""
        trace = architecture.trace()
        num_frozen = 0 if init is None else init.num_frozen
        trained = tuple(row for row in trace if top_level_index(row) >= num_frozen)
        return cls(
            architecture,
            trace,
            digest=network_digest(architecture.layers),
            init=init,
            parameters=sum(row.parameters for row in trace),
            trained_parameters=sum(row.parameters for row in trained),
            fixed_numbers=sum(row.fixed_numbers for row in trace),
            multiply_adds=sum(row.multiply_adds for row in trace),
            trained_multiply_adds=sum(row.multiply_adds for row in trained),
            elements=math.prod(architecture.input_shape)
            + sum(row.activation_bytes for row in trace) // _FLOAT_BYTES,
            trained_elements=sum(row.activation_bytes for row in trained) // _FLOAT_BYTES,
            largest_output=max(row.activation_bytes for row in trace) // _FLOAT_BYTES,
            num_trained_layers=len(trained),
            needs_two=_needs_two_values(architecture, trained),
        )

    @property
    def trained_rows(self) -> tuple[LayerSummary, ...]:
        """Give the rows of the table that are not frozen."""
        return self.trace[len(self.trace) - self.num_trained_layers :]

    def work(
        self,
        *,
        num_train: int,
        num_val: int,
        num_test: int,
        batch_size: int,
        epochs: int,
        optimizer: str,
        precision: str = "float32",
    ) -> Work:
        """Count what a trial of this network does from its first step to its test score.

        At the height of a step every trained layer's output is kept for the backward pass,
        and beside them a gradient and what it is made of; an evaluation keeps what a layer
        reads and writes, of more examples at a time. In bfloat16 the layers' outputs take half,
        and each weight has a rounded copy beside it.
        """
        steps = epochs * math.ceil(num_train / batch_size)
        trained, evaluated = epochs * num_train, epochs * num_val + num_test
        weights = self.parameters + self.fixed_numbers
        weights += self.trained_parameters * (1 + OPTIMIZER_STATES[optimizer])
        at_once = min(evaluation_batch(self.architecture.input_shape), max(num_val, num_test))
        activations = max(
            batch_size * (self.trained_elements + 2 * self.largest_output),
            at_once * 2 * self.largest_output,
        )
        memory_bytes = (weights + activations) * _FLOAT_BYTES
        if precision == "bfloat16":
            rounded = self.parameters + self.fixed_numbers + activations
            memory_bytes = weights * _FLOAT_BYTES + rounded * _ROUNDED_BYTES
        return Work(
            epochs=epochs,
            steps=steps,
            layer_runs=steps * (len(self.trace) + 2 * self.num_trained_layers),
            multiply_adds=(trained + evaluated) * self.multiply_adds
            + 2 * trained * self.trained_multiply_adds,
            elements=(trained + evaluated) * self.elements + 2 * trained * self.trained_elements,
            updated_parameters=steps * self.trained_parameters,
            memory_bytes=memory_bytes,
        )


def top_level_index(row: LayerSummary) -> int:
    """Give the place, in the network's list of layers, of the layer that a row is part of."""
    return int(row.path.partition(".")[0])


def _needs_two_values(architecture: Architecture, trained: Sequence[LayerSummary]) -> str | None:
    """Name the first trained layer with a batch norm over single values a channel.

    One image cannot feed it. Inside patches, each image gives as many values as there are
    patches.
    """
    places = {row.path: math.prod(row.output_shape[1:]) for row in trained if row.kind == "patches"}
    for row in trained:
        layer = architecture.layers[top_level_index(row)]
        if isinstance(layer, TorchvisionNetwork) and layer.norms_single_values:
            return row.path
        if row.kind == "batch_norm":
            blocks = (count for path, count in places.items() if row.path.startswith(f"{path}."))
            if math.prod(row.output_shape[1:]) * math.prod(blocks) == 1:
                return row.path
    return None

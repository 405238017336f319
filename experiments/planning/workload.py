"""From a network's table to the work and the memory of a whole trial, by arithmetic."""

import math
from dataclasses import dataclass
from typing import Final

from experiments.architectures.architecture import Architecture, LayerSummary
from experiments.planning.content_keys import digest
from experiments.planning.cost import Work
from experiments.records import InitConfig

_FLOAT_BYTES: Final = 4
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
        needs_two: The path of the first batch norm that cannot take a batch of one.
    """

    architecture: Architecture
    trace: tuple[LayerSummary, ...]
    digest: str
    init: InitConfig | None
    parameters: int
    trained_parameters: int
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
        trained = [row for row in trace if top_level_index(row) >= num_frozen]
        return cls(
            architecture,
            trace,
            digest=digest(architecture.to_data()["layers"]),
            init=init,
            parameters=sum(row.parameters for row in trace),
            trained_parameters=sum(row.parameters for row in trained),
            multiply_adds=sum(row.multiply_adds for row in trace),
            trained_multiply_adds=sum(row.multiply_adds for row in trained),
            elements=math.prod(architecture.input_shape)
            + sum(row.activation_bytes for row in trace) // _FLOAT_BYTES,
            trained_elements=sum(row.activation_bytes for row in trained) // _FLOAT_BYTES,
            largest_output=max(row.activation_bytes for row in trace) // _FLOAT_BYTES,
            num_trained_layers=len(trained),
            needs_two=_needs_two_values(trace),
        )

    def work(
        self,
        *,
        num_train: int,
        num_val: int,
        num_test: int,
        batch_size: int,
        epochs: int,
        optimizer: str,
    ) -> Work:
        """Count what a trial of this network does from its first step to its test score.

        At the height of a step every trained layer's output is kept for the backward pass,
        and beside them a gradient and what it is made of.
        """
        steps = epochs * math.ceil(num_train / batch_size)
        trained, evaluated = epochs * num_train, epochs * num_val + num_test
        weights = self.parameters + self.trained_parameters * (1 + OPTIMIZER_STATES[optimizer])
        activations = batch_size * (self.trained_elements + 2 * self.largest_output)
        return Work(
            epochs=epochs,
            steps=steps,
            layer_runs=steps * (len(self.trace) + 2 * self.num_trained_layers),
            multiply_adds=(trained + evaluated) * self.multiply_adds
            + 2 * trained * self.trained_multiply_adds,
            elements=(trained + evaluated) * self.elements + 2 * trained * self.trained_elements,
            updated_parameters=steps * self.trained_parameters,
            memory_bytes=(weights + activations) * _FLOAT_BYTES,
        )


def top_level_index(row: LayerSummary) -> int:
    """Give the place, in the network's list of layers, of the layer that a row is part of."""
    return int(row.path.partition(".")[0])


def _needs_two_values(trace: tuple[LayerSummary, ...]) -> str | None:
    """Name the first batch norm over single values a channel, which one image cannot feed."""
    for layer in trace:
        if layer.kind == "batch_norm" and math.prod(layer.output_shape[1:]) == 1:
            return layer.path
    return None

"""What a network's outputs are: the values of its last function, wherever that stands."""

from collections.abc import Sequence
from typing import Final

from experiments.architectures.architecture import LayerSummary
from experiments.architectures.blocks import Patches
from experiments.architectures.joins import Tap
from experiments.architectures.layers import Activation, Dropout, Flatten, Layer, Reshape
from experiments.architectures.upsampling_layers import Upsample
from experiments.planning.workload import Network

_KEEPING: Final = (Activation, Dropout, Flatten, Reshape, Tap, Upsample)
"""Layers that move, repeat, scale or drop values (of the functions: `linear`)."""


def last_function(network: Network) -> tuple[Activation, LayerSummary] | None:
    """Give the function whose values are the outputs, and its row of the table.

    None where they are those of a layer with weights, of a pool, or of a sum.
    """
    found = _behind(network.architecture.layers)
    if found is None:
        return None
    path, function = found
    return function, next(row for row in network.trace if row.path == path)


def _behind(layers: Sequence[Layer]) -> tuple[str, Activation] | None:
    """Walk back from the end over layers that keep values; give the function's path too."""
    for index in reversed(range(len(layers))):
        layer = layers[index]
        if isinstance(layer, Patches):
            inner = _behind(layer.layers)
            return inner and (f"{index}.layers.{inner[0]}", inner[1])
        if isinstance(layer, Activation) and layer.name != "linear":
            return str(index), layer
        if not isinstance(layer, _KEEPING):
            return None
    return None

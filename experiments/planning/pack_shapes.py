"""Which trials can be trained together as one program: those of one shape."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeGuard

from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.layers import Activation, Dropout, Layer
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.data.data_changes import opened_changes
from experiments.planning.digest import digest
from experiments.records import SEMANTICS_VERSION, TrialConfig

UNSHARED: Final = ""
"""The shape of a network that no trial shares with another: it is torchvision's."""

PackOrder = tuple[tuple[tuple[str, float | None], ...], str, str, tuple[float, ...]]
"""Hidden functions with their alphas, loss, output activation, probabilities of dropout."""


def pack_shape(config: TrialConfig, *, network: str | None = None) -> str | None:
    """Name what a trial has in common with those that it can be packed with.

    Members of a pack may differ in their seeds, their losses, how long they train and at which
    rates, in the settings of the optimizer, and within the network in the hidden functions
    and in the probabilities of dropout. All else counts as it does in a content key: data by
    its digest and a network by its layers, whatever they are called.

    Args:
        config: The trial's.
        network: What `network_shape` gives of its layers; worked out if None.

    Returns:
        16 hexadecimal digits; None where the trial cannot be packed: its weights come from
        elsewhere, or torchvision builds its network.
    """
    if network is None:
        network = network_shape(config.architecture.layers)
    if network == UNSHARED or config.init is not None:
        return None
    data, changes = config.data, opened_changes(config.data.changes)
    return _name(
        SEMANTICS_VERSION,
        config.task,
        network,
        config.architecture.input_shape,
        data.digest,
        data.val_fraction,
        data.split_seed,
        data.limit,
        digest(changes) if changes else None,
        config.augmentation.name,
        config.augmentation.pixels,
        config.optimizer.name,
        config.batch_size,
        config.precision,
    )


def can_be_packed(config: TrialConfig) -> bool:
    """Say whether a trial has a pack shape at all."""
    layers = _walk(config.architecture.layers)
    return config.init is None and not any(isinstance(each, TorchvisionNetwork) for each in layers)


def network_shape(layers: Sequence[Layer]) -> str:
    """Hash what networks of one pack have in common; `UNSHARED` where they cannot be packed."""
    if any(isinstance(layer, TorchvisionNetwork) for layer in _walk(layers)):
        return UNSHARED
    return digest([_common(layer) for layer in layers])


def pack_order(config: TrialConfig) -> PackOrder:
    """Give a key that sorts trials of one shape: those who compute alike become neighbours.

    Hidden functions come first, then loss and output activation, because each stretch of equal
    ones is a call of its own; dropout is drawn for each member anyway.
    """
    layers = tuple(_walk(config.architecture.layers))
    functions = tuple((layer.name, layer.alpha) for layer in layers if _is_hidden(layer))
    dropout = tuple(layer.p for layer in layers if isinstance(layer, Dropout))
    return functions, config.loss, config.output_activation, dropout


@functools.lru_cache(maxsize=1024, typed=True)  # typed: 1 and 1.0 are written differently
def _name(*shared: Any) -> str:
    """Hash what is shared; thousands of trials ask for the same few."""
    return digest(shared)[:16]


def _common(layer: Layer) -> Any:
    """Write a layer without what members may differ in; dropout with p 0 stays dropout."""
    if _is_hidden(layer) or isinstance(layer, Dropout):
        return layer.kind
    if isinstance(layer, Residual):
        return {
            layer.kind: {name: [_common(inner) for inner in each] for name, each in layer.branches}
        }
    if isinstance(layer, Patches):
        inside = {"layers": [_common(inner) for inner in layer.layers]}
        return {layer.kind: layer.to_data()[layer.kind] | inside}
    return layer.to_data()


def _is_hidden(layer: Layer) -> TypeGuard[Activation]:
    """Say whether a function may differ: softmax may not, it is no function of one number."""
    return isinstance(layer, Activation) and layer.name != "softmax"


def _walk(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Pass through all layers, those inside blocks after the block."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual):
            yield from _walk(layer.body)
            yield from _walk(layer.shortcut)
        elif isinstance(layer, Patches):
            yield from _walk(layer.layers)

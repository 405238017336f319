"""What a plan warns of in a network: mistakes that train without an error, only worse.

Each remark says what and where, why it matters, and what to do. Not here: what is refused.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from experiments.architectures.activations import ACTIVATIONS
from experiments.architectures.architecture import LayerSummary
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import Size, shape_text
from experiments.architectures.layers import Activation, Dropout, Layer
from experiments.architectures.window_layers import AvgPool2d, Conv2d, MaxPool2d
from experiments.planning.workload import Network, top_level_index

_MOST_NAMED: Final = 4
_TOP_HEAVY: Final = 0.9
"""A fully connected layer with a larger share of the parameters is remarked on."""
_NARROW: Final = 0.5
"""Where pixels are answered, each should see more than this share of the image's sides."""
_POOLS: Final = ("adaptive_avg_pool2d", "avg_pool2d", "max_pool2d")
_CONVOLUTIONS: Final = ("conv2d", "locally_connected2d")


def network_remarks(network: Network, *, task: str) -> Iterator[str]:
    """Remark on a network, whatever it is trained with.

    The form of layers that were taken over from another network is that one's affair.
    """
    taken = 0 if network.init is None else network.init.num_layers
    own = [row for row in network.trace if top_level_index(row) >= taken]
    for remark in (
        _lost_borders(own),
        _small_maps(network, own),
        _narrow_answers(network) if task == "segmentation" else _narrow_pool(network),
        _top_heavy(network, own),
        _dropout_before_norm(network),
        _blocked_gradient(network),
    ):
        if remark is not None:
            yield f"{network.architecture.name}, {remark}"


def place(row: LayerSummary) -> str:
    """Name a layer by its path and what it is."""
    return f"layer {row.path} ({row.text})"


def also(rows: Sequence[LayerSummary]) -> str:
    """Name the layers after the first that have the same fault."""
    if len(rows) == 1:
        return ""
    named = ", ".join(row.path for row in rows[1 : 1 + _MOST_NAMED])
    more = f" and {len(rows) - 1 - _MOST_NAMED} more" if len(rows) - 1 > _MOST_NAMED else ""
    return f" (so in layer{'s' if len(rows) > 2 else ''} {named}{more})"


def _lost_borders(own: Sequence[LayerSummary]) -> str | None:
    """Find windows whose stride leaves rows or columns of their input unseen."""
    rows = [row for row in own if any(row.lost_border)]
    if not rows:
        return None
    return (
        f"{place(rows[0])}: the stride does not fit its {shape_text(rows[0].input_shape[1:])} "
        f"input, so {_border(rows[0].lost_border)} never seen{also(rows)}; change size, stride "
        "or padding"
    )


def _border(lost: Size) -> str:
    """Name the rows and columns that are lost, with their verb."""
    parts = [
        noun if count == 1 else f"{count} {noun}s"
        for count, noun in zip(lost, ("row", "column"), strict=True)
        if count
    ]
    return f"the last {' and '.join(parts)} {'is' if lost in ((1, 0), (0, 1)) else 'are'}"


def _small_maps(network: Network, own: Sequence[LayerSummary]) -> str | None:
    """Find windows that slide over a single pixel: the rest of each meets padding only."""
    records = dict(_records(network.architecture.layers))
    rows = [
        row
        for row in own
        if any(
            side == 1 and kernel > 1
            for side, kernel in zip(
                row.input_shape[1:], _kernel(records.get(row.path)), strict=False
            )
        )
    ]
    if not rows:
        return None
    return (
        f"{place(rows[0])}: the map has shrunk to {shape_text(rows[0].input_shape[1:])} before "
        f"it, so most of its window meets nothing but padding{also(rows)}; shrink less, use "
        "larger images, or fewer layers"
    )


def _narrow_answers(network: Network) -> str | None:
    """Find that a pixel's class is told from too small a part of the image."""
    image, field = network.architecture.input_shape[1:], network.trace[-1].receptive_field
    if field is None or all(f > _NARROW * s for f, s in zip(field, image, strict=True)):
        return None
    return (
        f"{place(network.trace[-1])}: each output sees {shape_text(field)} of "
        f"{shape_text(image)} pixels, so what is larger cannot be told as a whole; add layers or "
        "strides"
    )


def _narrow_pool(network: Network) -> str | None:
    """Find a whole map pooled into one number of which no place sees the whole image.

    Such a network can count parts, and cannot relate those that lie further apart. Before
    flatten a small field does no harm: the linear layer behind it sees all places.
    """
    image = network.architecture.input_shape[1:]
    rows = [row for row in network.trace if row.depth == 0]
    for before, row in itertools.pairwise(rows):
        seen = before.receptive_field
        pooled = row.kind in _POOLS and row.output_shape[1:] == (1, 1) != row.input_shape[1:]
        if pooled and seen and any(f < s for f, s in zip(seen, image, strict=True)):
            return (
                f"{place(row)}: each place that it pools sees {shape_text(seen)} of "
                f"{shape_text(image)} pixels, so parts that lie further apart are never "
                "compared; add layers or strides before it, or put flatten in its place"
            )
    return None


def _top_heavy(network: Network, own: Sequence[LayerSummary]) -> str | None:
    if not any(row.kind in _CONVOLUTIONS for row in network.trace):
        return None
    for row in own:
        if row.kind == "linear" and row.parameters > _TOP_HEAVY * network.parameters:
            share = 100 * row.parameters // network.parameters
            return (
                f"{place(row)}: it holds {share} % of the {network.parameters:,} parameters; pool "
                "more before it, or make it smaller, and the convolutions can have more"
            )
    return None


def _dropout_before_norm(network: Network) -> str | None:
    """Find a dropout whose changed variance a later batch norm takes for the data's.

    Source: Li et al., "Understanding the Disharmony between Dropout and Batch Normalization
    by Variance Shift", 2019.
    """
    records = dict(_records(network.architecture.layers))
    trained = network.trained_rows  # a frozen dropout drops nothing, a frozen norm learns nothing
    for number, dropout in enumerate(trained):
        record = records.get(dropout.path)
        if not isinstance(record, Dropout) or record.p == 0:
            continue
        for norm in trained[number + 1 :]:
            if norm.kind == "batch_norm" and not _on_other_branch(dropout.path, norm.path):
                return (
                    f"layer {dropout.path} (dropout): the batch_norm behind it (layer "
                    f"{norm.path}) learns a variance that evaluation, without dropout, does not "
                    "have; put dropout behind the last batch_norm"
                )
    return None


def _on_other_branch(path: str, other: str) -> bool:
    """Say whether two layers stand in two branches of one block: `3.body.0` and `3.shortcut.1`."""
    for one, two in zip(path.split("."), other.split("."), strict=False):
        if one != two:
            return not one.isdigit()
    return False


def _blocked_gradient(network: Network) -> str | None:
    """Find an activation without gradient behind layers that should learn."""
    records = dict(_records(network.architecture.layers))
    num_frozen = 0 if network.init is None else network.init.num_frozen
    learned = 0
    for row in network.trace:
        record = records.get(row.path)
        if isinstance(record, Activation) and not ACTIVATIONS[record.name].has_gradient and learned:
            return (
                f"{place(row)}: it passes no gradient back, so the layers before it stay as they "
                "were drawn; use another activation, or associative_units for fixed ones"
            )
        learned += row.parameters if top_level_index(row) >= num_frozen else 0
    return None


def _kernel(layer: Layer | None) -> Size:
    return layer.kernel_size if isinstance(layer, Conv2d | MaxPool2d | AvgPool2d) else (1, 1)


def _records(layers: Sequence[Layer], prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Give the layers that are no blocks, by the paths that the trace gives them."""
    for index, layer in enumerate(layers):
        path = f"{prefix}{index}"
        if isinstance(layer, Residual):
            for name, branch in layer.branches:
                yield from _records(branch, f"{path}.{name}.")
        elif isinstance(layer, Patches):
            yield from _records(layer.layers, f"{path}.layers.")
        else:
            yield path, layer

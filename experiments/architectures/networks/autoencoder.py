"""Autoencoders: an image through a bottleneck and back."""

import math
from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import MAX_UNITS, Flatten, Linear, Reshape
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.networks.sizes import check_sides
from experiments.architectures.templates import ConvHead, Head, HiddenActivation, Template
from experiments.architectures.upsampling_layers import ConvTranspose2d
from experiments.architectures.window_layers import Conv2d
from experiments.language.compound_kinds import ListOf, Nullable
from experiments.language.kinds import Choice, Integer

_HIDDEN: Final = {"dense": (128,), "convolutional": (16, 32)}


@dataclass(frozen=True, slots=True)
class AutoencoderOptions:
    """Options of `autoencoder`."""

    form: Annotated[str, Choice(tuple(_HIDDEN)), "of which layers it is made"] = "dense"
    code: Annotated[int, Integer(1, MAX_UNITS), "numbers that an image is brought down to"] = 32
    hidden: Annotated[
        tuple[int, ...] | None,
        Nullable(ListOf(Integer(1, MAX_UNITS), min_length=1, max_length=1000)),
        "units (dense) or channels (convolutional) of each layer before the code, mirrored "
        "behind it; null: 128, or 16 and 32",
    ] = None


def autoencoder(options: AutoencoderOptions, input_shape: Shape) -> list[Template]:
    """Bring an image down to a code of few numbers and back; the code itself is linear."""
    hidden = options.hidden or _HIDDEN[options.form]
    network = _dense if options.form == "dense" else _convolutional
    return network(hidden, options.code, input_shape)


def _dense(hidden: tuple[int, ...], code: int, input_shape: Shape) -> list[Template]:
    check_sides("autoencoder", input_shape, multiple=1)
    layers: list[Template] = [Flatten()]
    for units in hidden:
        layers += [Linear(units), HiddenActivation()]
    layers.append(Linear(code))
    for units in reversed(hidden):
        layers += [Linear(units), HiddenActivation()]
    channels, height, width = input_shape
    return [*layers, Head(), Reshape((channels, height, width))]


def _convolutional(channels: tuple[int, ...], code: int, input_shape: Shape) -> list[Template]:
    """Halve the image with each convolution, and double it with each transposed one.

    The transposed kernel is a multiple of its stride, so that all pixels of its output see
    equally many of its input (Odena, Dumoulin and Olah, "Deconvolution and Checkerboard
    Artifacts", 2016).
    """
    factor = 2 ** len(channels)
    check_sides(f"autoencoder of {len(channels)} convolutions", input_shape, multiple=factor)
    layers: list[Template] = []
    for outputs in channels:
        layers += [Conv2d(outputs, (3, 3), stride=(2, 2), padding=(1, 1)), HiddenActivation()]
    smallest = (channels[-1], input_shape[1] // factor, input_shape[2] // factor)
    layers += [Flatten(), Linear(code), Linear(math.prod(smallest)), HiddenActivation()]
    layers.append(Reshape(smallest))
    for outputs in reversed(channels[:-1]):
        layers += [_doubling(outputs), HiddenActivation()]
    return [*layers, ConvHead(_doubling(1))]


def _doubling(channels: int) -> ConvTranspose2d:
    return ConvTranspose2d(channels, (4, 4), stride=(2, 2), padding=(1, 1))


ARCHITECTURES: Final = (
    NamedArchitecture(
        "autoencoder",
        "an image through a code of few numbers and back",
        "Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006",
        AutoencoderOptions,
        autoencoder,
        tasks=("reconstruction",),
    ),
)

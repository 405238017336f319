"""One small network three ways: what sharing weights saves, and what locality saves."""

import math
from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.geometry import Shape, Size
from experiments.architectures.layers import Flatten, Layer, Linear
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.templates import Head, HiddenActivation, Template
from experiments.architectures.window_layers import Conv2d, LocallyConnected2d
from experiments.language.kinds import Choice, Integer

_FORMS: Final = ("locally_connected", "convolutional", "fully_connected")
# On images whose sides 4 divides, neither kernel leaves a border out.
_KERNELS: Final[tuple[Size, Size]] = ((4, 4), (3, 3))
_STRIDE: Final[Size] = (2, 2)


@dataclass(frozen=True, slots=True)
class LocallyConnectedOptions:
    """Options of `locally_connected`."""

    form: Annotated[str, Choice(_FORMS), "how units are connected to what lies below them"] = (
        "locally_connected"
    )
    channels: Annotated[int, Integer(1, 10_000), "channels of the first layer; then twice them"] = 8


def locally_connected(options: LocallyConnectedOptions, input_shape: Shape) -> list[Template]:
    """Give two hidden layers of as many units in every form, connected in one of three ways.

    The fully connected form has the units that the windows of the other two make.
    """
    layers: list[Template] = [Flatten()] if options.form == "fully_connected" else []
    shape = input_shape
    for channels, kernel in zip((options.channels, 2 * options.channels), _KERNELS, strict=True):
        convolution = Conv2d(channels, kernel, stride=_STRIDE)
        shape = convolution.output_shape(shape)
        layers += [_layer(options.form, convolution, shape), HiddenActivation()]
    flatten = [] if options.form == "fully_connected" else [Flatten()]
    return [*layers, *flatten, Head()]


def _layer(form: str, convolution: Conv2d, output_shape: Shape) -> Layer:
    if form == "locally_connected":
        channels, kernel = convolution.out_channels, convolution.kernel_size
        return LocallyConnected2d(channels, kernel, stride=convolution.stride)
    return convolution if form == "convolutional" else Linear(math.prod(output_shape))


ARCHITECTURES: Final = (
    NamedArchitecture(
        "locally_connected",
        "two layers of local units without shared weights, with them, or fully connected",
        "LeCun, Generalization and Network Design Strategies, 1989",
        LocallyConnectedOptions,
        locally_connected,
    ),
)

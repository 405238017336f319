"""The networks behind the named architectures, as functions that return layer templates.

Each takes its options and the input's shape, and ends in a head sized by the task. `width`
scales every number of channels: times the width, rounded to the nearest integer (halves to
the even one), at least 1. VGG and ResNet have two forms: the published one for images whose
smaller side is at least 64 pixels, and one for small images (CIFAR-10, MNIST).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from experiments.compound_kinds import ListOf
from experiments.fields import NoOptions
from experiments.geometry import Shape
from experiments.kinds import Choice, Flag, Integer, Number
from experiments.layers import MAX_UNITS, BatchNorm, Flatten, Linear
from experiments.templates import Head, HiddenActivation, Template, TrialDropout, residual
from experiments.window_layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, MaxPool2d

LARGE_IMAGE: Final = 64
"""Smaller side, in pixels, from which VGG and ResNet take their published form."""

_VGG_CONVOLUTIONS: Final[Mapping[int, tuple[int, ...]]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
_VGG_CHANNELS: Final = (64, 128, 256, 512, 512)
_RESNET_BLOCKS: Final[Mapping[int, tuple[int, ...]]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_RESNET_CHANNELS: Final = (64, 128, 256, 512)
_BOTTLENECK_FROM: Final = 50
_BOTTLENECK_EXPANSION: Final = 4

_Width = Annotated[float, Number(above=0, maximum=16), "factor for all numbers of channels"]


@dataclass(frozen=True, slots=True)
class MlpOptions:
    """Options of `mlp`."""

    hidden: Annotated[
        tuple[int, ...],
        ListOf(Integer(1, MAX_UNITS), min_length=1),
        "units of each hidden layer",
    ] = (128,)
    batch_norm: Annotated[bool, Flag(), "whether to normalise before each activation"] = False


@dataclass(frozen=True, slots=True)
class VggOptions:
    """Options of `vgg`."""

    depth: Annotated[int, Choice(tuple(_VGG_CONVOLUTIONS)), "number of layers with weights"] = 16
    width: _Width = 1.0
    batch_norm: Annotated[bool, Flag(), "whether to normalise after each convolution"] = False


@dataclass(frozen=True, slots=True)
class ResnetOptions:
    """Options of `resnet`."""

    depth: Annotated[int, Choice(tuple(_RESNET_BLOCKS)), "number of layers with weights"] = 18
    width: _Width = 1.0


def softmax_regression(_options: NoOptions, _input_shape: Shape) -> list[Template]:
    """One linear layer on the pixels: multinomial logistic regression."""
    return [Flatten(), Head()]


def mlp(options: MlpOptions, _input_shape: Shape) -> list[Template]:
    """Stack fully connected layers."""
    layers: list[Template] = [Flatten()]
    for units in options.hidden:
        layers.append(Linear(units))
        if options.batch_norm:
            layers.append(BatchNorm())
        layers.append(HiddenActivation())
    return [*layers, Head()]


def keras_convnet(_options: NoOptions, _input_shape: Shape) -> list[Template]:
    """Give the two-convolution network of the Keras tutorials."""
    return [
        Conv2d(32, (5, 5)),
        HiddenActivation(),
        MaxPool2d((2, 2)),
        Conv2d(64, (3, 3)),
        HiddenActivation(),
        MaxPool2d((2, 2)),
        Flatten(),
        Linear(256),
        HiddenActivation(),
        Head(),
    ]


def lenet5(_options: NoOptions, input_shape: Shape) -> list[Template]:
    """Give LeNet-5 with average pooling, a fully connected C3 and a linear output layer.

    The original wants 32x32 pixels: an image whose smaller side has less is padded by 2.
    """
    padding = (2, 2) if min(input_shape[1:], default=0) < 32 else (0, 0)
    return [
        Conv2d(6, (5, 5), padding=padding),
        HiddenActivation(),
        AvgPool2d((2, 2)),
        Conv2d(16, (5, 5)),
        HiddenActivation(),
        AvgPool2d((2, 2)),
        Flatten(),
        Linear(120),
        HiddenActivation(),
        Linear(84),
        HiddenActivation(),
        Head(),
    ]


def vgg(options: VggOptions, input_shape: Shape) -> list[Template]:
    """Stack 3x3 convolutions; five times the image is halved.

    The small form leaves a pooling out where the map is already one pixel wide or high, and
    ends in global average pooling and one hidden layer.
    """
    layers: list[Template] = []
    side = min(input_shape[1:], default=0)
    for channels, convolutions in zip(_VGG_CHANNELS, _VGG_CONVOLUTIONS[options.depth], strict=True):
        for _ in range(convolutions):
            layers.append(Conv2d(_scaled(channels, options.width), (3, 3), padding=(1, 1)))
            if options.batch_norm:
                layers.append(BatchNorm())
            layers.append(HiddenActivation())
        if side != 1:
            layers.append(MaxPool2d((2, 2)))
            side //= 2
    if _is_large(input_shape):
        units, hidden_layers, grid = _scaled(4096, options.width), 2, (7, 7)
    else:
        units, hidden_layers, grid = _scaled(512, options.width), 1, (1, 1)
    layers += [AdaptiveAvgPool2d(grid), Flatten()]
    layers += [Linear(units), HiddenActivation(), TrialDropout()] * hidden_layers
    return [*layers, Head()]


def resnet(options: ResnetOptions, input_shape: Shape) -> list[Template]:
    """Stack residual blocks in four stages; each stage after the first halves the image.

    Blocks of two 3x3 convolutions up to 34 layers, bottlenecks from 50 on, with the stride
    in the 3x3 convolution (as in torchvision). The small form starts with a 3x3 convolution
    and no pooling, as the paper does for CIFAR-10.
    """
    stem = _scaled(64, options.width)
    layers = (
        [*_convolution(stem, 7, stride=2), HiddenActivation(), _STEM_POOL]
        if _is_large(input_shape)
        else [*_convolution(stem, 3), HiddenActivation()]
    )
    bottleneck = options.depth >= _BOTTLENECK_FROM
    inputs = stem
    stages = zip(_RESNET_CHANNELS, _RESNET_BLOCKS[options.depth], strict=True)
    for stage, (channels, blocks) in enumerate(stages):
        inner = _scaled(channels, options.width)
        outputs = inner * _BOTTLENECK_EXPANSION if bottleneck else inner
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            body = _bottleneck(inner, outputs, stride) if bottleneck else _basic(inner, stride)
            changes = stride != 1 or inputs != outputs
            shortcut = _convolution(outputs, 1, stride=stride) if changes else []
            layers += [residual(body, shortcut), HiddenActivation()]
            inputs = outputs
    return [*layers, AdaptiveAvgPool2d((1, 1)), Flatten(), Head()]


_STEM_POOL: Final = MaxPool2d((3, 3), stride=(2, 2), padding=(1, 1))


def _basic(channels: int, stride: int) -> list[Template]:
    first = _convolution(channels, 3, stride=stride)
    return [*first, HiddenActivation(), *_convolution(channels, 3)]


def _bottleneck(inner: int, outputs: int, stride: int) -> list[Template]:
    return [
        *_convolution(inner, 1),
        HiddenActivation(),
        *_convolution(inner, 3, stride=stride),
        HiddenActivation(),
        *_convolution(outputs, 1),
    ]


def _convolution(channels: int, kernel: int, *, stride: int = 1) -> list[Template]:
    """Give a normalised convolution that keeps the image's size, up to the stride."""
    padding = (kernel // 2, kernel // 2)
    size, strides = (kernel, kernel), (stride, stride)
    return [Conv2d(channels, size, stride=strides, padding=padding, bias=False), BatchNorm()]


def _scaled(units: int, width: float) -> int:
    return max(1, round(units * width))


def _is_large(input_shape: Shape) -> bool:
    return min(input_shape[1:], default=0) >= LARGE_IMAGE

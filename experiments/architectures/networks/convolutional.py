"""The classic convolutional networks: two small ones, AlexNet and VGG.

AlexNet and VGG have two forms: the published one for images whose smaller side is at least
`sizes.LARGE_IMAGE`, and one for small images (CIFAR-10, MNIST).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import BatchNorm, Flatten, Linear
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.networks.sizes import Width, is_large, scaled
from experiments.architectures.templates import Head, HiddenActivation, Template, TrialDropout
from experiments.architectures.window_layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, MaxPool2d
from experiments.language.fields import NoOptions
from experiments.language.kinds import Choice, Flag

VGG_CONVOLUTIONS: Final[Mapping[int, tuple[int, ...]]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""3x3 convolutions in each of the five stages, by depth."""

VGG_CHANNELS: Final = (64, 128, 256, 512, 512)


@dataclass(frozen=True, slots=True)
class AlexnetOptions:
    """Options of `alexnet`."""

    width: Width = 1.0


@dataclass(frozen=True, slots=True)
class VggOptions:
    """Options of `vgg`."""

    depth: Annotated[int, Choice(tuple(VGG_CONVOLUTIONS)), "number of layers with weights"] = 16
    width: Width = 1.0
    batch_norm: Annotated[bool, Flag(), "whether to normalise after each convolution"] = False


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


def alexnet(options: AlexnetOptions, input_shape: Shape) -> list[Template]:
    """Give AlexNet in its one-tower form, as torchvision has it, without normalisation.

    The small form starts with a 5x5 convolution without stride, pads its poolings, so that
    three halvings are left of five, and has hidden layers of 1,024 units.
    """
    large = is_large(input_shape)
    first = Conv2d(scaled(64, options.width), (11, 11), stride=(4, 4), padding=(2, 2))
    if not large:
        first = Conv2d(first.out_channels, (5, 5), padding=(2, 2))
    pool = MaxPool2d((3, 3), stride=(2, 2), padding=(0, 0) if large else (1, 1))
    layers: list[Template] = [first, HiddenActivation(), pool]
    layers += [Conv2d(scaled(192, options.width), (5, 5), padding=(2, 2)), HiddenActivation(), pool]
    for channels in (384, 256, 256):
        layers += [Conv2d(scaled(channels, options.width), (3, 3), padding=(1, 1))]
        layers += [HiddenActivation()]
    layers += [pool, *([AdaptiveAvgPool2d((6, 6))] if large else []), Flatten()]
    units = scaled(4096 if large else 1024, options.width)
    layers += [TrialDropout(), Linear(units), HiddenActivation()] * 2
    return [*layers, Head()]


def vgg(options: VggOptions, input_shape: Shape) -> list[Template]:
    """Stack 3x3 convolutions; five times the image is halved.

    The small form leaves a pooling out where the map is already one pixel wide or high, and
    ends in global average pooling and one hidden layer.
    """
    layers: list[Template] = []
    side = min(input_shape[1:], default=0)
    for channels, convolutions in zip(VGG_CHANNELS, VGG_CONVOLUTIONS[options.depth], strict=True):
        layers += vgg_stage(
            scaled(channels, options.width), convolutions, batch_norm=options.batch_norm
        )
        if side != 1:
            layers.append(MaxPool2d((2, 2)))
            side //= 2
    if is_large(input_shape):
        units, hidden_layers, grid = scaled(4096, options.width), 2, (7, 7)
    else:
        units, hidden_layers, grid = scaled(512, options.width), 1, (1, 1)
    layers += [AdaptiveAvgPool2d(grid), Flatten()]
    layers += [Linear(units), HiddenActivation(), TrialDropout()] * hidden_layers
    return [*layers, Head()]


def vgg_stage(channels: int, convolutions: int, *, batch_norm: bool) -> list[Template]:
    """Stack 3x3 convolutions that keep the image's size."""
    norm = [BatchNorm()] if batch_norm else []
    return [Conv2d(channels, (3, 3), padding=(1, 1)), *norm, HiddenActivation()] * convolutions


ARCHITECTURES: Final = (
    NamedArchitecture(
        "keras_convnet",
        "two convolutions and two fully connected layers",
        "Chollet, Deep Learning with Python, 2017, chapter 5",
        NoOptions,
        keras_convnet,
    ),
    NamedArchitecture(
        "lenet5",
        "two convolutions with average pooling, for 28x28 and 32x32 pixels",
        "LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
        NoOptions,
        lenet5,
    ),
    NamedArchitecture(
        "alexnet",
        "five convolutions in one tower; dropout in the head",
        "Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks, 2014 "
        "(two towers: Krizhevsky, Sutskever and Hinton 2012)",
        AlexnetOptions,
        alexnet,
        uses_dropout=True,
    ),
    NamedArchitecture(
        "vgg",
        "stacked 3x3 convolutions; dropout in the head",
        "Simonyan and Zisserman, Very Deep Convolutional Networks, 2015",
        VggOptions,
        vgg,
        uses_dropout=True,
    ),
)

"""Residual networks, and the plain ones that show why: the same layers without skips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import BatchNorm, Flatten
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.networks.sizes import Width, is_large, scaled
from experiments.architectures.templates import Head, HiddenActivation, Template, residual
from experiments.architectures.window_layers import AdaptiveAvgPool2d, Conv2d, MaxPool2d
from experiments.language.kinds import Choice

_BLOCKS: Final[Mapping[int, tuple[int, ...]]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_CHANNELS: Final = (64, 128, 256, 512)
_BOTTLENECK_FROM: Final = 50
_BOTTLENECK_EXPANSION: Final = 4
_STEM_POOL: Final = MaxPool2d((3, 3), stride=(2, 2), padding=(1, 1))


@dataclass(frozen=True, slots=True)
class ResnetOptions:
    """Options of `resnet` and `plain`."""

    depth: Annotated[int, Choice(tuple(_BLOCKS)), "number of layers with weights"] = 18
    width: Width = 1.0


@dataclass(frozen=True, slots=True)
class _Block:
    """One block: the layers that learn the residual, and what they go beside."""

    body: list[Template]
    shortcut: list[Template]


def resnet(options: ResnetOptions, input_shape: Shape) -> list[Template]:
    """Stack residual blocks in four stages; each stage after the first halves the image.

    Blocks of two 3x3 convolutions up to 34 layers, bottlenecks from 50 on, with the stride
    in the 3x3 convolution (as in torchvision). The small form starts with a 3x3 convolution
    and no pooling, as the paper does for CIFAR-10.
    """
    layers = _stem(options, input_shape)
    for block in _blocks(options):
        layers += [residual(block.body, block.shortcut), HiddenActivation()]
    return [*layers, *_end()]


def plain(options: ResnetOptions, input_shape: Shape) -> list[Template]:
    """Stack the layers of `resnet` without its skips (He et al. 2016, section 3.3)."""
    layers = _stem(options, input_shape)
    for block in _blocks(options):
        layers += [*block.body, HiddenActivation()]
    return [*layers, *_end()]


def _stem(options: ResnetOptions, input_shape: Shape) -> list[Template]:
    channels = scaled(_CHANNELS[0], options.width)
    if is_large(input_shape):
        return [*_convolution(channels, 7, stride=2), HiddenActivation(), _STEM_POOL]
    return [*_convolution(channels, 3), HiddenActivation()]


def _blocks(options: ResnetOptions) -> list[_Block]:
    """Give the blocks of all stages; a shortcut is a projection where the shape changes."""
    bottleneck = options.depth >= _BOTTLENECK_FROM
    inputs = scaled(_CHANNELS[0], options.width)
    found = []
    stages = zip(_CHANNELS, _BLOCKS[options.depth], strict=True)
    for stage, (channels, blocks) in enumerate(stages):
        inner = scaled(channels, options.width)
        outputs = inner * _BOTTLENECK_EXPANSION if bottleneck else inner
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            body = _bottleneck(inner, outputs, stride) if bottleneck else _basic(inner, stride)
            changes = stride != 1 or inputs != outputs
            found.append(_Block(body, _convolution(outputs, 1, stride=stride) if changes else []))
            inputs = outputs
    return found


def _end() -> list[Template]:
    return [AdaptiveAvgPool2d((1, 1)), Flatten(), Head()]


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


ARCHITECTURES: Final = (
    NamedArchitecture(
        "resnet",
        "residual blocks with batch norm",
        "He et al., Deep Residual Learning for Image Recognition, 2016",
        ResnetOptions,
        resnet,
    ),
    NamedArchitecture(
        "plain",
        "the layers of resnet without its skips, to see what the skips do",
        "He et al., Deep Residual Learning for Image Recognition, 2016, section 3.3",
        ResnetOptions,
        plain,
    ),
)

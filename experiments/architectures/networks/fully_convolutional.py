"""Fully convolutional networks for segmentation: FCN-32s, FCN-16s and FCN-8s.

Source of all: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
Segmentation", 2015.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.geometry import Shape
from experiments.architectures.joins import Add, From, Tap
from experiments.architectures.networks.convolutional import (
    VGG_CHANNELS,
    VGG_CONVOLUTIONS,
    vgg_stage,
)
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.networks.sizes import Width, check_sides, scaled
from experiments.architectures.templates import ConvHead, HiddenActivation, Template, TrialDropout
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample
from experiments.architectures.window_layers import Conv2d, MaxPool2d
from experiments.language.kinds import Choice, Flag

_COARSEST: Final = 32
_PUBLISHED_SIDE: Final = 7 * _COARSEST
_TAPPED: Final = {4: 16, 3: 8}
"""Which poolings skips start from, and their distance between two neighbours in pixels."""


@dataclass(frozen=True, slots=True)
class FcnOptions:
    """Options of `fcn`."""

    stride: Annotated[
        int,
        Choice((32, 16, 8)),
        "pixels from one score to the next before the last upsampling",
    ] = 8
    upsampling: Annotated[
        str,
        Choice(("learned", "bilinear", "nearest")),
        "how score maps grow; learned: a transposed convolution that starts as bilinear",
    ] = "learned"
    depth: Annotated[
        int, Choice(tuple(VGG_CONVOLUTIONS)), "number of layers with weights of the VGG encoder"
    ] = 11
    width: Width = 0.25
    batch_norm: Annotated[bool, Flag(), "whether to normalise after each convolution"] = True


def fcn(options: FcnOptions, input_shape: Shape) -> list[Template]:
    """Score every 32nd pixel with VGG as convolutions; refine by skips; grow to the image.

    A skip adds scores of its own, made by a 1x1 convolution from the fourth (and third)
    pooling, to the scores of the coarser map after these have grown (section 4.2). Images
    whose smaller side is below 224 pixels, whose last map is smaller than the published
    7x7 window, get a window of 3x3 and 512 units where the original has 4,096.
    """
    check_sides(f"fcn{options.stride}s", input_shape, multiple=_COARSEST)
    layers = [*_encoder(options), *_scorer(options, input_shape)]
    reached = _COARSEST
    for pool, stride in _TAPPED.items():
        if options.stride <= stride:
            layers += [*_grown(options, reached // stride), Tap(f"scores{stride}")]
            layers += [From(f"pool{pool}"), _SCORES, Add((f"scores{stride}",))]
            reached = stride
    return [*layers, *_grown(options, reached)]


_SCORES: Final = ConvHead(Conv2d(1, (1, 1)))


def _encoder(options: FcnOptions) -> list[Template]:
    """Give VGG's five stages, with taps where skips start."""
    layers: list[Template] = []
    stages = zip(VGG_CHANNELS, VGG_CONVOLUTIONS[options.depth], strict=True)
    for stage, (channels, convolutions) in enumerate(stages, start=1):
        layers += vgg_stage(
            scaled(channels, options.width), convolutions, batch_norm=options.batch_norm
        )
        layers.append(MaxPool2d((2, 2)))
        if stage in _TAPPED and options.stride <= _TAPPED[stage]:
            layers.append(Tap(f"pool{stage}"))
    return layers


def _scorer(options: FcnOptions, input_shape: Shape) -> list[Template]:
    """Give VGG's fully connected layers as convolutions (section 3.1), with class scores."""
    published = min(input_shape[1:]) >= _PUBLISHED_SIDE
    units, side = (4096, 7) if published else (512, 3)
    channels = scaled(units, options.width)
    return [
        Conv2d(channels, (side, side), padding=(side // 2, side // 2)),
        HiddenActivation(),
        TrialDropout(),
        Conv2d(channels, (1, 1)),
        HiddenActivation(),
        TrialDropout(),
        _SCORES,
    ]


def _grown(options: FcnOptions, factor: int) -> list[Template]:
    """Let a score map grow (section 3.3)."""
    if options.upsampling == "learned":
        return [ConvHead(bilinear(factor))]
    return [Upsample((factor, factor), mode=options.upsampling)]


def bilinear(factor: int) -> ConvTranspose2d:
    """Give the transposed convolution that starts as bilinear interpolation by `factor`.

    `factor` is even.
    """
    size, stride, padding = 2 * factor, factor, factor // 2
    return ConvTranspose2d(
        1,
        (size, size),
        stride=(stride, stride),
        padding=(padding, padding),
        bias=False,
        init="bilinear",
    )


ARCHITECTURES: Final = (
    NamedArchitecture(
        "fcn",
        "fully convolutional: VGG's scores, refined by skips, grown to the image's size",
        "Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015",
        FcnOptions,
        fcn,
        tasks=("segmentation",),
        uses_dropout=True,
        short_option="stride",
        short_suffix="s",
    ),
)

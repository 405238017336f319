"""A small network run on every patch of an image, and the same as convolutions."""

from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.convolutional_form import as_convolutional
from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.architectures.layers import MAX_UNITS, Flatten, Linear
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.networks.sizes import check_sides
from experiments.architectures.templates import (
    ConvHead,
    Head,
    HiddenActivation,
    Template,
    TrialDropout,
    patches,
)
from experiments.architectures.upsampling_layers import ConvTranspose2d
from experiments.architectures.window_layers import Conv2d, MaxPool2d
from experiments.language.kinds import Choice, Integer

_SMALLEST_PATCH: Final = 10


@dataclass(frozen=True, slots=True)
class PatchNetworkOptions:
    """Options of `patch_network`."""

    form: Annotated[
        str,
        Choice(("patches", "convolutional")),
        "whether each patch is computed for itself, or all as convolutions of the image",
    ] = "patches"
    patch: Annotated[int, Integer(_SMALLEST_PATCH, 10_000), "side of a patch, in pixels: even"] = 16
    stride: Annotated[
        int, Integer(2, 10_000), "pixels to the next patch: even, at least half a patch"
    ] = 8
    channels: Annotated[int, Integer(1, 10_000), "channels of the first layer; then twice them"] = (
        16
    )
    units: Annotated[int, Integer(1, MAX_UNITS), "units of the hidden layer"] = 64

    def __post_init__(self) -> None:
        """Refuse what the pooling treats unlike in patch and image, and what cannot grow."""
        if self.patch % 2 or self.stride % 2:
            raise ValueError(
                f"patch and stride must be even, got patch={self.patch}, stride={self.stride}"
            )
        if 2 * self.stride < self.patch:
            raise ValueError(
                f"stride must be at least half of patch, got patch={self.patch}, "
                f"stride={self.stride}: the image's border would get no scores"
            )


def patch_network(options: PatchNetworkOptions, input_shape: Shape) -> list[Template]:
    """Score patches for themselves, and spread the scores over the image's pixels.

    Every pixel gets the scores of the patches around it, weighed by their nearness: by a
    transposed convolution that starts as bilinear interpolation between the patches'
    centres, and learns. The convolutional form has the same weights and gives the same
    scores, without computing the patches' overlaps more than once.
    """
    _check_fit(options, input_shape)
    inner = _classifier(options)
    size, stride = (options.patch, options.patch), (options.stride, options.stride)
    if options.form == "patches":
        return [patches(size, stride, inner), _spread(options)]
    return [*as_convolutional(inner, (input_shape[0], *size), stride=stride), _spread(options)]


def _classifier(options: PatchNetworkOptions) -> list[Template]:
    """Give the network that scores one patch."""
    return [
        Conv2d(options.channels, (5, 5)),
        HiddenActivation(),
        MaxPool2d((2, 2)),
        Conv2d(2 * options.channels, (3, 3)),
        HiddenActivation(),
        Flatten(),
        Linear(options.units),
        HiddenActivation(),
        TrialDropout(),
        Head(),
    ]


def _spread(options: PatchNetworkOptions) -> Template:
    """Give what makes a score a pixel of a score a patch: (W - P) / S + 1 pixels to W.

    The kernel reaches from a patch's centre to its neighbours', and what it adds beyond
    the image is cut off.
    """
    side = 2 * options.stride
    cut = options.stride - options.patch // 2
    return ConvHead(
        ConvTranspose2d(
            1,
            (side, side),
            stride=(options.stride, options.stride),
            padding=(cut, cut),
            bias=False,
            init="bilinear",
        )
    )


def _check_fit(options: PatchNetworkOptions, input_shape: Shape) -> None:
    check_sides("patch_network", input_shape, multiple=1)
    patch, stride, size = options.patch, options.stride, input_shape[1:]
    if any(side < patch or (side - patch) % stride for side in size):
        larger = shape_text(patch + max(0, -(-(side - patch) // stride)) * stride for side in size)
        raise ShapeError(
            f"patch_network needs patches that end where the image ends: patches of {patch} "
            f"pixels every {stride} do not fit {shape_text(size)}; change patch or stride, or "
            f"bring the images to {larger}, say"
        )


ARCHITECTURES: Final = (
    NamedArchitecture(
        "patch_network",
        "a small network on every patch of an image: what a fully convolutional one replaces",
        "Ciresan et al., Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy "
        "Images, 2012",
        PatchNetworkOptions,
        patch_network,
        tasks=("segmentation",),
        uses_dropout=True,
    ),
)

"""A network for images of one size -> the same one as convolutions, for larger images.

Source: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
Segmentation", 2015, section 3.1: a fully connected layer is a convolution whose kernel
covers the whole of its input.
"""

from collections.abc import Iterable

from experiments.architectures.geometry import Shape, ShapeError, Size
from experiments.architectures.layers import Activation, BatchNorm, Dropout, Flatten, Layer, Linear
from experiments.architectures.templates import (
    ConvHead,
    Head,
    HiddenActivation,
    Template,
    TrialDropout,
)
from experiments.architectures.window_layers import AvgPool2d, Conv2d, MaxPool2d

_POINTWISE = (Activation, BatchNorm, Dropout, HiddenActivation, TrialDropout)


def as_convolutional(
    layers: Iterable[Template], input_shape: Shape, *, stride: Size = (1, 1)
) -> list[Template]:
    """Rewrite a network so that it scores every patch of an image at once.

    On an image it gives, at (i, j), what `layers` give for the patch of `input_shape` whose
    first pixel is (i, j) times `stride`. The first linear layer behind `flatten` becomes a
    convolution as large as the map, later ones 1x1 convolutions. The parameters are the
    same numbers in the same order: a linear layer's weights (O, C H W) are the kernel's
    (O, C, H, W).

    Raises:
        ShapeError: A layer has no such form (padding would differ between a patch's border
            and the middle of an image), or `stride` is no multiple of the layers' own.
    """
    form = _Form(input_shape, stride)
    for layer in layers:
        form.add(layer)
    if form.covers != (1, 1):
        raise ShapeError("as convolutions a network needs flatten and a linear layer at its end")
    return form.layers


class _Form:
    """The convolutional form of the layers so far.

    `covers` is the size of the map that the next linear layer has to cover, None before
    `flatten`; `jump` is the distance in pixels of two neighbours on that map.
    """

    def __init__(self, input_shape: Shape, stride: Size) -> None:
        self.layers: list[Template] = []
        self.covers: Size | None = None
        self._shape = input_shape
        self._stride = stride
        self._jump = (1, 1)

    def add(self, layer: Template) -> None:
        """Add the form of one more layer."""
        match layer:
            case Flatten() if len(self._shape) == 3:
                self.covers = (self._shape[1], self._shape[2])
            case Linear(out_features=outputs, bias=bias) if self.covers:
                self.layers.append(self._convolution(outputs, bias=bias))
            case Head(bias=bias) if self.covers:
                self.layers.append(ConvHead(self._convolution(1, bias=bias)))
            case Conv2d(stride=stride) if not self.covers:
                self._slide(layer, stride, layer.border)
            case MaxPool2d() | AvgPool2d() if not self.covers:
                self._slide(layer, layer.step, layer.padding)
            case _ if isinstance(layer, _POINTWISE) and self._is_pointwise(layer):
                self.layers.append(layer)
            case _:
                raise ShapeError(f"{_text(layer)} has no form as a convolution at its place")
        if isinstance(layer, Layer):
            self._shape = layer.output_shape(self._shape)

    def _slide(self, layer: Template, stride: Size, padding: Size) -> None:
        if padding != (0, 0):
            raise ShapeError(
                f"{_text(layer)} pads, which differs between a patch and the middle of an image"
            )
        self._jump = (self._jump[0] * stride[0], self._jump[1] * stride[1])
        self.layers.append(layer)

    def _convolution(self, outputs: int, *, bias: bool) -> Conv2d:
        """Give the convolution that covers the map; the first one takes the whole stride."""
        assert self.covers is not None
        steps = [divmod(s, j) for s, j in zip(self._stride, self._jump, strict=True)]
        if any(rest for _, rest in steps):
            raise ShapeError(
                f"a stride of {self._stride} is no multiple of the layers' own, {self._jump}"
            )
        (down, _), (right, _) = steps
        kernel, self.covers = self.covers, (1, 1)
        self._jump = self._stride
        return Conv2d(outputs, kernel, stride=(down, right), bias=bias)

    def _is_pointwise(self, layer: Template) -> bool:
        """Say whether a layer treats features behind `flatten` as it would treat channels."""
        over_channels = isinstance(layer, BatchNorm) or layer == Activation("softmax")
        return not over_channels or self.covers in (None, (1, 1))


def _text(layer: Template) -> str:
    return layer.text if isinstance(layer, Layer) else str(layer.to_data())

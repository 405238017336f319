"""torchvision's classification networks by name, and such a network as one layer.

What is inside them is torchvision's own; here they are names with what was measured of
them. `workers/torchvision_networks.py` measures and builds them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from experiments.architectures.geometry import Shape, ShapeError, Window, shape_text
from experiments.architectures.layers import FLOAT32_BYTES, MAX_UNITS, Layer, Measure
from experiments.language.compound_kinds import Nullable
from experiments.language.kinds import Choice, Flag, Integer

PREFIX: Final = "torchvision/"
"""What the name of such a network starts with in a spec."""


@dataclass(frozen=True, slots=True)
class TorchvisionFigures:
    """What was measured of a network for an input shape.

    `multiply_adds` and `num_activations` (the numbers that its layers put out) are of one
    example. `norms_single_values` says that a batch norm gets one value a channel of each
    example, so that it cannot train on a batch of one.
    """

    parameters: int
    multiply_adds: int
    num_activations: int
    norms_single_values: bool = False


TorchvisionMeasurer = Callable[[str, Shape, int], TorchvisionFigures]
"""(name, input shape, number of outputs) -> what is measured.

Raises `ShapeError` where the network does not take that input.
"""

_V1: Final = ("IMAGENET1K_V1",)
_V1_V2: Final = ("IMAGENET1K_V1", "IMAGENET1K_V2")
_LINEAR: Final = ("IMAGENET1K_SWAG_LINEAR_V1",)
_V1_LINEAR: Final = (*_V1, *_LINEAR)
_SWAG: Final = ("IMAGENET1K_SWAG_E2E_V1", "IMAGENET1K_SWAG_LINEAR_V1")

# Left out: weights that fit another image size than the network is built for (the vision
# transformers' E2E) and weights without a classifier (vgg16's FEATURES).
WEIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    "alexnet": _V1,
    "convnext_base": _V1,
    "convnext_large": _V1,
    "convnext_small": _V1,
    "convnext_tiny": _V1,
    "densenet121": _V1,
    "densenet161": _V1,
    "densenet169": _V1,
    "densenet201": _V1,
    "efficientnet_b0": _V1,
    "efficientnet_b1": _V1_V2,
    "efficientnet_b2": _V1,
    "efficientnet_b3": _V1,
    "efficientnet_b4": _V1,
    "efficientnet_b5": _V1,
    "efficientnet_b6": _V1,
    "efficientnet_b7": _V1,
    "efficientnet_v2_l": _V1,
    "efficientnet_v2_m": _V1,
    "efficientnet_v2_s": _V1,
    "googlenet": _V1,
    "inception_v3": _V1,
    "maxvit_t": _V1,
    "mnasnet0_5": _V1,
    "mnasnet0_75": _V1,
    "mnasnet1_0": _V1,
    "mnasnet1_3": _V1,
    "mobilenet_v2": _V1_V2,
    "mobilenet_v3_large": _V1_V2,
    "mobilenet_v3_small": _V1,
    "regnet_x_16gf": _V1_V2,
    "regnet_x_1_6gf": _V1_V2,
    "regnet_x_32gf": _V1_V2,
    "regnet_x_3_2gf": _V1_V2,
    "regnet_x_400mf": _V1_V2,
    "regnet_x_800mf": _V1_V2,
    "regnet_x_8gf": _V1_V2,
    "regnet_y_128gf": _SWAG,
    "regnet_y_16gf": (*_V1_V2, *_SWAG),
    "regnet_y_1_6gf": _V1_V2,
    "regnet_y_32gf": (*_V1_V2, *_SWAG),
    "regnet_y_3_2gf": _V1_V2,
    "regnet_y_400mf": _V1_V2,
    "regnet_y_800mf": _V1_V2,
    "regnet_y_8gf": _V1_V2,
    "resnet101": _V1_V2,
    "resnet152": _V1_V2,
    "resnet18": _V1,
    "resnet34": _V1,
    "resnet50": _V1_V2,
    "resnext101_32x8d": _V1_V2,
    "resnext101_64x4d": _V1,
    "resnext50_32x4d": _V1_V2,
    "shufflenet_v2_x0_5": _V1,
    "shufflenet_v2_x1_0": _V1,
    "shufflenet_v2_x1_5": _V1,
    "shufflenet_v2_x2_0": _V1,
    "squeezenet1_0": _V1,
    "squeezenet1_1": _V1,
    "swin_b": _V1,
    "swin_s": _V1,
    "swin_t": _V1,
    "swin_v2_b": _V1,
    "swin_v2_s": _V1,
    "swin_v2_t": _V1,
    "vgg11": _V1,
    "vgg11_bn": _V1,
    "vgg13": _V1,
    "vgg13_bn": _V1,
    "vgg16": _V1,
    "vgg16_bn": _V1,
    "vgg19": _V1,
    "vgg19_bn": _V1,
    "vit_b_16": _V1_LINEAR,
    "vit_b_32": _V1,
    "vit_h_14": _LINEAR,
    "vit_l_16": _V1_LINEAR,
    "vit_l_32": _V1,
    "wide_resnet101_2": _V1_V2,
    "wide_resnet50_2": _V1_V2,
}
"""The networks, and the names of the pre-trained weights that each has (torchvision 0.29)."""

_WEIGHT_NAMES: Final = tuple(dict.fromkeys(name for names in WEIGHTS.values() for name in names))


@dataclass(frozen=True, slots=True)
class TorchvisionOptions:
    """Options of `torchvision/<name>`."""

    weights: Annotated[
        str | None,
        Nullable(Choice(_WEIGHT_NAMES)),
        "torchvision's pre-trained weights to start from, all but the last layer; null: by chance",
    ] = None


@dataclass(frozen=True, slots=True)
class TorchvisionNetwork(Layer):
    """A whole network of torchvision's, with a last layer of `num_outputs`.

    What is counted was measured for the input shape that the network was built for. A grey
    image is repeated for the three channels.
    """

    kind: ClassVar[str] = "torchvision"

    name: Annotated[str, Choice(tuple(WEIGHTS)), "which network"]
    num_outputs: Annotated[int, Integer(1, MAX_UNITS), "outputs of the last layer"]
    num_parameters: Annotated[int, Integer(0), "learned numbers, as measured"]
    num_multiply_adds: Annotated[int, Integer(0), "products for one example, as measured"]
    num_activations: Annotated[int, Integer(0), "numbers that its layers put out for one example"]
    weights: Annotated[
        str | None, Nullable(Choice(_WEIGHT_NAMES)), "pre-trained weights; null: by chance"
    ] = None
    norms_single_values: Annotated[
        bool, Flag(), "whether a batch norm gets one value a channel of each example, as measured"
    ] = False

    @property
    def text(self) -> str:
        """Describe the layer: `torchvision resnet18`, `torchvision resnet18 IMAGENET1K_V1`."""
        return " ".join(part for part in (self.kind, self.name, self.weights) if part)

    def measure(self, input_shape: Shape) -> Measure:
        """Give what was measured; the outputs see the whole image."""
        check_image(self.name, input_shape)
        return Measure(
            (self.num_outputs,),
            parameters=self.num_parameters,
            multiply_adds=self.num_multiply_adds,
            window=Window((input_shape[1], input_shape[2])),
            kept_bytes=FLOAT32_BYTES * self.num_activations,
        )


def check_image(name: str, input_shape: Shape) -> None:
    """Hold that the input is an image of one or three channels.

    Raises:
        ShapeError: It is not.
    """
    if len(input_shape) != 3 or input_shape[0] not in (1, 3):
        raise ShapeError(
            f"{PREFIX}{name} needs an image of 1 or 3 channels, got {shape_text(input_shape)}"
        )

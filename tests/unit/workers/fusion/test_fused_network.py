"""Networks that are fused keep the names and states of their plain modules, or are refused."""

import pytest
import torch

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import Shape
from experiments.architectures.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    Linear,
)
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.window_layers import Conv2d, MaxPool2d
from workers.fusion.fused_activations import FusedChoice
from workers.fusion.fused_network import can_fuse, fuse, load_member, member_state
from workers.modules import build_module

CPU = torch.device("cpu")


def network(*layers: Layer, shape: Shape = (2, 6, 6)) -> Architecture:
    return Architecture("test", shape, layers)


def with_function(name: str, alpha: float | None = None, *, p: float = 0.0) -> Architecture:
    """Give a network with functions and dropout in every place that may differ."""
    function = Activation(name, alpha)
    return network(
        Conv2d(4, (3, 3), padding="same"),
        function,
        Residual((Conv2d(4, (3, 3), padding="same"), BatchNorm(), function, Dropout(p))),
        Patches((4, 4), (2, 2), (function, MaxPool2d((2, 2)), Flatten(), Linear(5), function)),
        Dropout(p),
        Flatten(),
        Linear(3),
    )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_members_may_have_functions_of_their_own(training: bool) -> None:
    from tests.unit.workers.fusion.test_fused_layers import assert_same_as_plain

    architectures = [
        with_function("relu", p=0.3),
        with_function("relu"),
        with_function("leaky_relu", 0.1, p=0.1),
        with_function("leaky_relu", 0.2),
        with_function("tanh"),
        with_function("relu"),
    ]
    assert_same_as_plain(architectures, size=3, training=training)


def test_neighbours_with_one_function_share_a_call() -> None:
    functions = ["relu", "relu", "tanh", "relu"]
    fused = fuse([with_function(name) for name in functions], device=CPU)
    choice = fused.get_submodule("1")
    assert isinstance(choice, FusedChoice)
    assert choice.counts == (2, 1, 1)
    alone = fuse([with_function("relu")] * 4, device=CPU).get_submodule("1")
    assert isinstance(alone, torch.nn.ReLU)


def pooled(name: str) -> Architecture:
    layers = (
        Conv2d(5, (3, 3), padding="same"),
        Activation(name),
        MaxPool2d((3, 2), (2, 1), padding=(1, 0)),
    )
    return Architecture(name, (2, 7, 6), layers)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("functions", "order"),
    [
        (["tanh"] * 3, ["MaxPool2d", "Tanh"]),
        (["relu", "relu", "elu"], ["MaxPool2d", "FusedChoice"]),
        (["silu", "silu", "gelu"], ["FusedChoice", "MaxPool2d"]),  # they fall, then rise
        (["relu", "gelu", "gelu", "sigmoid"], ["FusedChoice", "Identity"]),
    ],
    ids=["one", "rising", "falling", "mixed"],
)
def test_function_that_never_falls_comes_after_the_max_pooling_behind_it(
    functions: list[str], order: list[str], training: bool
) -> None:
    from tests.unit.workers.fusion.test_fused_layers import assert_same_as_plain

    architectures = [pooled(name) for name in functions]
    fused = fuse(architectures, device=CPU)
    assert [type(part).__name__ for part in fused.children()][1:] == order
    assert_same_as_plain(architectures, size=3, training=training)


def test_place_of_a_member_s_pooling_does_not_depend_on_the_others() -> None:
    mixed = fuse([pooled(name) for name in ("relu", "gelu", "gelu")], device=CPU)
    choice = mixed.get_submodule("1")
    assert isinstance(choice, FusedChoice)
    orders = [[type(part).__name__ for part in own.children()] for own in choice.layers]
    assert orders == [["MaxPool2d", "ReLU"], ["GELU", "MaxPool2d"]]


def test_weights_are_zeros_of_the_stacked_shapes_under_plain_names() -> None:
    architecture = with_function("relu")
    plain = build_module(architecture, generator=None).state_dict()
    fused = fuse([architecture] * 3, device=CPU).state_dict()
    assert list(fused) == list(plain)
    for name, value in fused.items():
        assert value.shape == (3, *plain[name].shape)
        assert value.dtype == plain[name].dtype
        assert not value.any()


def test_member_s_state_goes_in_and_comes_out_and_touches_no_other() -> None:
    architecture = with_function("relu")
    generator = torch.Generator().manual_seed(0)
    first = build_module(architecture, generator=generator).state_dict()
    second = build_module(architecture, generator=generator).state_dict()
    fused = fuse([architecture] * 3, device=CPU)
    load_member(fused, 1, first)
    load_member(fused, 2, second)
    for index, wanted in ((1, first), (2, second)):
        state = member_state(fused, index)
        assert list(state) == list(wanted)
        assert all(torch.equal(state[name], value) for name, value in wanted.items())
        assert not any(value.requires_grad for value in state.values())
        build_module(architecture, generator=None).load_state_dict(state)
    assert not any(value.any() for value in member_state(fused, 0).values())
    for value in (copy := member_state(fused, 2)).values():
        value.fill_(7)  # a copy: the network keeps what it has
    assert all(torch.equal(member_state(fused, 2)[name], second[name]) for name in copy)


def test_state_that_does_not_fit_is_refused_before_anything_is_loaded() -> None:
    architecture = network(Flatten(), Linear(3))
    fused = fuse([architecture] * 2, device=CPU)
    state = build_module(architecture, generator=torch.Generator().manual_seed(0)).state_dict()
    with pytest.raises(ValueError, match=r"member 1: the state has no '1.bias'"):
        load_member(fused, 1, {"1.weight": state["1.weight"]})
    with pytest.raises(ValueError, match="member 0: the network has no 'other'"):
        load_member(fused, 0, {**state, "other": torch.ones(1)})
    with pytest.raises(ValueError, match=r"1.bias must have the shape \(3,\), got \(1,\)"):
        load_member(fused, 0, {**state, "1.bias": torch.ones(1)})
    assert not any(value.any() for value in fused.state_dict().values())


TORCHVISION = TorchvisionNetwork("resnet18", 10, 1, 1, 1)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (network(Conv2d(4, (3, 3)), shape=(2, 7, 6)), "members 0 and 2 .* 2x6x6 and 2x7x6"),
        (network(Conv2d(5, (3, 3))), "members 0 and 2 differ in layer 0: conv2d 4 3x3.* 5 3x3"),
        (network(Conv2d(4, (3, 3), bias=False)), "layer 0: .*'bias': False"),
        (network(Conv2d(4, (3, 3)), Dropout(0.0)), "layer 1: none and dropout 0"),
    ],
)
def test_other_networks_are_refused_by_what_differs(other: Architecture, message: str) -> None:
    first = network(Conv2d(4, (3, 3)))
    with pytest.raises(ValueError, match=message):
        fuse([first, first, other], device=CPU)


def test_difference_inside_blocks_is_told_by_its_path() -> None:
    def residual(channels: int) -> Architecture:
        same = Conv2d(2, (3, 3), padding="same")
        inner = Conv2d(channels, (3, 3), padding="same")
        return network(Residual((inner, same), (same,)))

    def patched(units: int) -> Architecture:
        return network(Patches((3, 3), (3, 3), (Flatten(), Linear(units), Linear(2))))

    with pytest.raises(ValueError, match=r"layer 0\.body\.0: conv2d 3 .* conv2d 4"):
        fuse([residual(3), residual(4)], device=CPU)
    with pytest.raises(ValueError, match=r"layer 0\.layers\.1: linear 3 .* linear 4"):
        fuse([patched(3), patched(4)], device=CPU)


def test_softmax_may_not_differ() -> None:
    one, other = (network(Conv2d(4, (3, 3)), Activation(name)) for name in ("relu", "softmax"))
    with pytest.raises(ValueError, match=r"layer 1: relu .* softmax"):
        fuse([one, other], device=CPU)


def test_networks_of_torchvision_cannot_be_fused() -> None:
    architecture = network(TORCHVISION, shape=(3, 32, 32))
    assert not can_fuse(architecture)
    assert can_fuse(with_function("relu"))
    with pytest.raises(ValueError, match="torchvision builds it"):
        fuse([architecture], device=CPU)


def test_no_member_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        fuse([], device=CPU)

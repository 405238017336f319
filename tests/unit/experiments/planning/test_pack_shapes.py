import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import replace
from inspect import get_annotations
from typing import Any

import pytest

from experiments.architectures.activations import HIDDEN_ACTIVATIONS
from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.layers import Activation, Flatten, Layer, Linear
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.planning.pack_shapes import UNSHARED, network_shape, pack_order, pack_shape
from experiments.records import (
    AugmentationConfig,
    DataConfig,
    InitConfig,
    Objective,
    OptimizerConfig,
    ScheduleConfig,
    TrialConfig,
)

CONV = {"conv2d": {"out_channels": 4, "kernel_size": 3}}
LAYERS: list[Any] = [CONV, "relu", "flatten", {"dropout": 0.5}, {"linear": 10}]
TORCHVISION = TorchvisionNetwork("resnet18", 10, 1, 1, 1)


def architecture(layers: list[Any], *, name: str = "n") -> Architecture:
    return Architecture.from_data({"name": name, "input_shape": [1, 8, 8], "layers": layers})


def trial(layers: list[Any] | None = None, **changes: Any) -> TrialConfig:
    config = TrialConfig(
        task="classification",
        architecture=architecture(layers or LAYERS),
        data=DataConfig("digits", "d1"),
        loss="cross_entropy",
        optimizer=OptimizerConfig("sgd", 0.1, 0.0, 0.9),
        schedule=ScheduleConfig(),
        epochs=5,
        batch_size=32,
        seed=0,
        objective=Objective(),
    )
    return replace(config, **changes)


SHAPE = pack_shape(trial())


def residual(inner: Any) -> list[Any]:
    return [{"residual": {"body": [inner], "shortcut": ["relu"]}}, *LAYERS]


def patches(inner: Any, *, stride: int = 1, size: int = 4) -> list[Any]:
    layers = ["flatten", inner, {"linear": 10}]
    return [{"patches": {"size": size, "stride": stride, "layers": layers}}, "flatten"]


def test_a_shape_is_sixteen_digits() -> None:
    assert SHAPE is not None
    assert len(SHAPE) == 16
    assert int(SHAPE, 16) >= 0


@pytest.mark.parametrize(
    "other",
    [
        trial(seed=7),
        trial(optimizer=OptimizerConfig("sgd", 0.2, 0.0, 0.9)),
        trial(optimizer=OptimizerConfig("sgd", 0.1, 0.1, 0.9)),
        trial(optimizer=OptimizerConfig("sgd", 0.1, 0.0, 0.0)),
        trial(schedule=ScheduleConfig("step", 1.0, 3, 0.1)),
        trial(epochs=50),
        trial(loss="mse"),
        trial(output_activation="sigmoid"),
        trial(objective=Objective("val/loss", "minimize", "last")),
        trial([CONV, "tanh", "flatten", {"dropout": 0.5}, {"linear": 10}]),
        trial([CONV, {"leaky_relu": 0.3}, "flatten", {"dropout": 0.5}, {"linear": 10}]),
        trial([CONV, "relu", "flatten", {"dropout": 0.0}, {"linear": 10}]),
        trial(architecture=architecture(LAYERS, name="another name")),
        trial(data=DataConfig("digits_again", "d1", {"an": "option"})),
    ],
)
def test_members_of_a_pack_may_differ_in_it(other: TrialConfig) -> None:
    assert other != trial()
    assert pack_shape(other) == SHAPE


@pytest.mark.parametrize(
    "other",
    [
        trial(task="binary"),
        trial(batch_size=64),
        trial(precision="bfloat16"),
        trial(augmentation=AugmentationConfig("shift", 2)),
        trial(augmentation=AugmentationConfig("flip")),
        trial(optimizer=OptimizerConfig("nesterov", 0.1, 0.0, 0.9)),
        trial(data=DataConfig("digits", "d2")),
        trial(data=DataConfig("digits", "d1", val_fraction=0.2)),
        trial(data=DataConfig("digits", "d1", split_seed=1)),
        trial(data=DataConfig("digits", "d1", limit=100)),
        trial(data=DataConfig("digits", "d1", changes={"normalise": "none"})),
        trial(architecture=replace(architecture(LAYERS), input_shape=(1, 9, 9))),
        trial([CONV, "relu", "flatten", {"linear": 10}]),
        trial([CONV, "flatten", {"dropout": 0.5}, {"linear": 10}]),
        trial([CONV, "relu", "flatten", {"dropout": 0.5}, {"linear": 11}]),
        trial([CONV, "softmax", "flatten", {"dropout": 0.5}, {"linear": 10}]),
        trial([CONV, "flatten", "relu", {"dropout": 0.5}, {"linear": 10}]),
    ],
)
def test_trials_that_differ_in_it_cannot_be_packed_together(other: TrialConfig) -> None:
    assert pack_shape(other) not in (None, SHAPE)


@pytest.mark.parametrize("block", [residual, patches])
def test_functions_and_dropout_inside_blocks_may_differ(block: Callable[[Any], list[Any]]) -> None:
    first = pack_shape(trial(block("relu")))
    assert pack_shape(trial(block("tanh"))) == first
    assert pack_shape(trial(block({"elu": 2.0}))) == first
    dropped = pack_shape(trial(block({"dropout": 0.1})))
    assert pack_shape(trial(block({"dropout": 0.2}))) == dropped
    assert len({first, dropped, pack_shape(trial(block("softmax"))), SHAPE}) == 4


def test_blocks_of_other_layers_have_other_shapes() -> None:
    inner = {"conv2d": {"out_channels": 1, "kernel_size": 1}}
    whole = Architecture("n", (1, 8, 8), (Residual((Activation("relu"),)),))
    turned = [
        Residual((Flatten(), Activation("relu"))),
        Residual((Flatten(),), (Activation("relu"),)),
    ]
    networks = [
        *([layer] for layer in turned),
        whole.layers,
        architecture(residual("relu")).layers,
        architecture(residual(inner)).layers,
        architecture(patches("relu")).layers,
        architecture(patches("relu", stride=2)).layers,
        architecture(patches("relu", size=2)).layers,
        architecture(patches({"linear": 3})).layers,
    ]
    assert len({network_shape(layers) for layers in networks}) == len(networks)


@pytest.mark.parametrize("function", HIDDEN_ACTIVATIONS)
def test_every_hidden_function_may_stand_for_every_other(function: str) -> None:
    assert network_shape([Activation(function)]) == network_shape([Activation("relu")])


@pytest.mark.parametrize(
    "layers",
    [
        (TORCHVISION,),
        (TORCHVISION, Linear(10)),
        (Residual((TORCHVISION,)),),
        (Residual((Flatten(),), (TORCHVISION,)),),
        (Patches((4, 4), (1, 1), (TORCHVISION,)),),
    ],
)
def test_a_network_of_torchvisions_cannot_be_packed(layers: tuple[Layer, ...]) -> None:
    assert network_shape(layers) == UNSHARED
    assert pack_shape(trial(architecture=Architecture("n", (1, 8, 8), layers))) is None


def test_a_trial_that_goes_on_from_other_weights_cannot_be_packed() -> None:
    assert pack_shape(trial(init=InitConfig("t", "0" * 64, "p", 1, 0))) is None


def test_images_that_move_farther_are_no_members_of_the_pack() -> None:
    shapes = {
        pack_shape(trial(augmentation=AugmentationConfig("shift", pixels))) for pixels in (2, 3)
    }
    assert len(shapes) == 2


def test_nothing_need_be_learned() -> None:
    assert pack_shape(trial(["flatten"])) not in (None, SHAPE)


def test_a_networks_shape_that_is_known_is_not_worked_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = network_shape(trial().architecture.layers)
    monkeypatch.delattr("experiments.planning.pack_shapes.network_shape")
    assert pack_shape(trial(), network=known) == SHAPE
    assert pack_shape(trial(), network=UNSHARED) is None


def test_it_is_known_of_every_setting_whether_members_may_differ_in_it() -> None:
    """A new one has to be taken into `pack_shape`, or to be each member's own."""
    own = {"loss", "output_activation", "schedule", "epochs", "seed", "objective"}
    shared = {"task", "architecture", "optimizer", "batch_size", "precision"}
    assert names_of(TrialConfig) == own | shared | {"init", "data", "augmentation"}
    assert names_of(DataConfig) == {"name", "options"} | {
        "digest", "val_fraction", "split_seed", "limit", "changes"
    }  # fmt: skip
    assert names_of(AugmentationConfig) == {"name", "pixels"}
    assert names_of(OptimizerConfig) == {"lr", "weight_decay", "momentum", "name"}


def names_of(record: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(record)}


def test_layers_inside_layers_are_in_blocks_that_are_looked_into() -> None:
    """A new kind of block has to be named in `pack_shapes`."""
    kinds: list[Any] = Layer.__subclasses__()
    for kind in kinds:
        kinds += kind.__subclasses__()
    blocks = {
        kind.kind
        for kind in kinds
        for given in get_annotations(kind).values()
        if "Layer, ..." in str(given)
    }
    assert blocks == {"residual", "patches"}


def test_neighbours_compute_alike() -> None:
    """In the order, each stretch of equal functions, losses and output activations is one."""
    trials = [
        trial(
            [CONV, function, "flatten", {"dropout": p}, {"linear": 10}],
            loss=loss,
            output_activation=output,
            seed=seed,
        )
        for seed, p, loss, output, function in itertools.product(
            (0, 1),
            (0.0, 0.5),
            ("cross_entropy", "mse"),
            ("softmax", "sigmoid"),
            ("relu", {"elu": 1.0}, "tanh", {"elu": 0.5}),
        )
    ]
    assert len({pack_shape(config) for config in trials}) == 1
    order = [pack_order(config) for config in sorted(trials, key=pack_order)]
    for length in (1, 2, 3, 4):
        stretches = [key for key, _ in itertools.groupby(each[:length] for each in order)]
        assert len(stretches) == len(set(stretches)) == (4, 8, 16, 32)[length - 1]


def test_the_order_sees_into_blocks() -> None:
    assert pack_order(trial(residual("tanh"))) != pack_order(trial(residual("relu")))
    functions, _, _, dropout = pack_order(trial(patches({"dropout": 0.25})))
    assert (functions, dropout) == ((), (0.25,))


def test_the_order_leaves_softmax_out() -> None:
    assert pack_order(trial([CONV, "softmax", "flatten"]))[0] == ()

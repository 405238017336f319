from typing import Any

import pytest

from experiments.architectures.model_patterns import ModelPattern, read_model_pattern
from experiments.architectures.zoo import ModelChoice, read_model
from experiments.errors import SpecError
from experiments.language.kinds import Faults
from experiments.language.source import from_values
from experiments.spec import read_spec

SMALL = {"name": "small", "layers": ["flatten", {"linear": "classes"}]}


def choice(value: Any) -> ModelChoice:
    faults = Faults("t")
    model: ModelChoice = read_model(from_values(value), "model", faults)
    faults.raise_any()
    return model


def pattern(value: Any, *, own: set[str] | None = None) -> ModelPattern:
    faults = Faults("t")
    read: ModelPattern = read_model_pattern(from_values(value), "model", faults, own=own or set())
    faults.raise_any()
    return read


@pytest.mark.parametrize(
    ("meant", "model"),
    [
        ("vgg", "vgg11"),
        ("vgg11", "vgg11"),
        ("vgg11", {"name": "vgg", "depth": 11, "width": 0.25}),
        ({"name": "vgg11"}, {"name": "vgg", "depth": 11, "width": 0.25}),
        ({"name": "vgg11", "width": 0.25}, {"name": "vgg11", "width": 0.25}),
        ({"depth": 50}, "resnet50"),
        ({"hidden": 64}, {"name": "mlp", "hidden": [64]}),
        ({"width": 1}, "vgg16"),
        ("small", SMALL),
        ({"name": "small"}, SMALL),
        ("vgg11 width=0.25", {"name": "vgg11", "width": 0.25}),
        ("fcn", "fcn16s"),
        ("fcn16s", {"name": "fcn16s", "width": 0.5}),
        ({"stride": 16}, "fcn16s"),
        ("torchvision/resnet18", "torchvision/resnet18"),
        ({"weights": None}, "torchvision/resnet18"),
        (
            {"name": "torchvision/resnet50", "weights": "IMAGENET1K_V2"},
            {"name": "torchvision/resnet50", "weights": "IMAGENET1K_V2"},
        ),
    ],
)
def test_a_pattern_means_every_model_with_what_it_says(meant: Any, model: Any) -> None:
    assert pattern(meant, own={"small", "vgg11 width=0.25"}).matches(choice(model))


@pytest.mark.parametrize(
    ("meant", "model"),
    [
        ("vgg", "resnet18"),
        ("vgg16", "vgg11"),
        ({"name": "vgg16"}, "vgg11"),
        ({"name": "vgg11", "width": 0.25}, "vgg11"),
        ({"depth": 11}, "mlp"),
        ({"batch_norm": True}, SMALL),
        ("vgg11 width=0.25", "vgg11"),
        ("fcn8s", "fcn16s"),
        ("torchvision/resnet18", "resnet18"),
        ("resnet", "torchvision/resnet18"),
        ({"weights": "IMAGENET1K_V1"}, "torchvision/resnet18"),
    ],
)
def test_a_pattern_means_no_other_model(meant: Any, model: Any) -> None:
    assert not pattern(meant, own={"vgg11 width=0.25"}).matches(choice(model))


@pytest.mark.parametrize(
    ("meant", "message"),
    [
        ("vggg", "unknown model 'vggg'; did you mean 'vgg'?; known models: linear_regression, "),
        ("smal", "unknown model 'smal'; did you mean 'small'?"),
        ({"name": "vggg"}, "unknown model 'vggg'; did you mean 'vgg'?"),
        ("vgg12", "vgg has the depths 11, 13, 16, 19, got 12"),
        ({"name": "vgg", "deep": 11}, "unknown option 'deep'; did you mean 'depth'?; known"),
        ({"deep": 11}, "unknown option 'deep'; did you mean 'depth'?; known options: units, "),
        ({"name": "vgg", "hidden": [8]}, "unknown option 'hidden'; known options: depth, width"),
        ({"name": "lenet5", "depth": 5}, "unknown option 'depth'; lenet5 has none"),
        ({"name": "small", "layers": []}, "unknown option 'layers'; small has none"),
        ({"name": "vgg16", "depth": 11}, "model.depth: 'vgg16' already says the depth"),
        ({"depth": 12}, "model.depth: must be one of 11, 13, 16, 19, or one of 18, 34, 50"),
        ("torchvision/resnet19", "did you mean 'torchvision/resnet18'?; known models: linear_"),
        ({"name": 3}, "must be a text, got 3"),
        ({}, "must be a model's name, or a mapping of its options, got {}"),
        (7, "must be a model's name, or a mapping of its options, got 7"),
    ],
)
def test_what_can_mean_no_model_is_a_fault(meant: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        pattern(meant, own={"small"})
    assert len(caught.value.faults) == 1
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "parameters: {model: mlp, lr: 1, dropout: {when: {model: vggg}, values: [0.5]}}\n",
        "parameters: {model: mlp, lr: 1}\nexclude: [{model: vggg}]\n",
    ],
)
def test_a_typo_in_a_condition_is_a_fault_of_the_spec(text: str) -> None:
    with pytest.raises(SpecError, match="unknown model 'vggg'; did you mean 'vgg'"):
        read_spec("name: t\n" + text)


def test_a_condition_may_name_a_network_that_the_spec_writes_out_later() -> None:
    read_spec("""
name: t
parameters:
  lr: {when: {model: small}, values: [0.1, 0.2]}
  model: mlp
defaults: {lr: 1}
include: [{model: {name: small, layers: [flatten, {linear: classes}]}}]
""")


def test_a_network_at_fault_is_no_second_fault_where_it_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        read_spec("""
name: t
parameters:
  model: [mlp, {name: small, layers: [flaten]}]
  lr: {when: {model: small}, values: [0.1]}
""")
    assert ["flaten" in str(fault) for fault in caught.value.faults] == [True]

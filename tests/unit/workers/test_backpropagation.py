"""The gradients that torch gives our networks against the equations, written out in NumPy."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf
from torch import nn

from experiments.architectures.activations import ACTIVATIONS
from experiments.architectures.architecture import Architecture
from workers.losses import build_loss
from workers.modules import build_module

Array = NDArray[Any]
Function = Callable[[Array], Array]


def network(input_shape: list[int], layers: list[Any]) -> nn.Module:
    """Make a network in float64, its weights drawn from a fixed stream."""
    data = {"name": "t", "input_shape": input_shape, "layers": layers}
    generator = torch.Generator().manual_seed(0)
    return build_module(Architecture.from_data(data), generator=generator).double()


def gradients(module: nn.Module, x: Array, labels: Array, loss: str) -> dict[str, Array]:
    """Give the gradient of a loss with its default outputs, by the parameter's name."""
    output = "softmax" if loss == "cross_entropy" else "linear"
    value = build_loss(loss, output_activation=output)(
        module(torch.from_numpy(x)), torch.from_numpy(labels)
    )
    torch.autograd.backward(value)
    found = {}
    for name, weight in module.named_parameters():
        assert weight.grad is not None
        found[name] = weight.grad.numpy()
    return found


def weights(module: nn.Module) -> dict[str, Array]:
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def softmax(z: Array) -> Array:
    return np.asarray(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))


def test_the_gradient_of_softmax_regression_is_the_error_times_the_input() -> None:
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(20, 5)), random.integers(3, size=20)
    module = network([5], [{"linear": 3}])
    w = weights(module)
    p, y = softmax(x @ w["0.weight"].T + w["0.bias"]), np.eye(3)[labels]
    found = gradients(module, x, labels, "cross_entropy")
    np.testing.assert_allclose(found["0.weight"], (p - y).T @ x / 20, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["0.bias"], (p - y).mean(axis=0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_the_gradients_of_a_perceptron_of_three_layers_obey_backpropagation(loss: str) -> None:
    # Rumelhart, Hinton & Williams 1986: delta of the last layer from the loss, of the others
    # by delta_l = (W_(l+1)^T delta_(l+1)) * f'(z_l); dW_l = delta_l a_(l-1)^T, db_l = delta_l.
    random = np.random.default_rng(1)
    x, labels = random.normal(size=(30, 6)), random.integers(4, size=30)
    layers = [{"linear": 5}, {"activation": "tanh"}, {"linear": 7}, {"activation": "sigmoid"}]
    module = network([6], [*layers, {"linear": 4}])
    w = weights(module)
    a1 = np.tanh(x @ w["0.weight"].T + w["0.bias"])
    a2 = 1 / (1 + np.exp(-(a1 @ w["2.weight"].T + w["2.bias"])))
    z3, y = a2 @ w["4.weight"].T + w["4.bias"], np.eye(4)[labels]
    delta3 = (softmax(z3) - y) / 30 if loss == "cross_entropy" else 2 * (z3 - y) / (30 * 4)
    delta2 = delta3 @ w["4.weight"] * a2 * (1 - a2)
    delta1 = delta2 @ w["2.weight"] * (1 - a1**2)
    expected = {
        "4.weight": delta3.T @ a2,
        "4.bias": delta3.sum(axis=0),
        "2.weight": delta2.T @ a1,
        "2.bias": delta2.sum(axis=0),
        "0.weight": delta1.T @ x,
        "0.bias": delta1.sum(axis=0),
    }
    found = gradients(module, x, labels, loss)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-9, err_msg=name)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def phi(x: Array) -> Array:
    return np.asarray((1 + erf(x / np.sqrt(2))) / 2)


def density(x: Array) -> Array:
    return np.asarray(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


FUNCTIONS: Mapping[str, tuple[Function, Function]] = {
    "relu": (lambda x: np.maximum(0, x), lambda x: 1.0 * (x > 0)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)),
    "tanh": (lambda x: 2 * sigmoid(2 * x) - 1, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "linear": (lambda x: x, lambda x: np.ones_like(x)),
    "gelu": (lambda x: x * phi(x), lambda x: phi(x) + x * density(x)),
    "silu": (
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    ),
    "elu": (lambda x: np.where(x > 0, x, np.exp(x) - 1), lambda x: np.where(x > 0, 1, np.exp(x))),
    "step": (lambda x: np.where(x >= 0, 1.0, -1.0), lambda x: np.zeros_like(x)),
}
"""Each pointwise function and its slope."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_activation_equals_its_formula_and_its_slope(name: str) -> None:
    function, slope = FUNCTIONS[name]
    x = np.random.default_rng(2).normal(scale=3, size=(4, 25))
    inputs = torch.from_numpy(x).requires_grad_()
    outputs = network([25], [{"activation": name}])(inputs)
    np.testing.assert_allclose(outputs.detach().numpy(), function(x), rtol=1e-12, atol=1e-14)
    (found,) = torch.autograd.grad(outputs.sum(), inputs)
    np.testing.assert_allclose(found.numpy(), slope(x), rtol=1e-12, atol=1e-14)


def test_the_slope_of_softmax_is_that_of_its_formula() -> None:
    x = np.random.default_rng(3).normal(size=(1, 4))
    inputs = torch.from_numpy(x).requires_grad_()
    (outputs,) = network([4], [{"activation": "softmax"}])(inputs)
    p = softmax(x)[0]
    rows = [torch.autograd.grad(y, inputs, retain_graph=True)[0].numpy()[0] for y in outputs]
    expected = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)


def test_every_activation_is_held_to_a_formula() -> None:
    assert set(FUNCTIONS) | {"softmax"} == set(ACTIVATIONS)

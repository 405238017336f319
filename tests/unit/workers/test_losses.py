from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments import compatibility
from workers.losses import LOSSES, activate, build_loss

Array = NDArray[np.float64]

EVERY_USE = [
    (loss, task, output)
    for loss, rule in compatibility.LOSSES.items()
    for task, outputs in rule.outputs.items()
    for output in outputs
]
SHAPES = {
    "classification": (4, 3),
    "binary": (4, 1),
    "regression": (4, 2),
    "reconstruction": (4, 2, 3, 3),
    "segmentation": (4, 3, 2, 2),
}


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def activated(z: Array, output: str) -> Array:
    if output == "softmax":
        return np.asarray(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))
    return sigmoid(z) if output == "sigmoid" else z


def normalised(y: Array) -> Array:
    return np.asarray(y / y.sum(axis=1, keepdims=True))


def divergence(y: Array, t: Array) -> Array:
    terms = np.where(t > 0, t * np.log(np.where(t > 0, t, 1) / normalised(y)), 0)
    return np.asarray(terms.sum(axis=1, keepdims=True))


def hinge(y: Array, t: Array, power: int) -> Array:
    if y.shape[1] == 1:
        return np.asarray(np.maximum(0, 1 - t * y) ** power)
    right = (y * t).sum(axis=1, keepdims=True)
    return np.asarray(np.maximum(0, 1 - right + y) ** power * (1 - t))


FORMULAS: Mapping[str, Callable[[Array, Array], Array]] = {
    "cross_entropy": lambda y, t: -(t * np.log(normalised(y))).sum(axis=1, keepdims=True),
    "binary_cross_entropy": lambda y, t: -(t * np.log(y) + (1 - t) * np.log(1 - y)),
    "mean_squared_error": lambda y, t: (y - t) ** 2,
    "mean_absolute_error": lambda y, t: np.abs(y - t),
    "mean_squared_logarithmic_error": lambda y, t: (
        (np.log(1 + np.maximum(0, y)) - np.log(1 + t)) ** 2
    ),
    "kullback_leibler_divergence": divergence,
    "hinge": lambda y, t: hinge(y, t, 1),
    "squared_hinge": lambda y, t: hinge(y, t, 2),
    "perceptron": lambda y, t: np.maximum(0, -t * y),
}
"""Of outputs y after their activation, and targets t as numbers: 1 at the true class."""


def by_formula(loss: str, output: str, z: Array, t: Array) -> Array:
    """Give each example's loss, (N,): the mean over outputs and pixels."""
    return np.asarray(FORMULAS[loss](activated(z, output), t).reshape(len(z), -1).mean(axis=1))


def example(loss: str, task: str) -> tuple[Array, Array, torch.Tensor]:
    """Give outputs, targets as numbers, and targets as the loss takes them."""
    random = np.random.default_rng(0)
    z = random.normal(size=SHAPES[task])
    if task in {"classification", "segmentation"}:
        classes = random.integers(z.shape[1], size=(len(z), *z.shape[2:]))
        t = np.moveaxis(np.eye(z.shape[1])[classes], -1, 1)
        return z, t, torch.from_numpy(classes)
    if task == "binary":
        t = random.integers(2, size=z.shape).astype(np.float64)
        if compatibility.LOSSES[loss].needs == compatibility.SIGNED_OUTPUTS:
            t = 2 * t - 1
    else:
        t = random.uniform(size=z.shape)
    return z, t, torch.from_numpy(t)


def test_the_plan_and_the_workers_know_the_same_losses() -> None:
    assert set(LOSSES) == set(compatibility.LOSSES) == set(FORMULAS)


@pytest.mark.parametrize(("name", "task", "output"), EVERY_USE)
def test_each_loss_equals_its_formula(name: str, task: str, output: str) -> None:
    z, t, targets = example(name, task)
    loss = build_loss(name, output_activation=output)
    found = loss(torch.from_numpy(z), targets, reduction="none")
    np.testing.assert_allclose(found.numpy(), by_formula(name, output, z, t), rtol=1e-12)
    mean = loss(torch.from_numpy(z), targets)
    torch.testing.assert_close(mean, found.mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "task", "output"), EVERY_USE)
def test_each_gradient_is_the_slope_of_the_formula(name: str, task: str, output: str) -> None:
    z, t, targets = example(name, task)
    outputs = torch.from_numpy(z).requires_grad_()
    loss = build_loss(name, output_activation=output)
    (found,) = torch.autograd.grad(loss(outputs, targets), outputs)
    slopes, step = np.zeros_like(z), 1e-6
    for place in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[place] += step
        down[place] -= step
        rise = by_formula(name, output, up, t).mean() - by_formula(name, output, down, t).mean()
        slopes[place] = rise / (2 * step)
    np.testing.assert_allclose(found.numpy(), slopes, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["cross_entropy", "kullback_leibler_divergence"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_losses_of_probabilities_stay_finite_for_outputs_that_are_far_off(
    name: str, output: str
) -> None:
    outputs = torch.tensor([[-800.0, 800.0]], requires_grad=True)
    loss = build_loss(name, output_activation=output)(outputs, torch.tensor([0]))
    assert loss.item() == pytest.approx(1600 if output == "softmax" else 800)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient.isfinite().all()


def test_the_binary_loss_stays_finite_for_outputs_that_are_far_off() -> None:
    loss = build_loss("binary_cross_entropy", output_activation="sigmoid")
    assert loss(torch.tensor([[-800.0]]), torch.tensor([[1.0]])).item() == 800.0


def test_the_perceptron_learns_from_outputs_of_zero() -> None:
    outputs = torch.zeros(2, 1, requires_grad=True)
    targets = torch.tensor([[1.0], [-1.0]])
    loss = build_loss("perceptron", output_activation="linear")(outputs, targets)
    (found,) = torch.autograd.grad(loss, outputs)
    assert torch.equal(found, -targets / 2)


@pytest.mark.parametrize("output", compatibility.OUTPUT_ACTIVATIONS)
def test_output_activations_equal_their_formulas(output: str) -> None:
    z = np.random.default_rng(1).normal(size=(4, 3, 2, 2))
    found = activate(torch.from_numpy(z), output).numpy()
    np.testing.assert_allclose(found, activated(z, output), rtol=1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "kullback_leibler_divergence"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_mean_over_pixels_is_added_up_in_a_fixed_order(name: str, output: str) -> None:
    # nll_loss2d adds its own mean up by atomic operations on a GPU; without one it does not.
    outputs = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss = build_loss(name, output_activation=output)(outputs, torch.zeros(2, 4, 4).long())
    node, found = loss.grad_fn, []
    while node is not None:
        if node.name() == "NllLoss2DBackward0":
            found.append(node._saved_reduction)  # type: ignore[attr-defined]
        node = next((before for before, _ in node.next_functions), None)
    assert found == [0]  # of torch's numbers: none; 1 is the mean

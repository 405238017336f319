import numpy as np
import pytest
import torch

from experiments import compatibility
from workers.losses import LOSSES, cross_entropy, mean_squared_error

OUTPUTS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def test_the_plan_and_the_workers_know_the_same_losses() -> None:
    assert set(LOSSES) == set(compatibility.LOSSES)


def test_cross_entropy_equals_its_formula() -> None:
    z, y = OUTPUTS.numpy(), LABELS.numpy()
    expected = np.log(np.exp(z).sum(axis=1)) - z[np.arange(2), y]
    found = cross_entropy(OUTPUTS, LABELS, reduction="none").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_mean_squared_error_equals_its_formula() -> None:
    targets = np.array([[1, 0, 0], [0, 1, 0]])
    expected = ((OUTPUTS.numpy() - targets) ** 2).mean(axis=1)
    found = mean_squared_error(OUTPUTS, LABELS, reduction="none").numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_is_that_of_the_examples(name: str) -> None:
    examples = LOSSES[name](OUTPUTS, LABELS, reduction="none")
    assert examples.shape == (2,)
    torch.testing.assert_close(LOSSES[name](OUTPUTS, LABELS), examples.mean())


def test_gradients_equal_their_formulas() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    targets = torch.eye(3, dtype=torch.float64)[LABELS]
    (found,) = torch.autograd.grad(cross_entropy(outputs, LABELS), outputs)
    torch.testing.assert_close(found, (OUTPUTS.softmax(dim=1) - targets) / 2)
    (found,) = torch.autograd.grad(mean_squared_error(outputs, LABELS), outputs)
    torch.testing.assert_close(found, 2 * (OUTPUTS - targets) / 6)

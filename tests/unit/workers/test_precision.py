"""bfloat16 rounds what products take, and nothing else."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.records import PRECISIONS, OptimizerConfig, TrialConfig
from tests.unit.workers.fusion.pack_runs import OPTIMIZERS, convnet
from tests.unit.workers.fusion.test_fused_layers import (
    CPU,
    STACKS,
    drawn,
    outcome,
    plain_members,
    stack,
)
from workers.datasets.staged import StagedData
from workers.layer_modules import StreamDropout
from workers.learner import Learner
from workers.precision import forward_in, product_type

MakeConfig = Callable[..., TrialConfig]

HALF_A_PLACE = 2.0**-9
"""The most that rounding to bfloat16 changes a number by, relative to it."""
SMOOTH = [name for name in STACKS if name not in {"step", "units"}]
"""Those whose outputs do not jump where a sum is rounded across 0."""
BENT = {"pools": 32, "residual": 32}
"""Those with maxima and ReLUs whose inputs lie so close together that rounding parts them anew."""


def distance(found: Tensor, wanted: Tensor) -> float:
    """Give |found - wanted| / |wanted|."""
    return float((found - wanted).norm() / wanted.norm())


class InPrecision(torch.nn.Module):
    """A network in a precision, as a module."""

    def __init__(self, module: torch.nn.Module, precision: str) -> None:
        super().__init__()
        self.module = module
        self.pass_through = forward_in(precision, module, CPU)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.pass_through(inputs)


def test_float32_is_the_module_itself() -> None:
    module = torch.nn.Linear(2, 1)
    assert forward_in("float32", module, CPU) is module


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_float32_but_for_rounding(name: str) -> None:
    (module,) = plain_members(stack(name, 1), torch.float32)
    inputs = drawn(8, *STACKS[name][0], dtype=torch.float32, layout=module)
    exact = outcome(InPrecision(module, "float32").train(), inputs)
    found = outcome(InPrecision(module, "bfloat16").train(), inputs)
    assert found[0].dtype == torch.float32
    bound = BENT.get(name, 8) * HALF_A_PLACE
    for one, other in zip(found[:2], exact[:2], strict=True):
        assert distance(one, other) < bound
    assert found[2].keys() == exact[2].keys()
    # Beside the whole: that of a constant before batch norm is 0 but for rounding.
    whole = torch.cat([each.flatten() for each in exact[2].values()]).norm()
    for key, gradient in found[2].items():
        assert gradient.dtype == torch.float32
        assert (gradient - exact[2][key]).norm() < bound * whole, key


@pytest.mark.parametrize("name", ["conv", "linear", "conv-after-conv", "transposed", "local"])
def test_products_are_rounded(name: str) -> None:
    (module,) = plain_members(stack(name, 1), torch.float32)
    inputs = drawn(8, *STACKS[name][0], dtype=torch.float32, layout=module)
    with torch.no_grad():
        assert distance(InPrecision(module, "bfloat16")(inputs), module(inputs)) > 1e-4


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_kept_from_step_to_step_is_float32(
    make_config: MakeConfig, digits: StagedData, optimizer: str
) -> None:
    config = make_config(layers=convnet(), optimizer=OPTIMIZERS[optimizer](0), precision="bfloat16")
    learner = Learner(config, digits, device=CPU)
    learner.train_epoch(1, before_step=lambda _: None)
    kept = [*learner.weights().values(), *tensors(learner.optimizer_state())]
    assert {each.dtype for each in kept} == {torch.float32, torch.int64}  # norms count batches


def tensors(state: Any) -> Iterator[Tensor]:
    """Give all tensors in an optimizer's state."""
    for each in state.values():
        yield from (tensor for tensor in each if tensor is not None)


def test_losses_and_scores_are_of_float32_outputs(
    make_config: MakeConfig, digits: StagedData
) -> None:
    records = {}
    for precision in PRECISIONS:
        config = make_config(layers=convnet(dropout=0.0), lr=1e-30, precision=precision)
        learner = Learner(config, digits, device=CPU)
        record = learner.train_epoch(1, before_step=lambda _: None)
        records[precision] = [
            *record.batch_losses,
            learner.evaluate("val", before_batch=lambda: None).loss,
        ]
    for found, exact in zip(records["bfloat16"], records["float32"], strict=True):
        assert found == pytest.approx(exact, rel=4 * HALF_A_PLACE)
        assert found != exact
        # A loss that was itself rounded to bfloat16 would have 16 bits of zeros.
        assert Tensor.item(torch.tensor(found).to(torch.bfloat16)) != found


def test_it_learns_as_well_as_float32(make_config: MakeConfig, digits: StagedData) -> None:
    accuracies: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for precision, seen in accuracies.items():
        for seed in range(3):
            config = make_config(
                layers=convnet(dropout=0.0),
                optimizer=OptimizerConfig("adam", 1e-2),
                epochs=8,
                seed=seed,
                precision=precision,
            )
            learner = Learner(config, digits, device=CPU)
            for epoch in range(1, 9):
                learner.train_epoch(epoch, before_step=lambda _: None)
            score = learner.evaluate("test", before_batch=lambda: None)
            seen.append(score.metrics["accuracy"])
    means = {precision: statistics.fmean(seen) for precision, seen in accuracies.items()}
    assert means["float32"] > 0.7
    assert means["bfloat16"] == pytest.approx(means["float32"], abs=0.04), accuracies


def test_dropout_keeps_the_mean_in_bfloat16() -> None:
    dropout = StreamDropout(0.3)
    dropout.generator = torch.Generator().manual_seed(0)
    outputs = dropout(torch.ones(1000, dtype=torch.bfloat16))
    assert outputs.dtype == torch.bfloat16
    (kept,) = outputs[outputs > 0].unique()
    assert kept == torch.tensor(1 / 0.7).to(torch.bfloat16)


def test_products_of_float64_are_left_alone() -> None:
    one, other = torch.ones(1), torch.ones(1, dtype=torch.float64)
    assert product_type(one) == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product_type(one) == torch.bfloat16
        assert product_type(other) == torch.float64

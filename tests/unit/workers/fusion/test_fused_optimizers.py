from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from experiments.descent import OPTIMIZERS
from experiments.records import OptimizerConfig
from workers.fusion.fused_optimizers import FusedOptimizer, build_fused_optimizer
from workers.optimizers import Optimizer, build_optimizer

SHAPES = ((3, 2, 3, 3), (3,), (5, 7), ())
"""One of them has no gradient in every third step; one is a single number."""

SETTINGS = ((0.01, 0.9, 0.0), (0.003, 0.0, 0.01), (0.02, 0.5, 0.1), (0.01, 0.0, 0.0))
"""The members' rates, momenta and weight decays."""


def configs_of(name: str) -> list[OptimizerConfig]:
    has_momentum = name not in ("adam", "adamw")
    return [
        OptimizerConfig(name, lr, decay, momentum if has_momentum else None)
        for lr, momentum, decay in SETTINGS
    ]


def rates_at(configs: Sequence[OptimizerConfig], step: int) -> list[float]:
    """A schedule of each member's own; every fifth step of the second has the rate 0."""
    rates = [config.lr / (1 + step * place) for place, config in enumerate(configs)]
    if step % 5 == 0 and len(rates) > 1:
        rates[1] = 0.0
    return rates


def drawn(purpose: int, member: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1000 * purpose + member)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def gradients_of(member: int, step: int) -> list[Tensor | None]:
    gradients: list[Tensor | None] = [*drawn(step + 1, member)]
    if step % 3 == 0:
        gradients[2] = None
    return gradients


def plain_parameters(member: int) -> list[Parameter]:
    return [Parameter(value) for value in drawn(0, member)]


def stacked(members: Sequence[int], *, dtype: torch.dtype = torch.float64) -> list[Parameter]:
    values = zip(*(drawn(0, member) for member in members), strict=True)
    return [Parameter(torch.stack(parts).to(dtype)) for parts in values]


def plain_step(
    optimizer: Optimizer, parameters: Sequence[Parameter], *, member: int, step: int, lr: float
) -> None:
    for parameter, gradient in zip(parameters, gradients_of(member, step), strict=True):
        parameter.grad = gradient
    optimizer.step(lr=lr)


def fused_step(
    optimizer: FusedOptimizer,
    parameters: Sequence[Parameter],
    *,
    members: Sequence[int],
    steps: Sequence[int],
    lr: Sequence[float],
) -> None:
    """Make a step with each member's gradients of a step of its own."""
    pairs = zip(members, steps, strict=True)
    for parameter, parts in zip(
        parameters, zip(*(gradients_of(*pair) for pair in pairs), strict=True), strict=True
    ):
        given = [torch.zeros_like(parameter[0]) if part is None else part for part in parts]
        whole = torch.stack([part.to(parameter.dtype) for part in given])
        parameter.grad = None if all(part is None for part in parts) else whole
    optimizer.step(lr=lr)


def trained_plain(
    configs: Sequence[OptimizerConfig], member: int, *, num_steps: int
) -> tuple[Optimizer, list[Parameter]]:
    parameters = plain_parameters(member)
    optimizer = build_optimizer(configs[member], parameters)
    for step in range(num_steps):
        rate = rates_at(configs, step)[member]
        plain_step(optimizer, parameters, member=member, step=step, lr=rate)
    return optimizer, parameters


def trained_fused(
    configs: Sequence[OptimizerConfig], *, num_steps: int, by_rows: bool | None = None
) -> tuple[FusedOptimizer, list[Parameter]]:
    members = range(len(configs))
    parameters = stacked(members)
    optimizer = build_fused_optimizer(configs, parameters, by_rows=by_rows)
    for step in range(num_steps):
        fused_step(
            optimizer,
            parameters,
            members=members,
            steps=[step] * len(configs),
            lr=rates_at(configs, step),
        )
    return optimizer, parameters


def assert_close(found: Sequence[Any], expected: Sequence[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
        else:
            torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_rows", [True, False])
def test_every_member_makes_the_steps_of_a_plain_optimizer(name: str, by_rows: bool) -> None:
    configs = configs_of(name)
    optimizer, parameters = trained_fused(configs, num_steps=20, by_rows=by_rows)
    for member in range(len(configs)):
        plain, expected = trained_plain(configs, member, num_steps=20)
        assert_close([parameter[member] for parameter in parameters], expected)
        state, expected_state = optimizer.member_state(member), plain.state()
        assert state.keys() == expected_state.keys()
        for key in state:
            assert_close(state[key], expected_state[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("num_before", [0, 1, 7])
def test_a_plain_optimizer_goes_on_from_a_members_state(
    name: str, by_rows: bool, num_before: int
) -> None:
    configs = configs_of(name)
    fused, parameters = trained_fused(configs, num_steps=num_before, by_rows=by_rows)
    for member, config in enumerate(configs):
        own = [Parameter(parameter[member].detach().clone()) for parameter in parameters]
        plain = build_optimizer(config, own)
        plain.restore(fused.member_state(member))
        for step in range(num_before, 20):
            rate = rates_at(configs, step)[member]
            plain_step(plain, own, member=member, step=step, lr=rate)
        assert_close(own, trained_plain(configs, member, num_steps=20)[1])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("from_pack", [True, False])
def test_members_go_on_from_states_of_different_ages_at_other_places(
    name: str, by_rows: bool, from_pack: bool
) -> None:
    configs, ages = configs_of(name), (0, 1, 5, 9)
    order = (2, 0, 3, 1)
    parameters = stacked(order)
    optimizer = build_fused_optimizer([configs[member] for member in order], parameters)
    # What the places held before must not shine through.
    fused_step(optimizer, parameters, members=order, steps=[30] * 4, lr=[0.1] * 4)
    for place, member in enumerate(order):
        plain, weights = trained_plain(configs, member, num_steps=ages[member])
        state = plain.state()
        if from_pack:
            pack, _ = trained_fused(configs, num_steps=ages[member], by_rows=by_rows)
            state = pack.member_state(member)
        optimizer.restore_member(place, state)
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.data[place].copy_(weight.detach())
    for more in range(6):
        steps = [ages[member] + more for member in order]
        rates = [rates_at(configs, step)[member] for member, step in zip(order, steps, strict=True)]
        fused_step(optimizer, parameters, members=order, steps=steps, lr=rates)
    for place, member in enumerate(order):
        plain, weights = trained_plain(configs, member, num_steps=ages[member] + 6)
        assert_close([parameter[place] for parameter in parameters], weights)
        for key, values in plain.state().items():
            assert_close(optimizer.member_state(place)[key], values)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_members_state_is_a_copy(name: str) -> None:
    configs = configs_of(name)
    optimizer, parameters = trained_fused(configs, num_steps=3)
    state = optimizer.member_state(0)
    before = {key: [value.clone() for value in values] for key, values in state.items()}
    fused_step(optimizer, parameters, members=range(4), steps=[3] * 4, lr=[0.1] * 4)
    for key, values in before.items():
        for value, kept in zip(values, state[key], strict=True):
            assert torch.equal(value, kept)
            assert kept.untyped_storage().nbytes() == kept.numel() * kept.element_size()


def float32_weights(
    name: str, members: Sequence[int], *, by_rows: bool, broken: int | None = None
) -> dict[int, list[Tensor]]:
    """Train members in float32; the gradients of `broken` are not finite from step 2 on."""
    settings = configs_of(name)
    configs = [settings[member % len(settings)] for member in members]
    parameters = stacked(members, dtype=torch.float32)
    optimizer = build_fused_optimizer(configs, parameters, by_rows=by_rows)
    for step in range(5):
        for place, parameter in enumerate(parameters):
            gradients = [drawn(step + 1, member)[place] for member in members]
            parameter.grad = torch.stack(gradients).float()
            if broken is not None and step >= 2:
                parameter.grad[members.index(broken)] = torch.inf if step == 2 else torch.nan
        optimizer.step(lr=[config.lr for config in configs])
    return {
        member: [parameter[place].detach() for parameter in parameters]
        for place, member in enumerate(members)
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_rows", [True, False])
def test_a_members_bits_depend_neither_on_others_nor_on_its_place(name: str, by_rows: bool) -> None:
    pack = float32_weights(name, (0, 1, 2, 3, 4, 5), by_rows=by_rows)
    elsewhere = float32_weights(name, (5, 3, 1, 7, 2, 0, 4), by_rows=by_rows)
    for member, weights in pack.items():
        alone = float32_weights(name, (member,), by_rows=by_rows)[member]
        for one, other, third in zip(weights, alone, elsewhere[member], strict=True):
            assert torch.equal(one, other)
            assert torch.equal(one, third)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_rows", [True, False])
def test_a_member_that_is_not_finite_leaves_the_others_as_they_are(
    name: str, by_rows: bool
) -> None:
    whole = float32_weights(name, (0, 1, 2, 3), by_rows=by_rows)
    broken = float32_weights(name, (0, 1, 2, 3), by_rows=by_rows, broken=2)
    assert not any(weight.isfinite().any() for weight in broken.pop(2))
    for member, weights in broken.items():
        assert all(torch.equal(a, b) for a, b in zip(weights, whole[member], strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_go_on_to_get_gradients_from_autograd_and_lose_them_in_a_step(
    name: str,
) -> None:
    configs = configs_of(name)
    generator = torch.Generator().manual_seed(0)
    weights, biases, inputs = (
        torch.randn(4, *shape, generator=generator, dtype=torch.float64)
        for shape in ((5, 3), (5,), (6, 3))
    )
    weights, biases = Parameter(weights), Parameter(biases)
    members = [
        [Parameter(whole[k].detach().clone()) for whole in (weights, biases)] for k in range(4)
    ]
    fused = build_fused_optimizer(configs, [weights, biases])
    plains = [build_optimizer(*pair) for pair in zip(configs, members, strict=True)]
    for _ in range(5):
        outputs = torch.baddbmm(biases[:, None], inputs, weights.mT)
        torch.autograd.backward(outputs.tanh().square().mean(dim=(1, 2)).sum())
        fused.step(lr=[config.lr for config in configs])
        assert weights.grad is None
        assert biases.grad is None
        for k, (weight, bias) in enumerate(members):
            outputs = torch.nn.functional.linear(inputs[k], weight, bias)
            torch.autograd.backward(outputs.tanh().square().mean())
            plains[k].step(lr=configs[k].lr)
    for k, own in enumerate(members):
        assert_close([weights[k], biases[k]], own)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_rows", [True, False])
def test_there_may_be_nothing_to_learn(name: str, by_rows: bool) -> None:
    configs = configs_of(name)
    optimizer = build_fused_optimizer(configs, [], by_rows=by_rows)
    optimizer.step(lr=[0.1] * 4)
    state = optimizer.member_state(0)
    assert state == build_optimizer(configs[0], []).state()
    optimizer.restore_member(1, state)


def test_a_pack_has_one_family() -> None:
    with pytest.raises(AssertionError, match="adamw"):
        build_fused_optimizer([OptimizerConfig("adam", 0.1), OptimizerConfig("adamw", 0.1)], [])

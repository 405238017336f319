"""The optimizers of a pack: one step for all members, each with settings of its own.

The formulas and the states are those of `workers/optimizers.py`. What is learned becomes one
matrix (K, P), a row a member, and the parameters become views of it. On the CPU torch's fused
kernels take the rows, each in one pass over memory; members of equal settings go in one call.
Elsewhere, and where torch has no such kernel (RMSprop), a few operations change all rows,
with a column of settings.

Measured (network `small` of 13,706 weights, float32, one thread; us a member-step for K = 4,
16, 64, members at four rates): SGD with momentum 20, 12, 11 by rows (21, 15, 15 when each
member has a rate of its own), 26, 15, 13 by columns, 36, 37, 41 in a loop over plain
optimizers; Adam 31, 19, 19 by rows (35, 23, 26), then 79, 42, 41, and 77, 79, 103; RMSprop
46, 30, 35 by columns, and 277, 289, 318. Gathering the gradients is 3 to 5 of these. Without
the matrix, kernels over each member's eight tensors take 1.2 to 1.4 times as long as rows.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from experiments.records import OptimizerConfig
from workers.optimizers import ADAM_BETAS, ADAM_EPSILON, RMSPROP_DECAY, RMSPROP_EPSILON

_Key = TypeVar("_Key", bound=Hashable)

Rates: TypeAlias = Sequence[float] | Tensor
"""The learning rates of a step, one a member; as a tensor (K,) float64 on the members' device."""


class FusedOptimizer(Protocol):
    """Changes the weights of all members by their gradients."""

    def step(self, *, lr: Rates) -> None:
        """Update the weights once, in place, each member at its rate; forget the gradients."""

    def member_state(self, index: int) -> dict[str, Any]:
        """Copy what a member's next step depends on, as the plain optimizer's `state` has it."""

    def restore_member(self, index: int, state: Mapping[str, Any]) -> None:
        """Let a member go on from what `member_state`, or a plain optimizer's `state`, gave."""


class FusedSgd:
    """`workers.optimizers.Sgd` for each member; a first moving average is 0 m + g."""

    def __init__(
        self,
        configs: Sequence[OptimizerConfig],
        weights: "_Weights",
        *,
        nesterov: bool,
        by_rows: bool,
    ) -> None:
        self._weights = weights
        self._nesterov = nesterov
        self._by_rows = by_rows
        self._settings = [(config.momentum or 0.0, config.weight_decay) for config in configs]
        self._momentum, self._decay = (
            weights.column(values) for values in zip(*self._settings, strict=True)
        )
        self._buffers = torch.zeros_like(weights.matrix)
        # A plain optimizer has none before its first step, nor without momentum.
        self._has_buffers = [False] * len(configs)

    @torch.no_grad()
    def step(self, *, lr: Rates) -> None:
        """Update the weights once, in place, each member at its rate; forget the gradients."""
        gradients = self._weights.take_gradients()
        if self._by_rows:
            self._step_rows(gradients, lr)
        else:
            self._step_all(gradients, lr)
        self._has_buffers = [momentum > 0.0 for momentum, _ in self._settings]

    def member_state(self, index: int) -> dict[str, Any]:
        """Copy a member's moving averages; None for each that a plain optimizer has not."""
        if not self._has_buffers[index]:
            return {"buffers": [None] * len(self._weights.shapes)}
        return {"buffers": self._weights.parts(self._buffers[index])}

    def restore_member(self, index: int, state: Mapping[str, Any]) -> None:
        """Let a member go on from what `member_state`, or a plain optimizer's `state`, gave."""
        buffers = [buffer for buffer in state["buffers"] if buffer is not None]
        if buffers:
            self._weights.write(self._buffers[index], buffers)
        else:
            self._buffers[index].zero_()
        self._has_buffers[index] = bool(buffers) and self._settings[index][0] > 0.0

    def _step_rows(self, gradients: Tensor, lr: Rates) -> None:
        rows = _rows(self._weights.matrix, gradients, self._buffers)
        settings = zip(_numbers(lr), self._settings, strict=True)
        for (rate, (momentum, decay)), group in _alike(settings):
            weights, changes, buffers = ([tensors[index] for index in group] for tensors in rows)
            torch._fused_sgd_(
                weights,
                changes,
                buffers if momentum > 0.0 else [],
                weight_decay=decay,
                momentum=momentum,
                lr=rate,
                dampening=0.0,
                nesterov=self._nesterov,
                maximize=False,
                is_first_step=False,
            )

    def _step_all(self, gradients: Tensor, lr: Rates) -> None:
        gradients.addcmul_(self._weights.matrix, self._decay)
        self._buffers.mul_(self._momentum).add_(gradients)
        change = self._buffers
        if self._nesterov:
            change = gradients.addcmul_(self._buffers, self._momentum)
        self._weights.matrix.addcmul_(change, self._weights.column(lr), value=-1)


class _Counted:
    """An optimizer that keeps moving averages from the start, and counts its steps."""

    def __init__(self, weights: "_Weights", averages: Sequence[str]) -> None:
        """Start with averages (K, P) of 0, by the names that they have in a state."""
        self._weights = weights
        self._averages = {name: torch.zeros_like(weights.matrix) for name in averages}
        # (K,) float32, as torch's kernels take them.
        self._counts = torch.zeros(len(weights.matrix), device=weights.matrix.device)

    def member_state(self, index: int) -> dict[str, Any]:
        """Copy a member's moving averages, and how many steps it made."""
        state = {name: self._weights.parts(rows[index]) for name, rows in self._averages.items()}
        return state | {"counts": [self._counts[index].clone() for _ in self._weights.shapes]}

    def restore_member(self, index: int, state: Mapping[str, Any]) -> None:
        """Let a member go on from what `member_state`, or a plain optimizer's `state`, gave."""
        for name, rows in self._averages.items():
            self._weights.write(rows[index], state[name])
        if state["counts"]:  # one a parameter, all equal; none where nothing learns
            self._counts[index].copy_(state["counts"][0])


class FusedRmsProp(_Counted):
    """`workers.optimizers.RmsProp` for each member."""

    def __init__(self, configs: Sequence[OptimizerConfig], weights: "_Weights") -> None:
        super().__init__(weights, ("squares", "buffers"))
        self._has_momentum = [bool(config.momentum) for config in configs]
        self._momentum = weights.column([config.momentum or 0.0 for config in configs])
        self._decay = weights.column([config.weight_decay for config in configs])

    @torch.no_grad()
    def step(self, *, lr: Rates) -> None:
        """Update the weights once, in place, each member at its rate; forget the gradients."""
        matrix, squares, buffers = self._weights.matrix, *self._averages.values()
        gradients = self._weights.take_gradients()
        self._counts += 1
        gradients.addcmul_(matrix, self._decay)
        squares.mul_(RMSPROP_DECAY).addcmul_(gradients, gradients, value=1 - RMSPROP_DECAY)
        sizes = squares.sqrt().add_(RMSPROP_EPSILON)
        buffers.mul_(self._momentum).addcdiv_(gradients, sizes)
        matrix.addcmul_(buffers, self._weights.column(lr), value=-1)

    def member_state(self, index: int) -> dict[str, Any]:
        """Copy a member's moving averages, and how many steps it made."""
        state = super().member_state(index)
        if not self._has_momentum[index]:  # a plain optimizer leaves them as they were
            state["buffers"] = [torch.zeros_like(buffer) for buffer in state["buffers"]]
        return state


class FusedAdam(_Counted):
    """`workers.optimizers.Adam` for each member, which may have made any number of steps."""

    def __init__(
        self,
        configs: Sequence[OptimizerConfig],
        weights: "_Weights",
        *,
        decoupled: bool,
        by_rows: bool,
    ) -> None:
        super().__init__(weights, ("means", "squares"))
        self._decoupled = decoupled
        self._by_rows = by_rows
        self._decays = [config.weight_decay for config in configs]
        self._decay = weights.column(self._decays, dtype=torch.float64)

    @torch.no_grad()
    def step(self, *, lr: Rates) -> None:
        """Update the weights once, in place, each member at its rate; forget the gradients."""
        gradients = self._weights.take_gradients()
        self._counts += 1
        if self._by_rows:
            self._step_rows(gradients, lr)
        else:
            self._step_all(gradients, lr)

    def _step_rows(self, gradients: Tensor, lr: Rates) -> None:
        rows = _rows(self._weights.matrix, gradients, *self._averages.values(), self._counts)
        kernel = torch._fused_adamw_ if self._decoupled else torch._fused_adam_
        for (rate, decay), group in _alike(zip(_numbers(lr), self._decays, strict=True)):
            weights, changes, means, squares, counts = (
                [tensors[index] for index in group] for tensors in rows
            )
            kernel(
                weights,
                changes,
                means,
                squares,
                [],
                counts,
                lr=rate,
                beta1=ADAM_BETAS[0],
                beta2=ADAM_BETAS[1],
                weight_decay=decay,
                eps=ADAM_EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _step_all(self, gradients: Tensor, lr: Rates) -> None:
        matrix, means, squares = self._weights.matrix, *self._averages.values()
        beta1, beta2 = ADAM_BETAS
        rates = self._weights.column(lr, dtype=torch.float64)
        if self._decoupled:
            matrix.mul_((1 - rates * self._decay).to(matrix.dtype))
        else:
            gradients.addcmul_(matrix, self._decay.to(matrix.dtype))
        means.lerp_(gradients, 1 - beta1)
        squares.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
        # In float32 1 - 0.999 would have four good digits.
        counts = self._counts.double()[:, None]
        scale = (1 - beta2**counts).rsqrt_().to(matrix.dtype)
        rates = rates / (1 - beta1**counts)
        sizes = squares.sqrt().mul_(scale).add_(ADAM_EPSILON)
        matrix.addcmul_(means / sizes, rates.to(matrix.dtype), value=-1)


def build_fused_optimizer(
    configs: Sequence[OptimizerConfig],
    parameters: Iterable[Parameter],
    *,
    by_rows: bool | None = None,
) -> FusedOptimizer:
    """Make the optimizer of a pack.

    Args:
        configs: Those of the members, of one family.
        parameters: What is learned, (K, ...) each. They get new storage: what was taken from
            them before is no view of them any more. They stay what they are for autograd and
            for `parameter.data[k].copy_`.
        by_rows: Whether torch's kernels take rows, where there are such; None for the
            device's better way.
    """
    name = configs[0].name
    assert all(config.name == name for config in configs), [config.name for config in configs]
    weights = _Weights(parameters, num_members=len(configs))
    if by_rows is None:
        by_rows = weights.matrix.device.type == "cpu"
    match name:
        case "sgd" | "nesterov":
            return FusedSgd(configs, weights, nesterov=name == "nesterov", by_rows=by_rows)
        case "rmsprop":
            return FusedRmsProp(configs, weights)
    assert name in {"adam", "adamw"}, name
    return FusedAdam(configs, weights, decoupled=name == "adamw", by_rows=by_rows)


class _Weights:
    """The parameters (K, ...) of a pack as views of one matrix (K, P), a row a member."""

    def __init__(self, parameters: Iterable[Parameter], *, num_members: int) -> None:
        self._parameters = list(parameters)
        self._num_members = num_members
        assert all(len(parameter) == num_members for parameter in self._parameters)
        self.shapes = [parameter.shape[1:] for parameter in self._parameters]
        self._sizes = [shape.numel() for shape in self.shapes]
        self.matrix = self._as_matrix([parameter.data for parameter in self._parameters])
        parts = torch.split(self.matrix, self._sizes, dim=1)
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.data = part.view(parameter.shape)

    def take_gradients(self) -> Tensor:
        """Take the gradients away from the parameters, as a matrix that may be changed.

        That of a parameter which had no part in the step is 0.
        """
        gradients = []
        for parameter in self._parameters:
            gradient = parameter.grad
            gradients.append(torch.zeros_like(parameter) if gradient is None else gradient)
            parameter.grad = None
        return self._as_matrix(gradients)

    def column(self, values: Rates, *, dtype: torch.dtype | None = None) -> Tensor:
        """Put one number a member (K, 1) beside the matrix, without waiting for the device."""
        if isinstance(values, Tensor):
            return values.to(dtype or self.matrix.dtype)[:, None]
        on_gpu = self.matrix.is_cuda
        numbers = torch.tensor(values, dtype=dtype or self.matrix.dtype, pin_memory=on_gpu)
        return numbers.to(self.matrix.device, non_blocking=True)[:, None]

    def parts(self, row: Tensor) -> list[Tensor]:
        """Copy from a member's row (P,) what belongs to each parameter, in its shape."""
        parts = zip(torch.split(row, self._sizes), self.shapes, strict=True)
        return [part.reshape(shape).clone() for part, shape in parts]

    def write(self, row: Tensor, tensors: Sequence[Tensor]) -> None:
        """Copy into a member's row (P,) one tensor for each parameter."""
        parts = zip(torch.split(row, self._sizes), self.shapes, tensors, strict=True)
        for part, shape, tensor in parts:
            part.view(shape).copy_(tensor)

    def _as_matrix(self, tensors: Sequence[Tensor]) -> Tensor:
        if not tensors:  # nothing learns
            return torch.zeros(self._num_members, 0)
        return torch.cat([tensor.reshape(self._num_members, -1) for tensor in tensors], dim=1)


def _rows(*matrices: Tensor) -> list[tuple[Tensor, ...]]:
    return [matrix.unbind() for matrix in matrices]


def _numbers(rates: Rates) -> Sequence[float]:
    return rates.tolist() if isinstance(rates, Tensor) else rates


def _alike(keys: Iterable[_Key]) -> Iterable[tuple[_Key, list[int]]]:
    """Give the places of equal keys together."""
    groups: dict[_Key, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    return groups.items()

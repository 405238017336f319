"""Networks that learn as one program: the members of a pack, epoch by epoch.

Each member draws its weights, its order, its augmentation and its dropout from streams of its
own, as `workers.learner.Learner` does, and gets the same numbers but for rounding. They
depend neither on how many members there are nor on who they are.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from experiments.planning.packing import MOST_MEMBERS
from experiments.planning.strategies import Strategy
from experiments.records import TrialConfig
from experiments.streams import stream_seed
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.dead_units import UnitWatch
from workers.devices import memory_layout, send
from workers.evaluation import evaluated_at_once
from workers.fusion.fused_batches import FusedBatches
from workers.fusion.fused_criterion import FusedCriterion
from workers.fusion.fused_network import (
    fuse,
    load_member,
    member_state,
    set_dropout_generators,
)
from workers.fusion.fused_optimizers import Rates, build_fused_optimizer
from workers.initial_values import initial_state
from workers.learner import EpochRecord, epoch_rates, mean_loss
from workers.modules import module_without_storage
from workers.precision import forward_in
from workers.recorded_steps import RecordedStep, recorded

FUSED: Final = Strategy(MOST_MEMBERS)
"""One program, by the rules."""

_LEAST_EVALUATED: Final = 16
"""Examples of a member that are evaluated at a time, even where batches are smaller."""


class FusedLearner:
    """The state of a pack's training; its members are at epochs of their own.

    All pass over the same data in batches of one size, so an epoch has the same steps for all.
    """

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        data: StagedData,
        *,
        device: torch.device,
        strategy: Strategy = FUSED,
    ) -> None:
        """Make room for trials of one shape, in the order of `pack_order`; weights are 0.

        Of the strategy, the number of members is not looked at.
        """
        self.data = data.to(device)
        self._unmoved = data
        self._device = self.data.mean.device
        self._configs = tuple(configs)
        self._batch_size = configs[0].batch_size
        self.steps_per_epoch = math.ceil(len(data.train) / self._batch_size)
        self._template = module_without_storage(configs[0].architecture)
        self._strategy = strategy
        self._layout = memory_layout(self._template, device, wanted=strategy.layout)
        self._module = fuse(
            [config.architecture for config in configs], device=device, layout=strategy.layout
        )
        self._forward = forward_in(configs[0].precision, self._module, device)
        learned = (each for each in self._module.parameters() if each.requires_grad)
        self._optimizer = build_fused_optimizer([each.optimizer for each in configs], learned)
        self._criterion = FusedCriterion(configs, self.data)
        self._batches = FusedBatches(
            configs, self.data, self._criterion, self._module, layout=self._layout
        )
        self._dropout = [torch.Generator(device) for _ in configs]
        set_dropout_generators(self._module, self._dropout)
        self._graph: RecordedStep | None = None
        if strategy.graph:
            self._graph = recorded(
                self._make_step, module=self._module, device=device, generators=self._dropout
            )

    @classmethod
    def start(
        cls,
        configs: Sequence[TrialConfig],
        data: StagedData,
        *,
        device: torch.device,
        strategy: Strategy = FUSED,
    ) -> "FusedLearner":
        """Build the networks of trials, with their first weights: drawn on the CPU."""
        pack = cls(configs, data, device=device, strategy=strategy)
        for index in range(len(configs)):
            pack._draw_first_weights(index)
        return pack

    @property
    def members(self) -> tuple["FusedMember", ...]:
        """Show each member as a network that learns."""
        return tuple(FusedMember(self, index) for index in range(len(self._configs)))

    @property
    def strategy(self) -> str:
        """How they run, for a trial's record."""
        works = self._graph is not None and self._graph.works
        return replace(self._strategy, graph=works).text_of(len(self._configs))

    def train_epoch(
        self, epochs: Sequence[int], *, before_step: Callable[[int], None]
    ) -> list[EpochRecord]:
        """Pass once over the training split, for each member in its own order.

        Args:
            epochs: Which pass it is of each member, from 1.
            before_step: Called before each step with its number in the epoch, from 1; what it
                raises ends the epoch.

        Returns:
            A record a member; of one that diverged the losses tell from which step on.
        """
        for config, epoch, generator in zip(self._configs, epochs, self._dropout, strict=True):
            generator.manual_seed(stream_seed(config.seed, "dropout", epoch))
        self._module.train()
        rates = self._rates(epochs)
        taken: Sequence[Rates] = rates
        is_graph = self._graph is not None and self._graph.works
        if is_graph or self._device.type != "cpu":  # sent once an epoch, not once a step
            taken = send(torch.tensor(rates, dtype=torch.float64), self._device).unbind()
        tally = self._criterion.tally(self._device)
        losses, done = list[Tensor](), 0
        for inputs, targets in self._batches.of_epochs(epochs):
            block_losses, answers = self._train_block(
                inputs, targets, taken, done=done, before_step=before_step
            )
            done += len(block_losses)
            losses.append(block_losses)
            tally.add(*(each.transpose(0, 1).flatten(1, 2) for each in (answers, targets)))
        columns = torch.cat(losses).T.double().cpu()  # (K, S)
        return [
            EpochRecord(
                self._criterion[index].running_score(self._mean_loss(column), own),
                tuple(column.tolist()),
                rates[-1][index],
            )
            for index, (column, own) in enumerate(zip(columns, tally.members(), strict=True))
        ]

    def evaluate(self, split: str, *, before_batch: Callable[[], None]) -> list[Score]:
        """Score every member on the split "val" or "test", as `workers.evaluation` does one.

        On the CPU as many examples at a time as in training, or a few more; on a GPU as many as
        fit. On "val", dead units are looked for.
        """
        self._module.eval()
        examples = self.data.val if split == "val" else self.data.test
        num, device = len(self._configs), self._device
        size = evaluated_at_once(self._configs[0].architecture, device, members=num)
        if device.type == "cpu":
            size = min(size, max(_LEAST_EVALUATED, self._batch_size))
        totals = torch.zeros(num, dtype=torch.float64, device=device)
        tally = self._criterion.tally(device)
        watch = UnitWatch(self._module, num_members=num) if split == "val" else None
        with torch.inference_mode(), watch or nullcontext():
            for inputs, wanted in self._batches.of_split(split, size):
                parts = []
                for x in inputs:
                    before_batch()
                    if watch is not None:
                        watch.begin_pass()
                    outputs = self._forward(x)
                    parts.append(outputs.view(num, -1, *outputs.shape[1:]))
                outputs = torch.cat(parts, dim=1)
                totals += self._criterion.losses(outputs, wanted).double().sum(dim=1)
                tally.add(outputs, wanted)
        dead = [None] * num if watch is None else watch.shares()
        columns = zip(totals.tolist(), tally.members(), dead, strict=True)
        return [
            replace(self._criterion[index].score(total / len(examples), own), dead_units=share)
            for index, (total, own, share) in enumerate(columns)
        ]

    def keep(
        self, places: Collection[int], *, joining: Sequence[TrialConfig] = ()
    ) -> "FusedLearner":
        """Give a pack of the members at these places only, in their order, as they are now.

        Behind them come those that join, with their first weights.
        """
        kept = sorted(places)
        configs = [*(self._configs[place] for place in kept), *joining]
        pack = FusedLearner(configs, self._unmoved, device=self._device, strategy=self._strategy)
        pack._batches.share(self._batches)
        for index, place in enumerate(kept):
            weights, optimizer = self.weights_of(place), self.optimizer_state_of(place)
            pack.restore_member(index, weights, optimizer)
        for index in range(len(kept), len(configs)):
            pack._draw_first_weights(index)
        return pack

    def config_of(self, index: int) -> TrialConfig:
        """Give a member's configuration."""
        return self._configs[index]

    def weights_of(self, index: int) -> dict[str, Tensor]:
        """Copy a member's weights and batch norm's statistics, as the plain module names them."""
        return member_state(self._module, index)

    def optimizer_state_of(self, index: int) -> dict[str, Any]:
        """Copy what the optimizer remembers of a member, as the plain optimizer has it."""
        return self._optimizer.member_state(index)

    def restore_member(
        self, index: int, weights: Mapping[str, Tensor], optimizer: Mapping[str, Any] | None
    ) -> None:
        """Let a member go on from weights and an optimizer's state; None changes nothing there."""
        load_member(self._module, index, weights)
        if optimizer is not None:
            self._optimizer.restore_member(index, optimizer)

    def _draw_first_weights(self, index: int) -> None:
        """Give a member the weights that it starts from: drawn on the CPU."""
        seed = stream_seed(self._configs[index].seed, "weights")
        drawn = torch.Generator().manual_seed(seed)
        load_member(self._module, index, initial_state(self._template, drawn))

    def _train_block(
        self,
        inputs: Iterable[Tensor],
        targets: Tensor,
        rates: Sequence[Rates],
        *,
        done: int,
        before_step: Callable[[int], None],
    ) -> tuple[Tensor, Tensor]:
        """Make the steps of one block, the first of them after `done` others of the epoch.

        Args:
            inputs: Of each step, as `FusedBatches` has them.
            targets: (S, K, n, ...).
            rates: Of each step of the epoch, one a member (K,).
            done: Steps of the epoch so far.
            before_step: As in `train_epoch`.

        Returns:
            The steps' losses (S, K), and the outputs (S, K, n, ...).
        """
        step = self._graph or self._make_step
        losses, answers = [], []
        for x, y in zip(inputs, targets, strict=True):
            before_step(done + 1)
            step_losses, outputs = step(x, y, rates[done])
            losses.append(step_losses)
            answers.append(outputs)
            done += 1
        return torch.stack(losses), torch.stack(answers)

    def _make_step(self, x: Tensor, y: Tensor, rates: Rates) -> tuple[Tensor, Tensor]:
        """Make a step on inputs of `FusedBatches` and targets (K, n, ...)."""
        outputs = self._forward(x)
        outputs = outputs.view(*y.shape[:2], *outputs.shape[1:])
        losses = self._criterion.losses(outputs, y).mean(dim=1)
        if losses.requires_grad:  # the members' losses are added, never averaged
            torch.autograd.backward(losses.sum())
        self._optimizer.step(lr=rates)
        return losses.detach(), outputs.detach()

    def _rates(self, epochs: Sequence[int]) -> list[tuple[float, ...]]:
        """Give the learning rates of an epoch's steps, one a member."""
        own = [
            epoch_rates(config, epoch, steps_per_epoch=self.steps_per_epoch)
            for config, epoch in zip(self._configs, epochs, strict=True)
        ]
        return [*zip(*own, strict=True)]

    def _mean_loss(self, batch_losses: Tensor) -> float:
        num_examples = len(self.data.train)
        return mean_loss(batch_losses, batch_size=self._batch_size, num_examples=num_examples)


class FusedMember:
    """One member of a pack, as a trial's run sees its network."""

    def __init__(self, pack: FusedLearner, index: int) -> None:
        """Show the member at a place."""
        self.config = pack.config_of(index)
        self.data = pack.data
        self.steps_per_epoch = pack.steps_per_epoch
        self.total_steps = pack.steps_per_epoch * self.config.epochs
        self._pack = pack
        self._index = index

    def weights(self) -> Mapping[str, Tensor]:
        """Copy weights and batch norm's statistics, as they are now."""
        return self.copy_weights()

    def copy_weights(self) -> dict[str, Tensor]:
        """Copy weights and batch norm's statistics, as they are now."""
        return self._pack.weights_of(self._index)

    def optimizer_state(self) -> dict[str, Any]:
        """Copy what the optimizer remembers."""
        return self._pack.optimizer_state_of(self._index)

    def restore(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Any] | None) -> None:
        """Go on from weights and an optimizer's state; None where no step is left to make."""
        self._pack.restore_member(self._index, weights, optimizer)

"""A network that learns: one trial's module, optimizer and random streams, epoch by epoch."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from experiments.planning.strategies import PLAIN, Strategy
from experiments.records import ScheduleConfig, TrialConfig
from experiments.streams import stream_seed
from workers.augmentation import augment
from workers.batches import Change, blocks
from workers.criterion import Criterion, Score
from workers.datasets.staged import StagedData
from workers.devices import memory_layout, send
from workers.evaluation import evaluate, evaluated_at_once
from workers.modules import build_module, set_dropout_generator
from workers.optimizers import build_optimizer
from workers.precision import forward_in
from workers.recorded_steps import RecordedStep, recorded
from workers.schedules import learning_rate
from workers.transfer import start_from, train_mode


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch of training gave.

    `train` are running means over the epoch's examples, each scored just before the step
    that it took part in. `batch_losses` holds one mean loss a step, float32 values.
    `lr` is that of the last step.
    """

    train: Score
    batch_losses: tuple[float, ...]
    lr: float


class Learning(Protocol):
    """A network that learns, as a trial's run sees it: alone, or a member of a pack."""

    config: TrialConfig
    data: StagedData
    steps_per_epoch: int
    total_steps: int

    def weights(self) -> Mapping[str, Tensor]:
        """Give weights and batch norm's statistics, as they are now, perhaps not copied."""

    def copy_weights(self) -> dict[str, Tensor]:
        """Copy weights and batch norm's statistics, as they are now."""

    def optimizer_state(self) -> dict[str, Any]:
        """Give what the optimizer remembers, perhaps not copied: the next step changes it."""

    def restore(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Any] | None) -> None:
        """Go on from weights and an optimizer's state; None where no step is left to make."""


class Learner:
    """The state of one trial's training.

    Every epoch draws its order, its augmentation and its dropout from streams of its own,
    derived from the trial's seed, so it depends on nothing but the weights and the
    optimizer's state: with these two, `restore` goes on where another process left off.
    `data` has the statistics by which the network's inputs are standardised: of the training
    split, or of the network that the first layers come from.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: StagedData,
        *,
        device: torch.device,
        strategy: Strategy = PLAIN,
    ) -> None:
        """Build the network; its first weights are drawn on the CPU, the same for any device.

        Of the strategy, the number of members is not looked at.
        """
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "weights"))
        self.config = config
        self.data = data.to(device)
        module = build_module(config.architecture, generator=generator)
        if config.init is not None:
            mean, std = start_from(module, config.init, full_scale=data.full_scale)
            self.data = replace(self.data, mean=mean.to(device), std=std.to(device))
        self._layout = memory_layout(module, device, wanted=strategy.layout)
        self.module = module.to(device).to(memory_format=self._layout)
        self.steps_per_epoch = math.ceil(len(data.train) / config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self._criterion = Criterion(config, self.data)
        self._strategy = strategy
        compiled = torch.compile(self.module, dynamic=False) if strategy.compiled else self.module
        self._forward = forward_in(config.precision, compiled, device)
        learned = (weight for weight in self.module.parameters() if weight.requires_grad)
        self._optimizer = build_optimizer(config.optimizer, learned)
        self._chance = torch.Generator()
        self._dropout = torch.Generator(device)
        set_dropout_generator(self.module, self._dropout)
        self._device = device
        self._graph: RecordedStep | None = None
        if strategy.graph:
            self._graph = recorded(
                self._make_step, module=self.module, device=device, generators=[self._dropout]
            )

    @property
    def strategy(self) -> Strategy:
        """How it runs: a step that cannot be recorded as a graph is not."""
        return replace(self._strategy, graph=self._graph is not None and self._graph.works)

    def train_epoch(self, epoch: int, *, before_step: Callable[[int], None]) -> EpochRecord:
        """Pass once over the training split.

        Args:
            epoch: Which pass, from 1.
            before_step: Called before each step with its number in the epoch, from 1;
                what it raises ends the epoch.
        """
        config, data = self.config, self.data
        order = send(draw_order(config, epoch, len(data.train)), data.train.indices.device)
        self._dropout.manual_seed(stream_seed(config.seed, "dropout", epoch))
        train_mode(self.module, config.init)
        losses, tally = [], self._criterion.tally(self._device)
        rates = epoch_rates(config, epoch, steps_per_epoch=self.steps_per_epoch)
        taken: Sequence[float | Tensor] = rates
        if self._graph is not None and self._graph.works:
            taken = send(torch.tensor(rates, dtype=torch.float32), self._device).unbind()
        done = 0
        source = blocks(
            data.train,
            order,
            data,
            self._criterion,
            multiple=config.batch_size,
            layout=self._layout,
            change=self._augmentation(epoch),
        )
        for inputs, targets in source:
            block_losses, answers = self._train_block(
                inputs, targets, taken, done=done, before_step=before_step
            )
            done += len(block_losses)
            losses.append(block_losses)
            tally.add(answers, targets)
        batch_losses = torch.cat(losses).double().cpu()
        mean = mean_loss(batch_losses, batch_size=config.batch_size, num_examples=len(data.train))
        return EpochRecord(
            self._criterion.running_score(mean, tally),
            tuple(batch_losses.tolist()),
            rates[-1],
        )

    def _train_block(
        self,
        inputs: Tensor,
        targets: Tensor,
        rates: Sequence[float | Tensor],
        *,
        done: int,
        before_step: Callable[[int], None],
    ) -> tuple[Tensor, Tensor]:
        """Make the steps of one block, the first of them after `done` others of the epoch.

        `rates` are those of all the epoch's steps. Nothing in here waits for the device.

        Returns:
            The steps' losses (S,), and the outputs for all inputs (n, ...).
        """
        step, size = self._graph or self._make_step, self.config.batch_size
        batches = zip(torch.split(inputs, size), torch.split(targets, size), strict=True)
        losses, answers = [], []
        for x, y in batches:
            before_step(done + 1)
            loss, outputs = step(x, y, rates[done])
            losses.append(loss)
            answers.append(outputs)
            done += 1
        return torch.stack(losses), torch.cat(answers)

    def _make_step(self, x: Tensor, y: Tensor, rate: float | Tensor) -> tuple[Tensor, Tensor]:
        """Make one step: the innermost of all; a small network's takes half a millisecond."""
        outputs = self._forward(x)
        loss = self._criterion.loss(outputs, y)
        if loss.requires_grad:  # or else all that could learn is frozen
            torch.autograd.backward(loss)
        self._optimizer.step(lr=rate)
        return loss.detach(), outputs.detach()

    def evaluate(self, split: str, *, before_batch: Callable[[], None]) -> Score:
        """Score the network as it is on the split "val" or "test"; see `evaluation.evaluate`.

        On "val", dead units are looked for.
        """
        examples = self.data.val if split == "val" else self.data.test
        return evaluate(
            self.module,
            examples,
            self.data,
            self._criterion,
            before_batch=before_batch,
            batch_size=evaluated_at_once(self.config.architecture, self._device),
            layout=self._layout,
            precision=self.config.precision,
            watches_units=split == "val",
        )

    def weights(self) -> Mapping[str, Tensor]:
        """Give weights and batch norm's statistics, as they are now and not copied."""
        return self.module.state_dict()

    def copy_weights(self) -> dict[str, Tensor]:
        """Copy weights and batch norm's statistics, as they are now."""
        return {name: value.clone() for name, value in self.weights().items()}

    def optimizer_state(self) -> dict[str, Any]:
        """Give what the optimizer remembers, not copied: the next step changes it."""
        return self._optimizer.state()

    def restore(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Any] | None) -> None:
        """Go on from weights and an optimizer's state; None where no step is left to make."""
        self.module.load_state_dict(weights)
        if optimizer is not None:
            self._optimizer.restore(optimizer)
            if self._graph is not None:
                self._graph.forget()  # the optimizer may keep its state elsewhere now

    def _augmentation(self, epoch: int) -> Change | None:
        """Give what is done to the training images of an epoch."""
        config = self.config.augmentation
        if config.name == "none":
            return None
        self._chance.manual_seed(stream_seed(self.config.seed, "augmentation", epoch))
        return functools.partial(augment, config=config, generator=self._chance)


def draw_order(config: TrialConfig, epoch: int, num_examples: int) -> Tensor:
    """Draw in which order an epoch passes over a split: (N,) int64, on the CPU."""
    drawn = torch.Generator().manual_seed(stream_seed(config.seed, "order", epoch))
    return torch.randperm(num_examples, generator=drawn)


def epoch_rates(config: TrialConfig, epoch: int, *, steps_per_epoch: int) -> list[float]:
    """Give the learning rates of the steps of an epoch, from 1."""
    optimizer, epochs = config.optimizer, config.epochs
    return [*_rates(config.schedule, optimizer.lr, epochs, epoch, steps_per_epoch)]


@functools.lru_cache(maxsize=1024)  # the seeds of a variant ask alike
def _rates(
    schedule: ScheduleConfig, base: float, epochs: int, epoch: int, steps_per_epoch: int
) -> tuple[float, ...]:
    last = epoch * steps_per_epoch
    return tuple(
        learning_rate(
            schedule,
            base=base,
            step=step,
            steps_per_epoch=steps_per_epoch,
            total_steps=steps_per_epoch * epochs,
        )
        for step in range(last - steps_per_epoch, last)
    )


def mean_loss(batch_losses: Tensor, *, batch_size: int, num_examples: int) -> float:
    """Average the losses (S,) of an epoch's batches by their examples; the last may be smaller."""
    sizes = torch.full_like(batch_losses, batch_size)
    sizes[-1] = num_examples - batch_size * (len(sizes) - 1)
    return float((batch_losses * sizes).sum().item() / num_examples)

"""What is true of a run, measured in ways that the doctor has no part in.

The doctor sees the running training loss and the validation split. Here are the losses on the
test split and, without dropout, on the whole training split after every epoch; what the same run
comes to with twice the epochs, ten times the rate and a tenth of it; and the units that are dead on
the whole training split.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.labelled_curves.cases import Case
from benchmarks.labelled_curves.tricks import played
from experiments.records import TrialConfig
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.evaluation import evaluate
from workers.learner import Learner

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Run:
    """The losses after each epoch: of training while it went on, on both splits after it."""

    running: tuple[float, ...]
    train: tuple[float, ...]
    test: tuple[float, ...]
    dead_units: float | None

    @property
    def is_finite(self) -> bool:
        """Whether it came to its end with numbers."""
        return all(map(math.isfinite, (*self.running, *self.train, *self.test)))


@dataclass(frozen=True, slots=True)
class Truth:
    """A run, and what would have become of it.

    Attributes:
        run: As it was.
        untrained: Training loss before the first step.
        guess: Training loss of the best answer that looks at no input; None where it has no
            closed form.
        longer_test: Test loss after twice the epochs.
        faster_train: Training loss with ten times the rate; None where that cannot matter.
        calmer_test: Test losses with a tenth of the rate (shuffled, where it was not).
    """

    run: Run
    untrained: float
    guess: float | None
    longer_test: float | None
    faster_train: float | None
    calmer_test: tuple[float, ...]

    def to_data(self) -> dict[str, Any]:
        """Give the numbers as JSON-ready data."""
        return asdict(self)


def truth_of(case: Case, config: TrialConfig, data: StagedData) -> Truth:
    """Train a case and its twins."""
    constant = config.schedule.name == "constant" and config.schedule.warmup_epochs == 0
    doubled = replace(config, epochs=2 * config.epochs)
    longer = _train(case.trick, config, doubled, data)
    run = _cut(longer, config.epochs) if constant else _train(case.trick, config, config, data)
    dead = _dead_share(case.trick, config, data) if run.is_finite else None
    with played(case.trick, config, data):
        untrained = _loss(Learner(config, data, device=CPU), data)
    faster = slower = None
    lr = config.optimizer.lr
    if run.is_finite:
        quick = replace(config, optimizer=replace(config.optimizer, lr=10 * lr))
        faster = _train(case.trick, config, quick, data)
        slow = replace(config, optimizer=replace(config.optimizer, lr=lr / 10))
        calm = "" if case.trick == "not shuffled" else case.trick
        slower = _train(calm, config, config if calm != case.trick else slow, data)
    return Truth(
        run=replace(run, dead_units=dead),
        untrained=untrained,
        guess=_guess(config, data),
        longer_test=longer.test[-1] if longer.is_finite else None,
        faster_train=faster.train[-1] if faster is not None and faster.is_finite else None,
        calmer_test=slower.test if slower is not None else (),
    )


def _train(trick: str, case: TrialConfig, config: TrialConfig, data: StagedData) -> Run:
    """Train with the plain loop, scoring both splits after every epoch."""
    running, train, test = list[float](), list[float](), list[float]()
    with played(trick, case, data):
        learner = Learner(config, data, device=CPU)
        for epoch in range(1, config.epochs + 1):
            record = learner.train_epoch(epoch, before_step=lambda _: None)
            running.append(record.train.loss)
            train.append(_loss(learner, data))
            test.append(learner.evaluate("test", before_batch=lambda: None).loss)
            if not all(map(math.isfinite, (running[-1], train[-1], test[-1]))):
                break
    return Run(tuple(running), tuple(train), tuple(test), None)


def _cut(run: Run, epochs: int) -> Run:
    return Run(run.running[:epochs], run.train[:epochs], run.test[:epochs], None)


def _loss(learner: Learner, data: StagedData) -> float:
    """Score the training split as an evaluation does."""
    criterion = Criterion(learner.config, data)
    score = evaluate(learner.module, data.train, data, criterion, before_batch=lambda: None)
    return score.loss


def _dead_share(trick: str, config: TrialConfig, data: StagedData) -> float | None:
    """Count by hand the rectified units that are zero on all of the training split."""
    with played(trick, config, data):
        learner = Learner(config, data, device=CPU)
        for epoch in range(1, config.epochs + 1):
            learner.train_epoch(epoch, before_step=lambda _: None)
    alive: dict[nn.Module, Tensor] = {}

    def look(module: nn.Module, _: Any, outputs: Tensor) -> None:
        axes = [axis for axis in range(outputs.dim()) if axis != 1]
        now = (outputs > 0).sum(dim=axes) > 0
        alive[module] = now | alive[module] if module in alive else now

    handles = [
        part.register_forward_hook(look)
        for part in learner.module.modules()
        if isinstance(part, nn.ReLU)
    ]
    _loss(learner, data)
    for handle in handles:
        handle.remove()
    if not alive:
        return None
    return 1 - torch.cat([*alive.values()]).double().mean().item()


def _guess(config: TrialConfig, data: StagedData) -> float | None:
    """Give the least training loss of an answer that is the same for every example.

    The entropy of the classes, the variance of the values or pixels, or the mean distance from the
    median, whichever the loss makes it.
    """
    targets = data.train.targets[data.train.indices]
    task, loss = config.task, config.loss
    if task in {"classification", "binary", "segmentation"}:
        if loss not in {"cross_entropy", "binary_cross_entropy", "kullback_leibler_divergence"}:
            shares = functional.one_hot(targets.long(), len(data.class_names)).double().mean(0)
            is_square = loss == "mean_squared_error" and task == "classification"
            return float((shares * (1 - shares)).mean()) if is_square else None
        counts = torch.bincount(targets.flatten().long()).double()
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * shares.log()).sum())
    if loss != "mean_squared_error":
        return None
    if task == "reconstruction":
        targets = data.train.inputs[data.train.indices].double() / data.full_scale
    return float(targets.double().var(dim=0, correction=0).mean())

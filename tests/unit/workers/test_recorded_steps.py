"""Steps that are recorded once and replayed: what is replayed, and what is run as it is."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from experiments.planning.strategies import Strategy
from experiments.records import ScheduleConfig, TrialConfig
from tests.unit.workers.fusion.pack_runs import OPTIMIZERS, convnet
from workers.datasets.staged import StagedData
from workers.groups import Group, build_group
from workers.layer_modules import StreamDropout
from workers.learner import EpochRecord
from workers.recorded_steps import RecordedStep, Step, Work, drops, recorded

MakeConfig = Callable[..., TrialConfig]
CPU = torch.device("cpu")


class Rerun:
    """A recorder that replays by doing the work again, and leaves results where they were."""

    def __init__(self, losses: tuple[int, ...] = (), outputs: tuple[int, ...] = (4, 2)) -> None:
        """The shapes are those of the results."""
        self._shapes = losses, outputs
        self.warm_ups = self.recordings = self.replays = 0

    def warm_up(self, work: Work) -> tuple[Tensor, Tensor]:
        self.warm_ups += 1
        return work()

    def record(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        self.recordings += 1
        losses, outputs = map(torch.zeros, self._shapes)

        def replay() -> None:
            self.replays += 1
            for place, result in zip((losses, outputs), work(), strict=True):
                place.copy_(result)

        return replay, (losses, outputs)


def summing(inputs: Tensor, targets: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Stand in for a step: all that it is given shows in its results."""
    return inputs.sum() * rate + targets.sum(), inputs * rate


def batch(value: float, size: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    return torch.full((size, 2), value), torch.full((size,), 10 * value), torch.tensor(value)


def test_every_step_gets_its_own_numbers_whether_it_is_run_or_replayed() -> None:
    recorder = Rerun()
    step = RecordedStep(summing, recorder, module=torch.nn.ReLU())
    results = [step(*batch(float(value))) for value in range(6)]
    assert (recorder.warm_ups, recorder.recordings, recorder.replays) == (3, 1, 3)
    for value, (loss, outputs) in enumerate(results):  # those of replays are copies
        wanted = summing(*batch(float(value)))
        torch.testing.assert_close((loss, outputs), wanted, rtol=0, atol=0)
    assert step.works


def test_a_smaller_batch_is_run_as_it_is_and_never_recorded() -> None:
    recorder = Rerun()
    step = RecordedStep(summing, recorder, module=torch.nn.ReLU())
    for value in range(3):
        step(*batch(float(value)))
    for value in range(2):
        loss, outputs = step(*batch(float(value), size=3))
        assert loss == summing(*batch(float(value), size=3))[0]
        assert outputs.shape == (3, 2)
    assert (recorder.recordings, recorder.replays) == (0, 0)
    step(*batch(7.0))
    step(*batch(8.0, size=3))
    assert (recorder.recordings, recorder.replays) == (1, 1)


def test_what_cannot_be_recorded_is_run_and_says_why() -> None:
    class Refuses(Rerun):
        def record(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
            super().record(work)
            raise RuntimeError("operation not permitted when stream is capturing")

    module = torch.nn.Linear(2, 1)
    module.weight.grad = torch.ones(1, 2)
    recorder = Refuses()
    step = RecordedStep(summing, recorder, module=module)
    losses = [step(*batch(float(value)))[0].item() for value in range(6)]
    assert losses == [summing(*batch(float(value)))[0].item() for value in range(6)]
    assert recorder.recordings == 1  # it is not tried again
    assert not step.works
    assert step.refusal is not None
    assert "not permitted when stream is capturing" in step.refusal
    assert module.weight.grad is None


def test_want_of_memory_is_no_refusal() -> None:
    class Full(Rerun):
        def record(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
            raise torch.cuda.OutOfMemoryError(f"no room for {work}")

    step = RecordedStep(summing, Full(), module=torch.nn.ReLU())
    for value in range(3):
        step(*batch(float(value)))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        step(*batch(3.0))


def test_what_is_forgotten_is_recorded_anew() -> None:
    recorder = Rerun()
    step = RecordedStep(summing, recorder, module=torch.nn.ReLU())
    for _ in range(2):
        for value in range(5):
            step(*batch(float(value)))
        step.forget()
    assert (recorder.warm_ups, recorder.recordings) == (6, 2)


def test_a_cpu_has_no_graphs_and_trains_without() -> None:
    step = recorded(summing, module=torch.nn.ReLU(), device=CPU, generators=[])
    assert step.refusal == "there are no CUDA graphs on a cpu"
    assert step(*batch(2.0))[0] == summing(*batch(2.0))[0]


@pytest.mark.parametrize("members", [1, 3])
def test_the_record_says_what_ran(
    make_config: MakeConfig, digits: StagedData, members: int
) -> None:
    configs = [make_config(seed=seed) for seed in range(members)]
    asked, plain = (
        build_group(configs, digits, device=CPU, strategy=Strategy(members, graph=graph))
        for graph in (True, False)
    )
    assert "graph" not in asked.strategy
    assert asked.strategy == plain.strategy
    assert train(asked, 1) == train(plain, 1)


def test_dropout_that_drops_nothing_needs_no_generator() -> None:
    assert drops(torch.nn.Sequential(StreamDropout(0.5)))
    assert not drops(torch.nn.Sequential(StreamDropout(0.0), torch.nn.Linear(1, 1)))


# torch's rmsprop of a network alone takes a tensor for its rate on a GPU only.
@pytest.mark.parametrize(
    ("optimizer", "members"),
    [*((name, 3) for name in OPTIMIZERS), ("sgd", 1), ("nesterov", 1), ("adam", 1), ("adamw", 1)],
)
def test_replayed_steps_train_to_the_numbers_of_steps_that_are_run(
    make_config: MakeConfig,
    digits: StagedData,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
    members: int,
) -> None:
    losses = (members,) if members > 1 else ()
    recorder = Rerun(losses, (*losses, 32, 10))

    def rerun(step: Step, *, module: torch.nn.Module, **_: object) -> RecordedStep:
        return RecordedStep(step, recorder, module=module)

    configs = [
        make_config(
            layers=convnet(dropout=0.2),
            optimizer=OPTIMIZERS[optimizer](i),
            schedule=ScheduleConfig("cosine"),
            seed=i,
        )
        for i in range(members)
    ]
    for place in ("workers.learner", "workers.fusion.fused_learner"):
        monkeypatch.setattr(f"{place}.recorded", rerun)
    run, replayed = (
        build_group(configs, digits, device=CPU, strategy=Strategy(members, graph=graph))
        for graph in (False, True)
    )
    for epoch in (1, 2):
        pairs = zip(*(train(group, epoch) for group in (run, replayed)), strict=True)
        for expected, found in pairs:
            # A rate is rounded to float32 in a tensor.
            assert found.batch_losses == pytest.approx(expected.batch_losses, rel=1e-4)
            assert found.train.metrics == pytest.approx(expected.train.metrics, abs=0.02)
            assert found.lr == expected.lr
    # Of 12 steps two are of smaller batches, and three came before the recording.
    assert (recorder.warm_ups, recorder.recordings, recorder.replays) == (3, 1, 7)
    assert replayed.strategy == f"{run.strategy}, CUDA graph"


def train(group: Group, epoch: int) -> list[EpochRecord]:
    return group.train_epoch([epoch] * len(group.members), before_step=lambda _: None)

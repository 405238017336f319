"""What a worker keeps for the pool: events under their fences, heartbeats, and when to stop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from experiments.events import TrialBegun, TrialFailed, TrialStopped
from experiments.records import Assignment, Resources
from orchestrator.pools.pool import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    Message,
    PackDone,
    Reported,
    WorkerReady,
)
from orchestrator.pools.ray_worker import News, PackWorker
from tests.samples import a_config, success_of

PACK = [Assignment("a", 3, a_config()), Assignment("b", 7, a_config())]


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def news(clock: Clock) -> News:
    """News of a worker whose data is there."""
    news = News("w", patience_seconds=42.0, clock=clock)
    news.receive(PACK)
    news.begin(PACK)
    news.training_begins()
    return news


def test_events_carry_their_fences_in_the_order_of_their_coming(news: News) -> None:
    news.report(TrialBegun("b", 0, 0))
    news.report(TrialStopped("a"))
    news.end()
    assert news.take() == [
        Reported("w", 7, TrialBegun("b", 0, 0)),
        Reported("w", 3, TrialStopped("a")),
        PackDone("w"),
    ]


def test_heartbeat_comes_when_there_is_no_other_news(news: News, clock: Clock) -> None:
    clock.now += HEARTBEAT_SECONDS
    assert news.take() == [Heartbeat("w", 0)]


def test_heartbeat_comes_with_other_news_when_it_is_due(news: News, clock: Clock) -> None:
    news.report(TrialBegun("a", 0, 0))
    assert not beats(news.take())
    clock.now += HEARTBEAT_SECONDS
    news.report(TrialStopped("a"))
    assert beats(news.take()) == [2]
    news.report(TrialBegun("b", 0, 0))
    assert not beats(news.take())


def test_progress_rises_with_steps_and_events_and_is_unknown_while_data_is_prepared(
    news: News, clock: Clock
) -> None:
    def progress() -> int | None:
        clock.now += HEARTBEAT_SECONDS
        return beats(news.take())[0]

    assert [progress(), progress()] == [0, 0]
    news.stop_requested("a")
    assert progress() == 1
    news.report(TrialBegun("a", 0, 0))
    assert progress() == 2

    news.begin(PACK)
    assert progress() is None
    news.training_begins()
    assert progress() == 2


def test_only_trials_that_are_named_are_to_stop_until_the_next_pack(news: News) -> None:
    news.request_stop(["a", "unknown"])
    assert news.stop_requested("a")
    assert not news.stop_requested("b")
    news.receive(PACK)
    assert not news.stop_requested("a")


def test_all_trials_are_to_stop_when_no_renewal_is_told_of_for_too_long(
    news: News, clock: Clock
) -> None:
    clock.now += 42.0
    assert not news.stop_requested("a")
    news.renewed()
    clock.now += 42.0
    assert not news.stop_requested("a")
    clock.now += 0.1
    assert news.stop_requested("a")
    assert news.stop_requested("b")
    news.report(TrialStopped("a"))
    news.report(TrialStopped("b"))
    news.receive(PACK)  # under new leases
    assert not news.stop_requested("a")


def test_training_that_wants_to_end_the_worker_fails_its_trials_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def leave(*_: object, **__: object) -> NoReturn:
        raise SystemExit(3)

    monkeypatch.setattr("workers.devices.prepare_device", lambda **_: torch.device("cpu"))
    worker = PackWorker("w", resources=Resources(), data_root=tmp_path, lease_seconds=60.0)
    monkeypatch.setattr("workers.staging.stage", leave)

    worker.receive(PACK)
    worker.train_next()

    ready, first, second, done = worker.listen()
    assert isinstance(ready, WorkerReady)
    for message, trial_id in ((first, "a"), (second, "b")):
        assert isinstance(message, Reported)
        assert isinstance(message.event, TrialFailed)
        assert message.event.trial_id == trial_id
        assert message.event.failure.type == "SystemExit"
    assert done == PackDone("w")


def a_worker(monkeypatch: pytest.MonkeyPatch, folder: Path) -> PackWorker:
    """A worker whose data is there, and whose trials all go well at once."""

    def run_pack(pack: Sequence[Assignment], _: object, news: News, **__: object) -> None:
        for each in pack:
            news.report(success_of(each.trial_id))

    monkeypatch.setattr("workers.devices.prepare_device", lambda **_: torch.device("cpu"))
    monkeypatch.setattr("workers.staging.stage", lambda *_, **__: None)
    monkeypatch.setattr("workers.training.run_pack", run_pack)
    return PackWorker("w", resources=Resources(), data_root=folder, lease_seconds=60.0)


def told(worker: PackWorker) -> list[tuple[str, int, str] | str]:
    """Give what a worker says of its trials, and when a pack is done."""
    return [
        (message.event.trial_id, message.fence, type(message.event).__name__)
        if isinstance(message, Reported)
        else type(message).__name__
        for message in worker.listen()
    ]


def test_packs_that_wait_are_trained_in_the_order_of_their_coming(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = a_worker(monkeypatch, tmp_path)
    worker.receive(PACK)
    worker.receive([Assignment("c", 1, a_config())])
    worker.train_next()
    worker.train_next()
    assert told(worker) == [
        "WorkerReady",
        ("a", 3, "TrialSucceeded"),
        ("b", 7, "TrialSucceeded"),
        "PackDone",
        ("c", 1, "TrialSucceeded"),
        "PackDone",
    ]


def test_trials_that_wait_and_are_to_stop_end_at_once_and_are_not_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = a_worker(monkeypatch, tmp_path)
    worker.receive(PACK)
    worker.receive([Assignment("c", 1, a_config())])
    worker.stop(["b", "c", "unknown"])
    assert told(worker) == [
        "WorkerReady",
        ("b", 7, "TrialStopped"),
        ("c", 1, "TrialStopped"),
    ]
    worker.train_next()
    worker.train_next()
    assert told(worker) == [("a", 3, "TrialSucceeded"), "PackDone", "PackDone"]


def test_what_ends_a_pack_ends_none_that_waits_behind_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = a_worker(monkeypatch, tmp_path)

    def leave(*_: object, **__: object) -> NoReturn:
        worker.receive([Assignment("c", 1, a_config())])
        raise SystemExit(3)

    monkeypatch.setattr("workers.staging.stage", leave)
    worker.receive(PACK)
    worker.train_next()
    monkeypatch.setattr("workers.staging.stage", lambda *_, **__: None)
    worker.train_next()
    assert told(worker) == [
        "WorkerReady",
        ("a", 3, "TrialFailed"),
        ("b", 7, "TrialFailed"),
        "PackDone",
        ("c", 1, "TrialSucceeded"),
        "PackDone",
    ]


def test_trials_that_wait_join_those_of_their_shape_and_are_not_trained_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = a_worker(monkeypatch, tmp_path)

    def run_pack(
        pack: Sequence[Assignment],
        _: object,
        news: News,
        *,
        joining: Callable[[Assignment, int], Sequence[Assignment]],
        **__: object,
    ) -> None:
        news.report(success_of(pack[0].trial_id))
        for each in joining(pack[0], 2):
            news.report(TrialBegun(each.trial_id, 0, 0))
        raise SystemExit(3)

    monkeypatch.setattr("workers.training.run_pack", run_pack)
    worker.receive([Assignment("a", 1, a_config())])
    for name in "cde":
        worker.receive([Assignment(name, 1, a_config(seed=1))])
    worker.train_next()
    assert told(worker)[1:] == [
        ("a", 1, "TrialSucceeded"),
        ("c", 1, "TrialBegun"),
        ("d", 1, "TrialBegun"),
        ("c", 1, "TrialFailed"),
        ("d", 1, "TrialFailed"),
        "PackDone",
    ]
    worker.train_next()
    worker.train_next()
    assert told(worker) == ["PackDone", "PackDone"]


def test_a_pack_that_comes_behind_another_makes_no_lease_of_that_newer(
    news: News, clock: Clock
) -> None:
    clock.now += 42.0
    news.receive([Assignment("c", 1, a_config())])
    clock.now += 0.1
    assert news.stop_requested("a")


def test_a_stop_is_kept_while_the_next_pack_begins(news: News) -> None:
    news.receive([Assignment("c", 1, a_config())])
    news.request_stop(["c"])
    news.begin([Assignment("c", 1, a_config())])
    assert news.stop_requested("c")


def beats(messages: list[Message]) -> list[int | None]:
    """Give the progress that the heartbeats among messages tell of."""
    return [message.progress for message in messages if isinstance(message, Heartbeat)]

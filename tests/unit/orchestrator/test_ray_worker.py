"""What a worker keeps for the pool: events under their fences, heartbeats, and when to stop."""

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
from tests.samples import a_config

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
    news.begin(PACK)
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
    news.begin(PACK)  # under new leases
    assert not news.stop_requested("a")


def test_training_that_wants_to_end_the_worker_fails_its_trials_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def leave(*_: object, **__: object) -> NoReturn:
        raise SystemExit(3)

    monkeypatch.setattr("workers.devices.prepare_device", lambda **_: torch.device("cpu"))
    worker = PackWorker("w", resources=Resources(), data_root=tmp_path, lease_seconds=60.0)
    monkeypatch.setattr("workers.staging.stage", leave)

    worker.run(PACK)

    ready, first, second, done = worker.listen()
    assert isinstance(ready, WorkerReady)
    for message, trial_id in ((first, "a"), (second, "b")):
        assert isinstance(message, Reported)
        assert isinstance(message.event, TrialFailed)
        assert message.event.trial_id == trial_id
        assert message.event.failure.type == "SystemExit"
    assert done == PackDone("w")


def beats(messages: list[Message]) -> list[int | None]:
    """Give the progress that the heartbeats among messages tell of."""
    return [message.progress for message in messages if isinstance(message, Heartbeat)]

"""When the orchestrator has the mirror there, with a mirror that starts nothing."""

from collections.abc import Sequence

import pytest

from experiments.errors import StoreUnavailableError
from orchestrator.mirroring.mirror import Untold
from orchestrator.scheduling.mirror_keeper import MirrorKeeper
from tests.samples import SettableClock

PID = 4711


class FakeMirror:
    """Tells so many entries between two looks; the last number of `pending` stays."""

    def __init__(self) -> None:
        self.pending: list[int] = [0]
        self.is_running = False
        self.is_stuck = False
        self.is_let_go = False
        self.num_starts = 0
        self.refusal: OSError | None = None

    @property
    def pid(self) -> int | None:
        return PID if self.is_running else None

    def start(self) -> None:
        self.num_starts += 1
        if self.refusal is not None:
            raise self.refusal
        self.is_running = True

    def num_pending(self) -> int:
        now = self.pending.pop(0) if len(self.pending) > 1 else self.pending[0]
        if now < 0:
            raise StoreUnavailableError("away")
        return now

    def let_go(self) -> bool:
        self.is_let_go = True
        return True


class Place:
    """A keeper with its mirror, and whom the reaper was told to spare."""

    def __init__(self) -> None:
        self.mirror = FakeMirror()
        self.spared: list[int] = []
        self.keeper = MirrorKeeper(
            self.mirror,  # type: ignore[arg-type]
            orchestrator="0a1b2c3d",
            spare=self.spared.append,
            patience_seconds=0.0,
        )

    def hand_over(self, pending: Sequence[int], *, is_stopping: bool = False) -> Untold:
        self.mirror.pending = list(pending)
        return self.keeper.hand_over(is_stopping=lambda: is_stopping)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """The keeper's time, in which only sleep passes."""
    clock = SettableClock()
    clock.seconds = 100.0

    def sleep(seconds: float) -> None:
        clock.seconds += seconds

    monkeypatch.setattr(
        "orchestrator.scheduling.mirror_keeper.time.monotonic", lambda: clock.seconds
    )
    monkeypatch.setattr("orchestrator.scheduling.mirror_keeper.time.sleep", sleep)
    return clock


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_mirror_that_cannot_be_started_is_told_and_tried_later(
    place: Place, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    place.mirror.refusal = OSError(28, "No space left on device")
    for _ in range(3):
        place.keeper.keep()
    (message,) = caplog.messages
    assert "No space left on device" in message
    clock.seconds += 10
    place.keeper.keep()
    assert place.mirror.num_starts == 2


def test_an_idle_orchestrator_has_the_mirror_tell_what_waits(
    place: Place, clock: SettableClock
) -> None:
    keeper = place.keeper
    keeper.begin()
    place.mirror.pending = [1]
    assert not keeper.is_needed(is_working=False)
    clock.seconds += 10
    assert keeper.is_needed(is_working=False)
    assert not keeper.is_needed(is_working=False)
    for nothing in (0, -1):
        clock.seconds += 10
        place.mirror.pending = [nothing]
        assert not keeper.is_needed(is_working=False)


def test_work_goes_on_without_the_mirror_for_its_first_seconds(
    place: Place, clock: SettableClock
) -> None:
    keeper = place.keeper
    assert not keeper.is_needed(is_working=True)
    clock.seconds += 9
    assert not keeper.is_needed(is_working=True)
    assert not keeper.is_needed(is_working=False)
    clock.seconds += 1
    assert keeper.is_needed(is_working=True)


def test_short_work_is_told_of_by_a_mirror_that_starts_at_its_end(
    place: Place, clock: SettableClock
) -> None:
    assert place.hand_over([1]) == Untold(1, goes_on=True)
    assert clock.seconds == 100.0
    assert place.mirror.num_starts == 1


def test_what_takes_longer_is_handed_over_at_once(place: Place, clock: SettableClock) -> None:
    assert place.hand_over([50]) == Untold(50, goes_on=True)
    assert clock.seconds == 100.0
    assert place.spared == [PID]
    assert place.mirror.is_let_go


def test_what_is_told_within_a_moment_is_not_handed_over(
    place: Place, clock: SettableClock
) -> None:
    place.mirror.is_running = True
    assert place.hand_over([3, 3, 2, 1, 0]) == Untold(0, goes_on=False)
    assert 100.0 < clock.seconds <= 101.0
    assert not place.mirror.is_let_go
    assert not place.spared


def test_what_is_not_told_within_a_moment_is_handed_over(
    place: Place, clock: SettableClock
) -> None:
    place.mirror.is_running = True
    assert place.hand_over([3]) == Untold(3, goes_on=True)
    assert 101.0 <= clock.seconds <= 101.5
    assert place.spared == [PID]


@pytest.mark.usefixtures("clock")
def test_nothing_goes_on_where_all_is_told_mlflow_is_silent_or_a_stop_was_asked_for(
    place: Place,
) -> None:
    assert place.hand_over([0]) == Untold(0, goes_on=False)
    assert place.hand_over([50], is_stopping=True) == Untold(50, goes_on=False)
    place.mirror.is_stuck = True
    assert place.hand_over([50]) == Untold(50, goes_on=False)
    assert not place.mirror.is_let_go
    assert not place.spared


@pytest.mark.usefixtures("clock")
def test_a_mirror_that_cannot_be_started_is_not_said_to_go_on(place: Place) -> None:
    place.mirror.refusal = OSError(28, "No space left on device")
    assert place.hand_over([50]) == Untold(50, goes_on=False)
    assert not place.spared


@pytest.mark.usefixtures("clock")
def test_the_wait_for_mlflow_ends_when_time_is_up_or_waiting_is_in_vain(place: Place) -> None:
    def drained(seconds: float, pending: Sequence[int]) -> int:
        place.mirror.pending = list(pending)
        return place.keeper.drain(
            timeout_seconds=seconds, on_turn=seen.append, is_stopping=lambda: False
        )

    seen: list[int] = []
    assert drained(180.0, [50, 20, 1, 0]) == 0
    assert seen == [50, 20, 1]
    assert drained(2.0, [7]) == 7
    place.mirror.is_stuck = True
    assert drained(180.0, [7]) == 7

"""When MLflow is told what, with a tracking server of plain Python that fails as a test says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from experiments.errors import StoreUnavailableError
from orchestrator.mirroring.mlflow_drain import (
    IN_DOUBT_SECONDS,
    STUCK_SECONDS,
    Drain,
    InDoubtError,
    MlflowBusyError,
)
from orchestrator.queueing import outbox as entries
from orchestrator.queueing.outbox import Outbox
from orchestrator.store import tables
from orchestrator.store.database import open_store, reading, writing
from tests.samples import SettableClock

REFUSED = ConnectionRefusedError("nobody listens at http://me:hunter2@there")


class Records:
    """Gives a trial's id for its run."""

    def run(self, trial_id: str) -> Any:
        return None if trial_id == "open" else trial_id

    def model(self, experiment_id: str, variant: str) -> Any:
        return f"{experiment_id} {variant}"

    def files(self, trial_id: str, folder: Path) -> Any:
        return None if folder.name == "gone" else f"{trial_id} {folder}"


class Tracker:
    """Counts what it is asked; `down` fails everything, `refused` what is named there."""

    def __init__(self) -> None:
        self.down: Exception | None = None
        self.refused: dict[str, Exception] = {}
        self.told: list[str] = []
        self.num_looks = 0
        self.num_asked = 0

    def check(self) -> None:
        self.num_looks += 1
        if self.down is not None:
            raise self.down

    def write_run(self, record: Any) -> None:
        self.num_asked += 1
        if error := self.refused.get(record, self.down):
            raise error
        self.told.append(record)

    def write_model(self, record: Any) -> None:
        self.write_run(record)

    def write_files(self, record: Any) -> None:
        self.write_run(record)


class Place:
    """A drain between an outbox and a tracker; one clock for all, moved by hand."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = SettableClock()
        self.outbox = Outbox(engine, now=self.clock)
        self.tracker = Tracker()
        self.drain = self.anew()

    def anew(self) -> Drain:
        """Give a drain that knows nothing yet, as after the death of its process."""
        records: Any = Records()
        return Drain(
            self.outbox,
            records,
            engine=self.engine,
            open_mlflow=lambda: self.tracker,
            secrets=("hunter2",),
            clock=lambda: self.clock.seconds,
        )

    def add(self, *keys: str, kind: str = entries.TRIAL) -> None:
        with writing(self.engine) as connection:
            entries.enqueue(connection, kind, keys, now=self.clock.seconds)

    def turns(self, seconds: float, *, every: float = 0.5) -> int:
        """Turn for so long; give how many entries were told."""
        told = 0
        for _ in range(int(seconds / every)):
            told += self.drain.turn()
            self.clock.seconds += every
        return told

    def errors(self) -> dict[str, str | None]:
        table = tables.outbox
        with reading(self.engine) as connection:
            query = select(table.c.key, table.c.error).where(table.c.done_at.is_(None))
            return {row.key: row.error for row in connection.execute(query)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    engine = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    yield Place(engine)
    engine.dispose()


def test_all_that_is_due_is_told_in_a_turn(place: Place) -> None:
    place.add(*(f"t{number:02d}" for number in range(40)))
    place.add("e/lr=0.1/b", kind=entries.MODEL)

    assert place.drain.turn() == 41
    assert place.tracker.told[-1] == "e lr=0.1/b"
    assert not place.drain.is_stuck


def test_models_are_told_when_no_run_waits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model = place.tracker.write_model

    def slow(record: Any) -> None:
        place.add("meanwhile")  # a trial has ended while the model was being written
        write_model(record)

    monkeypatch.setattr(place.tracker, "write_model", slow)
    place.add("e/a", "e/b", kind=entries.MODEL)
    place.clock.seconds += 1
    place.add(*(f"t{number:02d}" for number in range(20)))

    assert place.drain.turn() == 24
    runs = [f"t{number:02d}" for number in range(20)]
    assert place.tracker.told == [*runs, "e a", "meanwhile", "e b", "meanwhile"]


def test_files_are_told_after_the_runs_and_before_the_models(place: Place) -> None:
    place.add("e/a", kind=entries.MODEL)
    place.add("t1//home/reports/grid", "t2//home/reports/gone", kind=entries.FILES)
    place.add("t1")

    assert place.drain.turn() == 4  # a folder that is gone is no more to be told
    assert place.tracker.told == ["t1", "t1 /home/reports/grid", "e a"]


def test_trial_tried_anew_is_told_when_it_has_ended(place: Place) -> None:
    place.add("open")

    assert place.drain.turn() == 1
    assert not place.tracker.told


@pytest.mark.parametrize("down", [REFUSED, TimeoutError("10 s"), MlflowBusyError("503")])
def test_outage_costs_one_look_at_a_time_however_much_waits(place: Place, down: Exception) -> None:
    place.turns(1)
    place.tracker.down, place.tracker.num_looks = down, 0
    place.add(*(f"t{number}" for number in range(100)))
    place.turns(200, every=1.0)

    assert place.tracker.num_asked == 1
    assert 33 <= place.tracker.num_looks <= 45  # every five seconds
    place.tracker.down = None
    assert place.turns(6) == 100
    assert sorted(place.tracker.told) == sorted(f"t{number}" for number in range(100))


def test_server_that_is_down_at_the_start_is_noted_where_people_can_read_it(place: Place) -> None:
    place.tracker.down = REFUSED
    place.add("t1", "t2")
    place.turns(5)

    (error,) = {error for error in place.errors().values() if error}
    assert error == "ConnectionRefusedError: nobody listens at http://me:(redacted)@there"


def test_wish_to_be_left_alone_is_respected_within_reason(place: Place) -> None:
    place.tracker.down = MlflowBusyError("429", retry_after_seconds=30.0)
    place.add("t1")
    place.turns(29)
    assert place.tracker.num_looks == 1
    place.turns(10)
    assert place.tracker.num_looks == 2

    place.tracker.down = MlflowBusyError("429", retry_after_seconds=1e9)
    place.turns(60)
    place.tracker.down = None
    assert place.turns(65) == 1


def test_error_in_the_midst_of_others_is_told_apart_from_an_outage(place: Place) -> None:
    place.tracker.refused = {"t2": ValueError("400: a tag too long")}
    place.add("t1", "t2", "t3")

    assert place.drain.turn() == 2
    assert place.tracker.told == ["t1", "t3"]
    assert place.errors() == {"t2": "ValueError: 400: a tag too long"}


def test_what_is_refused_for_good_is_tried_ever_more_rarely_and_blocks_nothing(
    place: Place,
) -> None:
    place.tracker.refused = {"poison": ValueError("no")}
    place.add("poison")
    asked = []
    for _ in range(5):
        place.tracker.num_asked = 0
        place.turns(1000, every=5.0)
        asked.append(place.tracker.num_asked)
        place.add(f"t{len(asked)}")
        assert place.turns(1) >= 1
    assert 8 <= asked[0] <= 10
    assert sum(asked[1:]) <= 4


def test_what_times_out_every_time_does_not_hold_up_the_others(place: Place) -> None:
    place.tracker.refused = {"huge": TimeoutError("10 s")}
    place.add("huge")
    place.turns(120, every=1.0)
    place.add(*(f"t{number}" for number in range(50)))

    assert place.turns(10) == 50
    assert list(place.errors()) == ["huge"]


def test_an_error_wrapped_by_others_is_still_no_answer(place: Place) -> None:
    wrapped = ValueError("MLflow says")
    wrapped.__context__ = RuntimeError("urllib3 says")
    wrapped.__context__.__cause__ = ConnectionResetError("cut")
    place.tracker.refused = {"t1": wrapped}
    place.add("t1", "t2")

    assert place.drain.turn() == 0  # first a look, a moment later
    assert place.turns(2) == 1
    assert place.tracker.told == ["t2"]
    assert place.errors() == {"t1": "ConnectionResetError: cut"}


def test_what_may_have_been_made_is_looked_for_when_the_server_has_had_its_time(
    place: Place,
) -> None:
    place.tracker.refused = {"t1": InDoubtError("no answer")}
    place.add("t1")
    place.turns(1)
    place.tracker.refused = {}

    assert place.turns(IN_DOUBT_SECONDS - 2) == 0
    assert place.turns(3) == 1


def test_stuck_is_said_when_nothing_was_told_for_a_while_though_something_waits(
    place: Place,
) -> None:
    def is_stuck_after(seconds: float) -> bool:
        place.turns(seconds)
        return place.drain.is_stuck

    assert not is_stuck_after(20)  # nothing to tell

    place.tracker.down = REFUSED
    place.add("t1", "t2")
    assert not is_stuck_after(STUCK_SECONDS - 1)
    assert is_stuck_after(2)

    place.tracker.down = None
    assert not is_stuck_after(8)
    assert sorted(place.tracker.told) == ["t1", "t2"]


def test_slow_but_moving_is_not_stuck(place: Place) -> None:
    place.add(*(f"t{number}" for number in range(20)))
    slow = place.tracker.write_run

    def write_run(record: Any) -> None:
        place.clock.seconds += 2 * STUCK_SECONDS
        slow(record)

    place.tracker.write_run = write_run  # type: ignore[method-assign]
    place.drain.turn()
    assert not place.drain.is_stuck


def test_what_only_waits_out_a_refusal_is_stuck_for_a_new_process_too(place: Place) -> None:
    place.tracker.refused = {"poison": ValueError("no")}
    place.add("poison")
    place.turns(300, every=5.0)
    place.drain = place.anew()
    place.turns(STUCK_SECONDS + 1)

    assert place.drain.is_stuck


def test_error_of_any_length_and_letters_is_kept_in_one_short_line(place: Place) -> None:
    place.tracker.refused = {"t1": ValueError("<html>\n\x1b[31m\0" + 10_000 * "x")}
    place.add("t1")
    place.turns(1)

    (error,) = place.errors().values()
    assert error is not None
    assert error.startswith(r"ValueError: <html> \x1b[31m\x00xxx")
    assert len(error) == 500


def test_what_fails_in_our_own_store_is_not_held_against_mlflow(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add("one")
    with monkeypatch.context() as patched:

        def away(_records: Records, _trial_id: str) -> None:
            raise StoreUnavailableError("the server is starting")

        patched.setattr(Records, "run", away)
        with pytest.raises(StoreUnavailableError):
            place.drain.turn()
    assert place.errors() == {"one": None}
    assert place.drain.turn() == 1


def test_a_turn_ends_so_that_its_lock_does_not_grow_old(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run = place.tracker.write_run

    def slow(record: str) -> None:
        place.clock.seconds += 10.0
        write_run(record)

    monkeypatch.setattr(place.tracker, "write_run", slow)
    place.add(*(f"t{number:02d}" for number in range(40)))
    assert place.drain.turn() < 40
    place.drain.turn()
    place.drain.turn()
    assert not place.errors()


@pytest.mark.postgres
def test_of_two_mirrors_one_tells_and_keeps_nothing_from_being_vacuumed(
    new_postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_store(new_postgres_url(), create=True)
    place = Place(engine)
    other, write_run = place.anew(), place.tracker.write_run
    told_by_other: list[int] = []
    snapshots: list[str | None] = []
    held = text(
        "SELECT backend_xmin FROM pg_stat_activity "
        "WHERE datname = current_database() AND state = 'idle in transaction'"
    )

    def look(record: str) -> None:
        told_by_other.append(other.turn())
        with reading(engine) as connection:
            snapshots.extend(connection.scalars(held))
        write_run(record)

    monkeypatch.setattr(place.tracker, "write_run", look)
    place.add("one")

    assert (place.drain.turn(), other.turn()) == (1, 0)
    assert told_by_other == [0]
    assert snapshots == [None]  # of the transaction that holds the lock
    engine.dispose()

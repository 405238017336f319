"""Waiting for a store that restarts, and no longer than that."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner

from experiments.errors import NotFoundError, StoreError, StoreUnavailableError
from orchestrator.mirroring.mirror import Mirror
from orchestrator.mirroring.mirror_lock import MirrorLock
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import StoreMissingError, open_store
from tests.samples import claim, submit
from trainyard import workplace
from trainyard.command import house, main, steer
from trainyard.workplace import Workplace, num_under_way, patiently


class Restarting:
    """Cannot be used for a number of calls."""

    def __init__(self, num_calls: int, error: Exception | None = None) -> None:
        self._left = num_calls
        self._error = error or StoreUnavailableError("the server is starting\x1b[2J")
        self.num_asked = 0

    def __call__(self) -> str:
        self.num_asked += 1
        if self.num_asked <= self._left:
            raise self._error
        return "here"


def test_a_store_that_is_back_soon_is_waited_for_in_silence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert patiently(Restarting(2)) == "here"
    assert capsys.readouterr() == ("", "")


def test_a_longer_wait_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workplace, "_QUIET_SECONDS", 0.0)
    assert patiently(Restarting(4)) == "here"
    assert capsys.readouterr().err == (
        "the server is starting\\x1b[2J; trying again for up to 15 s\n"
    )


def test_what_does_not_come_back_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplace, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(StoreUnavailableError, match="the server is starting"):
        patiently(Restarting(1000))


def test_what_waiting_does_not_mend_is_an_error_at_once() -> None:
    asked = Restarting(9, StoreError("of a newer version"))
    with pytest.raises(StoreError, match="of a newer version"):
        patiently(asked)
    assert asked.num_asked == 1


@pytest.mark.usefixtures("home")
def test_each_question_and_each_act_is_repeated_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with Workplace() as place:
        submit(place.queue, 2)
        pause, restarting = Queue.pause, Restarting(2)

        def fails_twice(*arguments: object, **options: object) -> object:
            restarting()
            return pause(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Queue, "pause", fails_twice)
        assert place.pause("grid").num_queued == 2
        assert restarting.num_asked == 3
        assert [trial.is_paused for trial in place.results.trials("exp1")] == [False, False]
        assert place.resume("grid") == 2


def test_reading_makes_no_store(home: Path) -> None:
    with Workplace() as place, pytest.raises(StoreMissingError):
        place.results  # noqa: B018 - the access is the test
    assert not home.exists()


@pytest.mark.usefixtures("home")
def test_a_verb_whose_commit_got_no_answer_says_that_it_may_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Workplace() as place:
        submit(place.queue, 2)
        place.cancel("grid")
    retry, restarting = Queue.retry, Restarting(1)

    def loses_the_answer(*arguments: object, **options: object) -> object:
        answer = retry(*arguments, **options)  # type: ignore[arg-type]
        restarting()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Queue, "retry", loses_the_answer)
        told = CliRunner().invoke(steer.retry, ["grid"], catch_exceptions=False)
    assert told.exit_code == 0
    assert "may have been done at the first try" in told.stderr
    assert "queued again" not in told.stdout
    with pytest.raises(NotFoundError, match="no trial of it failed or was cancelled"):
        CliRunner().invoke(steer.retry, ["grid"], catch_exceptions=False)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("verb", [steer.pause, steer.resume])
def test_what_is_finished_has_nothing_to_pause_or_resume(verb: Command) -> None:
    def told(what: str, *options: str) -> str:
        done = CliRunner().invoke(verb, [what, *options], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    with Workplace() as place:
        submit(place.queue, 2)
        place.cancel("exp1-0001")
        assert told("exp1-0001") == f"exp1-0001 is finished; nothing to {verb.name}\n"
        assert "finished" not in told("grid")
        place.resume("grid")
        assert "finished" not in told("grid")
        place.cancel("grid")
        assert told("grid") == f"grid is finished; nothing to {verb.name}\n"
        assert json.loads(told("grid", "--json"))["queued"] == 0


@pytest.mark.usefixtures("home")
def test_a_verb_that_gives_up_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workplace, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", "postgresql://me@127.0.0.1:1/yard")
    assert main.run(["status"]) == StoreError.exit_code
    told = capsys.readouterr().err
    mend = "start the server at 127.0.0.1:1, or see its log, then give the same command again"
    assert told.endswith(f"{mend}\n")
    assert "goes on by itself" not in told


def test_who_holds_the_trials_under_way_is_counted(home: Path) -> None:
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=True)
    submit(Queue(engine), 4)
    for orchestrator, number in (("a1", 2), ("b2", 1)):
        claim(Queue(engine, orchestrator=orchestrator), number)
    with Workplace() as place:
        assert num_under_way(place.results) == {"a1": 2, "b2": 1}
    engine.dispose()


def test_pages_of_mlflow_are_opened_while_what_it_lacks_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def let_go(_: Mirror) -> bool:
        started.append("let go")
        return True

    monkeypatch.setattr("os.execve", lambda *_: started.append("pages"))
    monkeypatch.setattr(Mirror, "start", lambda _: started.append("mirror"))
    monkeypatch.setattr(Mirror, "let_go", let_go)

    def open_pages() -> str:
        started.clear()
        return CliRunner().invoke(house.mlflow, catch_exceptions=False).stderr

    assert "told" not in open_pages()  # there is no store yet
    with Workplace() as place:
        submit(place.queue, 1)
        place.cancel("grid")
        place.outbox.mark_done(place.outbox.pending(1)[0])
    assert (
        "MLflow has yet to be told of 1 run or model; that goes on by itself" in open_pages()
    )  # its database is not there
    assert started == ["mirror", "let go", "pages"]

    (home / "mlflow.db").write_bytes(b"SQLite format 3")
    with closing(MirrorLock(f"sqlite:///{home / 'trainyard.db'}")) as lock:
        assert lock.take()  # as a process that tells it already
        assert "that goes on by itself" in open_pages()
    assert started == ["pages"]
    with Workplace() as place:
        place.outbox.mark_done(place.outbox.pending(1)[0])
    assert "told" not in open_pages()
    assert started == ["pages"]


@pytest.mark.usefixtures("home")
def test_pages_of_mlflow_are_opened_where_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    monkeypatch.setattr("os.execve", lambda *_: started.append("pages"))
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", "postgresql://me@127.0.0.1:1/yard")
    said = CliRunner().invoke(house.mlflow, catch_exceptions=False).stderr
    assert "MLflow is told nothing for now: " in said
    assert started == ["pages"]

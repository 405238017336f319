"""What gc removes of a home, and what it must never touch."""

import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.events import CheckpointSaved
from orchestrator.cleaning import (
    OLD_LOGS,
    UNFINISHED,
    UNRECORDED,
    UNUSED_DATA,
    Collected,
    collect,
    remove_unrecorded,
)
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.settings import Settings, from_environment
from orchestrator.store.database import open_store
from orchestrator.store.rows import RecordedFiles
from tests.samples import NOT_FINITE, claim_one, submit, success_of
from trainyard.command.main import run

HOUR = 3600.0


class Home:
    """A home with a store, and the files that workers write into it."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = from_environment({"TRAINYARD_HOME": str(folder)})
        self.settings.create_home()
        self.engine = open_store(self.settings.database_url, create=True)
        self.queue, self.results = Queue(self.engine), Results(self.engine)

    def claim(self) -> Lease:
        return claim_one(self.queue).lease

    def save(self, lease: Lease, name: str, *, on_record: bool = True) -> Path:
        """Write a checkpoint as a worker does, and record it."""
        folder = self.settings.checkpoint_folder(lease.trial_id, fence=lease.fence)
        path = written(folder / name)
        if on_record:
            kind, epoch = path.stem.split("-")[:2]
            event = CheckpointSaved(
                lease.trial_id, kind, int(epoch), 10 * int(epoch), str(path), "a" * 64, 3
            )
            assert self.results.record([(lease, event)]) == frozenset()
        return path

    def collect(self, *, dry_run: bool = False, later: float = 0.0) -> Collected:
        return collect(
            self.results, self.settings, dry_run=dry_run, now=lambda: time.time() + later
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    submit(made.queue, 2)
    yield made
    made.engine.dispose()


def written(path: Path, content: str = "abc") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_after_a_success_only_its_recorded_checkpoints_stay(home: Home) -> None:
    lost = home.claim()
    old = home.save(lost, "last-0001-146ms.pt")
    home.queue.lose(lost, "killed")
    lease = home.claim()
    best, last = home.save(lease, "best-0002.pt"), home.save(lease, "last-0002-146ms.pt")
    half = written(best.with_name(".best-0003.pt.partial"))
    home.queue.succeed(lease, success_of(lease.trial_id))

    freed = remove_unrecorded(home.results, home.settings, [lease.trial_id])

    kept = {Path(row.path) for row in home.results.checkpoints(lease.trial_id)}
    assert kept == {best}  # the policy of these experiments keeps no other
    assert best.exists()
    assert not any(path.exists() for path in (old, last, half, old.parent))
    assert freed == 9
    assert home.collect().leftovers == ()


def test_successes_of_a_turn_are_tidied_by_one_question(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = [home.claim(), home.claim()]
    stray = [home.save(lease, "last-0001-146ms.pt", on_record=False) for lease in leases]
    for lease in leases:
        home.queue.succeed(lease, success_of(lease.trial_id))
    asked: list[list[str]] = []
    ask = home.results.recorded_files

    def recorded_files(trial_ids: list[str]) -> tuple[RecordedFiles, ...]:
        asked.append(trial_ids)
        return ask(trial_ids)

    monkeypatch.setattr(home.results, "recorded_files", recorded_files)
    both = [lease.trial_id for lease in leases]
    assert remove_unrecorded(home.results, home.settings, [*both, "none"]) > 0
    assert asked == [both]
    assert not any(path.exists() for path in stray)


def test_of_a_trial_under_way_nothing_goes_that_an_attempt_may_need(home: Home) -> None:
    first = home.claim()
    resumable = home.save(first, "last-0001-146ms.pt")
    unrecorded = home.save(first, "last-0002-146ms.pt", on_record=False)
    home.queue.lose(first, "killed")
    second = home.claim()
    assert second.trial_id == first.trial_id
    on_its_way = home.save(second, "last-0003-146ms.pt", on_record=False)
    being_written = written(on_its_way.with_name(".last-0004-146ms.pt.partial"))

    done = home.collect()

    assert [leftover.path for leftover in done.leftovers] == [unrecorded]
    assert all(path.exists() for path in (resumable, on_its_way, being_written))
    assert remove_unrecorded(home.results, home.settings, [first.trial_id]) == 0
    (old,) = home.collect(later=2 * HOUR).leftovers
    assert (old.path, old.what) == (being_written, UNFINISHED)


def test_what_a_failed_trial_may_go_on_from_stays(home: Home) -> None:
    lease = home.claim()
    recorded, not_so = (
        home.save(lease, "last-0002-146ms.pt"),
        home.save(lease, "last-0003-146ms.pt", on_record=False),
    )
    home.queue.fail(lease, NOT_FINITE)
    home.collect()
    assert (recorded.exists(), not_so.exists()) == (True, False)


def test_an_attempt_that_begins_meanwhile_is_left_alone(home: Home) -> None:
    lease = home.claim()
    home.queue.succeed(lease, success_of(lease.trial_id))
    later = home.settings.checkpoint_folder(lease.trial_id, fence=lease.fence + 1)
    file = written(later / "last-0001-146ms.pt")
    home.collect()
    assert file.exists()


def test_a_home_that_was_moved_keeps_its_checkpoints(home: Home, tmp_path: Path) -> None:
    lease = home.claim()
    home.save(lease, "best-0002.pt")
    home.queue.succeed(lease, success_of(lease.trial_id))
    home.engine.dispose()
    moved = home.settings.home.rename(tmp_path / "moved")
    again = Home(moved)
    assert again.collect().leftovers == ()
    assert (moved / "checkpoints" / lease.trial_id / "0001" / "best-0002.pt").exists()
    again.engine.dispose()


def test_nothing_of_trials_of_another_store_and_nothing_of_others_goes(home: Home) -> None:
    theirs = written(home.settings.checkpoint_folder("other-0001", fence=1) / "best-0001.pt")
    lease = home.claim()
    home.queue.succeed(lease, success_of(lease.trial_id))
    folder = home.settings.checkpoint_folder(lease.trial_id, fence=lease.fence)
    mine = [written(folder / name) for name in ("notes.txt", "best-0001.pt.bak", "a.partial")]
    beside = written(folder.parent / "mine" / "best-0001.pt")
    done = home.collect(later=40 * 24 * HOUR)
    assert (done.leftovers, done.num_unknown) == ((), 1)
    assert all(path.exists() for path in (theirs, beside, *mine))


def test_links_are_not_followed_out_of_the_home(home: Home, tmp_path: Path) -> None:
    lease = home.claim()
    home.queue.succeed(lease, success_of(lease.trial_id))
    outside = [
        written(tmp_path / "attempt" / "best-0009.pt"),
        written(tmp_path / "file" / "best-0009.pt"),
        written(tmp_path / "logs" / "old.log"),
        written(tmp_path / "staged" / "x.partial" / "a.npy"),
    ]
    folder = home.settings.checkpoints / lease.trial_id
    folder.mkdir(parents=True)
    (folder / "0001").symlink_to(tmp_path / "attempt")
    (folder / "0000").mkdir()
    (folder / "0000" / "best-0009.pt").symlink_to(outside[1])
    home.settings.logs.symlink_to(tmp_path / "logs")
    home.settings.data.mkdir()
    (home.settings.data / "staged").symlink_to(tmp_path / "staged")
    assert home.collect(later=40 * 24 * HOUR).leftovers == ()
    assert all(path.exists() for path in outside)


def test_a_dry_run_says_the_same_and_removes_nothing(home: Home) -> None:
    lease = home.claim()
    home.queue.succeed(lease, success_of(lease.trial_id))
    file = home.save(lease, "best-0001.pt", on_record=False)
    log = written(home.settings.logs / "mirror.log.1")
    data = home.settings.data / "staged" / "x.partial"
    written(data / "a.npy", "12345")
    written(data.with_suffix(".lock"), "")
    newborn = written(home.settings.home / ".new-store-abc" / "trainyard.db").parent

    later = 40 * 24 * HOUR
    said = home.collect(dry_run=True, later=later)
    assert all(path.exists() for path in (file, log, data, newborn))
    done = home.collect(later=later)

    assert said == done
    assert {what: len(its) for what, its in done.groups().items()} == {
        UNRECORDED: 1,
        UNUSED_DATA: 1,
        UNFINISHED: 1,
        OLD_LOGS: 1,
    }
    assert done.num_bytes == 3 + 3 + 5 + 3
    assert not any(path.exists() for path in (file, log, data, newborn))
    assert home.settings.home.is_dir()


def test_data_that_is_being_prepared_stays(home: Home) -> None:
    partial = written(home.settings.data / "staged" / "x.partial" / "a.npy").parent
    lock = written(partial.with_suffix(".lock"), "")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert home.collect(later=2 * HOUR).leftovers == ()
    assert partial.exists()
    (found,) = home.collect(later=2 * HOUR).leftovers
    assert (found.path, partial.exists()) == (partial, False)


def test_gc_says_what_and_how_much(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINYARD_HOME", str(home.settings.home))
    lease = home.claim()
    home.queue.succeed(lease, success_of(lease.trial_id))
    file = home.save(lease, "best-0001.pt", on_record=False)
    assert run(["gc", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"1 {UNRECORDED}: 3 B\n3 B would be removed\n"
    assert file.exists()
    assert run(["gc"]) == 0
    assert capsys.readouterr().out == f"1 {UNRECORDED}: 3 B\n3 B removed\n"
    assert not file.exists()
    assert run(["gc", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bytes"], document["removed"], document["dry_run"]) == (0, [], False)

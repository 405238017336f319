"""What a person does while an orchestrator is up: pause, resume, cancel, reuse, back up, clean.

One real orchestrator works for all of it, started without a umask, and with a password in the
address of an MLflow that is down.
"""

import io
import json
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import COMMAND
from trainyard.command.main import run

SLOW = (
    "name: slow\nparameters: {model: mlp, lr: 0.01}\ndefaults: {epochs: 4000}\nseeds: 2\n"
    "data: {name: digits, limit: 200}\n"
)
QUICK = (
    "name: quick\nparameters: {model: softmax_regression, lr: [0.1, 0.2]}\ndefaults: {epochs: 2}\n"
    "data: {name: digits, limit: 200}\n"
)
PASSWORD = "s3same"
MLFLOW = {"MLFLOW_TRACKING_URI": f"http://me:{PASSWORD}@127.0.0.1:1/"}


class Yard:
    """A home in which an orchestrator works, and commands that a person gives beside it."""

    def __init__(self, folder: Path) -> None:
        self.home, self._folder = folder / "home", folder
        self.said: list[str] = []

    def ask(self, *arguments: str | Path, code: int = 0) -> Any:
        """Run a command with `--json`; give its document."""
        return json.loads(self._run(*arguments, "--json", code=code)[0])

    def tell(self, *arguments: str | Path) -> str:
        """Run a command; give what it prints for people."""
        return "".join(self._run(*arguments))

    def _run(self, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
        # In this process: a new one for each look would keep the orchestrator from working.
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            ended = run(list(map(str, arguments)))
        self.said += [out.getvalue(), err.getvalue()]
        assert ended == code, err.getvalue()
        return out.getvalue(), err.getvalue()

    def submit(self, text: str, *options: str) -> Any:
        spec = self._folder / "spec.yaml"
        spec.write_text(text)
        return self.ask("submit", spec, *options)

    def status(self, name: str) -> Any:
        (found,) = self.ask("status", name)["experiments"]
        return found

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not is_so():
            assert time.monotonic() < deadline, self.tell("status")
            time.sleep(0.3)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    made = Yard(tmp_path_factory.mktemp("yard"))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**MLFLOW, "TRAINYARD_HOME": str(made.home)}.items():
            environment.setenv(name, value)
        made.submit(SLOW)
        with (made.home.parent / "up.txt").open("w+") as out:
            running = subprocess.Popen([COMMAND, "up"], stdout=out, stderr=out, umask=0)
            try:
                made.wait(lambda: made.status("slow")["trials"]["running"] > 0)
                yield made
            finally:
                running.send_signal(signal.SIGTERM)
                ended = running.wait(timeout=60)
            out.seek(0)
            assert (ended, PASSWORD in out.read()) == (130, False)


def saved_epoch(yard: Yard, trial: str) -> int:
    found = yard.ask("show", trial)["checkpoints"]
    return max((each["epoch"] for each in found if each["kind"] == "last"), default=0)


def test_a_paused_experiment_waits_and_goes_on_from_where_it_was(yard: Yard) -> None:
    trials = [row["id"] for row in yard.ask("trials", "slow")["trials"]]
    yard.wait(lambda: any(saved_epoch(yard, trial) for trial in trials))
    assert yard.ask("pause", "slow")["stopping"] >= 1
    yard.wait(lambda: yard.status("slow")["trials"]["running"] == 0)
    stands = yard.status("slow")
    assert (stands["state"], stands["trials"]["queued"]) == ("paused", 2)
    assert stands["paused_reason"]
    assert f"slow paused: {stands['paused_reason']}" in yard.tell("status")

    # The others are worked on meanwhile.
    yard.submit(QUICK)
    yard.wait(lambda: yard.status("quick")["state"] == "finished")
    assert yard.status("quick")["trials"]["succeeded"] == 2
    assert yard.status("slow")["trials"]["running"] == 0

    before = {trial: saved_epoch(yard, trial) for trial in trials}
    yard.ask("resume", "slow")

    def begun() -> dict[str, int]:
        found = {trial: yard.ask("show", trial)["attempts"] for trial in trials}
        return {trial: its[-1]["begun_epoch"] or 0 for trial, its in found.items() if its}

    yard.wait(lambda: max(begun().values()) > 0)
    went_on = max(before, key=lambda trial: begun().get(trial, 0))
    assert begun()[went_on] == before[went_on]
    assert f"went on from epoch {before[went_on]}" in yard.tell("show", went_on)


def test_a_trial_is_paused_by_itself(yard: Yard) -> None:
    first, second = (row["id"] for row in yard.ask("trials", "slow")["trials"])
    yard.ask("pause", first)
    state = {row["id"]: row for row in yard.ask("trials", "slow")["trials"]}
    assert (state[first]["paused"], state[second]["paused"]) == (True, False)
    yard.wait(lambda: yard.ask("show", first)["trial"]["state"] == "queued")
    assert yard.status("slow")["paused"] == 1
    assert "paused" in yard.tell("trials", "slow")
    assert yard.ask("resume", first)["queued"] == 1


def test_what_is_known_is_used_again_at_once_unless_that_is_refused(yard: Yard) -> None:
    yard.wait(lambda: yard.status("quick")["state"] == "finished")
    wider = QUICK.replace("quick", "wider").replace("epochs: 2}", "epochs: 2}\nseeds: 2")
    spec = yard.home.parent / "wider.yaml"
    spec.write_text(wider)
    assert yard.ask("plan", spec)["cached"] == 2
    assert yard.submit(wider)["reused"] == 2
    rows = [row for row in yard.ask("trials", "wider")["trials"] if row["seed"] == 0]
    sources = {row["id"] for row in yard.ask("trials", "quick")["trials"]}
    assert {row["reused_from"] for row in rows} == sources
    page = yard.tell("show", rows[0]["id"])
    assert f"reused   from {rows[0]['reused_from']} of quick" in page
    assert "curve    val/accuracy" in page
    assert yard.submit(wider, "--no-cache")["reused"] == 0
    yard.tell("cancel", "wider")


def test_the_store_is_backed_up_and_the_home_cleaned_under_way(yard: Yard, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert str(copy) in yard.tell("db", "backup", copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRAINYARD_DATABASE_URL", f"sqlite:///{copy}")
        backed_up = {each["name"] for each in yard.ask("status")["experiments"]}
    assert backed_up >= {"slow", "quick"}
    yard.ask("gc")
    for row in yard.ask("trials", "quick")["trials"]:
        for each in yard.ask("show", row["id"])["checkpoints"]:
            assert Path(each["path"]).is_file()


def test_status_and_doctor_say_who_works(yard: Yard) -> None:
    (row,) = yard.ask("status")["orchestrators"]
    assert row["alive"] is True
    assert f"An orchestrator works on this store: process {row['process'].partition(':')[0]}" in (
        yard.tell("status")
    )
    checks = {check["check"]: check for check in yard.ask("doctor", code=1)["checks"]}
    assert checks["orchestrator"]["ok"]
    assert not checks["MLflow"]["ok"]
    assert "privacy" not in checks


def test_cancelled_trials_stop_and_can_be_asked_for_again(yard: Yard) -> None:
    yard.ask("cancel", "slow")
    yard.wait(lambda: yard.status("slow")["trials"]["cancelled"] == 2)
    assert yard.status("slow")["state"] == "finished"
    assert yard.ask("retry", "slow")["queued"] == 2
    yard.wait(lambda: yard.status("slow")["trials"]["running"] > 0)


def test_nothing_of_it_is_open_to_other_users_and_no_password_is_kept(yard: Yard) -> None:
    assert stat.S_IMODE(yard.home.stat().st_mode) == 0o700
    database = [path for path in yard.home.iterdir() if path.name.startswith("trainyard.db")]
    assert len(database) >= 2  # and its log
    for path in database:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert PASSWORD not in "".join(yard.said)
    # Not the checkpoints, which come and go meanwhile.
    files = [path for path in yard.home.rglob("*") if path.is_file()]
    kept = [path for path in files if "checkpoints" not in path.parts]
    assert [path for path in kept if PASSWORD.encode() in path.read_bytes()] == []
    assert any(path.suffix == ".log" for path in kept)

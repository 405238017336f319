"""Bad input, a store in the wrong state, trials that fail: what is said, and the exit code."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from experiments.architectures.zoo import models
from orchestrator.instance import sole_orchestrator
from tests.acceptance.conftest import COMMAND, Trainyard

ONE = "name: one\nparameters: {model: softmax_regression, lr: 0.1}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(ONE)
    return path


@pytest.mark.parametrize("verb", ["plan", "submit", "run"])
def test_a_wrong_spec_ends_with_3_and_nothing_is_written(
    trainyard: Trainyard, tmp_path: Path, verb: str
) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text("name: t\nparameters:\n  model: lenet\n  lr: [0.1, -1]\n")
    home = tmp_path / "home"
    answer = trainyard(verb, spec, home=home)
    assert answer.code == 3
    assert answer.out == ""
    assert answer.err.splitlines() == [
        (
            f"{spec}:3:10: parameters.model: unknown model 'lenet'; did you mean 'lenet5'?; "
            f"known models: {', '.join(models())}; torchvision/<name>; or write it out under layers"
        ),
        f"{spec}:4:13: parameters.lr[1]: must be a finite number > 0 and <= 10000, got -1",
        "2 faults; nothing was written",
    ]
    assert not home.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", ":1:1: the spec is empty"),
        (b"name: t\n\tx: 1\n", ":2:1: not YAML: a tab cannot indent YAML; use spaces"),
        (b"name: \xff\n", ":1:7: not UTF-8: byte 0xff"),
        (b"a: &x [1]\n", ":1:4: a: anchors are not allowed, got &x; write the value out"),
        (b'"\\e[2J": 1\n', "\\x1b[2J: unknown key '\\x1b[2J'"),
        (b"[" * 100_000, ":1:52: "),
    ],
    ids=["empty", "tab", "bytes", "anchor", "escape", "deep"],
)
def test_what_is_no_spec_at_all_ends_with_3_as_well(
    trainyard: Trainyard, tmp_path: Path, text: bytes, said: str
) -> None:
    spec, home = tmp_path / "odd.yaml", tmp_path / "home"
    spec.write_bytes(text)
    answer = trainyard("submit", spec, home=home)
    assert (answer.code, answer.out) == (3, "")
    assert said in answer.err
    assert answer.err.endswith("nothing was written\n")
    assert not home.exists()


def test_plan_writes_nothing(trainyard: Trainyard, spec: Path, tmp_path: Path) -> None:
    assert trainyard("plan", spec, home=tmp_path / "home").code == 0
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [["status", "nosuch"], ["trials", "nosuch"], ["show", "nosuch"], ["leaderboard", "nosuch"],
     ["curves", "nosuch"], ["cancel", "nosuch"], ["retry", "nosuch"], ["watch", "nosuch"],
     ["pause", "nosuch"], ["resume", "nosuch"]],
    ids=" ".join,
)  # fmt: skip
def test_an_unknown_name_ends_with_5(
    trainyard: Trainyard, finished_home: Path, arguments: list[str]
) -> None:
    answer = trainyard(*arguments, home=finished_home)
    assert answer.code == 5
    assert "nosuch" in answer.err
    assert "Traceback" not in answer.err


def test_a_missing_spec_ends_with_5(trainyard: Trainyard, tmp_path: Path) -> None:
    answer = trainyard("plan", tmp_path / "none.yaml", home=tmp_path / "home")
    assert (answer.code, "No such file" in answer.err) == (5, True)


def test_a_fresh_home_has_nothing_to_show_and_says_what_to_do(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    answer = trainyard("status", home=tmp_path / "home")
    assert answer.code == 0
    assert "Nothing has been submitted" in answer.err
    assert trainyard("status", "--json", home=tmp_path / "home").json()["experiments"] == []
    assert not (tmp_path / "home").exists()


def test_an_unknown_verb_ends_with_2(trainyard: Trainyard, tmp_path: Path) -> None:
    assert trainyard("fly", home=tmp_path / "home").code == 2


def test_a_store_from_a_newer_version_is_refused_with_what_mends_it(
    trainyard: Trainyard, spec: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    trainyard("submit", spec, home=home)
    with sqlite3.connect(home / "trainyard.db") as store:
        store.execute("UPDATE trainyard_version SET version_num = '9999'")
    answer = trainyard("status", home=home)
    assert answer.code == 6
    assert "upgrade trainyard" in answer.err


def test_a_second_orchestrator_on_sqlite_is_refused_and_told_of_the_first(
    trainyard: Trainyard, spec: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with sole_orchestrator(f"sqlite:///{home / 'trainyard.db'}"):
        for arguments in (["run", str(spec)], ["up"]):
            answer = trainyard(*arguments, home=home)
            assert answer.code == 6
            assert f"process {os.getpid()}" in answer.err
    assert not (home / "trainyard.db").exists()


def test_a_trial_that_raises_is_failed_with_its_traceback_and_the_others_go_on(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    spec, home = tmp_path / "two.yaml", tmp_path / "home"
    spec.write_text(
        "name: two\nparameters: {model: softmax_regression, lr: 0.1}\nseeds: 2\n"
        "defaults: {epochs: 1}\nexecution: {retries: 0}\ndata: {name: digits, limit: 200}\n"
    )
    trainyard("submit", spec, home=home)
    with sqlite3.connect(home / "trainyard.db") as store:  # as no plan would let it through
        (config,) = store.execute("SELECT config FROM trial WHERE number = 1").fetchone()
        broken = json.loads(config) | {"loss": "no_such_loss"}
        store.execute("UPDATE trial SET config = ? WHERE number = 1", [json.dumps(broken)])
    answer = trainyard("run", spec, home=home)
    assert answer.code == 4, answer.err
    first, second = trainyard("trials", "two", "--json", home=home).json()["trials"]
    assert (first["state"], second["state"]) == ("failed", "succeeded")
    assert first["failure"]["type"] == "KeyError"
    assert "no_such_loss" in first["failure"]["message"]
    assert "Traceback (most recent call last)" in first["failure"]["traceback"]
    assert "no_such_loss" in trainyard("trials", "two", home=home).out
    assert (
        trainyard("status", "two", "--json", home=home).json()["experiments"][0]["trials"]["failed"]
        == 1
    )


def test_up_ends_with_4_when_what_it_worked_on_failed(trainyard: Trainyard, tmp_path: Path) -> None:
    spec, home = tmp_path / "rates.yaml", tmp_path / "home"
    spec.write_text(
        "name: rates\nparameters: {model: softmax_regression, lr: [0.1, 10000.0]}\n"
        "defaults: {epochs: 40, loss: mean_squared_error}\ndata: {name: digits, limit: 200}\n"
    )
    trainyard("submit", spec, home=home)
    answer = trainyard("up", "--until-idle", home=home)
    rows = trainyard("trials", "rates", "--json", home=home).json()["trials"]
    assert [row["state"] for row in rows] == ["succeeded", "failed"]
    assert rows[1]["failure"]["kind"] == "not_finite"
    assert "at step" in rows[1]["failure"]["message"]
    assert answer.code == 4, answer.err
    assert "rates: 2 of 2 trials, 1 failed" in answer.err


@pytest.mark.parametrize("verb", [["curves", "small"], ["leaderboard", "small"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(finished_home: Path, verb: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environ = os.environ | {"TRAINYARD_HOME": str(finished_home)}
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run([COMMAND, *verb], env=environ, stdout=gone, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_sigterm_ends_a_run_within_ten_seconds_and_nothing_is_lost(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    spec, home = tmp_path / "long.yaml", tmp_path / "home"
    spec.write_text(
        "name: long\nparameters: {model: mlp, lr: 0.01}\ndefaults: {epochs: 2000}\nseeds: 3\n"
    )
    running = subprocess.Popen(
        [COMMAND, "run", str(spec)],
        env=os.environ | {"TRAINYARD_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while counts(trainyard, home).get("running", 0) < 1:
        assert time.monotonic() < deadline
        assert running.poll() is None
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert running.returncode == 130
    assert "Traceback" not in said
    assert counts(trainyard, home)["queued"] == 3
    cancelled = trainyard("cancel", "long", home=home)
    assert "3 trials cancelled" in cancelled.out
    assert trainyard("retry", "long", home=home).code == 0


def counts(trainyard: Trainyard, home: Path) -> dict[str, int]:
    experiments = trainyard("status", "--json", home=home).json()["experiments"]
    found: dict[str, int] = experiments[0]["trials"] if experiments else {}
    return found

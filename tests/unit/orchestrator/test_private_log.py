"""Log files of our processes: private, bounded, without secrets."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.mirroring.private_log import MOST_BYTES, open_private, secrets_of, without

SAY_MUCH = """
import logging, os, sys, warnings
from pathlib import Path
from orchestrator.mirroring.private_log import log_to

log_to(Path(sys.argv[1]), secrets=("hunter2",))
log = logging.getLogger("orchestrator.anything")
for number in range(3_000):
    log.info("%d %s", number, 1_000 * "x")
log.info("the password is hunter2 \\x1b[31m")
logging.getLogger("library").info("chatter")
warnings.warn("hunter2 is deprecated")
try:
    raise ValueError("http://me:hunter2@there")
except ValueError:
    log.exception("failed")
print("printed", file=sys.stderr)
"""


def test_log_is_private_bounded_and_clean(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch(mode=0o644)  # by an older version
    subprocess.run([sys.executable, "-c", SAY_MUCH, log], check=True, stderr=subprocess.DEVNULL)

    said = log.read_text()
    assert said.endswith("printed\n")
    assert "the password is (redacted) \\x1b[31m\n" in said
    assert "ValueError: http://me:(redacted)@there\n" in said
    assert "(redacted) is deprecated" in said
    assert "hunter2" not in said
    assert "chatter" not in said
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["log", "log.1"]
    assert sum(path.stat().st_size for path in files) < 2 * MOST_BYTES + 10_000
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_opening_adds_to_a_file_and_takes_it_from_others(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    path.chmod(0o666)
    with open_private(path) as log:
        log.write("after\n")

    assert path.read_text() == "before\nafter\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        (
            "http://me:p%40ss@there/x",
            "at http://me:p%40ss@there: p@ss",
            "at http://(redacted)@there: (redacted)",
        ),
        (
            "https://tokentoken@there",
            "GET https://tokentoken@there",
            "GET https://(redacted)@there",
        ),
        ("postgresql://me@there/x", "me and there", "me and there"),
        ("postgresql+psycopg://me:secret@there/x", "secret", "(redacted)"),
        ("http://there:5000", "http://there:5000", "http://there:5000"),
        ("sqlite:////home/me@work/mlflow.db", "/home/me@work", "/home/me@work"),
    ],
)
def test_passwords_of_urls_are_not_shown(url: str, said: str, shown: str) -> None:
    assert without(secrets_of([url], {}), said) == shown


def test_mlflows_own_secrets_are_not_shown() -> None:
    environ = {"MLFLOW_TRACKING_TOKEN": "abcd1234", "MLFLOW_TRACKING_PASSWORD": "", "HOME": "/me"}
    assert without(secrets_of([], environ), "abcd1234 /me") == "(redacted) /me"


def test_longer_secrets_go_first() -> None:
    secrets = secrets_of(["http://a:pass@b", "http://a:password@b"], {})
    assert without(secrets, "password pass") == "(redacted) (redacted)"

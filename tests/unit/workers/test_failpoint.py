import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers import failpoint

THREE_POINTS = """
from workers import failpoint
for name in ("one", "two", "three"):
    failpoint.passing(name)
    print(name, flush=True)
"""


def die_at(point: str | None, *, repository: Path) -> subprocess.CompletedProcess[str]:
    environment = {} if point is None else {failpoint.VARIABLE: point}
    return subprocess.run(
        [sys.executable, "-c", THREE_POINTS],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_process_is_killed_at_the_point_of_that_number_and_names_it(repository: Path) -> None:
    done = die_at("2", repository=repository)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "one\n")
    assert done.stderr == "TRAINYARD_FAILPOINT: dies at point 2, two\n"


@pytest.mark.parametrize("point", [None, "4"])
def test_a_walk_is_over_when_no_point_is_left(repository: Path, point: str | None) -> None:
    done = die_at(point, repository=repository)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\nthree\n", "")


def test_what_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoint.VARIABLE, "first")
    with pytest.raises(ValueError, match="must be a number of passed points from 1, got 'first'"):
        failpoint.passing("one")

"""What every test shares: an environment of its own, the repository, and the real data sets.

A test never sees the user's home, store or cluster: the variables that point to them are
removed for the whole session, and `TRAINYARD_HOME` leads to an empty folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.browser", "tests.postgres"]

REPOSITORY = Path(__file__).resolve().parent.parent

FOREIGN_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "RAY_ADDRESS",
    "TRAINYARD_DATA",
    "TRAINYARD_DATABASE_URL",
    "TRAINYARD_HOME",
)


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the session, and the processes it starts, away from what the user has set."""
    with pytest.MonkeyPatch.context() as environment:
        for name in FOREIGN_VARIABLES:
            environment.delenv(name, raising=False)
        environment.setenv("TRAINYARD_HOME", str(tmp_path_factory.mktemp("shared") / "home"))
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("NO_COLOR", "1")
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trainyard home for one test, not made yet; `TRAINYARD_HOME` names it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TRAINYARD_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; skips where there is none.

    `TRAINYARD_TEST_DATA` names it, else it is looked for beside the checkout.
    """
    folder = Path(os.environ.get("TRAINYARD_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data sets in {folder}; name their folder in TRAINYARD_TEST_DATA")
    return folder

"""The mirror as a process beside the work: the orchestrator's handle on it.

    mirror = Mirror(settings, engine=engine)
    mirror.start()                    # python -m orchestrator.mirroring.mirror_host
    ...
    mirror.num_pending()              # 0: MLflow shows all that the store has
    mirror.is_stuck                   # waiting for that is of no use now
    mirror.stop()                     # or let_go(): it goes on by itself until all is told

The process ends at once when its standard input does, which is when the orchestrator closes
it or dies, unless it was let go before.

What MLflow was told is lost with its database. Where that is the home's own and is not there,
all of it is told again, by the next orchestrator.
"""

import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from orchestrator.mirroring.mirror_host import LET_GO, MOVING, STUCK
from orchestrator.mirroring.mirror_lock import teller
from orchestrator.mirroring.private_log import open_private
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings, from_environment, sqlite_path
from orchestrator.store.database import open_store

_DEATH_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Untold:
    """How many runs and models MLflow lacks, and whether a process goes on telling it."""

    num: int
    goes_on: bool


def is_database_missing(settings: Settings) -> bool:
    """Say whether MLflow's database is the home's own, and there is none: not yet, or no more.

    A tracking store that `MLFLOW_TRACKING_URI` names is its owner's to keep.
    """
    own = from_environment({"TRAINYARD_HOME": str(settings.home)}).mlflow_uri
    path = sqlite_path(settings.mlflow_uri)
    if settings.mlflow_uri != own or path is None:
        return False
    try:
        # Where it was deleted in use, whoever connected next left an empty file.
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True


def tell_again_if_lost(settings: Settings, outbox: Outbox) -> int:
    """Have MLflow told all again if its database was deleted; give how many entries.

    To be asked before anybody makes a new one.

    Raises:
        StoreError: The SQL store cannot be used.
    """
    if not is_database_missing(settings) or outbox.backlog().last_done_at is None:
        return 0
    num_again = outbox.tell_again()
    _log.warning(
        "MLflow's database is gone (%s): all that it had been told is told again, %d runs and "
        "models",
        settings.mlflow_uri,
        num_again,
    )
    return num_again


def tell_the_rest(settings: Settings) -> Untold:
    """Have MLflow told what it lacks by a process that goes on by itself, unless one does.

    Raises:
        NotFoundError: There is no store yet.
        OSError: The process cannot be started.
        StoreError: The SQL store cannot be used.
    """
    engine = open_store(settings.database_url, create=False)
    try:
        mirror = Mirror(settings, engine=engine)
        num = mirror.num_pending()
        if num == 0 or teller(settings.database_url) is not None:
            return Untold(num, goes_on=num > 0)
        mirror.start()
        return Untold(num, goes_on=mirror.let_go())
    finally:
        engine.dispose()


class Mirror:
    """The orchestrator's handle on the mirror's process."""

    def __init__(self, settings: Settings, *, engine: Engine) -> None:
        """Remember the places; nothing is started yet."""
        self._settings = settings
        self._outbox = Outbox(engine)
        self._process: subprocess.Popen[bytes] | None = None
        self._word = MOVING

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_stuck(self) -> bool:
        """Whether the process says that it has told nothing for a while, and will not soon.

        Either MLflow does not answer, or all that is left has been refused and waits.
        """
        if self._process is not None and self._process.stdout is not None:
            words = self._process.stdout.read()  # None where there are no new ones
            self._word = words[-1:] if words else self._word
        return self._word == STUCK

    def start(self) -> None:
        """Start the process unless it runs; what it says goes to `mirror.log`.

        Raises:
            OSError: It cannot be started.
            StoreError: The SQL store cannot be used.
        """
        if self.is_running:
            return
        self.stop()
        settings = self._settings
        tell_again_if_lost(settings, self._outbox)  # before the process makes a new database
        settings.create_home()
        settings.logs.mkdir(mode=0o700, exist_ok=True)
        with open_private(settings.logs / "mirror.log") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.mirroring.mirror_host"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,  # it may outlive a terminal, and has a priority of its own
                env=_environment(settings),
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._word = MOVING

    def num_pending(self) -> int:
        """Count what MLflow has yet to be told, again where its database was deleted."""
        if not self.is_running:
            tell_again_if_lost(self._settings, self._outbox)
        return self._outbox.num_pending()

    @property
    def pid(self) -> int | None:
        """The process's number, while there is one."""
        return self._process.pid if self._process is not None and self.is_running else None

    def let_go(self) -> bool:
        """Have the process go on by itself; False where there is none, or it has just died.

        It ends when all is told, or when MLflow could not be told anything for a minute.
        """
        if self._process is None:
            return False
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(LET_GO)
        except BrokenPipeError:
            return False
        self._process = None
        process.stdin.close()
        process.stdout.close()
        # It may end before this process does, which has to ask for that.
        threading.Thread(target=process.wait, daemon=True).start()
        return True

    def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """End the process now, drained or not; the next one goes on from there."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.wait(_DEATH_SECONDS)
            except subprocess.TimeoutExpired:  # it is in a system call, and is left to that
                _log.warning("the mirror's process %d was killed and does not die", process.pid)
        process.stdout.close()


def _environment(settings: Settings) -> dict[str, str]:
    """Give the process's environment: the settings, and MLflow told to be quick or fail."""
    return (
        os.environ
        | mlflow_habits()
        | {
            "TRAINYARD_HOME": str(settings.home),
            "TRAINYARD_DATABASE_URL": settings.database_url,
            "MLFLOW_TRACKING_URI": settings.mlflow_uri,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
    )


def mlflow_habits() -> dict[str, str]:
    """Give the variables that make MLflow's client quiet, and quick or fail.

    It repeats nothing by itself: it would make a run again whose making got no answer.
    """
    return {
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }

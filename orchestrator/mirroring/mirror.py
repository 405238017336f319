"""The mirror as a process beside the work: the orchestrator's handle on it, and its loop.

    mirror = Mirror(settings, engine=engine)
    mirror.start()                    # python -m orchestrator.mirror
    ...
    mirror.num_pending()              # 0: MLflow shows all that the store has
    mirror.is_stuck                   # waiting for that is of no use now
    mirror.stop()

The process is nice to the training, and ends at once when its standard input does, which
is when the orchestrator closes it or dies; telling MLflow is safe to end anywhere. On its
standard output it says whether it gets on.

What MLflow was told is lost with its database. Where that is the home's own and is not there,
all of it is told again, by the next orchestrator.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine

from experiments.errors import TrainyardError
from orchestrator.measurements.results import Results
from orchestrator.mirroring.private_log import log_to, open_private, secrets_of
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings, from_environment, sqlite_path
from orchestrator.store.database import open_store

if TYPE_CHECKING:
    from orchestrator.mirroring.mlflow_drain import Drain

NICENESS: Final = 19
"""The lowest: what training leaves of the cores, and next to nothing where it leaves none."""

_PAUSE_SECONDS: Final = 0.5
_PAUSE_AFTER_ERROR_SECONDS: Final = 5.0
_DEATH_SECONDS: Final = 5.0
_MOVING: Final = b"."
_STUCK: Final = b"!"

_log = logging.getLogger("orchestrator.mirroring.mirror")  # as a program it has another `__name__`


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


class Mirror:
    """The orchestrator's handle on the mirror's process."""

    def __init__(self, settings: Settings, *, engine: Engine) -> None:
        """Remember the places; nothing is started yet."""
        self._settings = settings
        self._outbox = Outbox(engine)
        self._process: subprocess.Popen[bytes] | None = None
        self._word = _MOVING

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
        return self._word == _STUCK

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
                [sys.executable, "-m", "orchestrator.mirroring.mirror"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=_environment(settings),
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._word = _MOVING

    def num_pending(self) -> int:
        """Count what MLflow has yet to be told, again where its database was deleted."""
        if not self.is_running:
            tell_again_if_lost(self._settings, self._outbox)
        return self._outbox.num_pending()

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


def main() -> None:
    """Tell MLflow what there is to tell, until the standard input ends."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    settings = from_environment()
    secrets = secrets_of((settings.mlflow_uri, settings.database_url), os.environ)
    log_to(settings.logs / "mirror.log", secrets=secrets)
    # The orchestrator reads our standard output; what others print there goes into the log.
    words = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    drain: Drain | None = None
    word = _MOVING
    while True:
        try:
            drain = drain or _open(settings, secrets)
            num_told = drain.turn()
        except Exception as error:
            # Our own store is not worth ending for: it may be back in a moment.
            ours = isinstance(error, TrainyardError)  # it says what is wrong in one line
            _log.error("MLflow cannot be told anything now: %s", error, exc_info=not ours)
            time.sleep(_PAUSE_AFTER_ERROR_SECONDS)
            continue
        if num_told:
            _log.info("told MLflow of %d trials and models", num_told)
        now = _STUCK if drain.is_stuck else _MOVING
        if now != word:
            word = now
            os.write(words, word)
        time.sleep(_PAUSE_SECONDS)


def _open(settings: Settings, secrets: Collection[str]) -> "Drain":
    """Open our store, and give what tells MLflow all that is new in it."""
    from orchestrator.mirroring.mlflow_drain import Drain
    from orchestrator.mirroring.mlflow_mirror import Mlflow
    from orchestrator.mirroring.mlflow_records import Records

    engine = open_store(settings.database_url, create=False)
    return Drain(
        Outbox(engine),
        Records(Results(engine)),
        engine=engine,
        open_mlflow=lambda: Mlflow(settings),
        secrets=secrets,
    )


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


def _environment(settings: Settings) -> dict[str, str]:
    """Give the process's environment: the settings, and MLflow told to be quick or fail.

    MLflow repeats nothing by itself: it would make a run again whose making got no answer.
    """
    return os.environ | {
        "TRAINYARD_HOME": str(settings.home),
        "TRAINYARD_DATABASE_URL": settings.database_url,
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


if __name__ == "__main__":
    main()

"""The mirror as a process beside the work: the orchestrator's handle on it, and its loop.

    mirror = Mirror(settings)
    mirror.start()                    # python -m orchestrator.mirror
    ...
    mirror.num_pending()              # 0: MLflow shows all that the store has
    mirror.stop()

The process is nice to the training, and ends at once when its standard input does, which
is when the orchestrator closes it or dies; telling MLflow is safe to end anywhere.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy import Engine

from experiments.errors import TrainyardError
from orchestrator.database import open_store
from orchestrator.outbox import Outbox
from orchestrator.results import Results
from orchestrator.settings import Settings, from_environment

NICENESS: Final = 10
"""About a tenth of a core when training wants all of them; more when it leaves any."""

_PAUSE_SECONDS: Final = 0.5
_PAUSE_AFTER_ERROR_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Mirror:
    """The orchestrator's handle on the mirror's process."""

    def __init__(self, settings: Settings, *, engine: Engine) -> None:
        """Remember the places; nothing is started yet."""
        self._settings = settings
        self._outbox = Outbox(engine)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process unless it runs; what it says goes to `mirror.log`."""
        if self.is_running:
            return
        settings = self._settings
        settings.create_home()
        settings.logs.mkdir(mode=0o700, exist_ok=True)
        with (settings.logs / "mirror.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.mirror"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(settings),
            )

    def num_pending(self) -> int:
        """Count what MLflow has yet to be told."""
        return self._outbox.num_pending()

    def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """End the process now, drained or not; the next one goes on from there."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def main() -> None:
    """Tell MLflow what there is to tell, until the standard input ends."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = from_environment()
    drain: Callable[[], int] | None = None
    while True:
        try:
            drain = drain or _open(settings)
            num_told = drain()
        except Exception as error:
            # Neither store is worth ending for: both may be back in a moment.
            ours = isinstance(error, TrainyardError)  # it says what is wrong in one line
            _log.error("MLflow cannot be told anything now: %s", error, exc_info=not ours)
            time.sleep(_PAUSE_AFTER_ERROR_SECONDS)
        else:
            if num_told:
                _log.info("told MLflow of %d trials and models", num_told)
            time.sleep(_PAUSE_SECONDS)


def _open(settings: Settings) -> Callable[[], int]:
    """Open both stores, and give what tells one all that is new in the other."""
    from orchestrator.mlflow_mirror import Mlflow, drain
    from orchestrator.mlflow_records import Records

    engine = open_store(settings.database_url, create=False)
    try:
        mlflow = Mlflow(settings)
    except BaseException:
        engine.dispose()
        raise
    return partial(drain, Outbox(engine), mlflow, Records(Results(engine)), engine=engine)


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


def _environment(settings: Settings) -> dict[str, str]:
    """Give the process's environment: the settings, and MLflow told to be quick or fail."""
    return os.environ | {
        "TRAINYARD_HOME": str(settings.home),
        "TRAINYARD_DATABASE_URL": settings.database_url,
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


if __name__ == "__main__":
    main()

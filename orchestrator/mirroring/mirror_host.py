"""The mirror's process: tells MLflow what is due, beside an orchestrator or by itself.

Its standard input says for how long. When that ends, because the orchestrator closed it or
died, so does the process, at once; telling MLflow is safe to end anywhere. When the word
`LET_GO` came before, it goes on: until all is told, or nothing could be for a minute, or the
home is no longer what it was. On its standard output it says whether it gets on.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from experiments.errors import TrainyardError
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror_lock import MirrorLock
from orchestrator.mirroring.private_log import log_to, secrets_of
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings, from_environment, sqlite_path
from orchestrator.store.database import open_store

if TYPE_CHECKING:
    from orchestrator.mirroring.mlflow_drain import Drain

NICENESS: Final = 19
"""The lowest: what training leaves of the cores, and next to nothing where it leaves none."""

VAIN_SECONDS: Final = 60.0
"""After so long without telling anything, one that goes on by itself gives up."""

LET_GO: Final = b"g"
MOVING: Final = b"."
STUCK: Final = b"!"

_PAUSE_SECONDS: Final = 0.5
_PAUSE_AFTER_ERROR_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2

_log = logging.getLogger("orchestrator.mirroring.mirror_host")  # as a program it is `__main__`


def main() -> None:
    """Tell MLflow what there is to tell, for as long as the standard input says."""
    _be_nice()
    # Ctrl-C and a closed terminal are for the orchestrator.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = from_environment()
    errand = Errand()
    threading.Thread(target=_heed, args=(errand, settings), daemon=True).start()
    secrets = secrets_of((settings.mlflow_uri, settings.database_url), os.environ)
    log_to(settings.logs / "mirror.log", secrets=secrets)
    # The orchestrator reads our standard output; what others print there goes into the log.
    words = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with closing(MirrorLock(settings.database_url)) as lock:
        _tell(settings, errand, lock=lock, secrets=secrets, words=words)


def _be_nice() -> None:
    """Take the lowest priority, and have this process's session take it, if that is its own.

    Linux may weigh sessions first ("autogroup" in sched(7)): there the nicest process of one
    session gets as much as all that trains in another.
    """
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # not on this system
            Path("/proc/self/autogroup").write_text(str(NICENESS))


class Errand:
    """For how long a mirror's process goes on."""

    def __init__(self) -> None:
        """Begin for an orchestrator: until that says otherwise."""
        self.is_let_go = False
        self._vain_since: float | None = None

    def is_over(self, *, was_let_go: bool, num_told: int, num_left: int | None) -> bool:
        """Say whether the process may end, after a turn that began let go or not.

        `num_left` is what was left after the turn, None where nobody could tell.
        """
        if not was_let_go or num_told:
            self._vain_since = None
            return was_let_go and num_left == 0
        now = time.monotonic()
        self._vain_since = self._vain_since or now
        return num_left == 0 or now - self._vain_since >= VAIN_SECONDS


def _tell(
    settings: Settings,
    errand: Errand,
    *,
    lock: MirrorLock,
    secrets: Collection[str],
    words: int,
) -> None:
    drain, word, waits = None, MOVING, False
    while True:
        # Asked before the turn: what the orchestrator wrote until then, the turn sees.
        was_let_go, num_told, num_left = errand.is_let_go, 0, None
        pause = _PAUSE_SECONDS
        try:
            if lock.take():
                drain = drain or _open(settings, secrets)
                num_told, num_left = drain.turn(), drain.num_pending
            elif not waits:
                waits = True
                _log.info("another process tells MLflow of this store; this one waits for it")
        except Exception as error:
            # Our own store is not worth ending for: it may be back in a moment.
            ours = isinstance(error, TrainyardError)  # it says what is wrong in one line
            _log.error("MLflow cannot be told anything now: %s", error, exc_info=not ours)
            pause = _PAUSE_AFTER_ERROR_SECONDS
        if num_told:
            _log.info("told MLflow of %d trials and models", num_told)
        if errand.is_over(was_let_go=was_let_go, num_told=num_told, num_left=num_left):
            _log.info("nobody asks for more, and this process ends")
            return
        now = STUCK if drain is not None and drain.is_stuck else MOVING
        if now != word:
            word = now
            with suppress(BrokenPipeError):  # nobody listens any more
                os.write(words, word)
        time.sleep(pause)


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


def _heed(errand: Errand, settings: Settings) -> None:
    """Heed the standard input and, once let go, what becomes of the places written to."""
    while said := os.read(sys.stdin.fileno(), 4096):
        errand.is_let_go |= LET_GO in said
    if not errand.is_let_go:
        os._exit(0)
    # Deleted, or put back from a backup, they are to stay so, and not to be written to again.
    files = (sqlite_path(settings.database_url), sqlite_path(settings.mlflow_uri))
    places = [settings.home, *(file for file in files if file is not None)]
    seen: dict[Path, tuple[int, int]] = {}
    while True:
        for path in places:
            there = _identity(path)
            if path in seen and seen[path] != there:
                _log.warning("%s is not what it was: this process ends", path)
                os._exit(0)
            if there is not None:  # MLflow's database may yet be made
                seen[path] = there
        time.sleep(_LOOK_SECONDS)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


if __name__ == "__main__":
    main()

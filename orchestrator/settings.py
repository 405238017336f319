"""Where things are: the home, the stores, the data, the cluster, and every file name in them.

Reading settings touches no disk; `create_home` is called by what is about to write.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import StoreError
from orchestrator.ray_address import EMBEDDED

_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation's places and times; see docs of `from_environment` for the names.

    `ray_address` None means an embedded local Ray. A lease lasts `lease_seconds` unless
    it is renewed.
    """

    home: Path
    database_url: str
    data: Path
    mlflow_uri: str
    ray_address: str | None = None
    lease_seconds: float = 60.0

    @property
    def is_ray_embedded(self) -> bool:
        """Whether Ray is one of our own on this machine: unset, or called `local`."""
        return self.ray_address in EMBEDDED

    @property
    def checkpoints(self) -> Path:
        """The folder of all trials' checkpoints; a store that lies elsewhere has its own in it.

        The same spec has the same trial ids in every store, so two stores of one home would
        write over each other's files.
        """
        folder = self.home / "checkpoints"
        if self.database_url == _default_url(self.home):
            return folder
        return folder / hashlib.sha256(self.store_name.encode()).hexdigest()[:12]

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow's models and files go when its store is the one in the home."""
        return self.home / "mlartifacts"

    @property
    def reports(self) -> Path:
        """The folder of reports, one folder each."""
        return self.home / "reports"

    @property
    def exports(self) -> Path:
        """The folder of exported tables, one folder an export."""
        return self.home / "exports"

    @property
    def logs(self) -> Path:
        """The folder of log files (the mirror's)."""
        return self.home / "logs"

    @property
    def store_name(self) -> str:
        """The store as it may be shown to a person: no password in it."""
        return redacted(self.database_url)

    def checkpoint_folder(self, trial_id: str, *, fence: int) -> Path:
        """Name an attempt's own folder, so that no two attempts write the same file."""
        return self.checkpoints / trial_id / f"{fence:04d}"

    def create_home(self) -> None:
        """Create the home, for its owner only (an existing one is left as it is).

        Raises:
            StoreError: There can be no folder of that name.
        """
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.home}: cannot be made a home ({error.strerror}); set TRAINYARD_HOME to a "
                "folder that can be written"
            ) from error


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; an unset or empty variable means its default.

    `TRAINYARD_HOME` (~/.trainyard), `TRAINYARD_DATABASE_URL` (SQLite in the home),
    `TRAINYARD_DATA` (<home>/data), `MLFLOW_TRACKING_URI` (SQLite in the home),
    `RAY_ADDRESS` (an embedded Ray).
    """
    environ = os.environ if environ is None else environ
    home = _folder(environ.get("TRAINYARD_HOME") or "~/.trainyard")
    return Settings(
        home=home,
        database_url=_database_url(environ.get("TRAINYARD_DATABASE_URL") or _default_url(home)),
        data=_folder(environ.get("TRAINYARD_DATA") or str(home / "data")),
        mlflow_uri=environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{home / 'mlflow.db'}",
        ray_address=environ.get("RAY_ADDRESS") or None,
    )


def _default_url(home: Path) -> str:
    return f"{_SQLITE}{home / 'trainyard.db'}"


def redacted(url: str) -> str:
    """Give a database URL without its password."""
    url = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?<=password=)[^&]*", "***", url)


def sqlite_path(url: str) -> Path | None:
    """Give the file of a SQLite URL, None for any other database."""
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None


def _database_url(url: str) -> str:
    # SQLAlchemy must be told which driver; a relative file must not follow the process.
    if (path := sqlite_path(url)) is not None:
        return f"{_SQLITE}{_folder(str(path))}"
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def _folder(path: str) -> Path:
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - resolves no links
    except RuntimeError as error:  # `~name` of nobody
        raise StoreError(f"{path}: {error}") from error

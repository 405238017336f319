"""How MLflow's own server is started on the mirror's store; MLflow itself is not imported.

The store's URI may hold a password, so it goes into the server's environment, which only
its owner may read, and never onto the command line, which everyone may.
"""

import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from orchestrator.settings import Settings


def served_at(settings: Settings) -> str | None:
    """Give the address where MLflow is served already; None where its store is ours to serve."""
    parts = urlsplit(settings.mlflow_uri)
    if parts.scheme not in ("http", "https"):
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # no password


def command(settings: Settings, *, port: int) -> list[str]:
    """Give the command line of a server that only this machine reaches; see `environment`."""
    assert served_at(settings) is None, "it is served already"
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if settings.mlflow_uri.startswith("sqlite:"):
        settings.create_home()
        arguments += ["--default-artifact-root", settings.mlflow_artifacts.as_uri()]
    return [sys.executable, "-m", "mlflow", *arguments]


def environment(settings: Settings) -> Mapping[str, str]:
    """Give the server's environment: the store, no telemetry, no job runner."""
    return os.environ | {
        "MLFLOW_BACKEND_STORE_URI": settings.mlflow_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }

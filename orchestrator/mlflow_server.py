"""How MLflow's own server is started on the mirror's store; MLflow itself is not imported."""

import os
import sys
from collections.abc import Mapping

from orchestrator.settings import Settings


def command(settings: Settings, *, port: int) -> list[str]:
    """Give the command line of a server that only this machine reaches."""
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", settings.mlflow_uri]
    if settings.mlflow_uri.startswith("sqlite:"):
        settings.create_home()
        arguments += ["--default-artifact-root", settings.mlflow_artifacts.as_uri()]
    return [sys.executable, "-m", "mlflow", *arguments]


def environment() -> Mapping[str, str]:
    """Give the server's environment: no telemetry, no job runner."""
    return os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }

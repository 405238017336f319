"""MLflow's own server, started as `trainyard mlflow` starts it."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.mirroring.mlflow_server import command, environment
from orchestrator.settings import from_environment
from tests.server import until_answered

pytestmark = pytest.mark.slow


def test_server_serves_the_store_that_its_environment_alone_names(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/secret.db"
    MlflowClient(uri).create_experiment("seen")
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": uri})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command(settings, port=port),
            env=environment(settings),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until_answered(f"{address}/health", server)
        names = {experiment.name for experiment in MlflowClient(address).search_experiments()}
        shown = [args for group, args in command_lines() if group == server.pid]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    assert "seen" in names
    assert shown
    assert not [args for args in shown if "secret" in args]
    assert "secret" not in log.read_text()


def command_lines() -> list[tuple[int, str]]:
    """Give the process group and the command line of all processes, as everyone sees them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            group = int((folder / "stat").read_text().rpartition(")")[2].split()[2])
            found.append((group, (folder / "cmdline").read_text()))
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return found

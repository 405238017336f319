"""How MLflow's server is started: on the mirror's store, and with no password in sight."""

from pathlib import Path

import pytest

from orchestrator.mirroring.mlflow_server import command, environment, served_at
from orchestrator.settings import Settings, from_environment


def settings(uri: str, home: Path) -> Settings:
    return from_environment({"TRAINYARD_HOME": str(home), "MLFLOW_TRACKING_URI": uri})


def test_stores_password_is_told_by_the_environment_alone(tmp_path: Path) -> None:
    uri = "postgresql://me:secret@db/mlflow"
    store = settings(uri, tmp_path)

    assert not [argument for argument in command(store, port=5000) if "secret" in argument]
    assert environment(store)["MLFLOW_BACKEND_STORE_URI"] == uri


def test_store_in_the_home_keeps_its_files_there(home: Path) -> None:
    ours = settings("", home)

    arguments = command(ours, port=5001)

    assert arguments[-2:] == ["--default-artifact-root", (home / "mlartifacts").as_uri()]
    assert home.is_dir()


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://tracking:5000", "http://tracking:5000"),
        ("https://me:secret@tracking/team", "https://tracking/team"),
        ("http://me:a@b@[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////home/me/mlflow.db", None),
        ("postgresql://me:secret@db/mlflow", None),
    ],
)
def test_server_that_is_there_is_named_without_its_password(
    uri: str, address: str | None, tmp_path: Path
) -> None:
    assert served_at(settings(uri, tmp_path)) == address

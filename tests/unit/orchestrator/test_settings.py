import stat
from pathlib import Path

import pytest

from orchestrator.settings import Settings, from_environment, redacted, sqlite_path


def test_everything_lies_in_the_home_by_default(tmp_path: Path) -> None:
    home = tmp_path / "yard"

    settings = from_environment({"TRAINYARD_HOME": str(home)})

    assert settings == Settings(
        home=home,
        database_url=f"sqlite:///{home}/trainyard.db",
        data=home / "data",
        mlflow_uri=f"sqlite:///{home}/mlflow.db",
        ray_address=None,
    )
    assert settings.mlflow_artifacts == home / "mlartifacts"
    assert settings.checkpoints == home / "checkpoints"


def test_home_is_in_the_users_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert from_environment({}).home == tmp_path / ".trainyard"


def test_each_part_can_be_moved(tmp_path: Path) -> None:
    settings = from_environment(
        {
            "TRAINYARD_HOME": str(tmp_path),
            "TRAINYARD_DATABASE_URL": "postgresql://me@db/yard",
            "TRAINYARD_DATA": "/data",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
            "RAY_ADDRESS": "auto",
        }
    )

    assert settings.database_url == "postgresql+psycopg://me@db/yard"
    assert settings.data == Path("/data")
    assert settings.mlflow_uri == "http://127.0.0.1:5000"
    assert settings.ray_address == "auto"


def test_empty_variable_means_the_default(tmp_path: Path) -> None:
    given = {"TRAINYARD_HOME": str(tmp_path), "RAY_ADDRESS": "", "TRAINYARD_DATA": ""}

    settings = from_environment(given)

    assert settings.ray_address is None
    assert settings.data == tmp_path / "data"


@pytest.mark.parametrize(("address", "is_ours"), [("", True), ("local", True), ("auto", False)])
def test_a_ray_of_our_own_has_two_names(tmp_path: Path, address: str, is_ours: bool) -> None:
    given = {"TRAINYARD_HOME": str(tmp_path), "RAY_ADDRESS": address}
    assert from_environment(given).is_ray_embedded is is_ours


def test_relative_places_do_not_follow_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = from_environment(
        {"TRAINYARD_HOME": "here", "TRAINYARD_DATABASE_URL": "sqlite:///store.db"}
    )

    assert settings.home == tmp_path / "here"
    assert settings.database_url == f"sqlite:///{tmp_path}/store.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_usual_spellings_of_postgresql_name_our_driver(scheme: str) -> None:
    settings = from_environment({"TRAINYARD_DATABASE_URL": f"{scheme}://db/yard"})

    assert settings.database_url == "postgresql+psycopg://db/yard"


def test_reading_settings_makes_no_home(tmp_path: Path) -> None:
    from_environment({"TRAINYARD_HOME": str(tmp_path / "yard")})

    assert list(tmp_path.iterdir()) == []


def test_home_is_for_its_owner_only(tmp_path: Path) -> None:
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path / "yard")})

    settings.create_home()
    settings.create_home()

    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


def test_checkpoint_folders_of_two_attempts_differ(tmp_path: Path) -> None:
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path)})

    folder = settings.checkpoint_folder("abc-0001", fence=3)

    assert folder == tmp_path / "checkpoints" / "abc-0001" / "0003"
    assert folder != settings.checkpoint_folder("abc-0001", fence=4)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:secret@db/yard", "postgresql://me:***@db/yard"),
        ("postgresql://me:se@cr/et@db/yard", "postgresql://me:***@db/yard"),
        ("postgresql://:secret@db/yard", "postgresql://:***@db/yard"),
        (
            "postgresql://db/yard?user=me&password=secret",
            "postgresql://db/yard?user=me&password=***",
        ),
        ("postgresql://me@db:5432/yard", "postgresql://me@db:5432/yard"),
        ("sqlite:////home/a:b/yard.db", "sqlite:////home/a:b/yard.db"),
    ],
)
def test_redacted_hides_the_password_and_nothing_else(url: str, expected: str) -> None:
    assert redacted(url) == expected


def test_sqlite_path_is_none_for_other_databases() -> None:
    assert sqlite_path("sqlite:////yard/a.db") == Path("/yard/a.db")
    assert sqlite_path("postgresql://db/yard") is None

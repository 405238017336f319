from pathlib import Path

import pytest

from orchestrator.settings import from_environment
from trainyard.checks import Check, check_installation


def checks(home: Path, **more: str) -> dict[str, Check]:
    settings = from_environment({"TRAINYARD_HOME": str(home), **more})
    return {check.name: check for check in check_installation(settings)}


def test_a_fresh_installation_is_in_order_and_nothing_is_made(tmp_path: Path) -> None:
    found = checks(tmp_path / "home")
    assert [check for check in found.values() if not check.ok] == []
    assert "not made yet" in found["store"].found
    assert not (tmp_path / "home").exists()


def test_a_store_that_is_none_is_a_fault_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "trainyard.db").write_text("no database")
    store = checks(tmp_path)["store"]
    assert not store.ok
    assert store.mend


@pytest.mark.usefixtures("broken_package")
def test_a_package_whose_model_cannot_be_used_is_a_fault_with_a_mend(tmp_path: Path) -> None:
    check = checks(tmp_path)["package's model"]
    assert (check.ok, bool(check.mend)) == (False, True)
    assert "bad_net" in check.found


def test_a_home_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert not checks(tmp_path / "home")["home"].ok


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "TRAINYARD_DATABASE_URL"])
def test_no_password_is_shown(tmp_path: Path, variable: str) -> None:
    scheme = "http" if variable.startswith("MLFLOW") else "postgresql"
    found = checks(tmp_path, **{variable: f"{scheme}://me:sesame@127.0.0.1:1/x"})
    assert "sesame" not in repr(found)
    assert not all(check.ok for check in found.values())


def test_an_open_cluster_is_a_fault_that_says_what_to_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)  # Ray sets it where it has been started
    ray = checks(tmp_path, RAY_ADDRESS="10.0.0.1:6379")["Ray"]
    assert not ray.ok
    assert "RAY_AUTH_MODE=token" in ray.found

"""What `doctor` looks at: each check says what it found and, where it fails, how to mend it."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dashboards.numbers import bytes_text
from experiments.errors import TrainyardError
from orchestrator.database import StoreMissingError, open_store
from orchestrator.machine import capacity
from orchestrator.settings import Settings

_PACKAGES: Final = ("torch", "torchvision", "ray", "mlflow", "sqlalchemy", "pandas", "scikit-learn")
_LEAST_FREE_BYTES: Final = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `mend` is empty where there is nothing to do."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def check_installation(settings: Settings) -> list[Check]:
    """Look at everything that trainyard stands on, quickly and without changing anything."""
    return list(_checks(settings))


def _checks(settings: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", sys.version_info >= (3, 11), version)
    yield from (_package(name) for name in _PACKAGES)
    yield _machine()
    yield _home(settings.home)
    yield _store(settings)
    yield Check("data", True, str(settings.data))
    yield Check("MLflow store", True, settings.mlflow_uri)
    yield _ray(settings)


def _package(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "make setup")


def _machine() -> Check:
    there = capacity()
    return Check("machine", True, f"{there.cpus} CPU cores, {there.gpus:g} GPUs")


def _home(home: Path) -> Check:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    found = f"{home}, {bytes_text(free)} free"
    if not os.access(existing, os.W_OK):
        return Check(
            "home", False, f"{found}, not writable", "set TRAINYARD_HOME to another folder"
        )
    if free < _LEAST_FREE_BYTES:
        return Check("home", False, found, "make room, or set TRAINYARD_HOME to another disk")
    return Check("home", True, found)


def _store(settings: Settings) -> Check:
    try:
        open_store(settings.database_url, create=False).dispose()
    except StoreMissingError:
        return Check("store", True, f"{settings.store_name}, not made yet")
    except TrainyardError as error:
        return Check("store", False, str(error), "see TRAINYARD_DATABASE_URL")
    return Check("store", True, settings.store_name)


def _ray(settings: Settings) -> Check:
    if settings.ray_address is None:
        return Check("Ray", True, "embedded")
    from orchestrator.ray_pool import check_address

    try:
        check_address(settings.ray_address, os.environ)
    except TrainyardError as error:
        return Check("Ray", False, str(error))
    return Check("Ray", True, settings.ray_address)

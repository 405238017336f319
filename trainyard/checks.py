"""What `doctor` looks at: each check says what it found and, where it fails, how to mend it."""

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dashboards.numbers import bytes_text
from experiments.architectures.named_architectures import plugin_faults
from experiments.errors import TrainyardError
from orchestrator.database import StoreMissingError, open_store
from orchestrator.machine import capacity
from orchestrator.settings import Settings, redacted

_PACKAGES: Final = ("torch", "torchvision", "ray", "mlflow", "sqlalchemy", "pandas", "scikit-learn")
_LEAST_FREE_BYTES: Final = 2**30
_CONNECT_SECONDS: Final = 2.0


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
    yield from (
        Check("package's model", False, fault, "mend or uninstall that package")
        for fault in plugin_faults()
    )
    yield _machine()
    yield _folder("home", settings.home, variable="TRAINYARD_HOME")
    yield _folder("data", settings.data, variable="TRAINYARD_DATA")
    yield _store(settings)
    yield _mlflow(settings.mlflow_uri)
    yield _ray(settings)


def _package(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "make setup")


def _machine() -> Check:
    there = capacity()
    return Check("machine", True, f"{there.cpus} CPU cores, {there.gpus:g} GPUs")


def _folder(name: str, path: Path, *, variable: str) -> Check:
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    found = f"{path}, {bytes_text(free)} free"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check(name, False, f"{found}, not writable", f"set {variable} to another folder")
    if free < _LEAST_FREE_BYTES:
        return Check(name, False, found, f"make room, or set {variable} to another disk")
    return Check(name, True, found)


def _store(settings: Settings) -> Check:
    try:
        open_store(settings.database_url, create=False).dispose()
    except StoreMissingError:
        return Check("store", True, f"{settings.store_name}, not made yet")
    except TrainyardError as error:
        return Check("store", False, str(error), "see TRAINYARD_DATABASE_URL")
    return Check("store", True, settings.store_name)


def _mlflow(uri: str) -> Check:
    """Look whether a tracking server answers at all; a store of our own is made when needed."""
    shown, place = redacted(uri), urlsplit(uri)
    if place.scheme not in {"http", "https"} or place.hostname is None:
        return Check("MLflow", True, shown)
    port = place.port or {"http": 80, "https": 443}[place.scheme]
    try:
        socket.create_connection((place.hostname, port), _CONNECT_SECONDS).close()
    except OSError as error:
        mend = "start the server, or unset MLFLOW_TRACKING_URI; training goes on without it"
        return Check("MLflow", False, f"{shown}: {error}", mend)
    return Check("MLflow", True, shown)


def _ray(settings: Settings) -> Check:
    if settings.ray_address is None:
        return Check("Ray", True, "embedded")
    from orchestrator.ray_pool import check_address

    try:
        check_address(settings.ray_address, os.environ)
    except TrainyardError as error:
        return Check("Ray", False, str(error), "or unset RAY_ADDRESS to use an embedded Ray")
    return Check("Ray", True, settings.ray_address)

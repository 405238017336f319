"""What `doctor` looks at: each check says what it found and, where it fails, how to mend it."""

import importlib.metadata
import os
import shlex
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dashboards.numbers import bytes_text
from experiments.architectures.named_architectures import plugin_faults
from experiments.errors import TrainyardError
from orchestrator.machine import capacity
from orchestrator.ray_address import check_address
from orchestrator.settings import Settings, redacted, sqlite_path
from trainyard.findings import Check
from trainyard.store_checks import store_checks

_PACKAGES: Final = ("torch", "torchvision", "ray", "mlflow", "sqlalchemy", "pandas", "scikit-learn")
_LEAST_FREE_BYTES: Final = 2**30
_CONNECT_SECONDS: Final = 2.0


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
    if (store := sqlite_path(settings.database_url)) is not None and store.parent != settings.home:
        yield _folder("store's folder", store.parent, variable="TRAINYARD_DATABASE_URL")
    yield from _private(settings)
    yield from store_checks(settings)
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


def _private(settings: Settings) -> Iterator[Check]:
    """Look whether other users can read what is nobody else's: the home, and the store's files."""
    store = sqlite_path(settings.database_url)
    files = [] if store is None else [Path(f"{store}{end}") for end in ("", "-wal", "-shm")]
    for path, wanted in ((settings.home, 0o700), *((file, 0o600) for file in files)):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            found = f"{path}: other users of this machine may use it (mode {mode:04o})"
            yield Check("privacy", False, found, f"chmod {wanted:o} {shlex.quote(str(path))}")


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
    if settings.ray_address is None or settings.is_ray_embedded:
        return Check("Ray", True, "embedded")
    try:
        check_address(settings.ray_address, os.environ)
    except TrainyardError as error:
        return Check("Ray", False, str(error), "or unset RAY_ADDRESS to use an embedded Ray")
    return Check("Ray", True, settings.ray_address)

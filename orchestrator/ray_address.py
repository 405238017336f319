"""Which Ray clusters may be joined: those that strangers on the network cannot join, too.

Ray executes whatever code it is sent. A cluster that listens on this machine's loopback alone
is ours; any other must ask for a token. Nothing of Ray is imported here.
"""

import stat
import sys
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from experiments.errors import StoreError

EMBEDDED: Final = frozenset({None, "local"})
"""The addresses that mean a Ray of our own."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_LISTEN: Final = "0A"  # the state's number in /proc/net/tcp

Listening = Callable[[int], frozenset[str]]
"""Gives the addresses at which this machine listens on a port."""


def listening(port: int) -> frozenset[str]:
    """Read from the kernel at which addresses this machine listens on a port."""
    found: set[str] = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for _, local, _, state, *_ in map(str.split, lines):
            address, _, hex_port = local.partition(":")
            if state == _LISTEN and int(hex_port, 16) == port:
                found.add(str(_address(address)))
    return frozenset(found)


def check_address(
    address: str, environ: Mapping[str, str], *, listening: Listening = listening
) -> None:
    """Refuse a cluster that anyone on its network could join.

    Args:
        address: What `RAY_ADDRESS` says.
        environ: The environment, with the variables of Ray's token.
        listening: Gives the addresses at which this machine listens on a port.

    Raises:
        StoreError: The cluster can be reached from other machines and is not joined with a
            token, others can read that token, or the address is of a kind that trainyard
            cannot use.
    """
    if address.startswith("ray://"):
        raise StoreError(
            f"RAY_ADDRESS={address}: Ray's client protocol is not supported; run trainyard "
            "on a machine of the cluster with RAY_ADDRESS=auto, or give HOST:PORT"
        )
    place = current_cluster(environ) if address == "auto" else address
    if address in EMBEDDED or place is None or _is_private(place, listening):
        return
    if environ.get("RAY_AUTH_MODE") != "token":
        raise StoreError(
            f"RAY_ADDRESS={address}: a cluster that other machines can reach must ask for a "
            "token: export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE (mode 0600), here "
            "and where `ray start` is called"
        )
    if not environ.get("RAY_AUTH_TOKEN"):
        _check_token(environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token")


def current_cluster(environ: Mapping[str, str]) -> str | None:
    """Give `HOST:PORT` of the cluster that `ray start` began here last, None if there is none."""
    folder = Path(environ.get("RAY_TMPDIR") or "/tmp")
    try:
        return (folder / "ray" / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


def _is_private(place: str, listening: Listening) -> bool:
    """Say whether a cluster listens on the loopback alone, or not at all: joining will tell."""
    host, _, port = place.rpartition(":")
    if host not in _LOOPBACK or not port.isdigit():
        return False
    return all(ip_address(each).is_loopback for each in listening(int(port)))


def _check_token(name: str) -> None:
    path = Path(name).expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise StoreError(
            f"{path}: no token of the Ray cluster can be read there ({error.strerror}); copy the "
            "cluster's, or name its file in RAY_AUTH_TOKEN_PATH"
        ) from error
    if mode & 0o077:
        raise StoreError(
            f"{path}: others can read the token of the Ray cluster (mode {mode:04o}); run "
            f"`chmod 600 {path}`"
        )


def _address(digits: str) -> IPv4Address | IPv6Address:
    """Read an address as the kernel writes it: hex, each four bytes in the machine's order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    address = ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

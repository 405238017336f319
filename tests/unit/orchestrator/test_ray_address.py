"""Which clusters are joined: those that strangers cannot join, too."""

import socket
from pathlib import Path

import pytest

from experiments.errors import StoreError
from orchestrator.ray_address import check_address, listening

EVERYWHERE = frozenset({"127.0.0.1", "0.0.0.0"})
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "secret"}


def check(address: str, environ: dict[str, str], *, at: frozenset[str] = frozenset()) -> None:
    check_address(address, environ, listening=lambda _: at)


@pytest.mark.parametrize("address", ["local", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"])
def test_cluster_on_the_loopback_alone_needs_no_token(address: str) -> None:
    check(address, {}, at=frozenset({"127.0.0.1", "::1"}))


@pytest.mark.parametrize("at", [EVERYWHERE, frozenset({"::"}), frozenset({"192.0.2.2"})])
def test_cluster_of_this_machine_that_others_can_reach_needs_one(at: frozenset[str]) -> None:
    with pytest.raises(StoreError, match=r"127.0.0.1:6379.*export RAY_AUTH_MODE=token"):
        check("127.0.0.1:6379", {}, at=at)
    check("127.0.0.1:6379", TOKEN, at=at)


def test_auto_is_the_cluster_that_was_begun_here_last(tmp_path: Path) -> None:
    environ = {"RAY_TMPDIR": str(tmp_path)}
    check("auto", environ)  # there is none: joining it will say so

    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("192.0.2.2:6379\n")
    with pytest.raises(StoreError, match=r"RAY_ADDRESS=auto: .*export RAY_AUTH_MODE=token"):
        check("auto", environ)
    check("auto", environ | TOKEN)


def test_cluster_elsewhere_is_joined_with_a_token_only() -> None:
    check("ray-head:6379", TOKEN)
    with pytest.raises(StoreError, match=r"ray-head:6379.*export RAY_AUTH_MODE=token"):
        check("ray-head:6379", {})


def test_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    environ = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with pytest.raises(StoreError, match=r"token: no token .*RAY_AUTH_TOKEN_PATH"):
        check("ray-head:6379", environ)

    token.write_text("secret")
    token.chmod(0o640)
    with pytest.raises(StoreError, match=r"\(mode 0640\); run `chmod 600 .*token`"):
        check("ray-head:6379", environ)
    token.chmod(0o600)
    check("ray-head:6379", environ)


def test_client_protocol_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match=r"ray://head:10001.*not supported.*RAY_ADDRESS=auto"):
        check("ray://head:10001", TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1"])
def test_kernel_says_where_a_port_is_listened_at(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((host, 0))
        port = server.getsockname()[1]
        assert listening(port) == frozenset()
        server.listen()
        assert listening(port) == {host.removeprefix("::ffff:")}

"""Where a pool's workers fit, and which clusters it joins."""

import socket
from typing import Any

import pytest
import ray

from experiments.errors import StoreError
from experiments.records import Resources
from orchestrator.ray_pool import RayPool, check_address, fits
from orchestrator.settings import from_environment


@pytest.mark.parametrize(
    ("workers", "nodes", "fit"),
    [
        ([(1, 0)] * 4, [(4, 0)], True),
        ([(1, 0)] * 5, [(4, 0)], False),
        ([(3, 0)], [(2, 0), (2, 0)], False),  # a worker stays on one machine
        ([(1, 0), (1, 0), (2, 0)], [(2, 0), (2, 0)], True),  # the large one goes first
        ([(1, 0.5), (1, 0.5)], [(4, 1)], True),
        ([(1, 0.5), (1, 0.5), (1, 0.5)], [(4, 1)], False),
        ([(1, 1 / 3)] * 3, [(4, 1)], True),
        ([(1, 1 / 3)] * 4, [(4, 1)], False),
        ([(1, 1), (2, 0)], [(2, 0), (1, 1)], True),
        ([], [], True),
        ([(1, 0)], [], False),
    ],
)
def test_workers_fit_when_each_finds_a_machine(
    workers: list[tuple[int, float]], nodes: list[tuple[int, float]], fit: bool
) -> None:
    assert (
        fits([Resources(*size) for size in workers], nodes=[Resources(*size) for size in nodes])
        is fit
    )


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:6379", "localhost:6379"])
def test_cluster_on_this_machine_needs_no_token(address: str) -> None:
    check_address(address, {})


def test_cluster_elsewhere_is_joined_with_a_token_only() -> None:
    check_address("ray-head:6379", {"RAY_AUTH_MODE": "token"})
    with pytest.raises(StoreError, match=r"ray-head:6379.*export RAY_AUTH_MODE=token"):
        check_address("ray-head:6379", {})


def test_client_protocol_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match=r"ray://head:10001.*not supported.*RAY_ADDRESS=auto"):
        check_address("ray://head:10001", {"RAY_AUTH_MODE": "token"})


def test_cluster_where_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and yet deaf
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        pool = RayPool(from_environment({"RAY_ADDRESS": address}))
        with pytest.raises(StoreError, match=rf"{address}: no Ray cluster lets us in .*refused"):
            pool.could_hold(Resources(), num_workers=1)


@pytest.mark.parametrize("address", ["here", "127.0.0.1:port"])
def test_address_that_is_none_is_refused(address: str) -> None:
    pool = RayPool(from_environment({"RAY_ADDRESS": address}))
    with pytest.raises(StoreError, match=f"RAY_ADDRESS={address}"):
        pool.open()


def test_cluster_is_asked_for_its_machines_once_in_a_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpus, asked, seconds = 2.0, [], [0.0]

    def nodes() -> list[dict[str, Any]]:
        asked.append(seconds[0])
        return [{"Alive": True, "Resources": {"CPU": cpus}}]

    monkeypatch.setattr(RayPool, "open", lambda _: None)
    monkeypatch.setattr(ray, "nodes", nodes)
    pool = RayPool(from_environment({"RAY_ADDRESS": "auto"}), clock=lambda: seconds[0])

    for at in (0.0, 0.5, 2.9):
        seconds[0] = at
        assert pool.room_for(Resources(cpus=2))
        assert not pool.could_hold(Resources(cpus=2), num_workers=2)
    cpus = 4.0  # another machine has joined
    seconds[0] = 3.0
    assert pool.could_hold(Resources(cpus=2), num_workers=2)
    assert asked == [0.0, 3.0]


def test_worker_that_is_gone_can_be_sent_home_and_spoken_to_in_vain() -> None:
    pool = RayPool(from_environment({}))

    pool.stop("worker-1", ["trial"])
    pool.start("worker-1", [])
    pool.dismiss("worker-1")

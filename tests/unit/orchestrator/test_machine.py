"""Which machine a worker is on, and which share of it it has."""

import socket

import pytest

from orchestrator.machine import fingerprint


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1, 0.0, "box/1cpu"), (16, 1.0, "box/16cpu/1gpu"), (4, 0.5, "box/4cpu/0.5gpu")],
)
def test_machine_is_named_with_the_share_of_it(
    monkeypatch: pytest.MonkeyPatch, cpus: int, gpus: float, expected: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box")

    assert fingerprint(cpus=cpus, gpus=gpus) == expected

"""Which machine a worker is on, and which share of it it has."""

import socket
from pathlib import Path

import pytest

from orchestrator.machine import fingerprint, multiplies_bfloat16


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1, 0.0, "box/1cpu"), (16, 1.0, "box/16cpu/1gpu"), (4, 0.5, "box/4cpu/0.5gpu")],
)
def test_machine_is_named_with_the_share_of_it(
    monkeypatch: pytest.MonkeyPatch, cpus: int, gpus: float, expected: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box")

    assert fingerprint(cpus=cpus, gpus=gpus) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16\n", True),
        ("flags\t\t: fpu avx avx2\nvmx flags\t: ept\n", False),
        ("Features\t: fp asimd i8mm bf16 dgh\n", True),
        ("model name\t: bf16\n", None),
        (None, None),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, expected: bool | None
) -> None:
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr("orchestrator.machine._PROCESSOR", path)

    assert multiplies_bfloat16() is expected

"""When the orchestrator has the mirror there, with a mirror that starts nothing."""

from pathlib import Path

import pytest

from experiments.errors import StoreUnavailableError
from orchestrator.mirroring.mirror import Mirror
from orchestrator.scheduling.service import Orchestrator
from orchestrator.settings import from_environment


@pytest.fixture
def orchestrator(tmp_path: Path) -> Orchestrator:
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path)})
    orchestrator = Orchestrator(settings)
    orchestrator.mirror = Mirror(settings, engine=None)  # type: ignore[arg-type]
    return orchestrator


def test_a_mirror_that_cannot_be_started_is_told_and_tried_later(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(orchestrator.mirror, "start", full)
    for _ in range(3):
        orchestrator._keep_mirror()
    (message,) = caplog.messages
    assert "No space left on device" in message


def test_an_idle_orchestrator_has_the_mirror_tell_what_waits(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waiting = 100.0, 0

    def num_pending() -> int:
        if waiting < 0:
            raise StoreUnavailableError("away")
        return waiting

    monkeypatch.setattr("orchestrator.scheduling.service.time.monotonic", lambda: now)
    monkeypatch.setattr(orchestrator.mirror, "num_pending", num_pending)
    assert orchestrator._needs_mirror(is_working=True)
    waiting = 1
    assert not orchestrator._needs_mirror(is_working=False)
    now += 10
    assert orchestrator._needs_mirror(is_working=False)
    assert not orchestrator._needs_mirror(is_working=False)
    now, waiting = now + 10, 0
    assert not orchestrator._needs_mirror(is_working=False)
    now, waiting = now + 10, -1
    assert not orchestrator._needs_mirror(is_working=False)
